"""The mean of ratios: its interval, and that nothing which is added to the variance of its cases narrows it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench import stats
from bench.analysis.components import Sample, components
from bench.analysis.intervals import GroupSd
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


@pytest.mark.parametrize("session_sd", [0.0, 0.01])
@pytest.mark.parametrize("n", [(2, 2), (3, 3), (7, 7), (2, 7), (1, 2)])
def test_a_mean_of_equal_cases_is_no_less_exact_than_one(n: tuple[int, int], session_sd: float) -> None:
    rng = np.random.default_rng(2)
    a, b = ([math.exp(log) for log in rng.normal(0, 0.009, count)] for count in n)
    one = verdict(a, b, session_sd=session_sd, process_sd=0.01)
    for count in (2, 20):
        mean = overall([one] * count)
        assert one.low * (1 - 1e-9) <= mean.low < mean.high <= one.high * (1 + 1e-9)


def test_a_case_of_few_processes_does_not_make_a_mean_less_exact_than_itself() -> None:
    rng = np.random.default_rng(3)
    few, *many = (
        verdict(*([math.exp(log) for log in rng.normal(0, 0.009, n)] for _ in range(2)), session_sd=0.01)
        for n in (2, *[7] * 19)
    )
    mean, widest = overall([few, *many]), max(math.log(each.high / each.low) for each in (few, *many))
    assert math.log(mean.high / mean.low) < widest / 2


@pytest.mark.parametrize("backends", [1, 2])
def test_the_mean_of_few_builds_covers_the_true_ratio_in_95_of_100(backends: int) -> None:
    """Two cases of two builds with two processes each: what builds differ by is estimated once for both."""
    rng, inside, draws = np.random.default_rng(5), 0, 1000
    for _ in range(draws):
        cases = [[built(rng, 2, 2, 0.05, 0.005) for _ in range(2)] for _ in range(2)]
        sets = [[a for a, _ in cases], [b for _, b in cases]] if backends == 2 else [[*cases[0], *cases[1]]]
        known = [components(each).build for each in sets]
        shares = [(0.5, 0.0), (0.0, 0.5)] if backends == 2 else [(0.5, 0.5)]
        levels = [GroupSd(of.sd, of.dof, each, of.of_means) for of, each in zip(known, shares, strict=True)]
        verdicts = [
            verdict(
                *([math.exp(sample.log) for sample in side] for side in sides),
                builds=levels,
                groups=tuple([sample.build for sample in side] for side in sides),
            )
            for sides in cases
        ]
        mean = overall(verdicts)
        inside += mean.low <= 1 <= mean.high
    assert inside / draws >= 0.95 - 3 * (0.95 * 0.05 / draws) ** 0.5


def built(rng: np.random.Generator, builds: int, n: int, between: float, within: float) -> list[Sample]:
    levels = rng.normal(0, between, builds)
    return [Sample(levels[k] + rng.normal(0, within), build=k) for k in range(builds) for _ in range(n)]


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
