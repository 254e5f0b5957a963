"""Intervals of ratios and differences: what they cover, and that every figure of two sides has the same ones."""

from __future__ import annotations

import json
import math
import statistics

import msgspec
import numpy as np
import pytest

from bench.analysis import compare
from bench.analysis.intervals import difference_interval, ratio_interval
from bench.analysis.spreads import spread_of
from bench.analysis.verdict import verdict
from bench.model.run import Measurement, Run
from bench.report import compare as view
from tests.analysis.test_calibration import sitting
from tests.analysis.test_compare import EAGER, MS, record
from tests.analysis.test_compare import run as run_of
from tests.analysis.test_spreads import calibration

ALIKE, APART = (1.0, 1.0001), (1.03, 1.05, 1.07, 1.02, 1.06, 1.04, 1.08)


def test_the_interval_of_two_sides_is_that_of_their_verdict() -> None:
    a, b = [2.19, 2.1901], [2.33, 2.332]
    decided = verdict(a, b)
    assert ratio_interval(a, b) == pytest.approx((decided.low, decided.ratio, decided.high))
    assert 1 / np.array(ratio_interval(b, a)) == pytest.approx((decided.high, decided.ratio, decided.low))
    assert ratio_interval([1.0], [1.0, 2.0]) is None


@pytest.mark.parametrize(("n", "m", "sd_b"), [(3, 3, 0.01), (7, 7, 0.05), (7, 3, 0.01)])
def test_the_interval_of_a_ratio_covers_it_with_unequal_spread_and_number(n: int, m: int, sd_b: float) -> None:
    rng, covered = np.random.default_rng(3), 0
    for _ in range(1000):
        a, b = np.exp(rng.normal(0.0, 0.01, n)), np.exp(rng.normal(0.2, sd_b, m))
        interval = ratio_interval(a.tolist(), b.tolist())
        assert interval is not None
        covered += interval.low <= math.exp(0.2) <= interval.high
    assert 0.92 <= covered / 1000 <= 0.985


def test_the_interval_of_equal_numbers_is_welchs() -> None:
    from scipy.stats import ttest_ind

    a, b = [1.02, 1.01, 1.05, 1.03], [0.97, 1.10, 0.99, 1.01]
    expected = ttest_ind(np.log(b), np.log(a), equal_var=False).confidence_interval(0.95)
    assert ratio_interval(a, b) == pytest.approx(
        (math.exp(expected.low), math.exp(np.log(b).mean() - np.log(a).mean()), math.exp(expected.high))
    )


def test_the_interval_of_a_difference_covers_the_truth() -> None:
    draws = np.random.default_rng(7)
    covered = 0
    for _ in range(400):
        a, b = np.exp(draws.normal(np.log(40), 0.02, 5)), np.exp(draws.normal(np.log(25), 0.05, 7))
        interval = difference_interval(a.tolist(), b.tolist())
        assert interval is not None
        assert interval.centre == pytest.approx(statistics.geometric_mean(a) - statistics.geometric_mean(b))
        covered += interval.low <= 15 <= interval.high
    assert 0.92 <= covered / 400 <= 0.99  # of unequal numbers at least that of their common spread
    assert difference_interval([1.0], [2.0, 3.0]) is None


@pytest.mark.parametrize(("a", "b"), [(ALIKE, APART), ([1.0, 1.0], [1.0, 1.0]), ([1.0] * 3, [1.0, 1.001, 1.0])])
def test_the_difference_of_times_is_as_uncertain_as_their_ratio(a: list[float], b: list[float]) -> None:
    """Of two times that are nearly equal one says what the other does."""
    ratio, difference = ratio_interval(a, b), difference_interval(b, a)
    assert ratio is not None
    assert difference is not None
    assert difference.high - difference.low == pytest.approx(ratio.high - ratio.low, rel=0.1)


# ------------------------------------------------------------------------------------------------- rates of a table


def loops(times: tuple[float, ...], name: str, builds: int = 1) -> Run:
    """Processes that have a closed loop of so many milliseconds an inference, beside a latency that tells nothing."""
    records = []
    for n, ms in enumerate(times):
        whole = record(EAGER, 1.0 + n / 1000, n, build=n % builds)
        loop = Measurement(boundary="throughput", samples=(MS,), calls=10**6, window_ns=round(ms * MS * 10**6))
        records.append(msgspec.structs.replace(whole, measurements=(*whole.measurements, loop)))
    return msgspec.structs.replace(run_of([(EAGER, 1.0)], name, processes=0), records=tuple(records))


TIMES = [loops(ALIKE, "A"), loops(APART, "B")]
SESSIONS = [loops(ALIKE, "A"), loops((1.05, 1.06), "A2")], [loops(APART, "B"), loops((1.2, 1.21), "B2")]
BUILDS = [loops((1.0, 1.05, 1.001, 1.051), "A", builds=2)], [loops((1.1, 1.2, 1.11, 1.21), "B", builds=2)]
CALIBRATION = calibration(sitting("A", cases=(EAGER,)), sitting("B", 0.03, cases=(EAGER,)))
OF_LOOPS = msgspec.structs.replace(
    CALIBRATION,
    levels=tuple(msgspec.structs.replace(level, boundary="throughput") for level in CALIBRATION.levels),
    boundaries=tuple(msgspec.structs.replace(level, boundary="throughput") for level in CALIBRATION.boundaries),
)


@pytest.mark.parametrize(
    ("a", "b", "options"),
    [
        (TIMES[:1], TIMES[1:], {}),
        ([loops((1.0, 1.0), "A")], [loops((1.0, 1.0), "B")], {}),  # as far as clocks tell
        (TIMES[:1], TIMES[1:], {"session_sd": 0.02}),
        (TIMES[:1], TIMES[1:], {"spread": spread_of(OF_LOOPS, sittings=True)}),
        ([loops((1.0,), "A")], TIMES[1:], {"spread": spread_of(OF_LOOPS, sittings=True)}),  # one process
        (*SESSIONS, {}),
        (*BUILDS, {}),
    ],
    ids=["unequal", "no spread", "session", "calibration", "one process", "sessions", "builds"],
)
def test_the_ratio_of_rates_has_the_interval_of_the_verdict_on_throughput(a, b, options) -> None:
    (beside,) = compare.compare(a, b, **options).pairs
    (judged,) = compare.compare(a, b, boundary="throughput", **options).pairs
    assert beside.boundary == "latency"
    assert beside.rate == judged.rate
    decided, (flat,) = judged.verdict, json.loads(view.json(compare.compare(a, b, **options)))["pairs"]
    assert [1 / flat[name] for name in ("rate_ratio", "rate_high", "rate_low")] == pytest.approx(
        [decided.ratio, decided.low, decided.high]
    )


def test_rates_of_one_process_have_no_interval_without_a_calibration() -> None:
    (pair,) = compare.compare([loops((1.0,), "A")], TIMES[1:]).pairs
    assert (pair.rate.low, pair.rate.high) == (None, None)
    assert pair.rate.ratio == pytest.approx(1 / statistics.geometric_mean(APART))


def test_a_side_without_rates_has_no_ratio_of_them() -> None:
    whole = compare.compare([run_of([(EAGER, 1.0)], n) for n in ("A", "A2")], SESSIONS[1])
    assert [pair.rate for pair in whole.pairs] == [None]
