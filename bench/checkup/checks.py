"""One tensor of a network against what it should be."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bench.measure import accuracy
from bench.model.divergence import Check, Node, Side
from bench.model.suite import Precision, Threshold
from bench.tensors import Array

LEAST = 2.0**-24  # above zero, of float16


def side(values: Array) -> Side:
    """The figures of a tensor's values."""
    finite = np.isfinite(values)
    some = values[finite] if not finite.all() else values
    return Side(
        low=float(some.min()) if some.size else None,
        high=float(some.max()) if some.size else None,
        nan=int(np.isnan(values).sum()),
        infinite=int(np.isinf(values).sum()),
        zeros=int((values == 0).sum()),
        size=int(values.size),
    )


def check(
    node: Node,
    values: Array,
    expected: Array,
    limits: Threshold,
    precision: Precision,
    dtype: str,
    *,
    nan_is_equal: bool = False,
) -> Check:
    """``values`` against ``expected``. With ``nan_is_equal`` NaN in the same places of both is no error."""
    same_shape = values.shape == expected.shape
    judged_values, judged_expected = values, expected
    if nan_is_equal and same_shape and (nan := _shared_nan(values, expected)).any():
        judged_values, judged_expected = np.where(nan, 0, values), np.where(nan, 0, expected)
    judged = accuracy.compare({node.name: judged_values}, {node.name: judged_expected}, limits, precision)
    error = judged.outputs[0]
    small = (np.abs(expected) < LEAST) & (expected != 0)
    return Check(
        node=node,
        ok=judged.ok,
        reference=side(expected),
        network=side(values),
        dtype=dtype,
        rel_l2=error.rel_l2,
        cosine=error.cosine,
        why=judged.why.replace(f"output {node.name!r}: ", ""),
        underflows=int((small & (values == 0)).sum()) if same_shape else 0,
        apart=_count_apart(values, expected) if same_shape else 0,
    )


def counterpart(
    name: str, values: Array, others: Mapping[str, Array], limits: Threshold, precision: Precision
) -> str | None:
    """The name of the first of ``others`` that output ``name`` has the values of; None without one."""
    for other, expected in others.items():
        alike = expected.shape == values.shape and expected.dtype.kind == values.dtype.kind
        if alike and accuracy.compare({name: values}, {name: expected}, limits, precision).ok:
            return other
    return None


def _shared_nan(values: Array, expected: Array) -> Array:
    return np.isnan(values) & np.isnan(expected)


def _count_apart(values: Array, expected: Array) -> int:
    other = ~(np.isfinite(values) & np.isfinite(expected))
    if not other.any():
        return 0
    return int((other & (values != expected) & ~_shared_nan(values, expected)).sum())
