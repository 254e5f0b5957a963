"""Why a block of the model takes longer on one side: rules on its units, each with a sentence and the kernels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from bench.analysis import operators
from bench.analysis.explain_sides import GENERATED, Unit
from bench.model.data import Data
from bench.units import format_time

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
_LONGEST = 4


class Cause(Data, frozen=True, kw_only=True):
    """Why: how much longer B takes for it (``ns``), a sentence, and the kernels or layers of both sides."""

    kind: Kind
    ns: int
    text: str
    kernels_a: tuple[str, ...] = ()
    kernels_b: tuple[str, ...] = ()


def of_block(a: Sequence[Unit], b: Sequence[Unit]) -> tuple[Cause, ...]:
    """The causes of one block, the largest first; their ns add up to the difference of the block."""
    moving = [[unit for unit in side if unit.family in operators.MOVES] for side in (a, b)]
    computing = [[unit for unit in side if unit.family not in operators.MOVES] for side in (a, b)]
    # A tensor between two operators that one side fuses exists on the other side only, and so do its reformats.
    cuts = [
        [unit for unit in own if _is_of_cut(unit, other)] for own, other in zip(moving, computing[::-1], strict=True)
    ]
    moving = [[unit for unit in own if unit not in cut] for own, cut in zip(moving, cuts, strict=True)]
    every = [
        _moves("reformat", "reformats", *moving),
        _moves("copy", "copies", *moving),
        *_computing(*computing, *cuts),
    ]
    return tuple(sorted((cause for cause in every if cause is not None), key=lambda cause: -abs(cause.ns)))


def of_gap(name: str, meaning: str, a: int, b: int, issue_a: str, issue_b: str) -> Cause:
    """The cause of a gap, e.g. ``launch``; ``issue_a`` and ``issue_b`` say how each side's kernels are issued."""
    text = f"{meaning}: {format_time(a)} in A, {format_time(b)} in B"
    if name in ("launch", "wait"):
        text += f"; A {issue_a}, B {issue_b}"
    return Cause(kind="gap", ns=b - a, text=text)


def _is_of_cut(unit: Unit, others: Sequence[Unit]) -> bool:
    """Whether a reformat is of a tensor that the other side has within a unit: the output of what is not its last node,
    or the input of what is not its first.
    """
    for other in others:
        places = [other.names.index(name) for name in unit.names if name in other.names]
        if places and (
            ("for Output Tensor" in unit.name and max(places) < len(other.names) - 1)
            or ("for Input Tensor" in unit.name and min(places) > 0)
        ):
            return True
    return False


def _moves(kind: Literal["reformat", "copy"], noun: str, a: Sequence[Unit], b: Sequence[Unit]) -> Cause | None:
    own = [[unit for unit in side if unit.family == kind] for side in (a, b)]
    if not own[0] and not own[1]:
        return None
    texts = []
    for name, units in zip("AB", own, strict=True):
        time = f" of {_time(units)}" if units else ""
        texts.append(f"{name} has {len(units) or 'no'} {noun if len(units) != 1 else _singular(noun)}{time}")
    if [u.name for u in own[0]] == [u.name for u in own[1]] and _ns(own[0]) == _ns(own[1]):
        return None
    return _cause(kind, f"{texts[0]}, {texts[1]}", own[0], own[1])


def _computing(a: Sequence[Unit], b: Sequence[Unit], cut_a: Sequence[Unit], cut_b: Sequence[Unit]) -> list[Cause]:
    """The causes of what computes, with the reformats that only exist as less is fused (``cut_a``, ``cut_b``).

    A lost fusion costs the whole difference, as what is fused takes longer itself. It explains neither that the side
    with fewer steps is slower, nor that a convolution or product is although less is fused into it, nor what another
    precision saves: these are causes of their own.
    """
    if not a and not b:
        return []
    if not a or not b:
        side, units = ("A", a) if a else ("B", b)
        text = f"only {side} computes {_operators(units)}, in {_count(units)}"
        return [_cause("extra", text, [*a, *cut_a], [*b, *cut_b])]
    cuts = (*cut_a, *cut_b)
    kind, text = _fusion(a, b)
    if not text and not cuts:
        return _of_likes(a, b)
    if kind == "kernel" and not cuts and _cores_differ(a, b):
        return [_of_cores(a, b)]
    if cuts:
        kind = "fusion"
        also = f"{_count(cuts, 'reformat')} of the tensors between ({_time(cuts)})"
        text = f"{text}, and {also}" if text else f"only one side has {also}"
    whole = _cause(kind, text, [*a, *cut_a], [*b, *cut_b])
    apart = len(b) - len(a)  # positive: B does it in more steps
    if kind == "kernel" or not apart:
        return [whole]
    (anchors_a, rest_a), (anchors_b, rest_b) = _split(a), _split(b)
    if not anchors_a or not anchors_b:
        return [whole] if whole.ns * apart >= 0 or cuts else _of_likes(a, b)
    if any(unit.family == "attention" for unit in anchors_a) != any(unit.family == "attention" for unit in anchors_b):
        return [whole]  # attention has products within it, whose times are no measure of its own
    slower_apart = (_ns(anchors_b) - _ns(anchors_a)) * apart > 0
    alike = _precisions(anchors_a) == _precisions(anchors_b) and not _cores_differ(anchors_a, anchors_b)
    if kind == "fusion" and whole.ns * apart >= 0 and not slower_apart and alike:
        return [whole]
    around = [_cause(kind, text, [*rest_a, *cut_a], [*rest_b, *cut_b])]
    if around[0].ns * apart < 0 and rest_a and rest_b and not cuts:
        around = _of_likes(rest_a, rest_b)
    return [*around, *_of_likes(anchors_a, anchors_b)]


def _split(units: Sequence[Unit]) -> tuple[list[Unit], list[Unit]]:
    """The operators that others are fused into, and these."""
    anchors = [unit for unit in units if unit.family in operators.ANCHORS]
    return anchors, [unit for unit in units if unit.family not in operators.ANCHORS]


def _of_likes(a: Sequence[Unit], b: Sequence[Unit]) -> list[Cause]:
    """The causes where both sides have the same operators, of convolutions and products by themselves."""
    (anchors_a, rest_a), (anchors_b, rest_b) = _split(a), _split(b)
    whole = not (anchors_a and anchors_b and rest_a and rest_b)
    pairs = [(a, b)] if whole else [(anchors_a, anchors_b), (rest_a, rest_b)]
    return [_of_like(*pair) for pair in pairs if _differs(*pair)]


def _fusion(a: Sequence[Unit], b: Sequence[Unit]) -> tuple[Kind, str]:
    """Whether the units of one side are several of the other's, or other ones, and the sentence; empty if neither."""
    if len(a) == len(b):
        groups = [Counter(frozenset(name.exact for name in unit.names) for unit in side) for side in (a, b)]
        nodes = all(name.operator for unit in (*a, *b) for name in unit.names)
        known = all(unit.names for unit in (*a, *b))
        if len(a) < 2 or not nodes or not known or groups[0] == groups[1]:
            return "kernel", ""
        return "fusion", f"fused in another way: A runs {_listed(a)}, B {_listed(b)}"
    (fused, few), (apart, many) = (("A", a), ("B", b)) if len(a) < len(b) else (("B", b), ("A", a))
    surplus = Counter(unit.family for unit in many) - Counter(unit.family for unit in few)
    separate = [unit for unit in many if unit.family in surplus and unit.family not in operators.ANCHORS]
    if not separate:
        return "kernel", ""  # several kernels for one operator
    composed = {unit.family for unit in few} - {unit.family for unit in many}  # attention, of products and a softmax
    more_anchors = any(family in operators.ANCHORS for family in surplus)
    if more_anchors and "attention" not in composed and not _takes_in(few, separate):
        return "kernel", f"{apart} takes {_count(many)} for what {fused} does in {_count(few)}: {_listed(many)}"
    if {operator for unit in separate for operator in unit.operators} == {GENERATED}:
        return "extra", f"only {apart} has {GENERATED} beside {_operators(few)} ({_time(separate)})"
    return "fusion", (
        f"{fused} computes {_operators(many)} in {_count(few)}, {apart} in {len(many)}, with {_operators(separate)} "
        f"apart ({_time(separate)})"
    )


def _takes_in(few: Sequence[Unit], separate: Sequence[Unit]) -> bool:
    """Whether the convolutions or products of one side have within them what stands ``separate`` on the other: further
    nodes, or a normalisation that an exporter has folded into their weights.
    """
    wide = any(unit.family in operators.ANCHORS and len(unit.names) > 1 for unit in few)
    folded = any(unit.family == "norm" for unit in separate) and not any(unit.family == "norm" for unit in few)
    return wide or folded


def _of_like(a: Sequence[Unit], b: Sequence[Unit]) -> Cause:
    """The cause where both sides have the same operators: cores, precision, kernel, or nothing but the time."""
    if _cores_differ(a, b):
        return _of_cores(a, b)
    precisions = [_precisions(side) for side in (a, b)]
    what = _operators(a) or _operators(b)
    if all(precisions) and precisions[0] != precisions[1]:
        text = f"{what} in {' and '.join(precisions[0])} in A, in {' and '.join(precisions[1])} in B"
        return _cause("precision", text, a, b)
    if [unit.tactic or unit.name for unit in a] != [unit.tactic or unit.name for unit in b]:
        counts = f" ({len(a)} against {len(b)})" if len(a) != len(b) else ""
        return _cause("kernel", f"another kernel for {what}{counts}: {_time(a)} in A, {_time(b)} in B", a, b)
    return _cause("time", f"the same kernel for {what} takes {_time(a)} in A, {_time(b)} in B", a, b)


def _precisions(units: Sequence[Unit]) -> tuple[str, ...]:
    return tuple(sorted({unit.precision for unit in units if unit.precision}))


def _tensor_cores(units: Sequence[Unit]) -> bool | None:
    """Whether the convolutions and products among the units compute on tensor cores, for most of the time of those
    whose names tell; None if none does.
    """
    times: dict[bool, int] = {}
    for unit in units:
        uses = operators.tensor_cores(unit.tactic or unit.name) if unit.family in operators.ANCHORS else None
        if uses is not None:
            times[uses] = times.get(uses, 0) + unit.ns
    return max(times, key=lambda uses: (times[uses], uses)) if times else None


def _cores_differ(a: Sequence[Unit], b: Sequence[Unit]) -> bool:
    return {_tensor_cores(a), _tensor_cores(b)} == {True, False}


def _of_cores(a: Sequence[Unit], b: Sequence[Unit]) -> Cause:
    kinds = [f"{'on' if _tensor_cores(side) else 'without'} tensor cores{_in(side)}" for side in (a, b)]
    what = _operators(a) or _operators(b)
    return _cause("cores", f"{what} {kinds[0]} in A, {kinds[1]} in B: {_time(a)} against {_time(b)}", a, b)


def _in(units: Sequence[Unit]) -> str:
    return f" ({' and '.join(_precisions(units))})" if _precisions(units) else ""


def _differs(a: Sequence[Unit], b: Sequence[Unit]) -> bool:
    return _ns(a) != _ns(b) or [u.tactic or u.name for u in a] != [u.tactic or u.name for u in b]


def _cause(kind: Kind, text: str, a: Sequence[Unit], b: Sequence[Unit]) -> Cause:
    kernels = [tuple(dict.fromkeys(kernel_name(unit) for unit in side)) for side in (a, b)]
    return Cause(kind=kind, ns=_ns(b) - _ns(a), text=text, kernels_a=kernels[0], kernels_b=kernels[1])


def kernel_name(unit: Unit) -> str:
    """A layer with the kernel that was chosen for it, as a layer's own name is not that of its kernel."""
    return f"{unit.name} [{unit.tactic}]" if unit.tactic and unit.tactic != unit.name else unit.name


def _ns(units: Sequence[Unit]) -> int:
    return sum(unit.ns for unit in units)


def _time(units: Sequence[Unit]) -> str:
    return format_time(_ns(units))


def _count(units: Sequence[Unit], noun: str = "step") -> str:
    return f"one {noun}" if len(units) == 1 else f"{len(units)} {noun}s"


def _singular(noun: str) -> str:
    return {"copies": "copy"}.get(noun, noun.removesuffix("s"))


def _operators(units: Sequence[Unit]) -> str:
    """``Conv + Add + Relu``: the operators of the units, their families where the tool does not tell."""
    every = dict.fromkeys(operator for unit in units for operator in (unit.operators or (unit.family,)))
    return _joined(list(every))


def _listed(units: Sequence[Unit]) -> str:
    return _joined([_operators([unit]) for unit in units], ", ")


def _joined(parts: Sequence[str], between: str = " + ") -> str:
    if len(parts) <= _LONGEST:
        return between.join(parts)
    return between.join([*parts[: _LONGEST - 1], f"{len(parts) - _LONGEST + 1} more"])
