"""Statistics by their promise: an interval covers the truth as often as it says, too little data is None."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import stdtrit

from bench import stats
from bench.model.samples import SortedSamples

SAMPLES = st.lists(st.integers(1, 10**9), min_size=1, max_size=200)


def coverage(draw: Callable[[np.random.Generator], tuple[float, ...] | None], truth: float, draws: int) -> float:
    """The share of seeded draws whose interval (low first, high last of three) contains the truth."""
    rng = np.random.default_rng(7)
    intervals = [draw(rng) for _ in range(draws)]
    assert None not in intervals
    return sum(found[0] <= truth <= found[2] for found in intervals if found) / draws


@pytest.mark.parametrize("n", [9, 50, 101])
def test_the_median_interval_covers_the_median_as_often_as_it_promises(n: int) -> None:
    share = coverage(lambda rng: stats.median_interval(np.exp(rng.normal(2.0, 0.5, n)).tolist()), math.exp(2.0), 2000)
    assert 0.92 <= share <= 0.98


@pytest.mark.parametrize("n", [2, 3, 7])
def test_the_process_interval_covers_the_centre_of_processes(n: int) -> None:
    share = coverage(lambda rng: stats.process_interval(np.exp(rng.normal(14.0, 0.01, n)).tolist()), math.exp(14), 2000)
    assert 0.92 <= share <= 0.98


def test_a_wider_confidence_gives_a_wider_interval() -> None:
    rng = np.random.default_rng(1)
    a = np.exp(rng.normal(1, 0.1, 40)).tolist()
    for of in (stats.median_interval, stats.process_interval):
        assert of(a, 0.99)[0] < of(a, 0.90)[0] < of(a, 0.90)[2] < of(a, 0.99)[2]


def test_too_few_samples_give_no_interval() -> None:
    assert stats.median_interval([]) is None
    assert stats.median_interval([1, 2, 3, 4, 5]) is None
    assert stats.median_interval([3, 1, 2, 6, 5, 4]) == (1, 3.5, 6)
    assert stats.process_interval([5.0]) is None


def test_values_without_a_logarithm_give_no_interval() -> None:
    assert stats.process_interval([0.0, 1.0]) is None


@pytest.mark.parametrize("n", range(6, 60))
def test_the_ranks_of_the_median_interval_are_the_binomial_distributions(n: int) -> None:
    from scipy.stats import binom

    found = stats.median_interval(range(1, n + 1))
    assert found is not None
    rank = int(found.low)
    assert found.high == n + 1 - rank
    assert binom.cdf(rank - 1, n, 0.5) <= 0.025 < binom.cdf(rank, n, 0.5)


def test_the_median_interval_of_very_many_samples_is_that_of_the_normal_approximation() -> None:
    found = stats.median_interval(range(100_000))
    assert found is not None
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * math.sqrt(100_000) / 2, rel=0.01)


@pytest.mark.parametrize("other", [4.0, 4.0001])
def test_processes_that_are_alike_have_the_interval_of_the_clocks_rounding(other: float) -> None:
    """As the ratio of two such sides has: 0.029 %, by Student's t of two."""
    low, centre, high = stats.process_interval([4.0, other])
    half = float(stdtrit(1, 0.975)) * 1e-3 / math.sqrt(12) / math.sqrt(2)
    assert (low / centre, high / centre) == pytest.approx((math.exp(-half), math.exp(half)), abs=1e-9)


@given(SAMPLES, st.floats(0, 1))
def test_the_quantile_is_numpys_default(samples: list[int], q: float) -> None:
    assert stats.quantile(samples, q) == pytest.approx(np.quantile(samples, q))


@given(SAMPLES)
def test_the_middle_quantile_is_the_median_and_the_ends_are_the_extremes(samples: list[int]) -> None:
    assert stats.quantile(samples, 0.5) == pytest.approx(stats.median(samples))
    assert (stats.quantile(samples, 0), stats.quantile(samples, 1)) == (min(samples), max(samples))


@pytest.mark.parametrize(("samples", "q"), [([], 0.5), ([1], 1.5), ([1], -0.1)])
def test_a_quantile_of_nothing_or_outside_the_unit_interval_is_refused(samples: list[int], q: float) -> None:
    with pytest.raises(ValueError, match="quantile"):
        stats.quantile(samples, q)


def test_the_99th_percentile_is_shown_from_662_samples_on() -> None:
    assert set(stats.percentiles(range(661))) == {50, 90, 95}
    assert stats.percentiles(range(662)) == pytest.approx({50: 330.5, 90: 594.9, 95: 627.95, 99: 654.39})
    assert stats.percentiles([]) == {}


def test_662_is_the_least_number_with_two_samples_above_the_99th_percentile_at_99_percent_confidence() -> None:
    from scipy.stats import binom

    assert binom.cdf(1, stats.P99_SAMPLES, 0.01) <= 0.01 < binom.cdf(1, stats.P99_SAMPLES - 1, 0.01)
    # What the docstring says beside it: from 368 samples on the maximum bounds the percentile in a 95 % interval.
    assert 0.99**368 <= 0.025 < 0.99**367


def test_the_spread_of_processes_is_that_of_their_medians_beside_what_each_knows() -> None:
    around = [[centre * (1 + step / 1000) for step in range(-10, 11)] for centre in (100.0, 101.0, 104.0)]
    found = stats.process_spread(around)
    assert found is not None
    assert (found.low, found.high) == (100.0, 104.0)
    assert found.sd == pytest.approx(statistics.stdev(math.log(centre) for centre in (100, 101, 104)))
    interval = stats.median_interval(around[0])
    assert interval is not None
    assert found.within == pytest.approx((interval.high - interval.low) / 200)


@pytest.mark.parametrize("processes", [[[1.0] * 20] * 2, [[1.0] * 20, [1.0] * 20, [1.0] * 5], [[0.0] * 20] * 3])
def test_two_processes_or_too_few_samples_have_no_spread(processes: list[list[float]]) -> None:
    assert stats.process_spread(processes) is None


@given(SAMPLES, SAMPLES)
def test_packed_samples_give_the_same_figures_to_the_last_bit(one: list[int], other: list[int]) -> None:
    packed, beside = SortedSamples(one), SortedSamples(other)
    for figure in (stats.median, stats.percentiles, stats.deviation, stats.median_interval):
        assert figure(packed) == figure(one)
    assert stats.process_spread([packed, beside, packed]) == stats.process_spread([one, other, one])


@given(st.lists(st.floats(1e-3, 1e18), min_size=2, max_size=12))
def test_the_error_over_processes_is_that_of_exact_fractions(medians: list[float]) -> None:
    logs = [math.log(value) for value in medians]
    interval = stats.process_interval(medians)
    assert interval is not None
    t = float(stdtrit(len(logs) - 1, 0.975))
    half = t * (max(statistics.stdev(logs), stats.ROUNDING) / math.sqrt(len(logs)))
    assert interval.low == math.exp(statistics.fmean(logs) - half)
    assert interval.high == math.exp(statistics.fmean(logs) + half)


@given(st.lists(SAMPLES, min_size=1, max_size=3), st.integers(0, 9))
def test_many_series_have_the_intervals_of_the_median_that_each_has_alone(some: list[list[int]], zeros: int) -> None:
    several = [*some, *([0] * zeros + each for each in some)] * 4
    expected = [stats.median_interval(each) for each in several]
    assert stats.median_intervals([SortedSamples(each) for each in several]) == expected
