"""The parent's watch on a worker: a gate that stays shut is opened, throttled samples are marked."""

from __future__ import annotations

import os

from bench import watch
from bench.measure import cuda, nvml
from bench.model import Measurement, Record


class Telemetry(nvml.GpuTelemetry):
    """A card that was throttled in the second half of the measurement."""

    def __init__(self) -> None:
        super().__init__(None)

    def throttled_spans(self) -> list[tuple[int, int]]:
        return [(50, 100)]


def test_a_gate_shut_from_one_tick_to_the_next_is_opened_and_no_earlier() -> None:
    gate = cuda.create_gate()
    worker = cuda.Gate(os.dup(gate.fd))
    watched = watch.GpuWatch(gate, Telemetry())
    assert watched.tick is not None
    worker.arm()
    watched.tick(1)
    assert not worker.tripped
    worker.release()
    worker.arm()
    watched.tick(1)
    assert not worker.tripped
    watched.tick(1)
    assert worker.tripped
    worker.close()
    gate.close()


def test_samples_taken_while_throttled_are_marked_and_kept() -> None:
    gate = cuda.create_gate()
    watched = watch.GpuWatch(gate, Telemetry())
    taken = Measurement(boundary="gpu", samples=tuple(range(10)))
    record = watched.complete(Record(case="c", label="l", measurements=(taken,)), {"gpu": (0, 100)})
    assert record.measurements[0].samples == taken.samples
    assert record.measurements[0].marked == (5, 6, 7, 8, 9)
    gate.close()


def test_a_cpu_is_not_watched() -> None:
    with watch.device("cpu") as watched:
        assert watched.gate == -1
        assert watched.tick is None
        record = Record(case="c", label="l")
        assert watched.complete(record, {}) is record
