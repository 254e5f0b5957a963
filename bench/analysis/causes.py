"""Why a block of the model takes longer on one side: rules on its units, each with a sentence and the kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from bench.analysis import fusing, operators
from bench.analysis.explain_sides import Unit
from bench.analysis.unit_words import count_of, in_precisions, names_of, operators_of, precisions_of, tensor_cores_of
from bench.model.data import Data

Kind = Literal["fusion", "reformat", "cores", "precision", "kernel", "copy", "extra", "time", "gap", "remainder"]
# What each kind of cause is, in the words of a table.
MEANINGS: dict[Kind, str] = {
    "fusion": "fused on one side only",
    "reformat": "reformats and casts",
    "cores": "tensor cores on one side only",
    "precision": "another precision",
    "kernel": "another kernel",
    "copy": "copies",
    "extra": "work of one side only",
    "time": "the same kernels, another time",
    "gap": "gaps without work",
    "remainder": "remainder",
}
# What a cause of moving values counts.
_NOUNS: dict[Kind, tuple[str, str]] = {"reformat": ("reformat", "reformats"), "copy": ("copy", "copies")}
# Names of kernels that a compiler numbers anew in each compilation.
_NUMBERED = "triton_"


class Cause(Data, frozen=True, kw_only=True):
    """Why: a sentence, the kernels or layers of both sides that belong to this cause, and what they take.

    ``a`` and ``b`` are the times of these kernels on each side, ns of one inference, and ``ns`` is ``b - a``;
    ``units_a`` and ``units_b`` are their indices in the sides, ``kernels_a`` and ``kernels_b`` their names, each once.
    Of a gap and of the remainder, which have no kernels, ``a`` and ``b`` are the times themselves.
    """

    kind: Kind
    ns: int
    text: str
    kernels_a: tuple[str, ...] = ()
    kernels_b: tuple[str, ...] = ()
    a: int = 0
    b: int = 0
    units_a: tuple[int, ...] = ()
    units_b: tuple[int, ...] = ()


class _Draft(Data, frozen=True):
    """A cause with its units themselves."""

    kind: Kind
    text: str
    a: tuple[Unit, ...] = ()
    b: tuple[Unit, ...] = ()

    @property
    def ns(self) -> int:
        return _ns(self.b) - _ns(self.a)


def of_block(
    units_a: Sequence[Unit], units_b: Sequence[Unit], places_a: Sequence[int] = (), places_b: Sequence[int] = ()
) -> tuple[Cause, ...]:
    """The causes of one block, the largest first. Each unit belongs to one of them at most, and units of none take as
    long on both sides, so that the causes' ns add up to the difference of the block.

    ``places_a`` and ``places_b`` are the indices of the units in the sides; by default those in the block.
    """
    sides = (units_a, units_b)
    moving = [[unit for unit in side if unit.family in operators.MOVES] for side in sides]
    computing = [[unit for unit in side if unit.family not in operators.MOVES] for side in sides]
    # A tensor between two operators that one side fuses exists on the other side only, and so do its reformats.
    cuts = [
        [unit for unit in own if fusing.is_of_cut(unit, other)]
        for own, other in zip(moving, computing[::-1], strict=True)
    ]
    moving = [[unit for unit in own if unit not in cut] for own, cut in zip(moving, cuts, strict=True)]
    every = [_moves("reformat", *moving), _moves("copy", *moving), *_computing(*computing, *cuts)]
    drafts = sorted((draft for draft in every if draft is not None), key=lambda draft: -abs(draft.ns))
    places = [
        {id(unit): at for unit, at in zip(side, own or range(len(side)), strict=True)}
        for side, own in zip(sides, (places_a, places_b), strict=True)
    ]
    return tuple(_cause(draft, *places) for draft in drafts)


def _cause(draft: _Draft, places_a: dict[int, int], places_b: dict[int, int]) -> Cause:
    return Cause(
        kind=draft.kind,
        ns=draft.ns,
        text=draft.text,
        kernels_a=tuple(dict.fromkeys(map(kernel_name, draft.a))),
        kernels_b=tuple(dict.fromkeys(map(kernel_name, draft.b))),
        a=_ns(draft.a),
        b=_ns(draft.b),
        units_a=tuple(sorted(places_a[id(unit)] for unit in draft.a)),
        units_b=tuple(sorted(places_b[id(unit)] for unit in draft.b)),
    )


def of_gap(name: str, meaning: str, a: int, b: int, issue_a: str, issue_b: str) -> Cause:
    """The cause of a gap, e.g. ``launch``; ``issue_a`` and ``issue_b`` say how each side's kernels are issued."""
    how = f"each side {issue_a}" if issue_a == issue_b else f"A {issue_a}, B {issue_b}"
    text = f"{meaning}; {how}" if name in ("launch", "wait") else meaning
    return Cause(kind="gap", ns=b - a, text=text, a=a, b=b)


def moves_text(kind: Kind, a: int, b: int) -> str:
    """``A has 2 reformats, B none``: how many each side has."""
    one, many = _NOUNS[kind]
    counts = [f"{count} {one if count == 1 else many}" if count else "none" for count in (a, b)]
    if not a:
        return f"A has no {many}, B has {counts[1]}"
    return f"A has {counts[0]}, B {'has ' if b else ''}{counts[1]}"


def _moves(kind: Literal["reformat", "copy"], a: Sequence[Unit], b: Sequence[Unit]) -> _Draft | None:
    own = [[unit for unit in side if unit.family == kind] for side in (a, b)]
    if [unit.name for unit in own[0]] == [unit.name for unit in own[1]] and _ns(own[0]) == _ns(own[1]):
        return None
    return _draft(kind, moves_text(kind, len(own[0]), len(own[1])), *own)


def _computing(a: Sequence[Unit], b: Sequence[Unit], cut_a: Sequence[Unit], cut_b: Sequence[Unit]) -> list[_Draft]:
    """The causes of what computes, with the reformats that only exist as less is fused (``cut_a``, ``cut_b``).

    A lost fusion costs the whole difference, as what is fused takes longer itself. It explains neither that the side
    with fewer steps is slower, nor that a convolution or product is although less is fused into it, nor what another
    precision saves: these are causes of their own.
    """
    if not a and not b:
        return []
    if not a or not b:
        side, units = ("A", a) if a else ("B", b)
        text = f"only {side} computes {operators_of(units)}, in {count_of(units)}"
        return [_draft("extra", text, [*a, *cut_a], [*b, *cut_b])]
    cuts = (*cut_a, *cut_b)
    kind, text = fusing.fusion(a, b)
    if not text and not cuts:
        return _of_likes(a, b)
    if kind == "kernel" and not cuts and _cores_differ(a, b):
        return [_of_cores(a, b)]
    if cuts:
        kind = "fusion"
        also = f"{count_of(cuts, 'reformat')} of the tensors between"
        text = f"{text}, and {also}" if text else f"only one side has {also}"
    whole = _draft(kind, text, [*a, *cut_a], [*b, *cut_b])
    apart = len(b) - len(a)  # positive: B does it in more steps
    if kind == "kernel" or not apart:
        return [whole]
    (anchors_a, rest_a), (anchors_b, rest_b) = _split(a), _split(b)
    if not anchors_a or not anchors_b:
        return [whole] if whole.ns * apart >= 0 or cuts else _of_likes(a, b)
    if any(unit.family == "attention" for unit in anchors_a) != any(unit.family == "attention" for unit in anchors_b):
        return [whole]  # attention has products within it, whose times are no measure of its own
    slower_apart = (_ns(anchors_b) - _ns(anchors_a)) * apart > 0
    alike = precisions_of(anchors_a) == precisions_of(anchors_b) and not _cores_differ(anchors_a, anchors_b)
    if kind == "fusion" and whole.ns * apart >= 0 and not slower_apart and alike:
        return [whole]
    around = [_draft(kind, text, [*rest_a, *cut_a], [*rest_b, *cut_b])]
    if around[0].ns * apart < 0 and rest_a and rest_b and not cuts:
        around = _of_likes(rest_a, rest_b)
    return [*around, *_of_likes(anchors_a, anchors_b)]


def _split(units: Sequence[Unit]) -> tuple[list[Unit], list[Unit]]:
    """The operators that others are fused into, and these."""
    anchors = [unit for unit in units if unit.family in operators.ANCHORS]
    return anchors, [unit for unit in units if unit.family not in operators.ANCHORS]


def _of_likes(a: Sequence[Unit], b: Sequence[Unit]) -> list[_Draft]:
    """The causes where both sides have the same operators, of convolutions and products by themselves."""
    (anchors_a, rest_a), (anchors_b, rest_b) = _split(a), _split(b)
    whole = not (anchors_a and anchors_b and rest_a and rest_b)
    pairs = [(a, b)] if whole else [(anchors_a, anchors_b), (rest_a, rest_b)]
    return [_of_like(*pair) for pair in pairs if _differs(*pair)]


def _of_like(a: Sequence[Unit], b: Sequence[Unit]) -> _Draft:
    """The cause where both sides have the same operators: cores, precision, kernel, or nothing but the time."""
    if _cores_differ(a, b):
        return _of_cores(a, b)
    precisions = [precisions_of(side) for side in (a, b)]
    own = [operators_of(side) for side in (a, b)]
    if all(precisions) and precisions[0] != precisions[1]:
        return _draft("precision", f"A computes {in_precisions(a)}, B {in_precisions(b)}", a, b)
    names = [[unit.tactic or unit.name for unit in side] for side in (a, b)]
    if names[0] != names[1]:
        counts = f", {len(a)} in A and {len(b)} in B" if len(a) != len(b) else ""
        alike = set(names_of(a)) == set(names_of(b))
        what = own[0] if alike else f"{own[0]} in A, {own[1]} in B"
        return _draft("kernel", f"another kernel for {what}{counts}", a, b)
    text = f"kernels of the same name for {own[0]} take another time"
    if any(name.startswith(_NUMBERED) for name in names[0]):
        text += " (a compiler numbers them anew each time, so that they may be other ones)"
    return _draft("time", text, a, b)


def _cores_differ(a: Sequence[Unit], b: Sequence[Unit]) -> bool:
    return {tensor_cores_of(a), tensor_cores_of(b)} == {True, False}


def _of_cores(a: Sequence[Unit], b: Sequence[Unit]) -> _Draft:
    own = [operators_of(side) for side in (a, b)]
    how = [f"{'on' if tensor_cores_of(side) else 'without'} tensor cores{_in(side)}" for side in (a, b)]
    what = f"{own[1]} " if own[0] != own[1] else ""
    return _draft("cores", f"{own[0]} {how[0]} in A, {what}{how[1]} in B", a, b)


def _in(units: Sequence[Unit]) -> str:
    precisions = precisions_of(units)
    return f" ({in_precisions(units) if len(precisions) > 1 else precisions[0]})" if precisions else ""


def _differs(a: Sequence[Unit], b: Sequence[Unit]) -> bool:
    return _ns(a) != _ns(b) or [u.tactic or u.name for u in a] != [u.tactic or u.name for u in b]


def _draft(kind: Kind, text: str, a: Sequence[Unit], b: Sequence[Unit]) -> _Draft:
    return _Draft(kind, text, tuple(a), tuple(b))


def kernel_name(unit: Unit) -> str:
    """A layer with the kernel that was chosen for it, as a layer's own name is not that of its kernel."""
    return f"{unit.name} [{unit.tactic}]" if unit.tactic and unit.tactic != unit.name else unit.name


def _ns(units: Sequence[Unit]) -> int:
    return sum(unit.ns for unit in units)
