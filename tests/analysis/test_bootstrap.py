"""The bootstrap of a ratio: it covers the truth, and a short way to its interval leads to the very same numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.bootstrap import LEAST, bootstrap_ratio, bootstrap_ratios, is_not_above
from bench.model.samples import SortedSamples
from bench.stats import Ratio
from tests.test_stats import SAMPLES, coverage

# Times of 0 among them, which some boundaries have.
TIMES = st.one_of(SAMPLES, st.lists(st.integers(0, 3), min_size=1, max_size=60))


def test_the_bootstrap_interval_covers_the_ratio_of_medians_of_independent_samples() -> None:
    def draw(rng: np.random.Generator) -> Ratio | None:
        a, b = np.exp(rng.normal(0.2, 0.1, 80)), np.exp(rng.normal(0.0, 0.1, 61))
        return bootstrap_ratio(a.tolist(), b.tolist(), seed=int(rng.integers(1 << 30)))

    assert 0.92 <= coverage(draw, math.exp(0.2), 600) <= 0.98


@pytest.mark.parametrize("n", [7, 8])
def test_the_bootstrap_draws_medians_as_resampling_does(n: int) -> None:
    x, one = np.exp(np.random.default_rng(3).normal(0, 0.3, n)), [1.0] * 9
    resampled = np.median(np.random.default_rng(4).choice(x, (40_000, n)), axis=1)
    expected = np.quantile(resampled, [0.05, 0.95])
    found = bootstrap_ratio(x.tolist(), one, 0.90)
    assert found is not None
    assert (found.low, found.high) == pytest.approx(expected, rel=0.03)


def test_the_bootstrap_is_the_same_for_the_same_seed_only() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.normal(10, 1, 50).tolist(), rng.normal(9, 1, 50).tolist()
    assert bootstrap_ratio(a, b, seed=1) == bootstrap_ratio(a, b, seed=1)
    assert bootstrap_ratio(a, b, seed=1) != bootstrap_ratio(a, b, seed=2)


@given(SAMPLES, SAMPLES)
def test_what_two_order_statistics_say_is_what_the_bootstrap_says(one: list[int], other: list[int]) -> None:
    for a, b in ((one, other), (one, one), (other, [*other, *one])):
        interval = bootstrap_ratio(a, b)
        if is_not_above(SortedSamples(a), SortedSamples(b)):
            assert interval is not None
            assert interval.low <= 1


@pytest.mark.parametrize("n", [6, 7, 40, 256, 257])
def test_a_series_is_not_above_itself_and_one_that_is_twice_it_is(n: int) -> None:
    series = SortedSamples(range(1000, 1000 + n))
    assert is_not_above(series, series)
    assert not is_not_above(SortedSamples([2 * value for value in series]), series)
    assert not is_not_above(SortedSamples([1] * 5), series)


@given(SAMPLES, SAMPLES)
def test_the_bootstrap_is_that_of_numpys_quantiles_and_means(one: list[int], other: list[int]) -> None:
    if min(len(one), len(other)) < LEAST:
        return
    rng, medians = np.random.default_rng(0), []
    for samples in (one, other):
        n, middle = len(samples), (len(samples) + 1) // 2
        u = v = rng.beta(middle, n + 1 - middle, 2000)
        if n % 2 == 0:
            v = 1 - (1 - u) * rng.random(2000) ** (1 / (n - middle))
        picks = np.minimum((np.stack([u, v]) * n).astype(np.int64), n - 1)
        medians.append(np.sort(np.asarray(samples, np.float64))[picks].mean(axis=0))
    tail = (1 - 0.95) / 2
    low, high = np.quantile(medians[0] / medians[1], [tail, 1 - tail])
    interval = bootstrap_ratio(one, other)
    assert interval is not None
    assert (interval.low, interval.high) == (low, high)


def test_too_few_samples_or_a_median_of_zero_give_no_interval() -> None:
    assert bootstrap_ratio([1.0] * 5, [1.0] * 50) is None
    assert bootstrap_ratio([1.0] * 9, [0.0] * 9) is None
    pairs = [([1] * 5, [1] * 9), ([1] * 9, [0] * 9), ([0] * 9, [1] * 9), ([2] * 9, [1] * 9)] * 5
    *_, none, zero, two = bootstrap_ratios([(SortedSamples(a), SortedSamples(b)) for a, b in pairs])
    assert none is None
    assert (zero, two) == (Ratio(0.0, 0.0, 0.0, None), Ratio(2.0, 2.0, 2.0, None))


def test_a_wider_confidence_gives_a_wider_interval() -> None:
    rng = np.random.default_rng(1)
    a, b = np.exp(rng.normal(1, 0.1, 40)).tolist(), np.exp(rng.normal(0, 0.1, 40)).tolist()
    one, other = (bootstrap_ratio(a, b, confidence) for confidence in (0.99, 0.90))
    assert one is not None
    assert other is not None
    assert one.low < other.low < other.high < one.high


@given(st.lists(st.tuples(TIMES, TIMES), min_size=1, max_size=3), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_pairs_together_have_the_intervals_that_each_has_alone(
    several: list[tuple[list[int], list[int]]], confidence: float
) -> None:
    alone = [bootstrap_ratio(a, b, confidence) for a, b in several]
    pairs = [(SortedSamples(a), SortedSamples(b)) for a, b in several]
    assert [bootstrap_ratio(a, b, confidence) for a, b in pairs] == alone
    assert bootstrap_ratios([*pairs] * 4, confidence) == alone * 4


@pytest.mark.parametrize(("n", "m"), [(6, 6), (9, 400), (256, 256), (1001, 20_000)])
def test_many_pairs_of_equal_lengths_have_the_intervals_of_all_draws(n: int, m: int) -> None:
    rng = np.random.default_rng(n)
    series = [np.exp(rng.normal(14, 0.05, size)).astype(np.int64).tolist() for size in [n, m] * 20]
    several = [(a, b) for a in series[:4:2] for b in series[1::2]]
    together = bootstrap_ratios([(SortedSamples(a), SortedSamples(b)) for a, b in several])
    assert together == [bootstrap_ratio(a, b) for a, b in several]
