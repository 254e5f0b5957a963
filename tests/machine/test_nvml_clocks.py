"""Throttling and changes of the clock: what is told of them, by name, boundary and span."""

from __future__ import annotations

import msgspec
import pynvml
import pytest

from bench.machine import gpu_readings
from bench.machine.nvml import warnings
from bench.report.warnings import Advice, describe
from tests.machine.nvml_kit import (
    APPLICATION,
    IDLE,
    POWER_CAP,
    THERMAL,
    FakeNvml,
    S,
    kinds,
    watch,
)


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
    assert figures.throttle_reasons == {(*gpu_readings.REASONS, "Reason11", "Reason12", "Reason13")[bit]: 1.0}
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
