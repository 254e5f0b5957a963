"""A user's metric is loaded from beside the suite, called with outputs and reference, and held to its promise."""

from pathlib import Path

import numpy as np
import pytest

from bench.errors import SuiteError
from bench.measure import metric

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
        ("gone.py:top1", "is not there"),
        ("zoo.py:top2", "no function 'top2'"),
        ("zoo.py:words", "returned str"),
        ("zoo.py:unbounded", "no finite number for 'x'"),
        ("zoo.py:nothing", "no finite number for '{x}'"),
        ("zoo.py:raises", "zoo.py:raises raised ZeroDivisionError: division by zero"),
        ("zoo.py:leaves", "raised SystemExit"),
        ("zoo.py:PLACE", "no function 'PLACE'"),
        ("bad.py:top1", "bad.py raised NameError: name 'nothing' is not defined"),
    ],
)
def test_a_metric_that_breaks_its_promise_is_told(tmp_path: Path, spec: str, message: str) -> None:
    (tmp_path / "zoo.py").write_text(ZOO)
    (tmp_path / "bad.py").write_text("nothing")
    with pytest.raises(SuiteError, match=message) as caught:
        metric.evaluate(spec, tmp_path, GOT, WANTED)
    assert caught.value.fix
