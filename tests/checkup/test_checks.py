"""One tensor against what it should be: what is counted, and what is an error."""

from __future__ import annotations

import numpy as np

from bench.checkup import checks
from bench.model.divergence import Check, Node
from bench.model.suite import Threshold
from bench.tensors import Array

LIMITS = Threshold(rel_l2=0.01)


def check(values: list[float], expected: list[float], **options: bool) -> Check:
    arrays = (np.array(each, np.float32) for each in (values, expected))
    return checks.check(Node(name="layer", op="log"), *arrays, LIMITS, "fp16", "float16", **options)


def test_zeros_are_underflows_only_of_values_below_float16() -> None:
    cancelled = check([0.0, 0.0, 1.0], [0.3, -0.4, 1.0])
    assert (cancelled.underflows, cancelled.ok) == (0, False)
    assert check([0.0, 0.0, 1.0], [1e-9, 0.0, 1.0]).underflows == 1


def test_nan_in_the_same_places_is_an_error_unless_it_is_equal() -> None:
    values, expected = [np.nan, 1.0, 2.0], [np.nan, 1.0, 2.0]
    assert not check(values, expected).ok
    equal = check(values, expected, nan_is_equal=True)
    assert (equal.ok, equal.apart, equal.reference.nan) == (True, 0, 1)
    elsewhere = check([1.0, np.nan, 2.0], expected, nan_is_equal=True)
    assert (elsewhere.ok, elsewhere.apart) == (False, 2)
    assert check([np.inf, 1.0], [-np.inf, 1.0]).apart == 1


def test_the_tensor_that_an_output_has_the_values_of() -> None:
    values: Array = np.arange(6, dtype=np.float32).reshape(2, 3)
    others = {"flat": values.reshape(6), "other": values + 1, "same": values * 1.001, "again": values}
    assert checks.counterpart("y", values, others, LIMITS, "fp16") == "same"
    assert checks.counterpart("y", values.astype(np.int32), others, LIMITS, "fp16") is None
