"""GPU telemetry from a made-up NVML with the function names of the real one."""

from __future__ import annotations

import inspect
import re

import msgspec
import pynvml
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.machine import gpus, nvml
from bench.machine.nvml import GpuTelemetry, mark, warnings
from bench.model.telemetry import GpuFigures
from bench.report.warnings import Advice, describe
from tests.machine.nvml_kit import ANSWERS, CONSTANTS, GIB, FakeNvml

S = 1_000_000_000
WORKER, HELPER, STRANGER, LATECOMER = 100, 101, 7, 8
IDLE, POWER_CAP, APPLICATION, THERMAL = 0x1, 0x4, 0x2, 0x20


def group_of(pid: int) -> int:
    """The process groups of this made-up system; other PIDs are of another PID namespace."""
    groups = {WORKER: WORKER, HELPER: WORKER, STRANGER: STRANGER, LATECOMER: LATECOMER}
    if pid not in groups:
        raise ProcessLookupError(pid)
    return groups[pid]


def watch(fake: FakeNvml, *steps: dict[str, object]) -> GpuTelemetry:
    """Start, one tick per step half a second apart with the attributes set before it, and stop at the last step."""
    watched = GpuTelemetry(0, fake, group_of)
    for index, step in enumerate(steps):
        for name, value in step.items():
            setattr(fake, name, value)
        if index == 0:
            watched.start(WORKER, 0)
        elif index == len(steps) - 1:
            watched.stop(index * S // 2)
        else:
            watched.tick(index * S // 2)
    return watched


def kinds(figures: GpuFigures) -> list[str]:
    return [warning.kind for warning in warnings(figures)]


# ------------------------------------------------------------------------------------------------- names and bits


def test_every_function_and_constant_asked_for_is_in_the_installed_library() -> None:
    source = inspect.getsource(nvml) + inspect.getsource(gpus)
    used = set(re.findall(r"(?:nvml|library)\.([Nn][Vv][Mm][Ll]\w+)", source))
    assert used == {*ANSWERS, *CONSTANTS}
    assert [name for name in used if not hasattr(pynvml, name)] == []


def test_each_reason_bit_has_the_name_that_the_library_gives_it() -> None:
    theirs = vars(pynvml)
    for bit, name in enumerate(nvml.REASONS):
        value = theirs.get(f"nvmlClocksEventReason{name}", theirs.get(f"nvmlClocksThrottleReason{name}"))
        assert value == 1 << bit, name


def test_the_error_codes_are_those_of_the_library() -> None:
    assert (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED) == gpus.LOST
    assert (pynvml.NVML_ERROR_INVALID_ARGUMENT, pynvml.NVML_ERROR_NOT_FOUND) == gpus._NO_MATCH
    refusals = ("NO_PERMISSION", "DRIVER_NOT_LOADED", "LIBRARY_NOT_FOUND", "LIB_RM_VERSION_MISMATCH")
    assert [getattr(pynvml, f"NVML_ERROR_{name}") for name in refusals] == list(gpus._FIXES)
    names = ("NOT_SUPPORTED", "NO_PERMISSION", "FUNCTION_NOT_FOUND", "ARGUMENT_VERSION_MISMATCH", "DEPRECATED")
    assert tuple(getattr(pynvml, f"NVML_ERROR_{name}") for name in names) == nvml._NEVER


# -------------------------------------------------------------------------------------------------------- figures


def test_the_figures_of_a_quiet_card() -> None:
    fake = FakeNvml()
    figures = watch(
        fake,
        {"pids": {WORKER: GIB}, "sm": 1980, "mw": 300_000, "mj": 1_000_000},
        {"sm": 1965, "mw": 400_000},
        {"sm": 1980, "mw": 310_000, "celsius": 61, "used": 3 * GIB, "mj": 1_345_500, "percent": 96},
    ).finish()
    assert msgspec.to_builtins(figures) == {
        "readings": 3,
        "span_ns": S,
        "sm_mhz_min": 1965,
        "sm_mhz_median": 1972.5,
        "sm_mhz_max": 1980,
        "memory_mhz": 2619,
        "power_w_median": 355.0,
        "power_w_max": 400.0,
        "temperature_c_max": 61,
        "gpu_memory_bytes": 3 * GIB,
        "utilisation_percent": 90,
        "throttle_reasons": {},
        "energy_j": 345.5,
        "foreign_processes": 0,
        "process_memory_bytes": GIB,
    }
    assert msgspec.json.decode(msgspec.json.encode(figures), type=GpuFigures) == figures
    assert warnings(figures) == ()


@pytest.mark.parametrize(
    ("function", "gone"),
    [
        ("nvmlDeviceGetClockInfo", {"sm_mhz_min", "sm_mhz_median", "sm_mhz_max", "memory_mhz"}),
        ("nvmlDeviceGetPowerUsage", {"power_w_median", "power_w_max"}),
        ("nvmlDeviceGetTotalEnergyConsumption", {"energy_j"}),
        ("nvmlDeviceGetUtilizationRates", {"utilisation_percent"}),
        ("nvmlDeviceGetMemoryInfo", {"gpu_memory_bytes"}),
    ],
)
@pytest.mark.parametrize("error", [pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_NO_PERMISSION])
def test_what_the_card_does_not_tell_is_left_out_and_asked_once(function: str, gone: set[str], error: int) -> None:
    steps: tuple[dict[str, object], ...] = ({"pids": {WORKER: GIB}}, {}, {}, {})
    whole = msgspec.to_builtins(watch(FakeNvml(), *steps).finish())
    fake = FakeNvml({function: error})
    figures = watch(fake, *steps).finish()
    assert gone <= whole.keys()
    assert msgspec.to_builtins(figures) == {key: value for key, value in whole.items() if key not in gone}
    assert fake.asked.count(function) == len(gone & {"sm_mhz_min", "memory_mhz"} or {"once"})


def test_a_passing_error_costs_one_reading_only() -> None:
    fake = FakeNvml()
    timeout = {"nvmlDeviceGetPowerUsage": pynvml.NVML_ERROR_TIMEOUT}
    watched = watch(fake, {"mw": 1000}, {"errors": timeout, "mw": 9000}, {"errors": {}, "mw": 3000})
    assert watched.finish().power_w_max == 3.0
    assert not watched.lost


def test_an_older_driver_is_asked_by_the_older_functions() -> None:
    missing = pynvml.NVML_ERROR_FUNCTION_NOT_FOUND
    fake = FakeNvml({"nvmlDeviceGetCurrentClocksEventReasons": missing, "nvmlDeviceGetTemperatureV": missing})
    figures = watch(fake, {"reasons": POWER_CAP}, {}, {"celsius": 70}).finish()
    assert figures.throttle_reasons == {"SwPowerCap": 1.0}
    assert figures.temperature_c_max == 70


def test_an_older_library_is_asked_by_the_functions_that_it_has() -> None:
    old = {
        "nvmlDeviceGetCurrentClocksEventReasons": AttributeError,
        "nvmlDeviceGetComputeRunningProcesses": pynvml.NVMLLibraryMismatchError(),
    }
    figures = watch(FakeNvml(old), {"reasons": THERMAL, "pids": {WORKER: GIB}}, {}).finish()
    assert figures.throttle_reasons == {"SwThermalSlowdown": 1.0}
    assert figures.process_memory_bytes == GIB


# --------------------------------------------------------------------------------------------------- no NVML, lost


@pytest.mark.parametrize(
    ("device", "errors", "why"),
    [
        (None, {}, "CUDA_VISIBLE_DEVICES hides every GPU"),
        (0, {"nvmlInit": pynvml.NVML_ERROR_LIBRARY_NOT_FOUND}, "NVML says: NVML Shared Library Not Found"),
        (0, {"nvmlInit": pynvml.NVML_ERROR_NO_PERMISSION}, "NVML says: Insufficient Permissions"),
        (5, {}, "CUDA_VISIBLE_DEVICES names GPU 5, and there are 2, counted from 0"),
        ("GPU-9", {}, "CUDA_VISIBLE_DEVICES=GPU-9 names no GPU of this machine"),
    ],
)
def test_without_a_device_nothing_is_told_and_the_reason_is_kept(
    device: int | str | None, errors: dict[str, int], why: str
) -> None:
    fake = FakeNvml(errors)
    watched = GpuTelemetry(device, fake, group_of)
    watched.start(WORKER, 0)
    watched.tick(S)
    watched.stop(2 * S)
    watched.close()
    assert watched.reason == why
    assert watched.finish() is None
    assert watched.throttled_spans() == []
    assert fake.inits == 0


@pytest.mark.parametrize("device", [1, FakeNvml.UUIDS[1], FakeNvml.UUIDS[1][:10]])
def test_the_device_is_opened_by_index_or_uuid_and_nvml_given_back_once(device: int | str) -> None:
    fake = FakeNvml()
    watched = GpuTelemetry(device, fake, group_of)
    watched.start(WORKER, 0)
    assert (watched.reason, fake.inits) == ("", 1)
    assert set(fake.handles) == {"gpu 1"}
    watched.close()
    watched.close()
    watched.tick(S)
    assert fake.inits == 0


def test_a_lost_gpu_is_told_with_what_was_read_before_and_asked_no_more() -> None:
    fake = FakeNvml()
    watched = GpuTelemetry(0, fake, group_of)
    watched.start(WORKER, 0)
    watched.tick(S)
    fake.lose()
    watched.tick(2 * S)
    asked = len(fake.asked)
    watched.tick(20 * S)
    watched.stop(21 * S)
    assert len(fake.asked) == asked
    figures = watched.finish()
    assert figures.lost is True
    assert figures.sm_mhz_median == 1980
    assert figures.energy_j is None


@pytest.mark.parametrize("code", [pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED])
def test_a_gpu_that_is_lost_before_the_worker_starts_is_told(code: int) -> None:
    fake = FakeNvml({"nvmlDeviceGetHandleByIndex": code})
    watched = GpuTelemetry(0, fake, group_of)
    assert watched.lost
    assert watched.reason.startswith("NVML says: ")
    assert fake.inits == 0


def test_of_a_slice_nothing_is_told_that_others_share() -> None:
    fake = FakeNvml()
    fake.slices = ("1g.10gb", "2g.20gb")
    figures = watch(fake, {"pids": {WORKER: GIB}, "reasons": POWER_CAP}, {}, {}).finish()
    assert (
        not {"power_w_median", "power_w_max", "energy_j", "utilisation_percent"} & msgspec.to_builtins(figures).keys()
    )
    assert (figures.sm_mhz_max, figures.throttle_reasons) == (1980, {"SwPowerCap": 1.0})
    assert figures.gpu_memory_bytes == 2 * GIB // 7
    assert figures.process_memory_bytes == GIB
    assert set(fake.handles) == {"gpu 0", "slice 0 of gpu 0"}


def test_a_gpu_lost_from_the_first_reading_on_is_told() -> None:
    fake = FakeNvml()
    watched = GpuTelemetry(0, fake, group_of)
    fake.lose()
    watched.start(WORKER, 0)
    assert msgspec.to_builtins(watched.finish()) == {"lost": True, "readings": 1, "span_ns": 0}


# ------------------------------------------------------------------------------------------------------ when asked


def test_ticks_outside_of_start_and_stop_ask_nothing() -> None:
    fake = FakeNvml()
    watched = GpuTelemetry(0, fake, group_of)
    opened = len(fake.asked)
    watched.tick(0)
    watched.stop(0)
    assert len(fake.asked) == opened
    watched.start(WORKER, S)
    watched.stop(2 * S)
    ended = len(fake.asked)
    watched.tick(3 * S)
    watched.stop(4 * S)
    assert len(fake.asked) == ended
    assert watched.finish().span_ns == S


def test_a_tick_makes_four_calls_and_lists_processes_only_every_five_seconds() -> None:
    fake = FakeNvml()
    watched = GpuTelemetry(0, fake, group_of)
    watched.start(WORKER, 0)
    listed = []
    for tick in range(1, 25):
        fake.asked.clear()
        watched.tick(tick * S // 2)
        slow = "nvmlDeviceGetComputeRunningProcesses" in fake.asked
        assert len(fake.asked) == (9 if slow else 4)
        listed += [tick] * slow
    assert listed == [10, 20]


# -------------------------------------------------------------------------------------------------- saturated loop


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


def test_a_second_start_changes_nothing() -> None:
    watched = watch(FakeNvml(), {}, {}, {})
    figures = watched.finish()
    assert figures is not None
    watched.start(WORKER, 9 * S)
    watched.tick(10 * S)
    assert watched.finish() == figures


# ------------------------------------------------------------------------------------------------------ throttling


def test_throttling_midway_is_told_by_name_with_its_spans_and_what_to_try() -> None:
    states = [0, 0, POWER_CAP, POWER_CAP | THERMAL, 0, 0, 0, THERMAL, 0, 0]
    watched = watch(FakeNvml(), *({"reasons": bits, "sm": 1500 if bits else 1980} for bits in states))
    figures = watched.finish()
    assert figures.throttle_reasons == {"SwPowerCap": 0.2, "SwThermalSlowdown": 0.2}
    assert watched.throttled_spans() == [(S // 2, 2 * S), (3 * S, 4 * S)]
    (warning,) = warnings(figures)
    assert warning.kind == "Throttled"
    assert warning.figures == {
        "reasons": {"SwPowerCap": 0.2, "SwThermalSlowdown": 0.2},
        "readings": 10,
        "boundaries": {},
        "sm_mhz_min": 1500,
        "sm_mhz_max": 1980,
    }
    text, hint = describe(warning)
    assert "SwPowerCap in 20 %" in text
    assert "between 1500 and 1980 MHz" in text
    assert "nvidia-smi -pl" in hint
    assert "cooling" in hint


def test_throttling_at_the_first_and_last_reading_reaches_no_further() -> None:
    watched = watch(FakeNvml(), {"reasons": POWER_CAP}, {"reasons": 0}, {}, {"reasons": POWER_CAP})
    assert watched.throttled_spans() == [(0, S // 2), (S, 3 * S // 2)]


@pytest.mark.parametrize("bits", [IDLE, APPLICATION, 0x100, IDLE | POWER_CAP, APPLICATION | 0x100])
def test_settings_and_an_idle_gpu_are_no_throttling(bits: int) -> None:
    watched = watch(FakeNvml(), {"reasons": bits}, {}, {}, {})
    assert watched.finish().throttle_reasons == {}
    assert watched.throttled_spans() == []
    assert warnings(watched.finish()) == ()


@pytest.mark.parametrize("bit", [2, 3, 4, 5, 6, 7, 9, 10, 13])
def test_each_other_bit_is_throttling_also_one_that_has_no_name_yet(bit: int) -> None:
    figures = watch(FakeNvml(), {"reasons": 1 << bit | APPLICATION}, {}).finish()
    assert figures.throttle_reasons == {(*nvml.REASONS, "Reason11", "Reason12", "Reason13")[bit]: 1.0}
    (warning,) = warnings(figures)
    assert describe(warning).hint


CLOCKS = "the SM clock was between 1500 and 1980 MHz"
CLOCK_FIGURES = {"sm_mhz_min": 1500, "sm_mhz_max": 1980}
LOCK = "lock the clock (nvidia-smi -lgc MHZ), and let nothing else set clocks during a run"


@pytest.mark.parametrize(
    ("throttled", "where"),
    [
        ({}, ""),
        ({"gpu": False, "latency": False, "throughput": True}, " in throughput, not in gpu or latency"),
        ({"gpu": True, "latency": True, "throughput": False}, " in gpu and latency, not in throughput"),
        (
            {"enqueue": True, "gpu": False, "gpu_unheld": True, "latency": False, "throughput": True},
            " in enqueue, gpu_unheld and throughput, not in gpu or latency",
        ),
        ({"enqueue": False, "gpu": False, "latency": False, "throughput": True},
         " in throughput, not in enqueue, gpu or latency"),
        ({"gpu": True, "latency": True}, " in every boundary"),
    ],
)  # fmt: skip
def test_throttling_is_told_with_the_boundaries_that_it_hit_and_those_it_did_not(
    throttled: dict[str, bool], where: str
) -> None:
    figures = watch(FakeNvml(), {}, {}, {"reasons": POWER_CAP, "sm": 1500}, {"reasons": 0, "sm": 1980}).finish()
    (warning,) = warnings(figures, throttled)
    assert warning.figures == {"reasons": {"SwPowerCap": 0.25}, "readings": 4, "boundaries": throttled, **CLOCK_FIGURES}
    assert describe(warning).text == f"the GPU was throttled (SwPowerCap in 25 % of 4 readings){where}; {CLOCKS}"


def test_throttling_that_hit_no_sample_is_no_reason_to_warn_nor_is_the_clock_that_it_explains() -> None:
    watched = watch(FakeNvml(), {}, {}, {"reasons": POWER_CAP, "sm": 1500}, {"reasons": 0, "sm": 1980})
    figures = watched.finish()
    assert figures.throttle_reasons == {"SwPowerCap": 0.25}
    assert watched.low_clocks() == []
    assert warnings(figures, {"gpu": False, "latency": False}, {"gpu": False, "latency": False}) == ()


def test_throttling_that_hit_no_sample_explains_no_other_change_of_the_clock() -> None:
    watched = watch(FakeNvml(), {}, {"reasons": POWER_CAP}, {"reasons": 0}, {}, {"sm": 1500}, {"sm": 1980})
    assert len(watched.low_clocks()) == 1
    (warning,) = warnings(watched.finish(), {"gpu": False, "latency": False}, {"gpu": True, "latency": False})
    assert warning.kind == "ClockChanged"
    assert warning.figures == {"boundaries": {"gpu": True, "latency": False}, **CLOCK_FIGURES}
    assert describe(warning) == Advice(f"{CLOCKS} under load, seen low in gpu", LOCK)


# --------------------------------------------------------------------------------------------------- clock changes


@pytest.mark.parametrize(
    ("low", "where"),
    [
        ({}, ""),
        ({"gpu": False, "latency": False}, ""),
        ({"gpu": False, "latency": True, "throughput": True}, ", seen low in latency and throughput"),
        ({"gpu": True, "latency": False}, ", seen low in gpu"),
        ({"gpu": True, "latency": True}, ", seen low in every boundary"),
    ],
)
def test_a_changed_clock_is_told_with_the_boundaries_in_which_it_was_read(low: dict[str, bool], where: str) -> None:
    figures = watch(FakeNvml(), {}, {}, {"sm": 1500}, {"sm": 1980}).finish()
    (warning,) = warnings(figures, dict.fromkeys(low, False), low)
    assert (warning.kind, warning.figures) == (
        "ClockChanged",
        {"boundaries": low if any(low.values()) else {}, **CLOCK_FIGURES},
    )
    assert describe(warning) == Advice(f"{CLOCKS} under load{where}", LOCK)


def test_the_times_of_a_low_clock_are_those_of_readings_under_load_below_the_highest() -> None:
    watched = watch(FakeNvml(), {"sm": 345, "percent": 0}, {"sm": 1980, "percent": 90}, {}, {"sm": 1880}, {"sm": 1881})
    assert watched.low_clocks() == [3 * S // 2]
    assert watch(FakeNvml(), {}, {}, {}).low_clocks() == []


def test_a_clock_that_rises_from_idle_is_no_change() -> None:
    figures = watch(
        FakeNvml(),
        {"reasons": IDLE, "sm": 345, "percent": 0},
        {},
        {"reasons": 0, "sm": 1200, "percent": 40},
        {"sm": 1980},
        {"sm": 1980},
    ).finish()
    assert (figures.sm_mhz_min, figures.sm_mhz_max) == (1980, 1980)
    assert kinds(figures) == []


def test_a_first_reading_that_utilisation_lags_behind_is_not_under_load() -> None:
    figures = watch(FakeNvml(), {"sm": 345, "percent": 0}, {"sm": 1200, "percent": 9}, {"sm": 1980}, {}).finish()
    assert figures.sm_mhz_min == 1980


def test_a_clock_that_changes_under_load_for_no_told_reason_is_warned_of() -> None:
    figures = watch(FakeNvml(), {}, {}, {}, {"sm": 1700}, {}, {}).finish()
    (warning,) = warnings(figures)
    assert warning.kind == "ClockChanged"
    assert warning.figures == {"boundaries": {}, "sm_mhz_min": 1700, "sm_mhz_max": 1980}
    assert "between 1700 and 1980 MHz" in describe(warning).text


@pytest.mark.parametrize(("low", "expected"), [(1881, []), (1880, ["ClockChanged"])])
def test_five_percent_is_where_the_warning_begins(low: int, expected: list[str]) -> None:
    assert kinds(watch(FakeNvml(), {}, {}, {"sm": low}, {}).finish()) == expected


def test_a_change_with_a_reason_is_throttling_only() -> None:
    assert kinds(watch(FakeNvml(), {}, {}, {"sm": 1500, "reasons": POWER_CAP}, {}).finish()) == ["Throttled"]


def test_where_load_cannot_be_told_the_clock_is_but_no_change_of_it() -> None:
    unsupported = pynvml.NVML_ERROR_NOT_SUPPORTED
    functions = ("CurrentClocksEventReasons", "CurrentClocksThrottleReasons", "UtilizationRates")
    fake = FakeNvml({f"nvmlDeviceGet{name}": unsupported for name in functions})
    figures = watch(fake, {"sm": 345}, {"sm": 1980}, {}, {}).finish()
    assert figures.sm_mhz_median == 1980
    assert msgspec.to_builtins(figures).keys() & {"sm_mhz_min", "sm_mhz_max", "throttle_reasons"} == set()
    assert kinds(figures) == []


def test_a_single_busy_reading_is_preferred_to_idle_ones_for_the_median() -> None:
    watched = watch(FakeNvml(), {"reasons": IDLE, "sm": 345}, {"reasons": 0, "sm": 1980}, {"reasons": IDLE, "sm": 345})
    assert watched.finish().sm_mhz_median == 1980


# -------------------------------------------------------------------------------------------------------- processes


def test_others_on_the_gpu_are_counted_with_their_memory_and_the_workers_group_is_not() -> None:
    fake = FakeNvml()
    fake.pids = {STRANGER: 3 * GIB}
    figures = watch(
        fake,
        {"pids": {STRANGER: 3 * GIB, WORKER: GIB, HELPER: GIB}},
        {"pids": {STRANGER: 3 * GIB, WORKER: 2 * GIB, HELPER: GIB, LATECOMER: GIB}},
    ).finish()
    assert figures.foreign_processes == 2
    assert figures.foreign_memory_bytes == 4 * GIB
    assert figures.process_memory_bytes == 3 * GIB
    (warning,) = warnings(figures)
    assert warning.kind == "ForeignProcess"
    assert warning.figures == {"processes": 2, "memory_bytes": 4 * GIB}
    assert "2 other processes were on the GPU, with 4.00 GiB" in describe(warning).text


def test_one_that_came_and_went_between_slow_ticks_is_counted() -> None:
    fake = FakeNvml()
    watched = GpuTelemetry(0, fake, group_of)
    fake.pids = {WORKER: GIB}
    watched.start(WORKER, 0)
    fake.pids = {WORKER: GIB, LATECOMER: None}
    watched.tick(5 * S)
    fake.pids = {WORKER: GIB}
    watched.stop(10 * S)
    figures = watched.finish()
    assert figures.foreign_processes == 1
    assert figures.foreign_memory_bytes is None
    (warning,) = warnings(figures)
    assert warning.figures == {"processes": 1}
    assert describe(warning).text == "1 other process was on the GPU"


def test_one_that_left_before_the_start_is_not_counted() -> None:
    fake = FakeNvml()
    fake.pids = {STRANGER: GIB}
    assert watch(fake, {"pids": {WORKER: GIB}}, {}).finish().foreign_processes == 0


def test_with_pids_of_another_namespace_the_worker_is_not_taken_for_a_foreigner() -> None:
    fake = FakeNvml()
    watched = watch(fake, {"pids": {4242: GIB}}, {})
    figures = watched.finish()
    assert figures.foreign_processes == 0
    assert figures.process_memory_bytes is None
    assert kinds(figures) == []


def test_with_pids_of_another_namespace_those_before_the_worker_and_after_the_start_are_foreign() -> None:
    fake = FakeNvml()
    fake.pids = {4000: GIB}
    figures = watch(fake, {"pids": {4000: GIB, 4242: GIB}}, {"pids": {4000: GIB, 4242: GIB, 4300: 2 * GIB}}).finish()
    assert (figures.foreign_processes, figures.foreign_memory_bytes) == (2, 3 * GIB)


@pytest.mark.parametrize("pids", [{}, None])
def test_where_no_process_can_be_listed_nothing_is_said_of_them(pids: dict[int, int] | None) -> None:
    names = ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetComputeRunningProcesses_v2")
    fake = FakeNvml(dict.fromkeys(names, pynvml.NVML_ERROR_NO_PERMISSION) if pids is None else {})
    figures = watch(fake, {"pids": pids or {}}, {}).finish()
    assert not [key for key in msgspec.to_builtins(figures) if key.startswith(("foreign", "process"))]


def test_the_most_memory_that_the_worker_was_seen_to_use_counts() -> None:
    figures = watch(FakeNvml(), {"pids": {WORKER: 3 * GIB}}, {"pids": {WORKER: GIB}}).finish()
    assert figures.process_memory_bytes == 3 * GIB


def test_memory_that_the_driver_does_not_tell_of_a_process_is_left_out() -> None:
    figures = watch(FakeNvml(), {"pids": {WORKER: None}}, {}).finish()
    assert figures.foreign_processes == 0
    assert figures.process_memory_bytes is None


def test_warnings_of_nothing_are_none() -> None:
    assert warnings(GpuFigures()) == ()


# ------------------------------------------------------------------------------------------------------------ mark

TIMES = st.integers(0, 10**6)
SPANS = st.lists(st.tuples(TIMES, TIMES).map(sorted).map(tuple), max_size=4)


def test_mark_gives_the_samples_whose_share_of_the_time_was_throttled() -> None:
    assert mark(10, 1000, 2000, [(1250, 1400)]) == (2, 3)
    assert mark(10, 1000, 2000, [(0, 1001), (1999, 9000)]) == (0, 9)
    assert mark(10, 1000, 2000, [(1200, 1300)]) == (2,)
    assert mark(10, 1000, 2000, [(0, 1000), (2000, 3000)]) == ()
    assert mark(0, 1000, 2000, [(0, 3000)]) == ()


@given(count=st.integers(0, 60), start=TIMES, width=st.integers(1, 10**6), spans=SPANS)
def test_marks_are_rising_indices_and_those_of_each_span_together(
    count: int, start: int, width: int, spans: list[tuple[int, int]]
) -> None:
    marked = mark(count, start, start + width, spans)
    assert list(marked) == sorted(set(marked))
    assert set(marked) <= set(range(count))
    assert set(marked) == {i for span in spans for i in mark(count, start, start + width, [span])}


@given(count=st.integers(1, 60), start=TIMES, width=st.integers(1, 10**6), span=st.tuples(TIMES, TIMES))
def test_a_span_marks_one_run_of_samples_as_long_as_its_share(
    count: int, start: int, width: int, span: tuple[int, int]
) -> None:
    first, last = min(span), max(span)
    marked = mark(count, start, start + width, [(first, last)])
    inside = max(0, min(last, start + width) - max(first, start))
    assert marked == tuple(range(marked[0], marked[-1] + 1)) if marked else inside == 0
    if marked and inside:
        assert inside * count <= len(marked) * width < inside * count + 2 * width


@given(count=st.integers(1, 60), start=TIMES, width=st.integers(1, 10**6), before=TIMES, after=TIMES)
def test_a_span_that_covers_all_marks_all_and_one_outside_marks_none(
    count: int, start: int, width: int, before: int, after: int
) -> None:
    end = start + width
    assert mark(count, start, end, [(start - before, end + after)]) == tuple(range(count))
    assert mark(count, start, end, [(start - before, start), (end, end + after)]) == ()


@given(count=st.integers(1, 60), start=TIMES, width=st.integers(1, 10**6), spans=SPANS, shift=TIMES)
def test_marks_do_not_depend_on_when_the_clock_began(
    count: int, start: int, width: int, spans: list[tuple[int, int]], shift: int
) -> None:
    moved = [(first + shift, last + shift) for first, last in spans]
    assert mark(count, start + shift, start + width + shift, moved) == mark(count, start, start + width, spans)
