"""Parts of a model that differ alike, as the same layer of twelve blocks, as one row."""

from __future__ import annotations

import re
from collections import defaultdict

from bench.analysis.explain import Explanation, Part
from bench.model.data import Data
from bench.report import cells

_NUMBER = re.compile(r"\d+")


class Group(Data, frozen=True):
    """``parts`` whose names differ in their numbers alone, and which have the same largest cause; largest first."""

    parts: tuple[Part, ...]

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


def groups(explanation: Explanation) -> list[Group]:
    """Those of all parts that differ, the largest difference first, but gaps as the profiler saw them last."""
    alike: dict[tuple[str, str, str], list[Part]] = defaultdict(list)
    for part in explanation.parts:
        if part.difference or part.causes:
            kind = part.causes[0].kind if part.causes else ""
            alike[part.kind, _NUMBER.sub("*", part.name), kind].append(part)
    doubtful = explanation.gaps == "profiled"
    several = [Group(tuple(each)) for each in alike.values()]
    return sorted(several, key=lambda group: (doubtful and group.parts[0].kind == "gap", -abs(group.difference)))
