"""Slices and groups of small values: wrong ones are named, rounding errors are not taken for wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench.measure import accuracy
from bench.model.run import Accuracy
from bench.model.suite import DEFAULT_THRESHOLDS, Threshold
from bench.runtimes import memory

Array = np.ndarray[Any, Any]
HALF = ("fp16", "bf16")


def rounded(values: Array, precision: str) -> Array:
    """``values`` at the precision, as float32."""
    if precision == "fp32":
        return values.astype(np.float32)
    dtype = {"fp16": "float16", "bf16": "bfloat16"}[precision]
    with np.errstate(over="ignore"):
        return memory.decode(memory.encode(values, dtype).reshape(-1).view(np.uint8), dtype, values.shape)


def judge(x: Array, r: Array, precision: str) -> Accuracy:
    return accuracy.compare({"y": x}, {"y": r}, DEFAULT_THRESHOLDS[precision], precision)


def detector(seed: int, boxes: int, scores: int, others: tuple[int, ...], size: float = 640.0) -> tuple[Array, Array]:
    """Boxes of up to ``size`` and scores below one, with the last axis of both for what they are."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0, size, (*others, boxes)).astype(np.float32), rng.uniform(0, 1, (*others, scores)).astype(
        np.float32
    )


def nearly_constant(seed: int, values: Array, spread: float) -> Array:
    """``values`` as the first of each column, but for deviations of ``spread`` of it."""
    noise = np.random.default_rng([seed, 7]).normal(size=values.shape)
    first = values.reshape(-1, values.shape[-1])[0]
    return (np.maximum(np.abs(first), 0.2) * (1 + spread * noise)).astype(np.float32)


LAYOUTS: dict[str, Callable[[Array, Array], Array]] = {
    "last": lambda b, s: np.concatenate([b, s], -1),
    "first": lambda b, s: np.concatenate([b, s], -1).swapaxes(-1, -2),
    "flat": lambda b, s: np.concatenate([b, s], -1).reshape(b.shape[0], -1),
    "blocks": lambda b, s: np.concatenate([b.reshape(-1), s.reshape(-1)]),
}


@pytest.mark.parametrize("precision", HALF)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("spread", [None, 0.02])
@pytest.mark.parametrize(
    ("boxes", "scores", "others"), [(4, 4, (32, 1)), (4, 4, (1, 1)), (4, 2, (2, 50)), (4, 81, (1, 20))]
)
def test_scores_of_zero_beside_boxes_are_not_ok_wherever_they_lie(
    precision: str, layout: str, spread: float | None, boxes: int, scores: int, others: tuple[int, ...]
) -> None:
    b, s = detector(1, boxes, scores, others)
    s = s if spread is None else nearly_constant(1, s, spread)
    join = LAYOUTS[layout]
    right, wrong = rounded(join(b, s), precision), rounded(join(b, np.zeros_like(s)), precision)
    assert judge(right, join(b, s), precision).ok
    found = judge(wrong, join(b, s), precision)
    assert not found.ok
    assert "slice_rel_l2" in found.why
    (error,) = found.outputs
    assert error.rel_l2 is not None
    assert error.rel_l2 < 0.02  # one norm does not see it
    assert error.slice_rel_l2 == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("precision", ["bf16", "int8"])
@pytest.mark.parametrize("layout", ["last", "first"])
@pytest.mark.parametrize("spread", [None, 0.02])
@pytest.mark.parametrize("others", [(32, 1), (2, 50), (1, 8400)])
def test_one_score_of_zero_beside_four_boxes_is_not_ok(
    precision: str, layout: str, spread: float | None, others: tuple[int, ...]
) -> None:
    b, s = detector(1, 4, 1, others)
    s = s if spread is None else nearly_constant(1, s, spread)
    x = b + np.random.default_rng(2).normal(size=b.shape) * (2.0 if precision == "int8" else 0.5)
    join = LAYOUTS[layout]
    assert judge(join(x, s), join(b, s), precision).ok
    (error,) = judge(join(x, np.zeros_like(s)), join(b, s), precision).outputs
    assert error.slice == ("[:, :, 4]" if layout == "last" else "[:, 4, :]")
    assert error.slice_rel_l2 == pytest.approx(1)


@pytest.mark.parametrize("precision", ["bf16", "int8"])
@pytest.mark.parametrize("scores", [4, 80])
def test_scores_of_zero_are_not_ok_where_boxes_too_are_nearly_constant(precision: str, scores: int) -> None:
    b, s = (nearly_constant(3, values, 0.02) for values in detector(3, 4, scores, (32,)))
    x = b + np.random.default_rng(4).normal(size=b.shape).astype(np.float32)
    assert judge(np.concatenate([x, s], -1), np.concatenate([b, s], -1), precision).ok
    assert "slice_rel_l2 1 of" in judge(np.concatenate([x, s * 0], -1), np.concatenate([b, s], -1), precision).why


def test_the_slice_is_named_by_axis_and_index() -> None:
    rng = np.random.default_rng(2)
    r = rng.normal(size=(3, 6, 40)).astype(np.float32) * np.array([300, 300, 300, 0.5, 300, 300])[:, None]
    x = r.copy()
    x[:, 3] = 0.7
    found = judge(rounded(x, "fp16"), r, "fp16")
    (error,) = found.outputs
    assert error.slice == "[:, 3, :]"
    assert f"slice_rel_l2 {error.slice_rel_l2:.6g} of [:, 3, :] is above 0.3" in found.why


def test_one_wrong_sample_of_many_is_named() -> None:
    r = np.random.default_rng(3).normal(size=(512, 20)).astype(np.float32)
    x = r.copy()
    x[17] = -r[17]
    x += np.random.default_rng(4).normal(size=r.shape).astype(np.float32) * 1e-3
    found = accuracy.compare({"y": x}, {"y": r}, Threshold(slice_rel_l2=0.5))
    (error,) = found.outputs
    assert (found.ok, error.slice) == (False, "[17, :]")


def test_a_wrong_column_of_a_complex_output_is_named_by_the_output_own_axes() -> None:
    rng = np.random.default_rng(5)
    r = (rng.normal(size=(64, 5)) + 1j * rng.normal(size=(64, 5))).astype(np.complex64) * np.array(
        [1e3, 1e3, 1, 1e3, 1e3]
    )
    x = r.copy()
    x[:, 2] = 0
    (error,) = judge(x, r, "fp16").outputs
    assert (error.slice, error.slice_rel_l2) == ("[:, 2]", pytest.approx(1))


def test_an_output_in_several_blocks_has_the_figures_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    r = rng.normal(size=(7, 5, 11, 3))
    x = r + rng.normal(size=r.shape) * 1e-2
    whole = judge(x, r, "fp16")
    for chunk in (1, 2, 3, 7, 33, 40, 165, 400):
        monkeypatch.setattr(accuracy, "_CHUNK", chunk)
        found = judge(x, r, "fp16")
        (one,), (other,) = whole.outputs, found.outputs
        assert (other.slice, other.rel_l2, other.slice_rel_l2) == (
            one.slice,
            pytest.approx(one.rel_l2),
            pytest.approx(one.slice_rel_l2),
        )


def network(seed: int, precision: str, rows: int, columns: int, last: Callable[[Array], Array]) -> Array:
    """Two random layers and ``last``, with every result rounded to the precision, as kernels do."""
    rng = np.random.default_rng([seed, 1])
    x, w = rng.normal(size=(rows, 32)), rng.normal(size=(32, 48)) / 32**0.5
    v, bias = rng.normal(size=(48, columns)) / 48**0.5, rng.normal(size=columns) * 0.5
    q = lambda values: rounded(values, precision).astype(np.float64)  # noqa: E731
    hidden = q(np.tanh(q(q(x) @ q(w))))
    return rounded(last(q(q(hidden @ q(v)) + q(bias))), precision)


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


ENDS: dict[str, Callable[[Array], Array]] = {
    "logits": lambda z: z,
    "softmax": softmax,
    "confident softmax": lambda z: softmax(20 * z),
    "sigmoid": lambda z: 1 / (1 + np.exp(-10 * z + 5)),
    "relu": lambda z: np.maximum(z, 0),
    "nearly dead relu": lambda z: np.maximum(z - 1.5, 0),
    "silu": lambda z: z / (1 + np.exp(-z)),
    "square": lambda z: z * z,
    "cube": lambda z: z**3,
    "gate": lambda z: z * np.roll(z, 1, -1),
    "scales": lambda z: z * np.logspace(-2, 3, z.shape[-1]),
    "offset": lambda z: z + 20.0,
    "centred": lambda z: z - z.mean(-1, keepdims=True),
    "zero columns": lambda z: z * (np.arange(z.shape[-1]) % 3 > 0),
    "masked": lambda z: np.where(np.arange(z.shape[-1]) % 3 > 0, z, -1e4),
    "one-hot": lambda z: np.eye(z.shape[-1])[np.arange(z.shape[0]) % z.shape[-1]] * z + 1e-3 * np.tanh(z),
}


@pytest.mark.parametrize("precision", ["fp32", *HALF])
@pytest.mark.parametrize("end", ENDS)
def test_rounding_errors_of_whole_networks_are_not_taken_for_wrong_slices(precision: str, end: str) -> None:
    limit = Threshold(slice_rel_l2=DEFAULT_THRESHOLDS[precision].slice_rel_l2)
    alarms = 0
    for seed in range(30):
        rows, columns = ((1, 300), (16, 40), (64, 3))[seed % 3]
        x, r = (network(seed, p, rows, columns, ENDS[end]) for p in (precision, "fp32"))
        if precision == "fp32":
            x = (x * (1 + 1e-6 * np.random.default_rng(seed).normal(size=x.shape))).astype(np.float32)
        alarms += not accuracy.compare({"y": x}, {"y": r}, limit, precision).ok
    assert alarms == 0


def test_digits_that_a_precision_cannot_show_are_no_error() -> None:
    r = np.geomspace(1e-12, 1e-8, 400).astype(np.float32).reshape(20, 20)
    x = rounded(r, "fp16")
    assert not x.any()
    limit = Threshold(slice_rel_l2=0.3)
    assert accuracy.compare({"y": x}, {"y": r}, limit, "fp16").ok
    assert not accuracy.compare({"y": x}, {"y": r}, limit, "bf16").ok  # which could show them


def alike(seed: int, classes: int, deviation: str, errors: str) -> tuple[Array, Array]:
    """Logits of 32 images that hardly differ, which deviate by 1 to 5 % of the class's own mean or of all classes', and
    the same with errors of 2 %, which may be common to all images as well.
    """
    rng = np.random.default_rng([seed, classes])
    mean = rng.normal(size=classes)
    size = np.abs(mean) if deviation == "own" else 1.0
    r = mean + (0.01, 0.03, 0.05)[seed % 3] * size * rng.normal(size=(32, classes))
    error = rng.normal(size=r.shape) * (0.1 if errors == "common" else 1)
    if errors == "common":
        error += rng.normal(size=classes)
    return r + 0.02 * np.sqrt((r * r).mean()) * error, r


@pytest.mark.parametrize("deviation", ["own", "typical"])
@pytest.mark.parametrize("errors", ["independent", "common"])
@pytest.mark.parametrize(("classes", "seeds"), [(2, 100), (10, 100), (100, 100), (1000, 100), (21843, 6)])
def test_columns_that_are_small_by_chance_are_not_taken_for_wrong(
    deviation: str, errors: str, classes: int, seeds: int
) -> None:
    verdicts = [judge(*alike(seed, classes, deviation, errors), "int8") for seed in range(seeds)]
    assert sum(not verdict.ok for verdict in verdicts) <= seeds // 100


@pytest.mark.parametrize("deviation", ["own", "typical"])
@pytest.mark.parametrize("classes", [10, 100, 1000, 21843])
def test_a_wrong_column_among_those_small_by_chance_is_named(deviation: str, classes: int) -> None:
    for seed in range(20 if classes < 2000 else 3):
        x, r = alike(seed, classes, deviation, "independent")
        norms = np.sqrt((r * r).mean(0) / (r * r).mean())
        wrong = int(np.flatnonzero(norms > 0.25)[seed % 3])
        x[:, wrong] = 0
        found = judge(x, r, "int8")
        (error,) = found.outputs
        assert not found.ok
        assert (error.slice, error.slice_rel_l2) == (f"[:, {wrong}]", pytest.approx(1))


def test_a_wrong_column_that_is_small_by_chance_is_named_where_errors_are_smaller() -> None:
    r = alike(1, 1000, "own", "independent")[1]
    wrong = int(np.abs(np.sqrt((r * r).mean(0)) - 0.02).argmin())
    x = rounded(r, "fp16")
    assert judge(x, r, "fp16").ok
    x[:, wrong] *= -1
    (error,) = judge(x, r, "fp16").outputs
    assert (error.slice, error.slice_rel_l2) == (f"[:, {wrong}]", pytest.approx(2, rel=0.01))


def test_columns_of_zero_that_are_more_than_chance_makes_so_small_are_not_ok() -> None:
    for seed in range(10):
        x, r = alike(seed, 1000, "own", "independent")
        few = np.random.default_rng(seed).choice(1000, 4, replace=False)
        r[:, few] *= 1e-5 / np.sqrt((r[:, few] ** 2).mean(0))
        x[:, few] = 0
        found = judge(x, r, "int8")
        (error,) = found.outputs
        assert not found.ok
        assert error.slice in [f"[:, {column}]" for column in few]


def test_columns_of_usual_size_are_judged_where_many_are_wrong() -> None:
    x, r = alike(1, 100, "own", "independent")
    x[:, np.flatnonzero(np.square(r).mean(0) > 0.5 * np.square(r).mean())[::2]] *= -1
    assert "slice_rel_l2" in accuracy.compare({"y": x}, {"y": r}, Threshold(slice_rel_l2=1.8), "int8").why


@pytest.mark.parametrize(
    "end",
    ["logits", "softmax", "sigmoid", "relu", "silu", "square", "cube", "gate", "offset", "centred", "zero columns"],
)
def test_networks_of_8_bits_whose_inputs_hardly_differ_have_no_wrong_parts(end: str) -> None:
    limit = Threshold(slice_rel_l2=DEFAULT_THRESHOLDS["int8"].slice_rel_l2)
    step = lambda values: np.rint(values / (np.abs(values).max() / 127)) * (np.abs(values).max() / 127)  # noqa: E731
    for seed in range(15):
        rows, columns = ((32, 10), (32, 100), (16, 1000))[seed % 3]
        rng = np.random.default_rng([seed, 1])
        x, w = rng.normal(size=32) + 0.03 * rng.normal(size=(rows, 32)), rng.normal(size=(32, 48)) / 32**0.5
        v = rng.normal(size=(48, columns)) / 48**0.5
        r = ENDS[end](np.tanh(x @ w) @ v)
        y = ENDS[end](step(np.tanh(step(step(x) @ step(w)))) @ step(v))
        assert accuracy.compare({"y": y}, {"y": r}, limit, "int8").ok
