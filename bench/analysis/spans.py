"""Spans of time as disjoint intervals in order: how much of a stretch they cover, and what they leave open; pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate


class Spans:
    """The union of half-open intervals ``[start, end)`` of integer ns. Empty ones and ones that end before they start
    add nothing. Building sorts, O(n log n); each question is O(log n).
    """

    def __init__(self, intervals: Iterable[tuple[int, int]]) -> None:
        self.starts: list[int] = []
        self.ends: list[int] = []
        for start, end in sorted(intervals):
            if end <= start:
                continue
            if self.ends and start <= self.ends[-1]:
                self.ends[-1] = max(self.ends[-1], end)
            else:
                self.starts.append(start)
                self.ends.append(end)
        lengths = (end - start for start, end in zip(self.starts, self.ends, strict=True))
        self._before = [0, *accumulate(lengths)]

    def length(self, start: int, end: int) -> int:
        """Covered ns of ``[start, end)``; 0 where that is empty."""
        return self._until(end) - self._until(start) if start < end else 0

    def within(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The covered intervals of ``[start, end)``, cut at its ends."""
        for place in range(max(bisect_right(self.starts, start) - 1, 0), len(self.starts)):
            if self.starts[place] >= end:
                return
            if self.ends[place] > start:
                yield max(self.starts[place], start), min(self.ends[place], end)

    def gaps(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The intervals of ``[start, end)`` that are not covered."""
        for first, last in self.within(start, end):
            if first > start:
                yield start, first
            start = last
        if start < end:
            yield start, end

    def _until(self, time: int) -> int:
        place = bisect_right(self.starts, time) - 1
        return self._before[place] + min(time, self.ends[place]) - self.starts[place] if place >= 0 else 0
