"""Packed samples are the same numbers as a list of them, of whatever size."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from bench import stats
from bench.model.samples import SortedSamples


@given(st.lists(st.lists(st.integers(-(2**70), 2**70), min_size=1, max_size=9), min_size=1, max_size=3))
def test_packed_samples_are_the_numbers_in_order_of_whatever_size(parts: list[list[int]]) -> None:
    whole = [number for part in parts for number in part]
    packed = SortedSamples.joined([SortedSamples(part) for part in parts])
    assert list(packed) == sorted(whole)
    assert packed == sorted(whole)
    assert (packed[0], packed[-1], len(packed)) == (min(whole), max(whole), len(whole))
    assert packed[1:3] == sorted(whole)[1:3]
    assert (packed.total, packed.squares) == (sum(whole), sum(number**2 for number in whole))
    assert stats.deviation(packed) == stats.deviation(whole)


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=9))
def test_samples_stay_text_until_one_of_them_is_read(numbers: list[int]) -> None:
    packed = SortedSamples.of_text(json.dumps(numbers).encode(), len(numbers))
    assert len(packed) == len(numbers)
    assert packed.unread
    assert list(packed) == sorted(numbers)
    assert not packed.unread
