"""torch.compile with Inductor, in each of its modes."""

from __future__ import annotations

import contextlib
import importlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from bench.errors import Unsupported
from bench.lowering.quantize import linear_inputs
from bench.model.factory import program_of
from bench.model.seam import Context, Stage
from bench.model.suite import Case
from bench.runtimes import shapes
from bench.runtimes.torch import caches, code, exports, models, prebuilt, provenance, session
from bench.runtimes.torch.backend import TorchBackend
from bench.runtimes.torch.lane import TorchLane, TorchPrepared
from bench.runtimes.torch.options import Fp8Options

if TYPE_CHECKING:
    import torch

Mode = Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]
_CAPTURING = ("reduce-overhead", "max-autotune")
_NOT_COMPILED = (
    "a factory that returns the module as it was before torch.jit or torch.compiler.disable; or the backend eager, "
    "which runs this one as it is"
)
# What the first call imports, which could be imported before.
_FIRST_COMPILE = "bench.runtimes.torch.first_compile"
_LONGEST_REASON = 200
_SHOWN_REASONS = 3


class Options(Fp8Options, frozen=True, kw_only=True):
    """``mode``, ``fullgraph`` and ``dynamic`` are those of torch.compile (``dynamic: null`` lets it decide).

    ``cpp_wrapper`` generates C++ in place of Python around the kernels.
    """

    mode: Mode = "default"
    fullgraph: bool = False
    dynamic: bool | None = None
    cpp_wrapper: bool = False


class Inductor(prebuilt.BuildsModules, TorchBackend[Options]):
    """``torch.compile(model)``. Errors are not suppressed: a graph that does not compile is a failed case."""

    options = Options
    compiles = True

    def unsupported(self, case: Case, device: str) -> str | None:
        """As every PyTorch backend, but for fp8; also options of fp8 at another precision, and modes that capture CUDA
        graphs on a CPU, or together with ``cuda_graph``.
        """
        mode = case.options.get("mode", "default")
        if program_of(case.factory) == "torchscript":
            return f"{case.factory} is a TorchScript program, which torch.compile leaves to TorchScript"
        if mode in _CAPTURING and device == "cpu":
            plain = "default" if mode == "reduce-overhead" else "max-autotune-no-cudagraphs"
            return f"mode {mode} captures CUDA graphs; a CPU has none: without them it is mode {plain}"
        if mode in _CAPTURING and case.cuda_graph:
            return f"mode {mode} captures CUDA graphs itself; leave cuda_graph off"
        return session.unsupported(case, device, quantizes=True) or linear_inputs.unsupported(case)

    def stages(self, case: Case) -> Sequence[Stage]:
        """As every PyTorch backend; at fp8 with static scales also their calibration."""
        return [*super().stages(case), *linear_inputs.stages(case)]

    def build_stage(self, case: Case, kind: str, *libraries: str) -> Stage:
        """As every PyTorch backend's; at fp8 after the calibration."""
        stage, before = super().build_stage(case, kind, *libraries), linear_inputs.stages(case)
        return msgspec.structs.replace(stage, needs=(*stage.needs, *(each.name for each in before)))

    def preload(self, case: Case, suite_dir: Path) -> None:
        """Import torch, Dynamo, Inductor and the library of the case's factory."""
        super().preload(case, suite_dir)
        importlib.import_module(_FIRST_COMPILE)

    def compile_stage(self, case: Case) -> Stage | None:
        """Inductor's and Triton's caches filled by a process of its own; None in the modes that time kernels."""
        if case.options.get("mode", "default").startswith("max-autotune") or caches.environment_autotunes():
            return None
        build = self.build_stage(case, "inductor-cache", "triton")
        key = build.key | {"graph": case.cuda_graph, "symbols": case.symbols, "caches": caches.identity()}
        return msgspec.structs.replace(build, name="compile", key=key, times_kernels_on=())

    def code(self, case: Case) -> Stage:
        """What Inductor and Triton write, in a process of its own."""
        build = self.build_stage(case, "code", "triton")
        return msgspec.structs.replace(build, name="code", key=build.key | {"symbols": case.symbols}, per_build=False)

    def produce(self, stage: Stage, case: Case, context: Context, out: Path) -> None:
        """The code of the case; or caches that are filled, as it will be measured, with the first configuration of each
        kernel in place of the fastest, which is not looked for beside other work.
        """
        options = msgspec.convert(case.options, Options)
        if stage.kind == "code":
            with code.compiling(out, context.scratch), self.prepare(case, options, context):
                return None
        if stage.kind != "inductor-cache":
            return super().produce(stage, case, context, out)
        with caches.untimed(), self.prepare(case, options, context) as prepared:
            (out / "caches.json").write_bytes(msgspec.json.encode(prepared.fairness().get("code_cache", "")))
        return None

    def imports(self, case: Case, stage: Stage | None = None) -> tuple[str, ...]:
        """torch, the library of the case's factory, Dynamo and Inductor."""
        return (*super().imports(case, stage), _FIRST_COMPILE)

    def provenance(self) -> contextlib.AbstractContextManager[provenance.Watch]:
        """What the kernels of programs compute that are compiled in the block."""
        return provenance.watch()

    def load(self, case: Case, options: Options, context: Context, stack: ExitStack) -> TorchPrepared:
        """Phases: load, compile.

        torch compiles in the first call, so one call is made here, as phase ``compile``: on the case's inputs, or where
        sizes are dynamic on inputs at ``opt``, whose dynamic dimensions are marked with their ranges.
        """
        stack.enter_context(caches.fresh_caches(context))
        with context.phase("load"):
            model, about_fp8 = linear_inputs.load_model(case, options, context)
            program = _compile(model, options)
            refusals = stack.enter_context(_capture_refusals())
        captures = _captures(options, context.device)
        prepared = TorchPrepared(
            case,
            options,
            context,
            lambda inputs: program(**inputs),
            program_tensors=lambda: models.module_tensors(model),
            program=model,
            captures_graphs=captures,
            more=lambda: about_fp8 | _report(options, refusals if captures else None),
        )
        stack.enter_context(_wrapper(options))
        with context.phase("compile"):
            example = prepared.example(shapes.example_arrays(case, context))
            _mark(case, example)
            first = TorchLane(lambda inputs: program(**inputs), example, tuple, ())
            with exports.size_refusals(case):
                first.call()
            first.read()
        _check_compiled(model)
        return prepared


def _compile(model: torch.nn.Module, options: Options) -> Any:
    import torch
    import torch._dynamo

    torch._dynamo.reset()
    caches.reset_counters()
    if hasattr(torch._dynamo.utils, "clear_compilation_metrics"):  # not in torch 2.2
        torch._dynamo.utils.clear_compilation_metrics()
    torch._dynamo.config.suppress_errors = False
    if isinstance(model, torch.jit.ScriptModule):
        raise _not_compiled("it is a ScriptModule, scripted or traced, which runs as it is")
    return torch.compile(model, mode=options.mode, fullgraph=options.fullgraph, dynamic=options.dynamic)


def _check_compiled(model: torch.nn.Module) -> None:
    """Unsupported, with why, if the first call has compiled no graph: the row would measure eager PyTorch."""
    import torch
    import torch._dynamo
    from torch._dynamo.utils import counters

    if counters["stats"]["unique_graphs"]:
        return
    scripts = [name for name, part in model.named_modules() if isinstance(part, torch.jit.ScriptModule)]
    reasons = [_brief(reason) for key in ("graph_break", "unimplemented") for reason in counters[key]]
    stance = getattr(getattr(torch._dynamo.eval_frame, "_stance", None), "stance", "default")  # since torch 2.6
    if torch._dynamo.config.disable or stance != "default":
        switches = "TORCHDYNAMO_DISABLE, torch._dynamo.config.disable, torch.compiler.set_stance"
        raise _not_compiled(f"torch.compile is switched off ({switches})")
    if scripts:
        raise _not_compiled(f"its part {scripts[0]!r} is a ScriptModule, scripted or traced, which runs as it is")
    if reasons:
        raise _not_compiled(reasons[0])
    raise _not_compiled("it has no tensor operator that Dynamo sees")


def _not_compiled(why: str) -> Unsupported:
    return Unsupported(f"torch.compile compiled no graph of this model: {why}", fix=_NOT_COMPILED)


@contextlib.contextmanager
def _wrapper(options: Options) -> Iterator[None]:
    """``cpp_wrapper`` set for the block: the measured calls too, which may recompile."""
    import torch._inductor.config as config

    with config.patch(cpp_wrapper=options.cpp_wrapper):
        yield


def _mark(case: Case, example: dict[str, torch.Tensor]) -> None:
    import torch._dynamo

    for name, axes in shapes.dynamic_axes(case).items():
        for axis, symbol in axes.items():
            span = case.dynamic[symbol]
            if span.max > 1:
                torch._dynamo.mark_dynamic(example[name], axis, min=max(span.min, 2), max=span.max)


def _captures(options: Options, device: str) -> bool:
    """Whether Inductor is to capture CUDA graphs: by the mode, or by TORCHINDUCTOR_CUDAGRAPHS in the environment."""
    import torch._inductor.config as config

    return options.mode in _CAPTURING or (device != "cpu" and bool(config.triton.cudagraphs))


@contextlib.contextmanager
def _capture_refusals() -> Iterator[list[str]]:
    """The reasons why Inductor captured no graph, collected from its log while the block runs."""
    importlib.import_module("torch._inductor.compile_fx")  # its loggers exist from then on
    messages: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "skipping cudagraph" in record.getMessage():
                messages.append(record.getMessage())

    listener = Listener(logging.WARNING)
    names = [name for name in logging.root.manager.loggerDict if name.startswith("torch._inductor.")]
    loggers = [logging.getLogger(name) for name in names if name.endswith(("__cudagraphs", "__perf_hints"))]
    for logger in loggers:
        logger.addHandler(listener)
    try:
        yield messages
    finally:
        for logger in loggers:
            logger.removeHandler(listener)


def _report(options: Options, refusals: list[str] | None) -> dict[str, Any]:
    """Graph breaks and recompiles with their reasons, caches, and graphs that Inductor did not capture.

    ``refusals`` are the reasons for the latter; None if no capture was requested.
    """
    from torch._dynamo import utils

    inductor, graphs = utils.counters["inductor"], utils.counters["stats"]["unique_graphs"]
    breaks = {_brief(reason): count for reason, count in utils.counters["graph_break"].items()}
    again, gave_up = _recompiles(utils)
    report: dict[str, Any] = {
        "mode": options.mode,
        "graphs": graphs,
        "graph_breaks": sum(breaks.values()),
        "recompiles": len(again),
        **_skipped_frames(utils.counters["frames"]),
        **caches.report(autotunes=options.mode.startswith("max-autotune")),
    }
    if refusals is not None:
        report["graphs_skipped"] = max(inductor["cudagraph_skips"], len(refusals))  # torch 2.2 counts none
        report["graph_inputs"] = "copied in every call"
        if 0 < report["graphs_skipped"] >= graphs:
            report["graph_capture"] = "none"
    reasons = {"break_reasons": breaks, "recompile_reasons": again[:_SHOWN_REASONS], "recompile_limit": gave_up}
    reasons["skip_reasons"] = [_brief(text) for text in dict.fromkeys(refusals or ())][:_SHOWN_REASONS]
    return report | {key: value for key, value in reasons.items() if value}


def _skipped_frames(frames: Mapping[str, int]) -> dict[str, int]:
    """How many of the functions that Dynamo saw it left to Python; no entry without one."""
    skipped = frames["total"] - frames["ok"]
    return {"frames_skipped": skipped} if skipped > 0 else {}


def _recompiles(utils: Any) -> tuple[list[str], bool]:
    """Why graphs were compiled again, one reason each time, and whether torch gave up and runs a part uncompiled."""
    metrics = utils.get_compilation_metrics() if hasattr(utils, "get_compilation_metrics") else ()
    reasons = [reason for metric in metrics if (reason := getattr(metric, "recompile_reason", None))]
    if not reasons:  # before torch 2.6 there is one for each graph that did not fit, so that each may come many times
        reasons = list(dict.fromkeys(reason for several in utils.guard_failures.values() for reason in several))
    failures = [getattr(metric, "fail_reason", None) or "" for metric in metrics]
    return [_brief(reason) for reason in reasons], any("limit exceeded" in text for text in failures)


def _brief(reason: str) -> str:
    """The first line without the source line that follows a guard."""
    return " ".join((reason.strip().splitlines() or [""])[0].split(" # ")[0].split())[:_LONGEST_REASON]


BACKEND = Inductor()
