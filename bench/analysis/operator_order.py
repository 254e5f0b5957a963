"""Which units of two cases belong together where these share no names: by the order of convolutions, products and
attention.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from bench.analysis import operators
from bench.analysis.explain_sides import Unit

# What a program does to the operands of an attention that it computes step by step, before the first product.
_SCALING = frozenset({"mul", "mul_", "div", "div_", "where", "masked_fill", "masked_fill_", "Mul", "Div", "Where"})
# A pair counts so much more for times that are alike; in steps, so that times which hardly differ are as good.
_TIMES, _STEPS = 0.25, 8


class _Anchor(NamedTuple):
    """A convolution, a product or an attention: the units ``first`` to ``last``, several of an attention in steps."""

    family: operators.Family
    first: int
    last: int
    ns: int


def match(a: Sequence[Unit], b: Sequence[Unit]) -> list[tuple[list[int], list[int]]]:
    """For each operator that both sides have, the units of A and of B (indices) that belong to it: what follows an
    operator belongs to it, what only moves values to the one after. All units are in one of them, unless it is empty.

    Where one side computes attention in a kernel and the other step by step, with a softmax between two products, these
    steps are one operator. An operator without a partner, as one of three products that the other side runs as one, is
    with the neighbour to which it brings the times of both sides nearer.
    """
    in_steps = [any(unit.family == "attention" for unit in other) for other in (b, a)]
    anchors = [_anchors(side, steps) for side, steps in zip((a, b), in_steps, strict=True)]
    if not anchors[0] or not anchors[1]:
        anchors = [
            [_of(side, at) for at, unit in enumerate(side) if unit.family not in operators.MOVES] for side in (a, b)
        ]
    pairs = _pairs(anchors[0], anchors[1])
    if not pairs:
        return []
    groups = _with_others(anchors, pairs)
    homes = [_homes((a, b)[side], anchors[side], groups[side]) for side in (0, 1)]
    own = [[[] for _ in pairs] for _ in homes]  # type: list[list[list[int]]]
    for side, of_side in enumerate(homes):
        for at, home in enumerate(of_side):
            own[side][home].append(at)
    return list(zip(*own, strict=True))


def _of(units: Sequence[Unit], at: int) -> _Anchor:
    return _Anchor(units[at].family, at, at, units[at].ns)


def _anchors(units: Sequence[Unit], in_steps: bool) -> list[_Anchor]:
    """The anchors of a side in order; with ``in_steps`` a softmax between two products is an attention."""
    single = [_of(units, at) for at, unit in enumerate(units) if unit.family in operators.ANCHORS]
    if not in_steps:
        return single
    anchors: list[_Anchor] = []
    skipped = -1
    for anchor, after in itertools.zip_longest(single, single[1:]):
        if anchor.first <= skipped:
            continue
        if after and anchor.family == after.family == "gemm" and _has_softmax(units[anchor.first : after.first]):
            first = _start(units, anchor.first)
            ns = sum(unit.ns for unit in units[first : after.first + 1])
            anchor, skipped = _Anchor("attention", first, after.first, ns), after.first
        anchors.append(anchor)
    return anchors


def _has_softmax(units: Sequence[Unit]) -> bool:
    families = {unit.family for unit in units}
    exponential = any(operator.removeprefix("aten::").lower() == "exp" for unit in units for operator in unit.operators)
    return "softmax" in families or ("reduce" in families and exponential)


def _start(units: Sequence[Unit], product: int) -> int:
    """The first of what prepares the operands of an attention's first product: casts, copies and scaling."""
    at = product
    while at and (units[at - 1].family in operators.MOVES or _scales(units[at - 1])):
        at -= 1
    return at


def _scales(unit: Unit) -> bool:
    words = {operator.removeprefix("aten::") for operator in unit.operators}
    return unit.family == "pointwise" and bool(words) and words <= _SCALING


def _pairs(a: Sequence[_Anchor], b: Sequence[_Anchor]) -> list[tuple[int, int]]:
    """Pairs of the same family in the order of both sides: as many as possible, of like times where several fit.

    The longest common subsequence, where a pair counts more the nearer its times are to each other.
    """
    best = [[0.0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i in range(len(a) - 1, -1, -1):
        row, below, one = best[i], best[i + 1], a[i]
        for j in range(len(b) - 1, -1, -1):
            least = max(row[j + 1], below[j])
            if one.family == b[j].family:
                least = max(least, below[j + 1] + _likeness(one, b[j]))
            row[j] = least
    pairs, i, j = [], 0, 0
    while i < len(a) and j < len(b):
        if a[i].family == b[j].family and best[i][j] == best[i + 1][j + 1] + _likeness(a[i], b[j]):
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return pairs


def _likeness(a: _Anchor, b: _Anchor) -> float:
    ratio = (min(a.ns, b.ns) + 1) / (max(a.ns, b.ns) + 1)
    return 1 + _TIMES * round(ratio * _STEPS) / _STEPS


def _with_others(anchors: Sequence[list[_Anchor]], pairs: Sequence[tuple[int, int]]) -> list[list[list[int]]]:
    """For each side and pair the anchors that belong to it: its own, and neighbours without a partner."""
    sums = [[anchors[side][pair[side]].ns for pair in pairs] for side in (0, 1)]
    groups = [[[pair[side]] for pair in pairs] for side in (0, 1)]
    for side in (0, 1):
        for number in range(len(pairs) - 1):
            between = range(pairs[number][side] + 1, pairs[number + 1][side])
            place = _divide([anchors[side][at] for at in between], anchors[side], pairs, sums, side, number)
            for count, at in enumerate(between):
                home = number + (count >= place)
                groups[side][home].append(at)
                sums[side][home] += anchors[side][at].ns
    return groups


def _divide(
    others: Sequence[_Anchor],
    own: Sequence[_Anchor],
    pairs: Sequence[tuple[int, int]],
    sums: Sequence[Sequence[int]],
    side: int,
    number: int,
) -> int:
    """How many of ``others``, which lie between two pairs, belong to the first of these; all if nothing tells."""
    family = own[pairs[number + 1][side]].family
    least = len(others)
    while least and others[least - 1].family == family:
        least -= 1
    short = [sums[1 - side][number + at] - sums[side][number + at] for at in (0, 1)]

    def apart(place: int) -> int:
        before, after = (sum(other.ns for other in part) for part in (others[:place], others[place:]))
        return abs(short[0] - before) + abs(short[1] - after)

    return min(range(least, len(others) + 1), key=lambda place: (apart(place), -place))


def _homes(units: Sequence[Unit], anchors: Sequence[_Anchor], groups: Sequence[Sequence[int]]) -> list[int]:
    """The number of the group of each unit: of the last start before it, or of the next for what prepares it."""
    starts = {anchors[min(members)].first: number for number, members in enumerate(groups)}
    firsts = {anchor.first for anchor in anchors}
    following = -1
    ahead = [0] * len(units)
    for at in range(len(units) - 1, -1, -1):
        following = at if at in firsts else following
        ahead[at] = following
    homes, home = [], 0
    for at, unit in enumerate(units):
        home = starts.get(at, home)
        prepares = unit.family in operators.MOVES and "nhwctonchw" not in unit.name.lower()
        homes.append(starts.get(ahead[at], home) if prepares else home)
    for number, members in enumerate(groups):
        for anchor in (anchors[member] for member in members):
            homes[anchor.first : anchor.last + 1] = [number] * (anchor.last + 1 - anchor.first)
    return homes
