"""The mean of ratios: its interval, and that nothing which is added to the variance of its cases narrows it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench import stats
from bench.analysis.overall import overall
from bench.analysis.verdict import verdict


def sides(rng: np.random.Generator) -> tuple[list[float], list[float]]:
    a, b = ([math.exp(log) for log in rng.normal(0, 10 ** rng.uniform(-4, -2), rng.integers(2, 8))] for _ in range(2))
    return a, b


@pytest.mark.parametrize("session_sd", [1e-4, 0.002, 0.01])
def test_sessions_never_narrow_the_interval_of_a_mean(session_sd: float) -> None:
    rng = np.random.default_rng(1)
    for pairs in [*[2] * 100, *[5] * 30]:
        cases = [sides(rng) for _ in range(pairs)]
        alone = overall([verdict(a, b) for a, b in cases])
        apart = overall([verdict(a, b, session_sd=session_sd) for a, b in cases])
        assert apart.low <= alone.low < alone.high <= apart.high


def test_what_sessions_add_does_not_shrink_with_the_number_of_cases() -> None:
    same = verdict([1.0, 1.0001, 0.9999] * 3, [1.0, 1.0001, 0.9999] * 3, session_sd=0.01)
    mean = overall([same] * 100)
    assert math.log(mean.high) >= stats.critical(math.inf, 0.95) * 0.01 * math.sqrt(2)


def test_a_mean_of_independent_cases_is_more_exact_than_each() -> None:
    one = verdict([1.0, 1.01, 0.99, 1.005], [1.0, 1.01, 0.99, 1.005])
    mean = overall([one] * 9)
    assert math.log(mean.high) < math.log(one.high) / 3


def test_a_mean_says_how_many_of_its_cases_have_a_calibrated_spread() -> None:
    measured, calibrated = verdict([1.0, 1.01], [1.0, 1.02]), verdict([1.0], [1.01], process_sd=0.01)
    assert overall([measured, calibrated]).calibrated == 1
    assert overall([measured, measured]).calibrated == 0


def test_without_an_interval_of_a_case_the_mean_has_none() -> None:
    mean = overall([verdict([1.0], [2.0]), verdict([1.0, 1.01], [2.0, 2.01])])
    assert (mean.low, mean.high) == (None, None)
    assert mean.ratio == pytest.approx(math.sqrt(2 * verdict([1.0, 1.01], [2.0, 2.01]).ratio))
