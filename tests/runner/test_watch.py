"""The parent's watch on a worker: a stuck gate is opened, throttled samples are marked, a lost GPU ends the wait."""

from __future__ import annotations

import os

import pynvml
import pytest

from bench.machine import gpus, nvml
from bench.measure import cuda
from bench.measure.gate import Gate, create_gate
from bench.measure.gpu import measure
from bench.model.run import Measurement, Record
from bench.model.suite import Case, Input, Policy
from bench.model.telemetry import Telemetry
from bench.runner import watch
from tests.machine.nvml_kit import FakeNvml
from tests.measure.simulated import SimulatedGpu, SimulatedLane
from tests.runner.watch_kit import POWER_CAP, THREE, Events, kinds_and_texts, play


class Throttled(nvml.GpuTelemetry):
    """A card that was throttled in the second half of the measurement."""

    def __init__(self) -> None:
        super().__init__(None)

    def throttled_spans(self) -> list[tuple[int, int]]:
        return [(50, 100)]


def test_a_gate_shut_from_one_tick_to_the_next_is_opened_and_no_earlier() -> None:
    gate = create_gate()
    worker = Gate(os.dup(gate.fd))
    watched = watch.GpuWatch(gate, Throttled())
    assert watched.tick is not None
    worker.arm()
    watched.tick(1)
    assert worker.release()
    worker.arm()
    watched.tick(1)
    watched.tick(1)
    assert not worker.release()
    worker.close()
    gate.close()


def test_samples_taken_while_throttled_are_marked_and_kept() -> None:
    gate = create_gate()
    watched = watch.GpuWatch(gate, Throttled())
    taken = Measurement(boundary="gpu", samples=tuple(range(10)))
    record = watched.complete(Record(case="c", label="l", measurements=(taken,)), {"gpu": (0, 100)})
    assert record.measurements[0].samples == taken.samples
    assert record.measurements[0].marked == (5, 6, 7, 8, 9)
    gate.close()


def test_throttling_marks_the_parts_of_latency_as_it_marks_latency() -> None:
    gate = create_gate()
    gpu = SimulatedGpu(gate)
    clock = cuda.CudaClock(gpu, gate)
    case = Case(model="m", factory="f:m", inputs={"x": Input(shape=(1,))}, backend="b")
    lane, policy = SimulatedLane(gpu), Policy(boundaries=("latency",), warmup_ns=1_000_000)
    measured = measure([lane], case, policy, clock, gpu.host)
    clock.close()
    start, end = measured.spans["latency"]

    class Halfway(Throttled):
        def throttled_spans(self) -> list[tuple[int, int]]:
            return [((start + end) // 2, end)]

    watched = watch.GpuWatch(gate, Halfway())
    record = watched.complete(Record(case="c", label="l", measurements=measured.measurements), measured.spans)
    marked = {m.boundary: m.marked for m in record.measurements}
    assert len(marked["latency"]) == pytest.approx(len(record.measurements[0].samples) / 2, abs=1)
    assert marked == dict.fromkeys(("latency", "h2d", "compute", "d2h"), marked["latency"])
    gate.close()


# --------------------------------------------------------------------------------------- which boundaries it hit


def test_a_card_that_is_throttled_in_the_energy_loop_alone_is_no_reason_to_warn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record = play(
        monkeypatch,
        {
            0.9: "measure",
            9.1: "saturate",
            9.2: {"reasons": POWER_CAP, "sm": 1500},
            14.05: {"mj": 9_000_000},
            14.1: "saturated",
            14.2: {"reasons": 1, "percent": 0, "sm": 345},
            15.1: "validate",
        },
        THREE,
    )
    assert kinds_and_texts(record) == []
    assert [m.marked for m in record.measurements] == [(), (), ()]
    assert (record.telemetry.gpu.throttle_reasons, record.telemetry.gpu.sm_mhz_min) == ({}, 1980)
    assert record.telemetry.gpu.saturated_throttle_reasons == {"SwPowerCap": 1.0}
    assert record.telemetry.gpu.saturated_sm_mhz_median == 1500


def test_a_clock_that_is_lower_in_the_energy_loop_alone_is_no_reason_to_warn(monkeypatch: pytest.MonkeyPatch) -> None:
    events: Events = {0.9: "measure", 9.1: "saturate", 9.2: {"sm": 1700}}
    record = play(monkeypatch, events | {14.05: {"mj": 9_000_000}, 14.1: "saturated", 15.1: "validate"}, THREE)
    assert kinds_and_texts(record) == []
    assert record.telemetry.gpu.saturated_sm_mhz_median == 1700


@pytest.mark.parametrize(
    ("begins", "ends", "percent", "where"),
    [
        (7.7, 8.7, 8, "in throughput, not in gpu or latency"),
        (4.6, 5.2, 4, "in latency, not in gpu or throughput"),
        (4.6, 7.2, 20, "in latency and throughput, not in gpu"),
        (3.6, 4.2, 4, "in gpu and latency, not in throughput"),
        (0.2, 12.3, 100, "in every boundary"),
    ],
)
def test_throttling_is_told_with_the_boundaries_whose_samples_are_marked_and_the_others(
    monkeypatch: pytest.MonkeyPatch, begins: float, ends: float, percent: int, where: str
) -> None:
    phases: Events = {0.9: "measure", 12.1: "validate"}
    record = play(monkeypatch, phases | {begins: {"reasons": POWER_CAP}, ends: {"reasons": 0}}, THREE)
    often = f"SwPowerCap in {percent} % of 25 readings"
    message = f"the GPU was throttled ({often}) {where}; the SM clock was at 1980 MHz"
    assert kinds_and_texts(record) == [("Throttled", message)]
    hit = [name for name in THREE if f" {name}" in where.partition(", not")[0] or where == "in every boundary"]
    assert [m.boundary for m in record.measurements if m.marked] == hit


def test_throttling_outside_every_boundary_is_a_fact_and_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    events: Events = {0.9: "measure", 12.1: "validate", 9.7: {"reasons": POWER_CAP}, 10.2: {"reasons": 0}}
    record = play(monkeypatch, events, THREE)
    assert kinds_and_texts(record) == []
    assert record.telemetry.gpu.throttle_reasons == {"SwPowerCap": 0.04}


def test_throttling_between_the_last_tick_and_the_energy_loop_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    phases: Events = {0.9: "measure", 9.2: "saturate", 14.05: {"mj": 9_000_000}, 14.1: "saturated", 15.1: "validate"}
    spans = {**THREE, "throughput": (7, 9.15)}
    record = play(monkeypatch, phases | {9.1: {"reasons": POWER_CAP}, 9.3: {"reasons": 0}}, spans)
    often = "the GPU was throttled (SwPowerCap in 5 % of 19 readings) in throughput, not in gpu or latency"
    assert kinds_and_texts(record) == [("Throttled", f"{often}; the SM clock was at 1980 MHz")]
    assert record.measurements[-1].marked == (93, 94, 95, 96, 97, 98, 99)
    assert record.telemetry.gpu.saturated_throttle_reasons == {}


def test_throttling_before_the_energy_loop_is_told_without_what_the_loop_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    phases: Events = {0.9: "measure", 9.1: "saturate", 14.05: {"mj": 9_000_000}, 14.1: "saturated", 15.1: "validate"}
    record = play(monkeypatch, phases | {7.7: {"reasons": POWER_CAP, "sm": 1700}, 9.2: {"sm": 1500}}, THREE)
    often = "the GPU was throttled (SwPowerCap in 21 % of 19 readings) in throughput, not in gpu or latency"
    assert kinds_and_texts(record) == [("Throttled", f"{often}; the SM clock was between 1700 and 1980 MHz")]
    assert record.telemetry.gpu.saturated_sm_mhz_median == 1500


def test_the_parts_of_latency_are_not_named_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    spans = {**THREE, "enqueue": (0.95, 1), **dict.fromkeys(("h2d", "compute", "d2h"), THREE["latency"])}
    phases: Events = {0.9: "measure", 12.1: "validate"}
    record = play(monkeypatch, phases | {4.6: {"reasons": POWER_CAP}, 5.2: {"reasons": 0}}, spans)
    assert ") in latency, not in enqueue, gpu or throughput;" in kinds_and_texts(record)[0][1]
    assert [m.boundary for m in record.measurements if m.marked] == ["latency", "h2d", "compute", "d2h"]


def test_of_a_case_that_failed_the_throttling_is_told_without_boundaries(monkeypatch: pytest.MonkeyPatch) -> None:
    record = play(monkeypatch, {0.9: "measure", 1.2: {"reasons": POWER_CAP}, 4.2: {}})
    clock = "the SM clock was at 1980 MHz"
    message = f"the GPU was throttled (SwPowerCap in 75 % of 8 readings); {clock}"
    assert kinds_and_texts(record) == [("Throttled", message)]


@pytest.mark.parametrize(
    ("low", "where"),
    [
        ((8.0,), ", seen low in throughput"),
        ((2.0, 8.0), ", seen low in gpu and throughput"),
        ((2.0, 5.0, 8.0), ", seen low in every boundary"),
        ((10.0,), ""),
    ],
)
def test_a_changed_clock_is_told_with_the_boundaries_in_whose_time_it_was_read(
    monkeypatch: pytest.MonkeyPatch, low: tuple[float, ...], where: str
) -> None:
    events: Events = {0.9: "measure", 12.1: "validate"}
    for at in low:
        events |= {at - 0.1: {"sm": 1700}, at + 0.1: {"sm": 1980}}
    record = play(monkeypatch, events, THREE)
    assert kinds_and_texts(record) == [
        ("ClockChanged", f"the SM clock was between 1700 and 1980 MHz under load{where}")
    ]


def test_a_cpu_is_not_watched() -> None:
    with watch.open_watch("cpu") as watched:
        assert watched.gate == -1
        assert watched.tick is None
        record = Record(case="c", label="l")
        assert watched.complete(record, {}) is record


def test_a_tick_on_a_lost_gpu_ends_the_wait_for_the_worker() -> None:
    gate = create_gate()
    fake = FakeNvml()
    telemetry = nvml.GpuTelemetry(0, fake)
    watched = watch.GpuWatch(gate, telemetry)
    assert watched.tick is not None
    watched.tick(os.getpid())
    watched.step("measure")
    fake.lose()
    with pytest.raises(gpus.DeviceLost):
        watched.tick(os.getpid())
    assert watched.complete(Record(case="c", label="l"), {}).telemetry.gpu.lost is True
    telemetry.close()
    gate.close()


def test_without_nvml_the_record_says_why_and_is_measured_all_the_same() -> None:
    gate = create_gate()
    refused = FakeNvml({"nvmlInit": pynvml.NVML_ERROR_NO_PERMISSION})
    watched = watch.GpuWatch(gate, nvml.GpuTelemetry(0, refused))
    assert watched.tick is not None
    watched.tick(1)
    watched.step("measure")
    watched.step("validate")
    record = watched.complete(Record(case="c", label="l"), {})
    assert record.telemetry == Telemetry(gpu_reason="NVML says: Insufficient Permissions")
    assert record.warnings == ()
    gate.close()


def test_processes_of_lanes_are_counted_though_they_live_between_two_looks_at_the_list() -> None:
    gib = 2**30
    fake, gate = FakeNvml(), create_gate()
    watched = watch.GpuWatch(gate, nvml.GpuTelemetry(0, fake, lambda pid: 100))
    assert watched.tick is not None
    watched.tick(100)
    fake.pids = {100: 3 * gib}
    watched.step("measure")
    fake.pids = {100: 3 * gib, 101: 2 * gib}
    watched.step("measure: loop")
    fake.pids = {100: 3 * gib}
    watched.step("validate")
    gpu = watched.complete(Record(case="c", label="l"), {}).telemetry.gpu
    assert gpu is not None
    assert gpu.process_memory_bytes == 5 * gib
    assert gpu.foreign_processes == 0
    gate.close()
