"""The parent's watch on a worker: a stuck gate is opened, throttled samples are marked, a lost GPU ends the wait."""

from __future__ import annotations

import os

import pynvml
import pytest

from bench import gpus, watch
from bench.measure import cuda, device, nvml
from bench.model import Case, Input, Measurement, Policy, Record
from tests.measure.simulated import SimulatedGpu, SimulatedLane
from tests.nvml_kit import FakeNvml


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


def test_throttling_marks_the_parts_of_latency_as_it_marks_latency() -> None:
    gate = cuda.create_gate()
    gpu = SimulatedGpu(gate)
    clock = cuda.CudaClock(gpu, gate)
    case = Case(model="m", factory="f:m", inputs={"x": Input(shape=(1,))}, backend="b")
    lane, policy = SimulatedLane(gpu), Policy(boundaries=("latency",), warmup_ns=1_000_000)
    measured = device.measure([lane], case, policy, clock, gpu.host)
    clock.close()
    start, end = measured.spans["latency"]

    class Halfway(Telemetry):
        def throttled_spans(self) -> list[tuple[int, int]]:
            return [((start + end) // 2, end)]

    watched = watch.GpuWatch(gate, Halfway())
    record = watched.complete(Record(case="c", label="l", measurements=measured.measurements), measured.spans)
    marked = {m.boundary: m.marked for m in record.measurements}
    assert len(marked["latency"]) == pytest.approx(len(record.measurements[0].samples) / 2, abs=1)
    assert marked == dict.fromkeys(("latency", "h2d", "compute", "d2h"), marked["latency"])
    gate.close()


def test_energy_of_an_inference_is_the_cards_power_over_the_loops_rate() -> None:
    class Counting(Telemetry):
        def __init__(self) -> None:
            super().__init__()
            self.at: list[str] = []

        def count(self, now_ns: int) -> None:
            self.at.append("count")

        def stop(self, now_ns: int) -> None:
            self.at.append("stop")

        def finish(self) -> dict[str, object]:
            return {"saturated_power_w": 400.0}

    gate = cuda.create_gate()
    telemetry = Counting()
    watched = watch.GpuWatch(gate, telemetry)
    for phase in ("warmup", "measure", "saturate", "validate"):
        watched.step(phase)
    assert telemetry.at == ["count", "count", "stop"]
    facts = {"saturated_ns": 5_000_000_000, "saturated_inferences": 10_000}
    assert watched.complete(Record(case="c", label="l", telemetry=facts), {}).telemetry["inference_j"] == 0.2
    assert "inference_j" not in watched.complete(Record(case="c", label="l"), {}).telemetry
    gate.close()


def test_without_a_saturated_loop_the_counter_is_left_alone() -> None:
    class Refusing(Telemetry):
        def count(self, now_ns: int) -> None:
            raise AssertionError("nobody asked")

    gate = cuda.create_gate()
    watched = watch.GpuWatch(gate, Refusing())
    for phase in ("measure", "validate"):
        watched.step(phase)
    gate.close()


def test_a_cpu_is_not_watched() -> None:
    with watch.device("cpu") as watched:
        assert watched.gate == -1
        assert watched.tick is None
        record = Record(case="c", label="l")
        assert watched.complete(record, {}) is record


def test_a_tick_on_a_lost_gpu_ends_the_wait_for_the_worker() -> None:
    gate = cuda.create_gate()
    fake = FakeNvml()
    telemetry = nvml.GpuTelemetry(0, fake)
    watched = watch.GpuWatch(gate, telemetry)
    assert watched.tick is not None
    watched.tick(os.getpid())
    watched.step("measure")
    fake.lose()
    with pytest.raises(gpus.DeviceLost):
        watched.tick(os.getpid())
    assert watched.complete(Record(case="c", label="l"), {}).telemetry["lost"] is True
    telemetry.close()
    gate.close()


def test_without_nvml_the_record_says_why_and_is_measured_all_the_same() -> None:
    gate = cuda.create_gate()
    refused = FakeNvml({"nvmlInit": pynvml.NVML_ERROR_NO_PERMISSION})
    watched = watch.GpuWatch(gate, nvml.GpuTelemetry(0, refused))
    assert watched.tick is not None
    watched.tick(1)
    watched.step("measure")
    watched.step("validate")
    record = watched.complete(Record(case="c", label="l"), {})
    assert record.telemetry == {"gpu_reason": "NVML says: Insufficient Permissions"}
    assert record.warnings == ()
    gate.close()
