"""Parts of a model that differ alike, as the same layer of twelve blocks, as one row, and its difference by cause."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from bench.analysis.causes import Cause, Kind, moves_text
from bench.analysis.explain import Explanation, Part
from bench.model.data import Data
from bench.report import cells

_NUMBER = re.compile(r"\d+")


class CauseSum(Data, frozen=True, kw_only=True):
    """What one kind of cause has of a group: ``a`` and ``b``, the times of its kernels on each side, and the difference
    ``ns``; ``parts`` that have it.

    ``text`` is the sentence of most of the difference, that of ``alike`` parts. ``largest`` is the part that differs
    most by it, and by ``largest_ns``. ``units_a`` and ``units_b`` are indices into the units of the sides.
    """

    kind: Kind
    ns: int
    a: int
    b: int
    parts: int
    text: str
    alike: int
    largest: str
    largest_ns: int
    units_a: tuple[int, ...] = ()
    units_b: tuple[int, ...] = ()


class Group(Data, frozen=True):
    """``parts`` whose names differ in their numbers alone, and which have the same largest cause; largest first."""

    parts: tuple[Part, ...]

    @property
    def kind(self) -> str:
        """That of its parts: block, gap or remainder."""
        return self.parts[0].kind

    @property
    def name(self) -> str:
        """``encoder.layer.*.attention (12 parts)``: a star in place of a number that is not the same in all."""
        names = [part.name for part in self.parts]
        if len(names) == 1:
            return names[0]
        numbers = zip(*map(_NUMBER.findall, names), strict=True)
        texts = iter([own[0] if len(set(own)) == 1 else "*" for own in numbers])
        return f"{_NUMBER.sub(lambda _: next(texts), names[0])} ({cells.count(len(names), 'part')})"

    @property
    def a(self) -> int:
        """Of A in all of them, ns."""
        return sum(part.a for part in self.parts)

    @property
    def b(self) -> int:
        """Of B in all of them, ns."""
        return sum(part.b for part in self.parts)

    @property
    def difference(self) -> int:
        """How much longer B takes, ns."""
        return self.b - self.a

    @property
    def causes(self) -> tuple[CauseSum, ...]:
        """The difference by kind of cause, the largest first; their ns add up to it."""
        several: dict[Kind, list[tuple[Part, Cause]]] = defaultdict(list)
        for part in self.parts:
            for cause in part.causes:
                several[cause.kind].append((part, cause))
        return tuple(sorted((_summed(kind, own) for kind, own in several.items()), key=lambda each: -abs(each.ns)))


def _summed(kind: Kind, several: Sequence[tuple[Part, Cause]]) -> CauseSum:
    by_part: Counter[str] = Counter()
    by_text: Counter[str] = Counter()
    parts_of: dict[str, set[str]] = defaultdict(set)
    for part, cause in several:
        by_part[part.name] += cause.ns
        by_text[cause.text] += abs(cause.ns)
        parts_of[cause.text].add(part.name)
    largest = max(by_part, key=lambda name: abs(by_part[name]))
    units = [[unit for _, cause in several for unit in own(cause)] for own in (_units_a, _units_b)]
    text = max(by_text, key=lambda each: by_text[each])
    alike = len(parts_of[text])
    if kind in ("reformat", "copy"):  # whose numbers add up
        text, alike = moves_text(kind, len(units[0]), len(units[1])), len(by_part)
    return CauseSum(
        kind=kind,
        ns=sum(cause.ns for _, cause in several),
        a=sum(cause.a for _, cause in several),
        b=sum(cause.b for _, cause in several),
        parts=len(by_part),
        text=text,
        alike=alike,
        largest=largest,
        largest_ns=by_part[largest],
        units_a=tuple(units[0]),
        units_b=tuple(units[1]),
    )


def _units_a(cause: Cause) -> tuple[int, ...]:
    return cause.units_a


def _units_b(cause: Cause) -> tuple[int, ...]:
    return cause.units_b


def groups(explanation: Explanation) -> list[Group]:
    """Those of all parts that differ, the largest difference first, but gaps as the profiler saw them last."""
    alike: dict[tuple[str, str, str], list[Part]] = defaultdict(list)
    for part in explanation.parts:
        if part.difference or part.causes:
            kind = part.causes[0].kind if part.causes else ""
            alike[part.kind, _NUMBER.sub("*", part.name), kind].append(part)
    doubtful = explanation.gaps == "profiled"
    several = [Group(tuple(each)) for each in alike.values()]
    return sorted(several, key=lambda group: (doubtful and group.kind == "gap", -abs(group.difference)))
