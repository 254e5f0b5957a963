"""TorchScript: the module traced or scripted, frozen and optimised as the options say."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Literal

from bench.model.seam import Context
from bench.model.suite import Case
from bench.runtimes.torch import errors, exports, models
from bench.runtimes.torch.backend import TorchBackend
from bench.runtimes.torch.lane import TorchPrepared
from bench.runtimes.torch.options import TorchOptions
from bench.runtimes.torch.outputs import positional

if TYPE_CHECKING:
    import torch


class Options(TorchOptions, frozen=True, kw_only=True):
    """``method`` makes the program from one traced call or from the source; ``freeze`` turns weights into constants.

    ``optimize_for_inference`` adds torch's own pass of that name, which freezes too.
    """

    method: Literal["trace", "script"] = "trace"
    freeze: bool = True
    optimize_for_inference: bool = False


class TorchScript(TorchBackend[Options]):
    """torch.jit: deprecated by PyTorch, still deployed."""

    options = Options

    def unsupported(self, case: Case, device: str) -> str | None:
        """As every PyTorch backend; also ``autocast`` with ``method: script``."""
        if case.options.get("method") == "script" and case.options.get("autocast"):
            return "torch.jit.script does not see autocast; use method: trace"
        return super().unsupported(case, device)

    def load(self, case: Case, options: Options, context: Context, stack: ExitStack) -> TorchPrepared:
        """Phases: load, export (trace or script), compile (freeze and optimise, if the options say so).

        Runs under no_grad: a program traced in inference_mode may hold tensors that cannot be used outside it.
        """
        import torch

        with context.phase("load"):
            model, example = models.load_with_example(case, options, context)
            # A scripted program returns the model's own containers, with their names.
            module, names = (model, ()) if options.method == "script" else positional(model, example)
        with context.phase("export"), torch.no_grad():
            with exports.recorded_warnings() as warnings:
                program = _program(module, example, options)
            if case.dynamic and names:
                _check_sizes(program, exports.Trial(case, options, context, module, names))
        with context.phase("compile"), torch.no_grad():
            program = _optimise(program, options)
        by_keyword = options.method == "script"
        return TorchPrepared(
            case,
            options,
            context,
            (lambda inputs: program(**inputs)) if by_keyword else (lambda inputs: program(*inputs.values())),
            names=names,
            program_tensors=lambda: [*models.module_tensors(program), *_constants(program)],
            program=program,
            more=lambda: {
                "method": options.method,
                "freeze": options.freeze,
                "optimize_for_inference": options.optimize_for_inference,
                **exports.warning_report(warnings),
            },
        )


def _program(module: torch.nn.Module, example: dict[str, torch.Tensor], options: Options) -> Any:
    """The program. A trace is not run a second time to check it: its accuracy is measured against the reference."""
    import torch

    if options.method == "script":
        with errors.translate("torch.jit.script cannot take this model"):
            return torch.jit.script(module)
    with errors.translate("torch.jit.trace cannot take this model"):
        return torch.jit.trace(module, tuple(example.values()), strict=False, check_trace=False)


def _check_sizes(program: Any, trial: exports.Trial) -> None:
    """Unsupported if the trace holds for the example's sizes only. Its runs here leave no profile for the optimiser."""
    import torch

    with torch.no_grad(), torch.jit.optimized_execution(False):
        trial.check(lambda arrays: program(*trial.inputs(arrays)), "the traced program")


def _optimise(program: Any, options: Options) -> Any:
    import torch

    with errors.translate("torch.jit cannot optimise this model"):
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
