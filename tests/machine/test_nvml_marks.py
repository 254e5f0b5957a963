"""Which samples of a measurement were throttled, by the times and spans of NVML's readings."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bench.machine.nvml import mark

TIMES = st.integers(0, 10**6)
SPANS = st.lists(st.tuples(TIMES, TIMES).map(sorted).map(tuple), max_size=4)


def test_mark_gives_the_samples_whose_share_of_the_time_was_throttled() -> None:
    assert mark(10, 1000, 2000, [(1250, 1400)]) == (2, 3)
    assert mark(10, 1000, 2000, [(0, 1001), (1999, 9000)]) == (0, 9)
    assert mark(10, 1000, 2000, [(1200, 1300)]) == (2,)
    assert mark(10, 1000, 2000, [(0, 1000), (2000, 3000)]) == ()
    assert mark(0, 1000, 2000, [(0, 3000)]) == ()


@given(count=st.integers(0, 60), start=TIMES, width=st.integers(1, 10**6), spans=SPANS)
def test_marks_are_rising_indices_and_those_of_each_span_together(
    count: int, start: int, width: int, spans: list[tuple[int, int]]
) -> None:
    marked = mark(count, start, start + width, spans)
    assert list(marked) == sorted(set(marked))
    assert set(marked) <= set(range(count))
    assert set(marked) == {i for span in spans for i in mark(count, start, start + width, [span])}


@given(count=st.integers(1, 60), start=TIMES, width=st.integers(1, 10**6), span=st.tuples(TIMES, TIMES))
def test_a_span_marks_one_run_of_samples_as_long_as_its_share(
    count: int, start: int, width: int, span: tuple[int, int]
) -> None:
    first, last = min(span), max(span)
    marked = mark(count, start, start + width, [(first, last)])
    inside = max(0, min(last, start + width) - max(first, start))
    assert marked == tuple(range(marked[0], marked[-1] + 1)) if marked else inside == 0
    if marked and inside:
        assert inside * count <= len(marked) * width < inside * count + 2 * width


@given(count=st.integers(1, 60), start=TIMES, width=st.integers(1, 10**6), before=TIMES, after=TIMES)
def test_a_span_that_covers_all_marks_all_and_one_outside_marks_none(
    count: int, start: int, width: int, before: int, after: int
) -> None:
    end = start + width
    assert mark(count, start, end, [(start - before, end + after)]) == tuple(range(count))
    assert mark(count, start, end, [(start - before, start), (end, end + after)]) == ()


@given(count=st.integers(1, 60), start=TIMES, width=st.integers(1, 10**6), spans=SPANS, shift=TIMES)
def test_marks_do_not_depend_on_when_the_clock_began(
    count: int, start: int, width: int, spans: list[tuple[int, int]], shift: int
) -> None:
    moved = [(first + shift, last + shift) for first, last in spans]
    assert mark(count, start + shift, start + width + shift, moved) == mark(count, start, start + width, spans)
