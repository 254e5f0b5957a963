"""A user's metric is loaded from beside the suite, called with outputs and reference, and held to its promise."""

from pathlib import Path

import numpy as np
import pytest

from bench.errors import SuiteError
from bench.measure import metric
from bench.model.run import Accuracy
from bench.model.suite import Limit

ZOO = """
def top1(outputs, reference):
    return {"agreement": float((outputs["y"].argmax(-1) == reference["y"].argmax(-1)).mean())}

def words(outputs, reference):
    return "good"

def raises(outputs, reference):
    return {"x": 1 / 0}

def leaves(outputs, reference):
    raise SystemExit

def nothing(outputs, reference):
    return {"{x}": None}

PLACE = 7

def unbounded(outputs, reference):
    return {"x": float("inf")}
"""
GOT = {"y": np.array([[1.0, 2.0], [3.0, 0.0]])}
WANTED = {"y": np.array([[0.0, 1.0], [0.0, 1.0]])}


def test_the_metric_sees_outputs_and_reference(tmp_path: Path) -> None:
    (tmp_path / "zoo.py").write_text(ZOO)
    assert metric.evaluate("zoo.py:top1", tmp_path, GOT, WANTED) == {"agreement": 0.5}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("gone.py:top1", "is not beside the suite"),
        ("zoo.py:top2", "no function 'top2'"),
        ("zoo.py:words", "returned str"),
        ("zoo.py:unbounded", "no finite number for 'x'"),
        ("zoo.py:nothing", "no finite number for '{x}'"),
        ("zoo.py:raises", r"zoo.py:raises raised ZeroDivisionError: division by zero \(zoo.py:9\)"),
        ("zoo.py:leaves", r"zoo.py:leaves ended Python \(exit code 0\) \(zoo.py:12\)"),
        ("zoo.py:PLACE", "no function 'PLACE'"),
        ("bad.py:top1", r"bad.py raised NameError: name 'nothing' is not defined \(bad.py:1\)"),
    ],
)
def test_a_metric_that_breaks_its_promise_is_told(tmp_path: Path, spec: str, message: str) -> None:
    (tmp_path / "zoo.py").write_text(ZOO)
    (tmp_path / "bad.py").write_text("nothing")
    with pytest.raises(SuiteError, match=message) as caught:
        metric.evaluate(spec, tmp_path, GOT, WANTED)
    assert caught.value.fix


def test_a_metric_is_loaded_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "zoo.py").write_text(ZOO + "\n\ndef one(outputs):\n    return {}\n")
    assert metric.load("zoo.py:top1", tmp_path)(GOT, WANTED) == {"agreement": 0.5}
    with pytest.raises(SuiteError, match=r"has no function 'topp1'\. Did you mean 'top1'\?"):
        metric.load("zoo.py:topp1", tmp_path)
    with pytest.raises(SuiteError, match="cannot be called with outputs and reference: too many positional"):
        metric.load("zoo.py:one", tmp_path)


@pytest.mark.parametrize(
    ("limits", "ok", "why"),
    [
        ({}, True, ""),
        ({"map50": Limit(min=0.5, max=0.5)}, True, ""),
        ({"map50": Limit(min=0.6)}, False, "metric map50 0.5 is below 0.6"),
        (
            {"map50": Limit(max=0.4), "loss": Limit(max=1)},
            False,
            "metric map50 0.5 is above 0.4; metric loss 2 is above 1",
        ),
    ],
)
def test_a_number_beyond_its_limit_is_not_accurate_and_told(limits: dict[str, Limit], ok: bool, why: str) -> None:
    values = {"map50": 0.5, "loss": 2.0}
    verdict = metric.judge(Accuracy(ok=True, outputs=()), values, limits, "zoo.py:score")
    assert (verdict.ok, verdict.why, verdict.metric) == (ok, why, values)


def test_outputs_that_are_wrong_stay_wrong_whatever_the_metric_says() -> None:
    verdict = metric.judge(
        Accuracy(ok=False, outputs=(), why="cosine"), {"a": 1.0}, {"a": Limit(min=2)}, "zoo.py:score"
    )
    assert (verdict.ok, verdict.why) == (False, "cosine; metric a 1 is below 2")


def test_a_limit_of_a_number_that_is_not_there_is_told() -> None:
    with pytest.raises(SuiteError, match=r"zoo\.py:score returned no 'mapp'.*Did you mean 'map'\?"):
        metric.judge(Accuracy(ok=True, outputs=()), {"map": 1.0}, {"mapp": Limit(min=2)}, "zoo.py:score")
