"""Times every layer of an engine in a pass of its own, as a profiler slows the calls it records."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import msgspec

from bench.model.profile import FILE, Layers
from bench.model.seam import Context, Stage
from bench.model.suite import Case
from bench.runtimes.trt import inspector, library, rtx
from bench.runtimes.trt.builder import BuildInfo
from bench.runtimes.trt.execution import EngineLane

WARM_UP = 20
CALLS = 50


def take(
    case: Case,
    stage: Stage,
    context: Context,
    api: library.Api,
    engine: Any,
    info: BuildInfo,
    out: Path,
    settings: rtx.Settings | None = None,
) -> None:
    """Write ``bench.model.profile.FILE`` into ``out``: what each layer is, and its time in each of CALLS calls.

    The engine runs without a CUDA graph whatever the case asks for, as layers inside a graph cannot be distinguished;
    ``settings`` must capture none either.
    """
    with (
        context.phase(stage.name),
        contextlib.closing(EngineLane(api, engine, info, context, graph=False, settings=settings)) as lane,
    ):
        profiler = _profiler(api.module)
        lane.context.enqueue_emits_profile = False  # else the call waits for the GPU
        lane.context.profiler = profiler
        calls = []
        for _ in range(WARM_UP + CALLS):
            lane.call()
            lane.wait()
            if not lane.context.report_to_profiler():
                raise library.refusal(api, f"TensorRT does not report the layer times of {case.label}")
            calls.append(profiler.take_call())
        report = inspector.read_report(api, engine, lane.context)
    layers = inspector.with_times(inspector.parse_layers(report), calls[WARM_UP:])
    result = Layers(runtime=api.name, layers=layers, calls=CALLS, inspector=report)
    (out / FILE).write_bytes(msgspec.json.encode(result))


def _profiler(trt: Any) -> Any:
    """Collects what TensorRT reports of one call."""

    class Profiler(trt.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self._call: list[tuple[str, int]] = []

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self._call.append((layer_name, round(ms * 1e6)))

        def take_call(self) -> list[tuple[str, int]]:
            call, self._call = self._call, []
            return call

    return Profiler()
