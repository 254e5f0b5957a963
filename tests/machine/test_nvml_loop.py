"""What NVML tells of a saturated loop, apart from the measurement before it."""

from __future__ import annotations

import msgspec

from bench.machine.nvml import GpuTelemetry
from bench.model.telemetry import GpuFigures
from tests.machine.nvml_kit import (
    GIB,
    IDLE,
    POWER_CAP,
    STRANGER,
    WORKER,
    FakeNvml,
    S,
    group_of,
    kinds,
    watch,
)


def test_the_power_of_a_saturated_loop_comes_from_the_energy_counter_around_it() -> None:
    fake = FakeNvml()
    watched = GpuTelemetry(0, fake, group_of)
    watched.begin_loop(0)  # before the measurement: the worker may not be on the GPU yet
    watched.start(WORKER, S)
    fake.mj = 1_000_000
    watched.begin_loop(2 * S)
    fake.mj = 4_500_000
    watched.end_loop(7 * S)
    fake.mj = 9_000_000
    watched.end_loop(8 * S)
    watched.begin_loop(9 * S)
    watched.end_loop(10 * S)
    watched.stop(11 * S)
    assert watched.finish().saturated_power_w == 700.0
    watched.close()


def test_what_a_saturated_loop_does_to_the_clock_is_told_apart_from_the_measurement() -> None:
    fake = FakeNvml()
    fake.pids = {WORKER: GIB}
    watched = GpuTelemetry(0, fake, group_of)
    watched.start(WORKER, 0)
    watched.tick(S // 2)
    watched.begin_loop(S)
    fake.sm, fake.reasons, fake.mw, fake.celsius, fake.used, fake.mj = 1500, POWER_CAP, 690_000, 80, 3 * GIB, 9_000_000
    fake.pids = {WORKER: GIB, STRANGER: GIB}
    watched.tick(2 * S)
    watched.tick(6 * S)
    watched.end_loop(6 * S)
    fake.sm, fake.reasons, fake.percent = 345, IDLE, 0
    watched.tick(13 * S // 2)
    watched.stop(7 * S)
    figures = watched.finish()
    quiet = watch(FakeNvml(), {"pids": {WORKER: GIB}}, {}, {}).finish()
    assert msgspec.to_builtins(figures) == msgspec.to_builtins(quiet) | {
        "saturated_power_w": 800.0,
        "saturated_readings": 2,
        "saturated_sm_mhz_median": 1500,
        "saturated_throttle_reasons": {"SwPowerCap": 1.0},
        "power_w_max": 690.0,
        "temperature_c_max": 80,
        "gpu_memory_bytes": 3 * GIB,
        "foreign_processes": 1,
        "foreign_memory_bytes": GIB,
    }
    assert msgspec.json.decode(msgspec.json.encode(figures), type=GpuFigures) == figures
    assert (watched.throttled_spans(), watched.low_clocks()) == ([], [])
    assert kinds(figures) == ["ForeignProcess"]


def test_a_saturated_loop_that_is_not_throttled_says_so() -> None:
    watched = GpuTelemetry(0, FakeNvml(), group_of)
    watched.start(WORKER, 0)
    watched.begin_loop(S)
    watched.tick(2 * S)
    watched.end_loop(3 * S)
    watched.stop(4 * S)
    assert watched.finish().saturated_throttle_reasons == {}


def test_a_saturated_loop_shorter_than_a_tick_has_its_power_alone() -> None:
    fake = FakeNvml()
    watched = GpuTelemetry(0, fake, group_of)
    watched.start(WORKER, 0)
    watched.begin_loop(S)
    fake.mj += 1
    watched.end_loop(S + 1)
    watched.stop(2 * S)
    figures = watched.finish()
    assert {key for key in msgspec.to_builtins(figures) if key.startswith("saturated")} == {"saturated_power_w"}
    assert (figures.readings, figures.span_ns) == (2, S)


def test_throttling_of_the_measurement_is_as_often_whether_a_loop_follows_or_not() -> None:
    fake = FakeNvml()
    fake.reasons = POWER_CAP
    watched = GpuTelemetry(0, fake, group_of)
    watched.start(WORKER, 0)
    fake.reasons = 0
    for at in (1, 2, 3):
        watched.tick(at * S)
    watched.begin_loop(4 * S)
    for at in range(5, 25):
        watched.tick(at * S)
    watched.end_loop(25 * S)
    watched.stop(26 * S)
    figures = watched.finish()
    assert (figures.readings, figures.throttle_reasons) == (5, {"SwPowerCap": 0.2})
    assert watched.throttled_spans() == [(0, S)]
