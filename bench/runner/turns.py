"""The round robin: a turn is a case and a replicate, and what is known of others decides which turns are still due."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence, Set

from bench.model.run import Record
from bench.model.suite import Case


class Turns:
    """The turns of the ``wanted`` cases (ids) of a plan that the records ``before`` lack, in their order.

    Iterating gives the position of each in the plan, its case and its replicate; those of a case that ``drop`` was
    called for are passed over. ``total`` counts the turns of the plan, ``left`` those passed over as not wanted.
    """

    def __init__(self, cases: Sequence[Case], replicates: int, wanted: Set[str], before: Iterable[Record] = ()) -> None:
        self.total = len(cases) * replicates
        self.left = 0
        self._cases = [(case, case.id) for case in cases]
        self._wanted = wanted
        self._done, self._failed = settled(before)
        self._at = 0

    def __iter__(self) -> Iterator[tuple[int, Case, int]]:
        for position in range(self.total):
            case, key, replicate = self._turn(position)
            if (key, replicate) in self._done or key in self._failed:
                continue
            if key not in self._wanted:
                self.left += 1
                continue
            self._at = position
            yield position, case, replicate

    def groups(self, key: Callable[[Case], Hashable]) -> Iterator[list[tuple[int, Case, int]]]:
        """As iterating, but those that follow each other with one replicate and one ``key`` together."""
        group: list[tuple[int, Case, int]] = []
        kind: tuple[int, Hashable] | None = None
        for position in range(self.total):
            case, identity, replicate = self._turn(position)
            if group and (replicate, key(case)) != kind:
                yield self._begun(group)
                group = []
            if (identity, replicate) in self._done or identity in self._failed:
                continue
            if identity not in self._wanted:
                self.left += 1
                continue
            group.append((position, case, replicate))
            kind = replicate, key(case)
        if group:
            yield self._begun(group)

    def _begun(self, group: list[tuple[int, Case, int]]) -> list[tuple[int, Case, int]]:
        self._at = group[0][0]
        return group

    def drop(self, case: Case) -> None:
        """A process of the case has failed: it is not tried again."""
        self._failed.add(case.id)

    def coming(self) -> Iterator[tuple[Case, int]]:
        """The turn, or the turns, that iterating gave last and those that are due after it, as far as is known now."""
        for position in range(self._at, self.total):
            case, key, replicate = self._turn(position)
            if key in self._wanted and key not in self._failed and (key, replicate) not in self._done:
                yield case, replicate

    def _turn(self, position: int) -> tuple[Case, str, int]:
        replicate, index = divmod(position, len(self._cases))
        return *self._cases[index], replicate


def settled(records: Iterable[Record]) -> tuple[set[tuple[str, int]], set[str]]:
    """What is not measured again: processes by case and replicate, and the cases that failed. Those that a lost GPU
    left, or a signal from outside, and those that were not begun are neither: their records say nothing of them.
    """
    telling = [record for record in records if record.failure is None or record.failure.is_final]
    return {(r.case, r.replicate) for r in telling}, {r.case for r in telling if r.failure}
