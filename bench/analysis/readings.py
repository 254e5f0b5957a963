"""What conditions and facts read of many cases: once of all that have equal fairness reports; pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import msgspec

from bench.analysis import conditions
from bench.analysis.conditions import Condition, Fact, Subject


class Readings:
    """``conditions.values`` and ``conditions.figures`` of ``subjects``.

    What is read of a case depends on its report, precision, device and flags alone: cases that share these are read
    once, as most of a large run do.
    """

    def __init__(self, subjects: Iterable[Subject]) -> None:
        numbers: dict[Hashable, int] = {}
        self._kinds = {subject.case: numbers.setdefault(_content(subject), len(numbers)) for subject in subjects}
        self._values: dict[tuple[str, int], tuple[str, ...]] = {}
        self._figures: dict[tuple[str, int], dict[str, Any]] = {}

    def values(self, condition: Condition, subject: Subject) -> tuple[str, ...]:
        """What ``condition`` reads of one of the subjects."""
        key = condition.key, self._kinds[subject.case]
        if key not in self._values:
            self._values[key] = conditions.values(condition, subject)
        return self._values[key]

    def figures(self, fact: Fact, subject: Subject) -> dict[str, Any]:
        """What ``fact`` reads of one of the subjects; not to be changed."""
        key = fact.key, self._kinds[subject.case]
        if key not in self._figures:
            self._figures[key] = conditions.figures(fact, subject)
        return self._figures[key]

    def alike(self, condition: Condition, group: Iterable[Subject]) -> bool:
        """Whether all of ``group`` that ``condition`` reads something of have the same values."""
        different = {self._kinds[subject.case]: subject for subject in group}
        return len({self.values(condition, subject) for subject in different.values()} - {()}) < 2

    def equal(self, group: Iterable[Subject]) -> bool:
        """Whether all of ``group`` share what is read, so that they are alike in every condition."""
        return len({self._kinds[subject.case] for subject in group}) < 2


def _content(subject: Subject) -> Hashable:
    return subject.precision, subject.on_gpu, msgspec.json.encode(subject.facts), tuple(subject.flags.items())
