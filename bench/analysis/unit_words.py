"""What units compute, in words: their operators, their number and precisions, and whether they use tensor cores."""

from __future__ import annotations

from collections.abc import Sequence

from bench.analysis import operators
from bench.analysis.explain_sides import Unit

_LONGEST = 4


def operators_of(units: Sequence[Unit]) -> str:
    """``Conv + Add + Relu``: the operators of the units, their families where the tool does not tell."""
    return _joined(list(names_of(units)))


def names_of(units: Sequence[Unit]) -> tuple[str, ...]:
    """Each operator of the units once, in their order; their families where the tool does not tell."""
    return tuple(dict.fromkeys(operator for unit in units for operator in (unit.operators or (unit.family,))))


def operator_list(units: Sequence[Unit]) -> str:
    """``Conv, Add + Relu``: the operators of each unit."""
    return _joined([operators_of([unit]) for unit in units], ", ")


def count_of(units: Sequence[Unit], noun: str = "step") -> str:
    """``one step``, ``3 steps``."""
    return f"one {noun}" if len(units) == 1 else f"{len(units)} {noun}s"


def precisions_of(units: Sequence[Unit]) -> tuple[str, ...]:
    """Those that the names of their kernels tell, sorted."""
    return tuple(sorted({unit.precision for unit in units if unit.precision}))


def in_precisions(units: Sequence[Unit]) -> str:
    """``Conv + Add in fp16 and Softmax in fp32``: the operators of the units in each precision that is told of some."""
    groups: dict[str, list[Unit]] = {}
    for unit in units:
        if unit.precision:
            groups.setdefault(unit.precision, []).append(unit)
    return " and ".join(f"{operators_of(own)} in {precision}" for precision, own in groups.items())


def tensor_cores_of(units: Sequence[Unit]) -> bool | None:
    """Whether the convolutions and products among the units compute on tensor cores, for most of the time of those
    whose names tell; None if none does.
    """
    times: dict[bool, int] = {}
    for unit in units:
        uses = operators.tensor_cores(unit.tactic or unit.name) if unit.family in operators.ANCHORS else None
        if uses is not None:
            times[uses] = times.get(uses, 0) + unit.ns
    return max(times, key=lambda uses: (times[uses], uses)) if times else None


def _joined(parts: Sequence[str], between: str = " + ") -> str:
    if len(parts) <= _LONGEST:
        return between.join(parts)
    return between.join([*parts[: _LONGEST - 1], f"{len(parts) - _LONGEST + 1} more"])
