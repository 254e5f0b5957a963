"""Whether two calls are alike: what is rounding, what is a change, and what is said of the verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.measure import repeat
from bench.measure.repeat import Changes
from bench.model.run import Accuracy
from bench.runtimes import repeats

Y = np.random.default_rng(1).normal(size=(16, 20)).astype(np.float32)
NAN = np.where(Y > 1, np.nan, Y)
INF = np.where(Y > 1, -np.inf, Y)
WRONG, RIGHT = Accuracy(ok=False, outputs=(), why="cosine 0 is below 1"), Accuracy(ok=True, outputs=())
STEP, NOISE = Changes(state=("step",)), Changes(outputs={"y": 0.5})


@pytest.mark.parametrize(
    ("second", "precision", "differs"),
    [
        (Y, "fp32", False),
        (Y * np.float32(1 + 1e-6), "fp32", False),
        (Y * np.float32(1 + 1e-2), "fp32", True),
        (Y * np.float32(1 + 2e-3), "fp16", False),
        (Y * np.float32(1 + 1e-2), "bf16", False),
        (Y * np.float32(1.1), "bf16", True),
        (Y[:8], "fp32", True),
        (NAN, "fp32", True),
        (INF, "fp32", True),
    ],
)
def test_a_difference_beyond_rounding_is_a_change(second: Any, precision: str, differs: bool) -> None:
    changed = repeat.between({"y": Y, "z": Y}, {"y": second, "z": Y}, precision)
    assert list(changed) == ["y"] * differs
    assert all(0 < part <= 1 for part in changed.values())


@pytest.mark.parametrize("array", [NAN, INF, np.arange(5), np.array(True), np.zeros((0, 3)), Y + 1j])
def test_an_output_of_any_kind_is_the_same_as_itself(array: Any) -> None:
    assert repeat.between({"y": array}, {"y": array.copy()}, "fp32") == {}


def test_one_integer_that_differs_is_a_change() -> None:
    one = np.arange(1000)
    other = one.copy()
    other[5] = 0
    assert list(repeat.between({"y": one}, {"y": other}, "fp32")) == ["y"]


def test_small_values_that_change_beside_large_ones_are_a_change() -> None:
    one, other = (np.concatenate([Y * 640, np.random.default_rng(n).uniform(size=Y.shape)], -1) for n in (2, 3))
    assert repeat.between({"y": one}, {"y": other}, "fp16")["y"] > 0.3


def test_the_program_is_named_before_the_reference() -> None:
    assert repeat.warnings(Changes(), Changes()) == ()
    for own, reference, by in ((STEP, STEP, "program"), (Changes(), STEP, "reference")):
        (warning,) = repeat.warnings(own, reference)
        assert (warning.kind, warning.figures) == ("StateChanges", {"names": ["step"], "more": 0, "by": by})
    many = Changes(state=tuple("abcdefg"), outputs=dict.fromkeys("abcdefg", 1.0))
    assert [warning.figures["more"] for warning in repeat.warnings(many, Changes())] == [2, 2]


@pytest.mark.parametrize(
    ("own", "reference", "why"),
    [
        (
            NOISE,
            NOISE,
            "the model's outputs change from call to call ('y'), as it draws random numbers, keeps state or",
        ),
        (Changes(), NOISE, "the model's outputs change from call to call ('y'), as it draws random numbers"),
        (NOISE, STEP, "the model's outputs change from call to call ('y'), as it keeps state (step): they have no"),
        (Changes(), STEP, "the model changes its state from call to call (step): only its first call has a reference"),
        (NOISE, Changes(), "the backend's outputs change from call to call ('y'), those of the reference do not"),
    ],
)
def test_the_verdict_on_calls_that_differ_says_whose_change_it_is(own: Changes, reference: Changes, why: str) -> None:
    verdict = repeat.explain(WRONG, own, reference)
    assert (verdict.ok, verdict.varies) == (False, True)
    assert verdict.why.startswith(why)
    assert repeat.explain(RIGHT, own, reference) == RIGHT


def test_the_verdict_on_calls_that_are_alike_stays() -> None:
    assert repeat.explain(WRONG, Changes(), Changes()) == WRONG


class Lane:
    """Returns what it is told, call by call."""

    def __init__(self, *outputs: dict[str, Any]) -> None:
        self.outputs = list(outputs)

    def call(self) -> None:
        self.outputs.pop(0)

    def read(self) -> dict[str, Any]:
        return self.outputs[0]


def test_a_reference_keeps_what_its_second_call_returned_otherwise(tmp_path: Path) -> None:
    first = {"y": Y, "n": NAN}
    repeats.write(tmp_path, Lane(first, {"y": -Y, "n": NAN}), first)  # type: ignore[arg-type]
    again, state = repeats.read(tmp_path)
    assert (list(again), state) == (["y"], [])
    assert repeat.of_reference(tmp_path, first) == Changes(outputs={"y": 1.0})


def test_a_reference_of_before_says_nothing_of_its_second_call(tmp_path: Path) -> None:
    assert not repeat.of_reference(tmp_path, {"y": Y})
