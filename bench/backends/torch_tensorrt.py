"""torch_tensorrt: parts of a PyTorch model replaced by TensorRT engines, through each of its frontends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bench.errors import UsageError
from bench.model.distributions import TENSORRT, TENSORRT_RTX, TORCH_TENSORRT
from bench.model.seam import Context, Missing, Stage
from bench.model.suite import Case
from bench.runtimes.torch import calls, custom_ops, errors, exports, lane, models
from bench.runtimes.torch.backend import TorchBackend
from bench.runtimes.torch.options import TorchOptions
from bench.runtimes.torch.session import own_warnings_filtered, torch_session
from bench.runtimes.torchtrt import fx2trt, modules
from bench.runtimes.torchtrt import settings as _compiler
from bench.runtimes.torchtrt.settings import ModuleInfo, Options
from bench.runtimes.trt import library

if TYPE_CHECKING:
    import torch

_MODULE = "model.pt2"
_INFO = "build.json"


class TorchTensorRT(TorchBackend[Options]):
    """A compiled module is built once, saved and loaded; ``torch_compile`` and the Python runtime build in place."""

    options = Options

    def missing(self, device: str = "cpu") -> Missing | None:
        """torch, torch_tensorrt or TensorRT, or a torch_tensorrt built for another version of torch."""
        return _compiler.missing()

    def unsupported(self, case: Case, device: str) -> str | None:
        """No GPU, a precision or dynamic size that the frontend lacks, and what no PyTorch backend supports."""
        ir = case.options.get("ir", "dynamo")
        if device == "cpu":
            return "TensorRT needs a CUDA device"
        if ir == "ts" and case.precision == "bf16":
            return "ir ts has no bf16"
        if ir == "torch_compile" and case.dynamic:
            return "ir torch_compile has no range with an optimum; use ir: dynamo"
        return (fx2trt.unsupported(case) if ir == "fx" else None) or super().unsupported(case, device)

    def stages(self, case: Case) -> Sequence[Stage]:
        """The reference (and its weights), and the compiled module where it can be saved."""
        first = super().stages(case)
        if _in_place(msgspec.convert(case.options, Options)):
            return first
        return [*first, self.build_stage(case, "torch_tensorrt", *TORCH_TENSORRT, *TENSORRT, *TENSORRT_RTX)]

    def preload(self, case: Case, suite_dir: Path) -> None:
        """torch and TensorRT. Not torch_tensorrt: TensorRT needs its logger first."""
        import torch  # noqa: F401

        library.preload(_compiler.product())

    def imports(self, case: Case, stage: Stage | None = None) -> tuple[str, ...]:
        """torch, the library of the case's factory where something is built, and TensorRT's bindings."""
        builds = stage is not None or _in_place(msgspec.convert(case.options, Options))
        return (*(super().imports(case, stage) if builds else ("torch",)), _compiler.product().module)

    def produce(self, stage: Stage, case: Case, context: Context, out: Path) -> None:
        """Compile and save. Phases: import, load, export (not for fx), build, save."""
        options = msgspec.convert(case.options, Options)
        if _in_place(options):
            raise UsageError(f"torch_tensorrt makes no {stage.name} with these options")
        with torch_session(case, context), own_warnings_filtered(), _compiler.session(options, context) as api:
            module, example, info = _build(case, options, context, api)
            with context.phase("save"), _compiler.refusals(api, "torch_tensorrt cannot save what it compiled"):
                modules.save(module, out / _MODULE, options.ir, case, example)
            (out / _INFO).write_bytes(msgspec.json.encode(info))

    def load(self, case: Case, options: Options, context: Context, stack: ExitStack) -> EnginePrepared:
        """Phases: import, deserialize. Built in place: import, load, then export and build, or compile."""
        api = stack.enter_context(_compiler.session(options, context))
        if options.ir == "torch_compile":
            return _compile_in_torch(case, options, context, api)
        if options.use_python_runtime:
            module, _, info = _build(case, options, context, api)
            return EnginePrepared(case, context, api, module, info)
        return _load_saved(case, options, context, api)


class EnginePrepared(lane.TorchPrepared):
    """A module that contains engines, called with positional arguments.

    An execution context serves one stream at a time, so each lane after the first calls a module of its own, which
    ``again`` loads; without ``again`` there is one lane. Engines run on the caller's stream. In torch_tensorrt 2.3 to
    2.12 they run on a stream that forks from it and joins it, so holding or capturing the caller's stream covers them.
    """

    def __init__(
        self,
        case: Case,
        context: Context,
        api: library.Api,
        module: torch.nn.Module,
        info: ModuleInfo,
        *,
        run: lane.Run | None = None,
        again: Callable[[], torch.nn.Module] | None = None,
    ) -> None:
        ir = case.options.get("ir", "dynamo")
        forks = ir != "fx" and (2, 3) <= _compiler.version(*TORCH_TENSORRT) < (2, 13)
        stream = "forked" if forks else "caller"
        report = {"runtime": api.name, "ir": ir, "engine_stream": stream} | info.fairness | _compiler.runtime_cache(api)
        super().__init__(
            case,
            TorchOptions(),
            context,
            run or _by_position(module),
            names=info.names,
            program_tensors=lambda: models.module_tensors(module),
            program=module,
            more=lambda: report,
        )
        if not again:
            self.max_lanes = 1
        self._again = again

    def lanes(self, count: int) -> Sequence[lane.TorchLane]:
        """The first ``count`` lanes, each with execution contexts of its own."""
        while len(self._lanes) < min(count, self.max_lanes or count):
            before = self._run
            try:
                with errors.translate():
                    if self._lanes and self._again:
                        self._run = _by_position(self._again())
                super().lanes(len(self._lanes) + 1)
            except BaseException:
                self._run = before
                raise
        return super().lanes(count)

    def close(self) -> None:
        """Release the modules and the memory of all lanes."""
        self._again = None
        super().close()


def _in_place(options: Options) -> bool:
    return options.ir == "torch_compile" or options.use_python_runtime


def _by_position(module: torch.nn.Module) -> lane.Run:
    return lambda inputs: module(*inputs.values())


def _build(
    case: Case, options: Options, context: Context, api: library.Api
) -> tuple[Any, dict[str, torch.Tensor], ModuleInfo]:
    """The compiled module, its example inputs and its description. Phases: load, export (not for fx), build."""
    with context.phase("load"):
        model, example = models.load_with_example(case, TorchOptions(), context)
        with calls.names_checked(calls.own_module(model), case):
            module, names = modules.with_parameters(model, example)
    cache = _compiler.cache_file(api, context)
    cache_state = "warm" if cache.is_file() else "cold"
    report = {"strongly_typed": False, "optimization_level": _compiler.BUILDER_LEVEL, "timing_cache": cache_state}
    result: Any
    operators: tuple[str, ...] = ()
    with _compiler.refusals(api, f"torch_tensorrt cannot compile this model with ir {options.ir}"):
        if options.ir == "fx":
            with context.phase("build"):
                result = fx2trt.lower(
                    module,
                    example,
                    case,
                    api,
                    workspace=options.workspace_bytes,
                    min_block_size=options.min_block_size,
                    cache=cache,
                    scratch=context.scratch,
                )
        else:
            settings = _compiler.settings(case, options, _compiler.setting_names(options.ir), cache)
            report |= _compiler.settings_report(settings, api, cache_state)
            compiler = modules.compile_ts if options.ir == "ts" else modules.compile_dynamo
            result, warnings, operators = compiler(module, names, example, case, settings, context)
            report |= exports.warning_report(warnings)
        report |= modules.facts([result])
    return result, example, ModuleInfo(names=names, fairness=report, operators=operators)


def _load_saved(case: Case, options: Options, context: Context, api: library.Api) -> EnginePrepared:
    """The saved module. Phase: deserialize."""
    folder = context.artifacts["build"]

    def load() -> torch.nn.Module:
        with _compiler.refusals(api, "torch_tensorrt cannot load the compiled module"):
            if options.ir == "fx":
                return fx2trt.load(folder / _MODULE, api)
            return modules.load(folder / _MODULE, options.ir)

    info = msgspec.json.decode((folder / _INFO).read_bytes(), type=ModuleInfo)
    with context.phase("deserialize"):
        custom_ops.define(info.operators, case, context)
        module = load()
    again: Callable[[], torch.nn.Module] | None = load
    if options.ir == "fx":
        again = None if case.dynamic else lambda: fx2trt.another(module)
    return EnginePrepared(case, context, api, module, info, again=again)


def _compile_in_torch(case: Case, options: Options, context: Context, api: library.Api) -> EnginePrepared:
    """The model under torch.compile, which builds engines in its first call. Phases: load, compile."""
    import torch._dynamo

    with context.phase("load"):
        model, example = models.load_with_example(case, TorchOptions(), context)
    cache = _compiler.cache_file(api, context)
    settings = _compiler.settings(case, options, _compiler.setting_names("torch_compile"), cache)
    report = _compiler.settings_report(settings, api, "warm" if cache.is_file() else "cold")
    parts: list[Any] = []
    with context.phase("compile"), _compiler.refusals(api, "torch.compile with torch_tensorrt failed"):
        program = modules.compile_in_torch(model, settings, parts)
        first = lane.TorchLane(lambda inputs: program(**inputs), example, tuple, ())
        first.call()
        first.read()
    report |= modules.facts(parts)
    report |= {"graphs": len(parts), "graph_breaks": sum(torch._dynamo.utils.counters["graph_break"].values())}
    return EnginePrepared(
        case, context, api, model, ModuleInfo(names=(), fairness=report), run=lambda inputs: program(**inputs)
    )


BACKEND = TorchTensorRT()
