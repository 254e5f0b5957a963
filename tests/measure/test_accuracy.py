"""Outputs against a reference."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.measure import accuracy
from bench.model.run import Accuracy, OutputError, Warning
from bench.model.suite import DEFAULT_THRESHOLDS, PRECISIONS, Threshold
from bench.report.warnings import describe
from tests.measure.accuracy_kit import X, only

ALL = Threshold(cosine=0.999, rel_l2=0.01, max_abs=0.1, sqnr=40.0)


def compare(x: Any, reference: Any, threshold: Threshold = ALL) -> Accuracy:
    return accuracy.compare({"y": np.asarray(x)}, {"y": np.asarray(reference)}, threshold)


def test_an_equal_output_is_exact_and_ok() -> None:
    found = compare(X, X.copy())
    assert (found.ok, found.why, found.threshold) == (True, "", ALL)
    assert only(found) == OutputError(name="y", cosine=1.0, max_abs=0.0, rel_l2=0.0, sqnr=None)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("scale", [100.0, 0.5, 0.0, 1.3])
def test_an_output_of_a_wrong_scale_is_accurate_at_no_precision(precision: str, scale: float) -> None:
    found = compare(scale * X, X, DEFAULT_THRESHOLDS[precision])
    assert not found.ok
    assert "rel_l2" in found.why


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8", "fp8"])
def test_the_default_limits_of_a_precision_agree_on_an_output_of_the_right_scale(precision: str) -> None:
    limits = DEFAULT_THRESHOLDS[precision]
    assert limits.cosine is not None
    r = X.ravel() / np.linalg.norm(X)
    side = np.roll(r, 1) - (np.roll(r, 1) @ r) * r
    for angle, ok in ((math.acos(limits.cosine) * 0.99, True), (math.acos(limits.cosine) * 1.2, False)):
        turned = math.cos(angle) * r + math.sin(angle) * side / np.linalg.norm(side)
        found = compare(turned.astype(np.float64), r, limits)
        assert found.ok is ok, found.why


def test_the_figures_are_those_of_the_definitions() -> None:
    noise = np.random.default_rng(2).normal(size=X.shape) * 1e-3
    x, r = X.astype(np.float64) + noise, X.astype(np.float64)
    error = only(compare(x, X))
    assert error.cosine == pytest.approx((x * r).sum() / np.linalg.norm(x) / np.linalg.norm(r))
    assert error.max_abs == pytest.approx(np.abs(x - r).max())
    assert error.rel_l2 == pytest.approx(np.linalg.norm(x - r) / np.linalg.norm(r))
    assert error.sqnr == pytest.approx(10 * math.log10((r**2).sum() / ((x - r) ** 2).sum()))


def test_a_large_output_gives_the_same_figures_as_one_pass_in_float64() -> None:
    rng = np.random.default_rng(3)
    r = rng.normal(size=2_500_000).astype(np.float32)
    x = r + rng.normal(size=r.size).astype(np.float32) * 0.01
    error = only(compare(x, r))
    d = x.astype(np.float64) - r
    assert error.rel_l2 == pytest.approx(np.linalg.norm(d) / np.linalg.norm(r.astype(np.float64)), rel=1e-9)
    assert error.max_abs == np.abs(d).max()


def test_a_large_output_needs_little_memory() -> None:
    r = np.ones(20_000_000, np.float32)
    x = r.copy()
    tracemalloc.start()
    compare(x, r)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 48 << 20


@pytest.mark.parametrize(
    ("threshold", "why"),
    [
        (Threshold(cosine=0.999), "output 'y': cosine -1 is below 0.999"),
        (Threshold(rel_l2=0.5), "output 'y': rel_l2 2 is above 0.5"),
        (Threshold(max_abs=3.0), "output 'y': max_abs 4 is above 3"),
        (Threshold(sqnr=20.0), "output 'y': sqnr -6.0206 is below 20"),
    ],
)
def test_a_broken_limit_names_output_figure_value_and_limit(threshold: Threshold, why: str) -> None:
    found = compare([1.0, -2.0], [-1.0, 2.0], threshold)
    assert (found.ok, found.why) == (False, why)


def test_every_broken_limit_is_named_up_to_three() -> None:
    assert compare([1.0, -2.0], [-1.0, 2.0]).why.endswith("; and 1 more")


def test_a_limit_that_is_met_exactly_holds() -> None:
    assert compare([1.5], [1.0], Threshold(max_abs=0.5, rel_l2=0.5, cosine=1.0)).ok


def test_without_limits_any_finite_output_is_ok() -> None:
    assert compare([1.0, -2.0], [-1.0, 2.0], Threshold()).ok


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_in_one_of_the_two_never_pass(value: float) -> None:
    for x, r in (([value, 1.0], [1.0, 1.0]), ([1.0, 1.0], [value, 1.0])):
        found = compare(x, r, Threshold())
        assert not found.ok
        assert only(found).cosine is None


@pytest.mark.parametrize(
    ("x", "r"),
    [(np.nan, np.nan), (np.inf, -np.inf), (-np.inf, -1e9), (np.inf, 65504.0), (-65504.0, np.inf), (-65000.0, -np.inf)],
)
def test_unlike_values_are_no_mask(x: float, r: float) -> None:
    assert not compare([x, 1.0], [r, 1.0], Threshold()).ok


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("x", "r"),
    [
        (-np.inf, -np.inf),
        (np.inf, np.inf),
        (-65504.0, -np.inf),  # torch.finfo(x.dtype).min where the reference has infinity
        (-65504.0, np.finfo(np.float32).min),
        (-np.inf, np.finfo(np.float32).min),
        (-np.float32(3.3895313892515355e38), np.finfo(np.float32).min),  # bfloat16
        (np.float32(-1e38), -np.inf),  # TensorRT 8.6
    ],
)
def test_values_masked_in_both_are_equal_and_in_no_figure(x: float, r: float, dtype: type[np.floating[Any]]) -> None:
    found = compare(np.array([x, 1.5, 2.0], dtype), np.array([r, 1.5, 2.0], dtype))
    assert (found.ok, found.why) == (True, "")
    assert only(found) == OutputError(name="y", cosine=1.0, max_abs=0.0, rel_l2=0.0, sqnr=None)
    wrong = compare(np.array([x, 1.5, 3.0], dtype), np.array([r, 1.5, 2.0], dtype))
    assert only(wrong).rel_l2 == pytest.approx(1 / 2.5)
    assert not wrong.ok


def test_a_mask_at_another_place_does_not_pass() -> None:
    assert not compare([-np.inf, 1.0, 2.0], [1.0, -np.inf, 2.0], Threshold()).ok


def test_masked_values_beside_a_nan_do_not_hide_it() -> None:
    assert only(compare([-np.inf, np.nan], [-np.inf, 1.0], Threshold())).nan == 1


def test_nans_are_counted() -> None:
    found = compare([np.nan, np.nan, 1.0, np.inf], [1.0, 2.0, 3.0, 4.0])
    assert only(found).nan == 2
    assert found.why == "output 'y': 2 of 4 values NaN; output 'y': 1 of 4 values infinite"


def test_a_nan_in_the_last_of_many_values_is_found() -> None:
    x = np.ones((1 << 20) + 3, np.float16)
    x[-1] = np.nan
    assert only(compare(x, np.ones(x.shape, np.float32))).nan == 1


def test_zeros_against_zeros_are_exact() -> None:
    found = compare(np.zeros(5), np.zeros(5))
    assert found.ok
    assert only(found) == OutputError(name="y", cosine=1.0, max_abs=0.0, rel_l2=0.0, sqnr=None)


def test_something_against_zeros_has_no_cosine_and_breaks_relative_limits() -> None:
    error = only(compare([0.001], [0.0]))
    assert (error.cosine, error.rel_l2, error.sqnr) == (0.0, None, None)
    for threshold in (Threshold(cosine=0.1), Threshold(rel_l2=1e9), Threshold(sqnr=-1e9)):
        assert not compare([0.001], [0.0], threshold).ok
    assert compare([0.001], [0.0], Threshold(max_abs=0.01)).ok


def test_zeros_against_something_break_the_cosine() -> None:
    error = only(compare([0.0, 0.0], [3.0, 4.0]))
    assert (error.cosine, error.rel_l2, error.max_abs, error.sqnr) == (0.0, 1.0, 4.0, 0.0)


def test_float64_values_that_overflow_when_squared_do_not_pass() -> None:
    assert not compare([1e200, 1.0], [1e200, 2.0], Threshold(cosine=0.9)).ok


def test_of_empty_outputs_nothing_is_compared() -> None:
    empty = np.zeros((0, 4))
    verdict = compare(empty, empty)
    assert (verdict.ok, verdict.empty, only(verdict)) == (
        True, True, OutputError(name="y", cosine=None, max_abs=None, rel_l2=None, sqnr=None, empty=True),
    )  # fmt: skip
    assert not compare(empty, np.zeros((1, 4))).ok
    one_of_two = accuracy.compare({"y": empty, "x": X}, {"y": empty, "x": X}, Threshold(cosine=0.9))
    assert (one_of_two.ok, one_of_two.empty) == (True, False)
    for outputs, told in (
        ({"y": empty}, "the case has only empty outputs, so it does not pass"),
        ({"y": empty, "x": X}, "nothing of it could be compared"),
    ):
        (warning,) = accuracy.warnings(outputs, 1)
        assert describe(warning).text == f"{told}: the reference has no element in output 'y'"
    (judged,) = accuracy.warnings({"y": empty}, 1, metric="zoo.py:count")
    assert describe(judged).text == "only zoo.py:count judges the outputs: the reference has no element in output 'y'"


def test_scalars_are_compared() -> None:
    assert compare(np.float32(2), np.float32(2)).ok
    assert not compare(np.float32(2), np.float32(3)).ok


def test_half_precision_is_compared_in_float64() -> None:
    x = np.full(70_000, 60_000, np.float16)  # the sum of squares is beyond float16 and float32 loses digits
    error = only(compare(x, x.astype(np.float32)))
    assert (error.cosine, error.rel_l2) == (1.0, 0.0)


def test_an_unequal_shape_fails_without_figures() -> None:
    found = compare(np.zeros((2, 3)), np.zeros((3, 2)))
    assert (found.ok, found.why) == (False, "output 'y': shape (2, 3), expected (3, 2)")
    assert only(found).cosine is None


def test_missing_and_extra_outputs_fail() -> None:
    found = accuracy.compare({"a": X, "extra": X}, {"a": X, "b": X}, ALL)
    assert (found.ok, found.why) == (False, "output 'b' is missing; output 'extra' is not in the reference")
    assert [error.name for error in found.outputs] == ["a"]


def test_one_bad_output_of_several_is_the_one_named() -> None:
    found = accuracy.compare({"a": X, "b": -X}, {"a": X, "b": X}, Threshold(cosine=0.9))
    assert found.why == "output 'b': cosine -1 is below 0.9"
    assert [error.cosine for error in found.outputs] == [1.0, pytest.approx(-1.0)]


@pytest.mark.parametrize(
    "limits", [Threshold(cosine=-1.0), Threshold(rel_l2=9.0), Threshold(max_abs=9.0), Threshold(slice_rel_l2=9.0)]
)
def test_integers_must_be_equal_under_any_limit(limits: Threshold) -> None:
    found = compare(np.array([1, 2, 4]), np.array([1, 2, 3], np.int32), limits)
    assert (found.ok, found.why) == (False, "output 'y': 1 of 3 integers differ")
    assert only(found).max_abs == 1.0
    same = compare(np.array([1, 2, 3]), np.array([1, 2, 3], np.int32))
    assert same.ok
    assert only(same).cosine == 1.0


def test_without_limits_integers_are_not_checked_as_floats_are_not() -> None:
    found = compare(np.array([1, 2, 4]), np.array([1, 2, 3]), Threshold())
    assert (found.ok, only(found).max_abs) == (True, 1.0)


def test_integers_that_float64_cannot_tell_apart_differ() -> None:
    assert not compare(np.array([2**60 + 1]), np.array([2**60])).ok


def test_booleans_must_be_equal() -> None:
    assert compare(np.array([True, False]), np.array([True, False])).ok
    assert not compare(np.array([True, True]), np.array([True, False])).ok


def test_complex_outputs_count_with_both_parts() -> None:
    r = np.array([1 + 2j, 3 - 1j], np.complex64)
    assert compare(r, r.copy()).ok
    error = only(compare(r + 0.5j, r))
    assert error.max_abs == 0.5
    assert "dtype float32, expected complex64" in compare(r.real, r).why


def test_an_output_that_is_not_contiguous_is_compared_element_by_element() -> None:
    assert compare(X.T, np.ascontiguousarray(X.T)).ok


@given(st.floats(1e-3, 1e3), st.integers(0, 1000))
def test_the_cosine_and_the_relative_error_do_not_depend_on_scale(scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    r = rng.normal(size=64)
    x = r + rng.normal(size=64) * 0.1
    one, other = only(compare(x, r)), only(compare(x * scale, r * scale))
    assert (other.cosine, other.rel_l2) == pytest.approx((one.cosine, one.rel_l2))


@pytest.mark.parametrize(
    ("output", "batch", "told"),
    [
        (np.zeros((4, 10), np.float32), 4, "output 'y' is 0 everywhere"),
        (np.full((1, 10), 0.5, np.float32), 1, "output 'y' is 0.5 everywhere"),
        (np.tile(X[:1], (4, 1)), 4, "output 'y' is the same for all 4 samples"),
        (np.full((1, 10), -np.inf, np.float32), 1, "output 'y' is -inf everywhere"),
        (np.full((1, 10), 0.5 - 2j, np.complex64), 1, "output 'y' is 0.5-2j everywhere"),
        (X, 4, ""),
        (X[:1], 1, ""),
        (np.tile(X[:1], (4, 1)), 2, ""),  # the first dimension is not the batch
        (np.full((4,), 3, np.int64), 4, "output 'y' is 3 everywhere"),  # one class for all samples
        (np.tile(np.arange(5), (4, 1)), 4, "output 'y' is the same for all 4 samples"),
        (np.ones((4, 10), np.bool_), 4, "output 'y' is 1 everywhere"),
        (np.arange(4), 4, ""),
        (np.zeros((1,), np.float32), 1, ""),  # one number
        (np.full((4, 10), np.nan, np.float32), 4, ""),  # never ok
    ],
)
def test_a_reference_that_says_nothing_of_the_inputs_is_told(output: Any, batch: int, told: str) -> None:
    found = accuracy.warnings({"y": output, "x": X}, batch)
    found = msgspec.json.decode(msgspec.json.encode(found), type=tuple[Warning, ...])  # as it is stored
    assert [(w.kind, told in describe(w).text) for w in found] == [("BlindReference", True)] * bool(told)
    assert all("says little:" in describe(w).text for w in found)
    alone = accuracy.warnings({"y": output}, batch)
    assert all("says nothing, so the case does not rank:" in describe(w).text for w in alone)
    assert all(describe(w).hint.endswith("checkpoint, or a `metric` of the model") for w in alone)
    assert len(alone) == len(found)


def test_of_an_output_of_one_element_it_cannot_be_told_whether_it_depends_on_the_inputs() -> None:
    zeros = np.zeros((1, 10), np.float32)
    (found,) = accuracy.warnings({"y": zeros, "loss": np.ones((), np.float32)}, 1)
    assert found.figures["single"] == 1
    assert "says little:" in describe(found).text


@pytest.mark.parametrize(
    ("is_silent", "text"),
    [(False, "only zoo.py:map judges the outputs: in"), (True, "and zoo.py:map returned no number, so the case does")],
)
def test_a_metric_judges_what_a_blind_reference_does_not(is_silent: bool, text: str) -> None:
    zeros = {"y": np.zeros((1, 10), np.float32)}
    (found,) = accuracy.warnings(zeros, 1, "zoo.py:map", metric_is_silent=is_silent)
    assert text in describe(found).text


def test_only_the_first_outputs_that_say_nothing_are_named() -> None:
    (found,) = accuracy.warnings({str(n): np.zeros(3, np.float32) for n in range(5)}, 1)
    assert found.figures["constant"] == dict.fromkeys("01234", 0)
    assert describe(found).text.endswith("output '2' is 0 everywhere; and 2 more")
