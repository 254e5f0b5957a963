"""A case on a simulated card, whose record the parent's watch completes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from bench.machine import nvml
from bench.measure.gate import create_gate
from bench.model.run import Measurement, Record
from bench.model.suite import Boundary
from bench.model.telemetry import ClockFigures, Telemetry
from bench.report.warnings import describe
from bench.runner import watch
from tests.machine.nvml_kit import FakeNvml

S = 1_000_000_000
POWER_CAP = 0x4


# What happens at what second: the worker enters a phase, or attributes of the card change.
Events = dict[float, str | dict[str, object]]
THREE = {"gpu": (1, 4), "latency": (4, 7), "throughput": (7, 9)}


def play(
    monkeypatch: pytest.MonkeyPatch,
    events: Events,
    spans: dict[str, tuple[float, float]] | None = None,
    facts: ClockFigures | None = None,
    errors: dict[str, int] | None = None,
) -> Record:
    """The record of a case, with a tick every half a second; ``spans`` are in seconds too."""
    now, fake, gate = [0.0], FakeNvml(errors), create_gate()
    monkeypatch.setattr(watch, "time", SimpleNamespace(monotonic_ns=lambda: round(now[0] * S)))
    telemetry = nvml.GpuTelemetry(0, fake, lambda pid: pid)
    watched = watch.GpuWatch(gate, telemetry)
    assert watched.tick is not None
    ticks = [tick / 2 for tick in range(int(2 * max(events)) + 1)]
    for at in sorted({*ticks, *events}):
        now[0], event = at, events.get(at, {})
        if isinstance(event, str):
            watched.step(event)
        else:
            vars(fake).update(event)
        if at in ticks:
            watched.tick(100)
    telemetry.close()
    gate.close()
    parts: tuple[Boundary, ...] = ("enqueue", "gpu", "latency", "h2d", "compute", "d2h", "throughput")
    boundaries = [boundary for boundary in parts if boundary in (spans or {})]
    taken = tuple(Measurement(boundary=boundary, samples=tuple(range(100))) for boundary in boundaries)
    record = Record(case="c", label="l", measurements=taken, telemetry=Telemetry(clock=facts))
    return watched.complete(record, {b: (round(s * S), round(e * S)) for b, (s, e) in (spans or {}).items()})


def kinds_and_texts(record: Record) -> list[tuple[str, str]]:
    return [(warning.kind, describe(warning).text) for warning in record.warnings]
