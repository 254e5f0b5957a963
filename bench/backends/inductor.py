"""torch.compile with Inductor, in each of its modes."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from unittest import mock

from bench.backends import _lane, _shapes, _torch
from bench.errors import Unavailable, UsageError
from bench.model import Case
from bench.seam import Context, Missing, Stage

if TYPE_CHECKING:
    import torch

Mode = Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]
_CAPTURING = ("reduce-overhead", "max-autotune")
# The folder, among the case's artifacts, that takes generated code; it is there where the caller wants to keep some.
KEEP = "keep"


class Options(_torch.TorchOptions, frozen=True, kw_only=True):
    """``mode``, ``fullgraph`` and ``dynamic`` are those of torch.compile (``dynamic: null`` lets it decide).

    ``cpp_wrapper`` generates C++ in place of Python around the kernels. ``keep_code`` keeps the generated code.
    """

    mode: Mode = "default"
    fullgraph: bool = False
    dynamic: bool | None = None
    cpp_wrapper: bool = False
    keep_code: bool = False


class Inductor:
    """``torch.compile(model)``. Nothing is suppressed: a graph that does not compile is a row."""

    options = Options
    simulated = False

    def missing(self) -> Missing | None:
        """torch, or a C++ compiler."""
        return _torch.missing(compiler=True)

    def unsupported(self, case: Case, device: str) -> str | None:
        """What no PyTorch backend can do, and CUDA graphs where there are none or twice."""
        mode = case.options.get("mode", "default")
        if mode in _CAPTURING and device == "cpu":
            plain = "default" if mode == "reduce-overhead" else "max-autotune-no-cudagraphs"
            return f"mode {mode} captures CUDA graphs; a CPU has none: without them it is mode {plain}"
        if mode in _CAPTURING and case.cuda_graph:
            return f"mode {mode} captures CUDA graphs itself; leave cuda_graph off"
        return _torch.unsupported(case, device)

    def stages(self, case: Case) -> Sequence[Stage]:
        """The reference only: code is generated in the measuring process."""
        return [_shapes.reference_stage(case)]

    def produce(self, stage: Stage, case: Case, context: Context, out: Path) -> None:
        """Makes nothing: its one stage is produced by eager."""
        raise UsageError(f"inductor makes no {stage.name}")

    @contextlib.contextmanager
    def prepare(self, case: Case, options: Options, context: Context) -> Iterator[_lane.TorchPrepared]:
        """Phases: import, load, compile.

        torch compiles in the first call, so one call is made here, as phase ``compile``: on the case's inputs, or where
        sizes are dynamic on inputs at ``opt``, whose dynamic dimensions are marked with their ranges.
        """
        with _torch.session(case, context), _torch.fresh_caches(context), _torch.own_warnings_filtered():
            if context.device != "cpu" and importlib.util.find_spec("triton") is None:
                raise Unavailable("Inductor needs Triton to compile for CUDA", fix="pip install triton")
            with context.phase("load"):
                model = _torch.load_model(case, options, context, context.device)
                compiled = _compiled(model, options)
            captures = options.mode in _CAPTURING
            prepared = _lane.TorchPrepared(
                case,
                options,
                context,
                lambda inputs: compiled(**inputs),
                weights=[*model.parameters(), *model.buffers()],
                captures_graphs=captures,
                more=lambda: _report(options, captures),
            )
            with contextlib.closing(prepared), _wrapper(options):
                with context.phase("compile"), _kept_code(options, context):
                    example = prepared.example(_shapes.example_arrays(case, context))
                    _mark(case, example)
                    first = _lane.TorchLane(lambda inputs: compiled(**inputs), example, frozenset(), ())
                    first.call()
                    first.read()
                    del first, example
                yield prepared


def _compiled(model: torch.nn.Module, options: Options) -> Any:
    import torch
    import torch._dynamo

    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    torch._dynamo.utils.clear_compilation_metrics()
    torch._dynamo.config.suppress_errors = False
    return torch.compile(model, mode=options.mode, fullgraph=options.fullgraph, dynamic=options.dynamic)


@contextlib.contextmanager
def _wrapper(options: Options) -> Iterator[None]:
    """``cpp_wrapper`` set for the block: the measured calls too, which may recompile."""
    import torch._inductor.config as config

    with config.patch(cpp_wrapper=options.cpp_wrapper):
        yield


def _mark(case: Case, example: dict[str, torch.Tensor]) -> None:
    import torch._dynamo

    for name, axes in _shapes.dynamic_axes(case).items():
        for axis, symbol in axes.items():
            span = case.dynamic[symbol]
            if span.max > 1:
                torch._dynamo.mark_dynamic(example[name], axis, min=max(span.min, 2), max=span.max)


@contextlib.contextmanager
def _kept_code(options: Options, context: Context) -> Iterator[None]:
    """Write each graph's generated code to the folder of kept artifacts, if there is one."""
    folder = context.artifacts.get(KEEP)
    if not options.keep_code or folder is None:
        yield
        return
    from torch._inductor.graph import GraphLowering

    codes: list[str] = []
    with mock.patch.object(GraphLowering, "save_output_code", codes.append):
        yield
    for index, code in enumerate(dict.fromkeys(codes)):
        (folder / f"output_code_{index}.py").write_text(code)


def _report(options: Options, captures: bool) -> dict[str, Any]:
    """Graph breaks with their reasons, recompiles, the code cache, and graphs that Inductor declined to capture."""
    from torch._dynamo import utils

    counters = utils.counters
    breaks = {reason.splitlines()[0][:200]: count for reason, count in counters["graph_break"].items()}
    again = [metric for metric in utils.get_compilation_metrics() if getattr(metric, "recompile_reason", None)]
    inductor = counters["inductor"]
    told: dict[str, Any] = {
        "mode": options.mode,
        "graphs": counters["stats"]["unique_graphs"],
        "graph_breaks": sum(breaks.values()),
        "break_reasons": breaks,
        "recompiles": len(again),
        "code_cache": "warm" if inductor["fxgraph_cache_hit"] and not inductor["fxgraph_cache_miss"] else "cold",
    }
    if captures:
        told["graphs_skipped"] = inductor["cudagraph_skips"]
        told["graph_inputs"] = "copied in every call"
    return told


BACKEND = Inductor()
