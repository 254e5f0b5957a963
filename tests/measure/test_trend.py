"""A trend told apart from noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bench.measure.trend import Trend
from bench.stats import groups_of, mann_kendall

MS = 1_000_000


def fed(samples: list[int]) -> Trend:
    trend, now = Trend(), 0
    for ns in samples:
        now += ns
        trend.add(ns, now)
    return trend


def test_the_score_is_that_of_the_book_for_values_without_ties() -> None:
    values = [3, 1, 4, 15, 9, 2, 6, 5, 35, 8]
    concordant = sum(b > a for i, b in enumerate(values) for a in values[:i])
    score = 2 * concordant - 45
    assert mann_kendall(values) == pytest.approx((score - 1) / np.sqrt(10 * 9 * 25 / 18))
    assert np.sign(mann_kendall(values)) == np.sign(stats.kendalltau(range(10), values).statistic)


@given(st.lists(st.integers(0, 50), max_size=30))
def test_values_backwards_have_the_opposite_score(values: list[int]) -> None:
    assert mann_kendall(values[::-1]) == -mann_kendall(values)


def test_independent_values_score_as_a_standard_normal_variable() -> None:
    scores = [mann_kendall(np.random.default_rng(seed).normal(size=12).tolist()) for seed in range(1000)]
    assert abs(np.mean(scores)) < 0.1
    assert 0.85 < np.std(scores) < 1.05
    assert 0.25 < np.mean(np.abs(scores) >= 1) < 0.38


@given(st.lists(st.integers(), max_size=40), st.integers(1, 15))
def test_groups_have_every_value_once_and_about_the_same_size(values: list[int], most: int) -> None:
    groups = groups_of(values, most)
    assert len(groups) == min(len(values), most)
    if len(values) <= most:
        assert groups == values


def test_too_few_slices_may_be_a_trend() -> None:
    assert fed([]).is_there()
    assert fed([300 * MS, 301 * MS]).is_there()


def test_equal_times_are_no_trend_and_rising_or_falling_ones_are() -> None:
    assert not fed([MS] * 2000).is_there()
    assert fed([MS + 1000 * i for i in range(1000)]).is_there()
    assert fed([2 * MS - 1000 * i for i in range(1000)]).is_there()


def test_what_settles_at_once_is_no_trend() -> None:
    assert not fed([9 * MS] * 20 + [MS] * 1000).is_there()
