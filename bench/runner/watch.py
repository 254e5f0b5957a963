"""What the parent does while a worker is timed on a GPU: opens a gate that is stuck, and reads the card's telemetry."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator

import msgspec

from bench.machine import gpus, nvml
from bench.measure.gate import Gate, create_gate
from bench.model.run import Record
from bench.model.suite import ASKABLE
from bench.model.telemetry import ClockFigures, GpuFigures
from bench.units import NS_PER_S


class Watch:
    """Nothing to watch, on a CPU or in a rehearsal: the parent sleeps."""

    gate = -1
    descriptors: tuple[int, ...] = ()
    tick: Callable[[int], None] | None = None

    def step(self, phase: str) -> None:
        """The worker entered a phase."""

    def complete(self, record: Record, spans: dict[str, tuple[int, int]]) -> Record:
        """The record with what was seen: here as it is."""
        return record


class GpuWatch(Watch):
    """A gate for one worker, opened if it stays shut from one tick to the next, and NVML's readings meanwhile.

    A tick raises DeviceLost when NVML finds the GPU gone: the worker would wait for it in vain.
    """

    def __init__(self, gate: Gate, telemetry: nvml.GpuTelemetry) -> None:
        self.gate = gate.fd
        self.descriptors = (gate.fd,)
        self.tick = self._tick
        self._gate = gate
        self._telemetry = telemetry
        self._stuck: int | None = None
        self._worker = 0

    def _tick(self, worker: int) -> None:
        self._worker = worker
        stuck = self._gate.stuck
        if stuck is not None and stuck == self._stuck:
            self._gate.trip()
        self._stuck = stuck
        self._telemetry.tick(time.monotonic_ns())
        if self._telemetry.lost:
            raise gpus.DeviceLost(self._telemetry.reason or "NVML finds it no more")

    def step(self, phase: str) -> None:
        """Telemetry covers the phases ``measure`` and ``saturate``, tells them apart, and ends with ``validate``. The
        energy that it counts is from ``saturate`` to the next phase, whichever that is. How far ``measure`` has come is
        told where lanes are processes: as they come to the GPU.
        """
        now = time.monotonic_ns()
        phase, _, progress = phase.partition(":")
        if phase == "measure" and progress:
            self._telemetry.look(now)
        if phase != "saturate":
            self._telemetry.end_loop(now)
        if phase == "measure" and self._worker:
            self._telemetry.start(self._worker, now)
        elif phase == "saturate":
            self._telemetry.begin_loop(now)
        elif phase == "validate":
            self._telemetry.stop(now)

    def complete(self, record: Record, spans: dict[str, tuple[int, int]]) -> Record:
        """The record with the card's telemetry, its warnings, and the samples taken while throttled marked."""
        figures, throttled = self._telemetry.finish(), self._telemetry.throttled_spans()
        measurements = tuple(
            msgspec.structs.replace(m, marked=nvml.mark(len(m.samples), *spans[m.boundary], throttled))
            if m.boundary in spans
            else m
            for m in record.measurements
        )
        # Not h2d, compute and d2h, which go with latency.
        timed = [m for m in measurements if m.boundary in ASKABLE and m.boundary in spans]
        marked: dict[str, bool] = {m.boundary: bool(m.marked) for m in timed}
        clocks = self._telemetry.low_clocks()
        low: dict[str, bool] = {m.boundary: _any_within(clocks, *spans[m.boundary]) for m in timed}
        telemetry = msgspec.structs.replace(
            record.telemetry,
            gpu=figures,
            gpu_reason=self._telemetry.reason,
            inference_j=_inference_j(figures, record.telemetry.clock),
        )
        warnings = nvml.warnings(figures, marked, low) if figures else ()
        return msgspec.structs.replace(
            record, measurements=measurements, telemetry=telemetry, warnings=(*record.warnings, *warnings)
        )


def _any_within(times: Iterable[int], start: int, end: int) -> bool:
    return any(start <= time <= end for time in times)


def _inference_j(gpu: GpuFigures | None, clock: ClockFigures | None) -> float | None:
    """The card's joules per inference: its power in the saturated loop x the loop's time / inferences.

    The energy counter is read a little outside of the loop, so its power is used and not its difference.
    """
    if gpu is None or clock is None or gpu.saturated_power_w is None:
        return None
    if clock.saturated_ns is None or not clock.saturated_inferences:
        return None
    return gpu.saturated_power_w * clock.saturated_ns / NS_PER_S / clock.saturated_inferences


@contextlib.contextmanager
def open_watch(kind: str, gate: Gate | None = None, visible: str | None = None) -> Iterator[Watch]:
    """The watch for one worker on a device of ``kind`` (cpu, cuda or fake); ``gate`` is the one that it was started
    with, if it was started before, ``visible`` the worker's CUDA_VISIBLE_DEVICES, if that is not this process's.
    """
    if kind != "cuda":
        yield Watch()
        return
    which = gpus.visible_gpu(os.environ.get("CUDA_VISIBLE_DEVICES") if visible is None else visible)
    with (
        contextlib.closing(gate or create_gate()) as gate,
        contextlib.closing(nvml.GpuTelemetry(which)) as telemetry,
    ):
        yield GpuWatch(gate, telemetry)
