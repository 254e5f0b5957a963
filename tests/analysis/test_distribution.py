"""Quantiles of a page: few, evenly spaced by rank, with both ends."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bench.analysis.distribution import quantiles


@settings(max_examples=50)
@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=300), st.integers(2, 80))
def test_quantiles_are_samples_in_order_with_both_ends(samples: list[int], most: int) -> None:
    picked = quantiles(samples, most)
    assert len(picked) == min(len(samples), most)
    assert list(picked) == sorted(picked)
    assert set(picked) <= set(samples)
    assert (picked[0], picked[-1]) == (min(samples), max(samples))


def test_two_modes_are_seen() -> None:
    picked = quantiles([100] * 120 + [200] * 136)
    assert picked.count(100) == 30
    assert picked.count(200) == 34
