"""GPU telemetry from a made-up NVML with the function names of the real one."""

from __future__ import annotations

import inspect
import re

import msgspec
import pynvml
import pytest

from bench.machine import gpu_readings, gpus, nvml
from bench.machine.nvml import GpuTelemetry, warnings
from bench.model.telemetry import GpuFigures
from tests.machine.nvml_kit import (
    ANSWERS,
    CONSTANTS,
    GIB,
    POWER_CAP,
    THERMAL,
    WORKER,
    FakeNvml,
    S,
    group_of,
    watch,
)

# ------------------------------------------------------------------------------------------------- names and bits


def test_every_function_and_constant_asked_for_is_in_the_installed_library() -> None:
    source = inspect.getsource(nvml) + inspect.getsource(gpus)
    used = set(re.findall(r"(?:nvml|library)\.([Nn][Vv][Mm][Ll]\w+)", source))
    assert used == {*ANSWERS, *CONSTANTS}
    assert [name for name in used if not hasattr(pynvml, name)] == []


def test_each_reason_bit_has_the_name_that_the_library_gives_it() -> None:
    theirs = vars(pynvml)
    for bit, name in enumerate(gpu_readings.REASONS):
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


def test_a_second_start_changes_nothing() -> None:
    watched = watch(FakeNvml(), {}, {}, {})
    figures = watched.finish()
    assert figures is not None
    watched.start(WORKER, 9 * S)
    watched.tick(10 * S)
    assert watched.finish() == figures


def test_warnings_of_nothing_are_none() -> None:
    assert warnings(GpuFigures()) == ()
