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
    packed = SortedSamples.join([SortedSamples(part) for part in parts])
    assert list(packed) == sorted(whole)
    assert packed == sorted(whole)
    assert (packed[0], packed[-1], len(packed)) == (min(whole), max(whole), len(whole))
    assert packed[1:3] == sorted(whole)[1:3]
    assert (packed.total, packed.squares) == (sum(whole), sum(number**2 for number in whole))
    assert stats.deviation(packed) == stats.deviation(whole)


def _text_of(numbers: list[int]) -> SortedSamples:
    return SortedSamples.of_text(json.dumps(numbers, separators=(",", ":")).encode(), len(numbers))


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=9))
def test_samples_stay_text_until_one_of_them_is_read(numbers: list[int]) -> None:
    packed = _text_of(numbers)
    assert len(packed) == len(numbers)
    assert packed.unread
    assert list(packed) == sorted(numbers)
    assert not packed.unread


# Lists of as many numbers of as many digits, or of as many characters in all, are read together.
_NUMBERS = st.one_of(st.integers(0, 2**40), st.integers(0, 99), st.integers(10**8, 10**9 - 1), st.just(2**32))


@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(_NUMBERS, min_size=n, max_size=n), max_size=40)))
def test_many_series_read_together_have_the_numbers_that_each_has_alone(several: list[list[int]]) -> None:
    packed = [*map(_text_of, several), _text_of([]), SortedSamples([3, 1])]
    SortedSamples.read_all(packed)
    assert [list(series) for series in packed] == [*map(sorted, several), [], [1, 3]]


def test_series_of_numbers_with_as_many_digits_are_read_together_and_the_others_when_they_are_needed() -> None:
    several = [[*range(100 + n, 160 + n)] for n in range(0, 900, 20)]  # some reach 1000
    packed = [*map(_text_of, several), _text_of([1000] + [99] + [100] * 58)]
    SortedSamples.read_all(packed)
    assert [series.unread for series in packed] == [series[-1] > 999 for series in several] + [True]
    assert [list(series) for series in packed[:-1]] == several
