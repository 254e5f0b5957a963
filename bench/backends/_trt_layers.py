"""Times every layer of an engine in a pass of its own, as a profiler slows the calls that it watches."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import msgspec

from bench.backends import _trt, _trt_inspect
from bench.backends._trt_build import Built
from bench.backends._trt_engine import EngineLane
from bench.layers import FILE, Layers
from bench.model import Case
from bench.seam import Context, Stage

WARM_UP = 20
CALLS = 50


def take(case: Case, stage: Stage, context: Context, api: _trt.Api, engine: Any, built: Built, out: Path) -> None:
    """Write ``bench.layers.FILE`` into ``out``: what each layer is, and its time in each of CALLS calls.

    The engine runs without a CUDA graph whatever the case asks for, as layers inside a graph cannot be told apart.
    """
    with (
        context.phase(stage.name),
        contextlib.closing(EngineLane(api, engine, built, context, graph=False)) as lane,
    ):
        profiler = _profiler(api.module)
        lane.context.enqueue_emits_profile = False  # else the call waits for the GPU
        lane.context.profiler = profiler
        calls = []
        for _ in range(WARM_UP + CALLS):
            lane.call()
            lane.wait()
            if not lane.context.report_to_profiler():
                raise _trt.refused(api, f"TensorRT does not tell the times of the layers of {case.label}")
            calls.append(profiler.taken())
        report = _trt_inspect.report(api, engine, lane.context)
    layers = _trt_inspect.timed(_trt_inspect.layers(report), calls[WARM_UP:])
    found = Layers(runtime=api.name, layers=layers, calls=CALLS, inspector=report)
    (out / FILE).write_bytes(msgspec.json.encode(found))


def _profiler(trt: Any) -> Any:
    """Collects what TensorRT reports of one call."""

    class Profiler(trt.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self._call: list[tuple[str, int]] = []

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self._call.append((layer_name, round(ms * 1e6)))

        def taken(self) -> list[tuple[str, int]]:
            call, self._call = self._call, []
            return call

    return Profiler()
