"""Outputs against the quantized reference: what the runtime itself adds."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

from bench.measure import accuracy
from bench.model.run import Accuracy, Warning
from bench.model.suite import Threshold
from bench.report.warnings import describe
from tests.measure.accuracy_kit import X, only


def against(
    x: Any, quantized: Any, limit: float | None = None, rounded: Any = None
) -> tuple[Accuracy, tuple[Warning, ...]]:
    """X's verdict as fp32 and ``x`` as the outputs of a runtime, against those of a quantized reference, which has also
    outputs ``rounded`` between its layers if there are some.
    """
    outputs = {"y": np.asarray(x)}
    verdict = accuracy.compare(outputs, {"y": X}, Threshold(quantized_cosine=limit))
    if rounded is None:
        return accuracy.compare_quantized(verdict, outputs, {"y": np.asarray(quantized)})
    return accuracy.compare_quantized(verdict, outputs, {"y": np.asarray(quantized)}, {"y": np.asarray(rounded)})


def test_an_output_as_the_quantized_reference_has_it_keeps_both_figures() -> None:
    found, told = against(X + 0.01, X + 0.01)
    assert (found.ok, told) == (True, ())
    assert (only(found).quantized_cosine, only(found).quantized_sqnr) == (1.0, None)
    assert only(found).cosine != 1.0


def at_cosine(value: float) -> Any:
    """X with as much of what is orthogonal to it that the cosine between both is ``value``."""
    other = np.random.default_rng(2).normal(size=X.shape)
    other -= X * (X * other).sum() / (X * X).sum()
    return X * value + other * math.sqrt(1 - value**2) * np.linalg.norm(X) / np.linalg.norm(other)


@pytest.mark.parametrize(("cosine", "is_told"), [(0.9991, False), (0.9989, True)])
def test_below_a_thousandth_there_is_a_warning_and_the_verdict_stays(cosine: float, is_told: bool) -> None:
    found, told = against(X, at_cosine(cosine))
    assert found.ok
    assert only(found).quantized_cosine == pytest.approx(cosine, abs=1e-6)
    assert [warning.kind for warning in told] == ["NotAsQuantized"] * is_told
    for warning in told:
        assert (
            "cosine is 0.9989 for output 'y' (1 with fp32), where at least 0.999 is expected" in describe(warning).text
        )


@pytest.mark.parametrize(("cosine", "ok"), [(0.96, True), (0.94, False)])
def test_a_limit_decides_in_place_of_the_warning(cosine: float, ok: bool) -> None:
    found, told = against(X, at_cosine(cosine), limit=0.95)
    assert (found.ok, told) == (ok, ())
    assert found.why == ("" if ok else "output 'y': quantized_cosine 0.94 is below 0.95")


@pytest.mark.parametrize(
    ("cosine", "rounding", "kind"),
    [
        (0.9991, 0.9, ""),  # agrees, though rounding would not
        (0.98, 0.99, "AmplifiesRounding"),
        (0.9799, 0.99, "NotAsQuantized"),  # more than twice as far
        (0.9985, 0.9992, "AmplifiesRounding"),
        (0.5, 0.999995, "NotAsQuantized"),
        (-1, 0.3, "NotAsQuantized"),
        (0.1, 0.05, "AmplifiesRounding"),
    ],
)
def test_what_rounding_explains_is_not_blamed_on_the_runtime(cosine: float, rounding: float, kind: str) -> None:
    found, told = against(at_cosine(cosine), X, rounded=at_cosine(rounding))
    assert found.ok
    assert only(found).rounding_cosine == pytest.approx(rounding, abs=1e-6)
    assert [warning.kind for warning in told] == [kind] * bool(kind)
    for warning in told:
        (seen,) = warning.figures["outputs"].values()
        assert seen["cosine"] == pytest.approx(cosine, abs=1e-6)
        assert seen["rounding_cosine"] == only(found).rounding_cosine
        assert format(rounding, ".6g") in describe(warning).text


def test_each_output_is_judged_by_its_own_rounding() -> None:
    quantized, outputs = dict.fromkeys("abc", X), dict.fromkeys("abc", at_cosine(0.99))
    rounded = {"a": at_cosine(0.98), "b": at_cosine(0.9999)}  # c has none
    verdict = accuracy.compare(outputs, quantized, Threshold())
    found, told = accuracy.compare_quantized(verdict, outputs, quantized, rounded)
    assert found.outputs[2].rounding_cosine is None
    assert {warning.kind: [*warning.figures["outputs"]] for warning in told} == {
        "AmplifiesRounding": ["a"],
        "NotAsQuantized": ["b", "c"],
    }


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_rounding_that_is_not_finite_excuses_nothing(value: float) -> None:
    found, (warning,) = against(at_cosine(0.99), X, rounded=X * value)
    assert (only(found).rounding_cosine, warning.kind) == (None, "NotAsQuantized")


def test_a_limit_stays_one_whatever_rounding_does() -> None:
    found, (warning,) = against(at_cosine(0.94), X, limit=0.95, rounded=at_cosine(0.93))
    assert (found.ok, found.why) == (False, "output 'y': quantized_cosine 0.94 is below 0.95")
    assert (warning.kind, warning.figures["least"]) == ("AmplifiesRounding", 0.95)
    assert against(at_cosine(0.96), X, limit=0.95, rounded=at_cosine(0.93))[1] == ()
    assert against(at_cosine(0.8), X, limit=0.95, rounded=at_cosine(0.93))[1] == ()


def test_a_value_beyond_its_limit_has_the_digits_that_show_it() -> None:
    assert accuracy.beside_limit("cosine", 0.94, "is below", 0.95) == "cosine 0.94 is below 0.95"
    close = accuracy.beside_limit("quantized_cosine", 0.9999999999999973, "is below", 1.0)
    assert close == "quantized_cosine 0.999999999999997 is below 1"
    found, _ = against(X, at_cosine(1 - 1e-9), limit=1.0)
    shown = re.fullmatch(r"output 'y': quantized_cosine (0\.9{6}\d+) is below 1", found.why)
    assert shown
    assert float(shown[1]) < 1


def test_a_quantized_reference_that_is_not_finite_is_told() -> None:
    found, (warning,) = against(X, X * np.inf)
    assert (found.ok, only(found).quantized_cosine) == (True, None)
    assert "their cosine is undefined for output 'y'" in describe(warning).text
    found, told = against(X, X * np.inf, limit=0.95)
    assert (found.ok, told, found.why) == (False, (), "output 'y': quantized_cosine is undefined")


def test_of_an_output_that_is_nan_the_verdict_says_all() -> None:
    found, told = against(X * np.nan, X)
    assert (found.ok, told, only(found).quantized_cosine) == (False, (), None)
