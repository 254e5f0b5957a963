"""Whether the profiles of two cases on a CPU show what both compute: some runtimes report few operators, or none."""

from __future__ import annotations

from collections.abc import Sequence

from bench.analysis import operators
from bench.analysis.explain_sides import Side, Unit
from bench.errors import UsageError
from bench.units import format_time

# Time outside of operators, as a share of an inference, from which on it may hold what the other side computes.
_MUCH = 0.25
# So many times the operators, beside convolutions and products, are more than what the other side may have fused.
_MANY = 10
_NAMED = 3
_FIX = (
    "compare the times alone: trtbench compare RUN --axis backend; or explain a case whose runtime reports operators, "
    "as backend inductor does, which has the compiler of aoti"
)


def check(a: Side, b: Side) -> None:
    """UsageError if the operators of a side are not all of what it computes: their lack would read as a cause.

    That is so where much of an inference is outside of operators, and these compute nothing or, beside convolutions
    and products, next to nothing of what the other side's do. Counts tell, as times vary under a profiler.
    """
    for side, other in ((a, b), (b, a)):
        if side.kind != "operator" or side.remainder < _MUCH * side.window:
            continue
        own, others = _computing(side), _computing(other)
        # Names without a namespace of PyTorch are of code that a compiler or a runtime reports itself, all of it.
        if any("::" not in unit.name for unit in own):
            continue
        if own and _beside_anchors(own) * _MANY >= _beside_anchors(others):
            continue
        seen = f"only {_names(own)}" if own else "no operator that computes"
        what = (
            f"the profile of {side.label} shows {seen}: {format_time(side.remainder)} of {format_time(side.window)} "
            "are in code that reports none to the profiler, as packages of AOTInductor do on a CPU, so that nothing "
            "says where it differs"
        )
        raise UsageError(what, fix=_FIX)


def _computing(side: Side) -> list[Unit]:
    return [unit for unit in side.units if operators.computes(unit.name, unit.family)]


def _beside_anchors(units: Sequence[Unit]) -> int:
    return sum(unit.family not in operators.ANCHORS for unit in units)


def _names(units: Sequence[Unit]) -> str:
    names = list(dict.fromkeys(unit.name for unit in units))
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
