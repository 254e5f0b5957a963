"""TorchScript: the module traced or scripted, frozen and optimised as asked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.errors import UsageError
from bench.model.seam import Context, Missing, Stage
from bench.model.suite import Case
from bench.runtimes import shapes
from bench.runtimes.torch import lane, loading, weights

if TYPE_CHECKING:
    import torch


class Options(loading.TorchOptions, frozen=True, kw_only=True):
    """``method`` makes the program from one traced call or from the source; ``freeze`` turns weights into constants.

    ``optimize_for_inference`` adds torch's own pass of that name, which freezes too.
    """

    method: Literal["trace", "script"] = "trace"
    freeze: bool = True
    optimize_for_inference: bool = False


class TorchScript:
    """torch.jit: deprecated by PyTorch, still deployed."""

    options = Options
    simulated = False

    def missing(self, device: str = "cpu") -> Missing | None:
        """torch."""
        return loading.missing()

    def unsupported(self, case: Case, device: str) -> str | None:
        """What no PyTorch backend can do, and a scripted autocast."""
        if case.options.get("method") == "script" and case.options.get("autocast"):
            return "torch.jit.script does not see autocast; use method: trace"
        return loading.unsupported(case, device)

    def stages(self, case: Case) -> Sequence[Stage]:
        """The reference (and its weights): the program is made in the measuring process."""
        return weights.first_stages(case)

    def preload(self, case: Case, suite_dir: Path) -> None:
        """torch and the library of the case's factory."""
        loading.preload(case, suite_dir)

    def produce(self, stage: Stage, case: Case, context: Context, out: Path) -> None:
        """Makes nothing: its stages are produced by eager."""
        raise UsageError(f"torchscript makes no {stage.name}")

    @contextlib.contextmanager
    def prepare(self, case: Case, options: Options, context: Context) -> Iterator[lane.TorchPrepared]:
        """Phases: import, load, export (trace or script), compile (freeze and optimise, if asked for).

        Made under no_grad, as a program traced in inference_mode may keep tensors that cannot be used outside it.
        """
        with loading.session(case, context), loading.own_warnings_filtered():
            import torch

            with context.phase("load"):
                model = loading.load_model(case, options, context, context.device)
                arrays = shapes.example_arrays(case, context)
                example = loading.to_tensors(arrays, case, options.memory_format, context.device)
            with context.phase("export"), torch.no_grad():
                program, names = _program(model, example, options)
            with context.phase("compile"), torch.no_grad():
                program = _optimised(program, options)
            by_keyword = options.method == "script"
            prepared = lane.TorchPrepared(
                case,
                options,
                context,
                (lambda inputs: program(**inputs)) if by_keyword else (lambda inputs: program(*inputs.values())),
                names=names,
                held=lambda: [*loading.held_by(program), *_constants(program)],
                more=lambda: {
                    "method": options.method,
                    "freeze": options.freeze,
                    "optimize_for_inference": options.optimize_for_inference,
                },
            )
            with contextlib.closing(prepared):
                del model, example
                yield prepared


def _program(model: torch.nn.Module, example: dict[str, torch.Tensor], options: Options) -> tuple[Any, tuple[str, ...]]:
    """The program and the names of its outputs (none for a scripted one, which returns the model's own containers).

    A trace is not run a second time to check it: its accuracy is measured against the reference.
    """
    import torch

    if options.method == "script":
        with loading.errors("torch.jit.script cannot take this model"):
            return torch.jit.script(model), ()
    module, names = loading.positional(model, example)
    with loading.errors("torch.jit.trace cannot take this model"):
        return torch.jit.trace(module, tuple(example.values()), strict=False, check_trace=False), names


def _optimised(program: Any, options: Options) -> Any:
    import torch

    with loading.errors("torch.jit cannot optimise this model"):
        if options.freeze:
            program = torch.jit.freeze(program)
        if options.optimize_for_inference:
            program = torch.jit.optimize_for_inference(program)
    return program


def _constants(program: Any) -> list[torch.Tensor]:
    """Tensors in a frozen program, which an output may be."""
    import torch

    values = (node.output().toIValue() for node in program.graph.findAllNodes("prim::Constant"))
    return [value for value in values if isinstance(value, torch.Tensor)]


BACKEND = TorchScript()
