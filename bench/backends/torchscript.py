"""TorchScript: the module traced or scripted, frozen and optimised as the options say."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from bench.model.lanes import Prepared
from bench.model.seam import Context, Stage
from bench.model.suite import Case
from bench.runtimes.cpp import building
from bench.runtimes.cpp.lanes import Model
from bench.runtimes.cpp.program import Executor
from bench.runtimes.torch import custom_ops, deployed, errors, exports, models
from bench.runtimes.torch.backend import TorchBackend
from bench.runtimes.torch.lane import TorchPrepared
from bench.runtimes.torch.options import TorchOptions
from bench.runtimes.torch.outputs import flatten_outputs, positional
from bench.runtimes.torch.session import own_warnings_filtered, torch_session

if TYPE_CHECKING:
    import torch

_PROGRAM, _ABOUT = "program.pt", "program.json"


class Options(TorchOptions, frozen=True, kw_only=True):
    """``method`` makes the program from one traced call or from the source; ``freeze`` turns weights into constants.

    ``optimize_for_inference`` adds torch's own pass of that name, which freezes too. ``executor: cpp`` saves the
    program, which a C++ program loads and runs.
    """

    method: Literal["trace", "script"] = "trace"
    freeze: bool = True
    optimize_for_inference: bool = False
    executor: Executor = "python"


class SavedProgram(msgspec.Struct, frozen=True):
    """The output names of a saved program, and what the exporter warned of."""

    names: tuple[str, ...]
    warnings: tuple[exports.ExportWarning, ...] = ()


class TorchScript(TorchBackend[Options]):
    """torch.jit: deprecated by PyTorch, still deployed."""

    options = Options

    def unsupported(self, case: Case, device: str) -> str | None:
        """As every PyTorch backend; also ``autocast`` with ``method: script``."""
        if case.options.get("method") == "script" and case.options.get("autocast"):
            return "torch.jit.script does not see autocast; use method: trace"
        return deployed.unsupported(case) or super().unsupported(case, device)

    def stages(self, case: Case) -> Sequence[Stage]:
        """As of every PyTorch backend; with ``executor: cpp`` also the saved program, and what runs it."""
        stages = [*super().stages(case)]
        if deployed.is_deployed(case):
            export = msgspec.structs.replace(self.build_stage(case, "torchscript"), name="export", per_build=False)
            stages += [export, deployed.runner_stage(case)]
        return stages

    def preload(self, case: Case, suite_dir: Path) -> None:
        """As of every PyTorch backend; nothing where a C++ program runs the case."""
        if not deployed.is_deployed(case):
            super().preload(case, suite_dir)

    def imports(self, case: Case, stage: Stage | None = None) -> tuple[str, ...]:
        """As of every PyTorch backend; nothing for the C++ program."""
        without = stage.name == building.STAGE if stage else deployed.is_deployed(case)
        return () if without else super().imports(case, stage)

    def produce(self, stage: Stage, case: Case, context: Context, out: Path) -> None:
        """The saved program, or the C++ program of all PyTorch backends. Phases: import, load, export, compile."""
        if stage.name == building.STAGE:
            building.produce("torch", building.torch_installation(), context, out)
            return
        options = msgspec.convert(case.options, Options)
        with torch_session(case, context), own_warnings_filtered():
            program, names, warnings = self._export(case, options, context)
            if not names:
                import torch

                _, example = models.load_with_example(case, options, context)
                with torch.no_grad():
                    names = tuple(flatten_outputs(program(**example)))
            deployed.refuse_operators(custom_ops.names_in_script(program))
            with context.phase("compile"):
                # Optimised for inference it may hold tensors of oneDNN, which no file takes: the C++ program does it.
                saved = _optimise(program, msgspec.structs.replace(options, optimize_for_inference=False))
                with errors.translate("torch.jit.save cannot write this program"):
                    saved.save(str(out / _PROGRAM))
        (out / _ABOUT).write_bytes(msgspec.json.encode(SavedProgram(tuple(names), tuple(warnings))))

    @contextlib.contextmanager
    def prepare(self, case: Case, options: Options, context: Context) -> Iterator[Prepared]:
        """As of every PyTorch backend, or in the C++ program."""
        if options.executor == "python":
            with super().prepare(case, options, context) as prepared:
                yield prepared
            return
        folder = context.artifacts["export"]
        saved = msgspec.json.decode((folder / _ABOUT).read_bytes(), type=SavedProgram)
        model = Model(
            runtime="torchscript",
            artifact=folder / _PROGRAM,
            outputs=saved.names,
            channels_last=options.memory_format == "channels_last",
            by_name=options.method == "script",
            optimize_for_inference=options.optimize_for_inference,
        )
        more = _settings(options) | exports.warning_report(saved.warnings)
        with deployed.prepare(case, options, context, model, more) as in_program:
            yield in_program

    def load(self, case: Case, options: Options, context: Context, stack: ExitStack) -> TorchPrepared:
        """Phases: load, export (trace or script), compile (freeze and optimise, if the options say so).

        Runs under no_grad: a program traced in inference_mode may hold tensors that cannot be used outside it.
        """
        import torch

        program, names, warnings = self._export(case, options, context)
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
            more=lambda: _settings(options) | exports.warning_report(warnings),
        )

    def _export(
        self, case: Case, options: Options, context: Context
    ) -> tuple[Any, tuple[str, ...], Sequence[exports.ExportWarning]]:
        """The program, its output names if it returns a plain tuple, and the exporter's warnings."""
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
        return program, names, warnings


def _settings(options: Options) -> dict[str, Any]:
    """How the program was made, for the fairness report."""
    names = ("method", "freeze", "optimize_for_inference")
    return {name: getattr(options, name) for name in names}


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
