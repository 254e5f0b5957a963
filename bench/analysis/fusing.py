"""Whether one side computes in one kernel what takes several on the other: rules on the units of a block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from bench.analysis import operators
from bench.analysis.explain_sides import GENERATED, Unit
from bench.analysis.unit_words import (
    count_of,
    in_precisions,
    names_of,
    operator_list,
    operators_of,
    precisions_of,
    tensor_cores_of,
)


def is_of_cut(unit: Unit, others: Sequence[Unit]) -> bool:
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


def fusion(a: Sequence[Unit], b: Sequence[Unit]) -> tuple[Literal["fusion", "kernel", "extra"], str]:
    """Whether the units of one side are several of the other's, or other ones, and the sentence, in which each side has
    its own operators; empty if neither.
    """
    if len(a) == len(b):
        groups = [Counter(frozenset(name.exact for name in unit.names) for unit in side) for side in (a, b)]
        nodes = all(name.operator for unit in (*a, *b) for name in unit.names)
        known = all(unit.names for unit in (*a, *b))
        if len(a) < 2 or not nodes or not known or groups[0] == groups[1]:
            return "kernel", ""
        return "fusion", f"fused in another way: A runs {operator_list(a)}, B {operator_list(b)}"
    (fused, few), (apart, many) = (("A", a), ("B", b)) if len(a) < len(b) else (("B", b), ("A", a))
    surplus = Counter(unit.family for unit in many) - Counter(unit.family for unit in few)
    separate = [unit for unit in many if unit.family in surplus and unit.family not in operators.ANCHORS]
    if not separate:
        return "kernel", ""  # several kernels for one operator
    composed = {unit.family for unit in few} - {unit.family for unit in many}  # attention, of products and a softmax
    more_anchors = any(family in operators.ANCHORS for family in surplus)
    if more_anchors and "attention" not in composed and not _takes_in(few, separate):
        return (
            "kernel",
            f"{apart} takes {count_of(many)} for what {fused} does in {count_of(few)}: {operator_list(many)}",
        )
    if {operator for unit in separate for operator in unit.operators} == {GENERATED}:
        return "extra", f"only {apart} has {GENERATED} beside {operators_of(few)}"
    text = _sentence(fused, few, apart, many, separate)
    return "fusion", text + (_products(fused, few, apart, many) if "attention" in composed else "")


def _sentence(fused: str, few: Sequence[Unit], apart: str, many: Sequence[Unit], separate: Sequence[Unit]) -> str:
    if set(names_of(few)) == set(names_of(many)):
        return f"{fused} computes {operators_of(few)} in {count_of(few)}, {apart} in {len(many)}: {operator_list(many)}"
    what = operators_of(many)
    rest = operators_of(separate)
    also = f" ({rest} apart)" if rest != what else ""
    return f"{fused} runs {operators_of(few)} in {count_of(few)}, {apart} {what} in {count_of(many)}{also}"


def _products(fused: str, few: Sequence[Unit], apart: str, many: Sequence[Unit]) -> str:
    """How the products of an attention in steps are computed, and the other side's attention, where that is not so."""
    products = [unit for unit in many if unit.family in operators.ANCHORS]
    without = tensor_cores_of(products) is False
    precisions = precisions_of(products)
    if not products or not (without or (precisions and precisions != precisions_of(few))):
        return ""
    how = f" in {' and '.join(precisions)}" if precisions else ""
    whole = f", {fused} {in_precisions(few)}" if precisions_of(few) else ""
    return f"; {apart} computes {operators_of(products)}{how}{' without tensor cores' if without else ''}{whole}"


def _takes_in(few: Sequence[Unit], separate: Sequence[Unit]) -> bool:
    """Whether the convolutions or products of one side have within them what stands ``separate`` on the other: further
    nodes, or a normalisation that an exporter has folded into their weights.
    """
    wide = any(unit.family in operators.ANCHORS and len(unit.names) > 1 for unit in few)
    folded = any(unit.family == "norm" for unit in separate) and not any(unit.family == "norm" for unit in few)
    return wide or folded
