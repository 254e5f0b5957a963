"""What the parent does while a worker is timed on a GPU: opens a gate that is stuck, and reads the card's telemetry."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator

import msgspec

from bench import environment
from bench.measure import cuda, nvml
from bench.model import Record


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
    """A gate for one worker, opened if it stays shut from one tick to the next, and NVML's readings meanwhile."""

    def __init__(self, gate: cuda.Gate, telemetry: nvml.GpuTelemetry) -> None:
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

    def step(self, phase: str) -> None:
        """Telemetry covers the phase ``measure``."""
        if phase == "measure" and self._worker:
            self._telemetry.start(self._worker, time.monotonic_ns())
        elif phase == "validate":
            self._telemetry.stop(time.monotonic_ns())

    def complete(self, record: Record, spans: dict[str, tuple[int, int]]) -> Record:
        """The record with the card's telemetry, its warnings, and the samples taken while throttled marked."""
        told, throttled = self._telemetry.finish(), self._telemetry.throttled_spans()
        measurements = tuple(
            msgspec.structs.replace(m, marked=nvml.mark(len(m.samples), *spans[m.boundary], throttled))
            if m.boundary in spans
            else m
            for m in record.measurements
        )
        return msgspec.structs.replace(
            record,
            measurements=measurements,
            telemetry={
                **record.telemetry,
                **told,
                **({"gpu_reason": reason} if (reason := self._telemetry.reason) else {}),
            },
            warnings=(*record.warnings, *nvml.warnings(told)),
        )


@contextlib.contextmanager
def device(kind: str) -> Iterator[Watch]:
    """The watch for one worker on a device of ``kind`` (cpu, cuda or fake)."""
    if kind != "cuda":
        yield Watch()
        return
    which = environment.visible_gpu(os.environ.get("CUDA_VISIBLE_DEVICES"))
    with contextlib.closing(cuda.create_gate()) as gate, contextlib.closing(nvml.GpuTelemetry(which)) as telemetry:
        yield GpuWatch(gate, telemetry)
