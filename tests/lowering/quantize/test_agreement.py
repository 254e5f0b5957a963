"""The user's metric of outputs and reference for `trtbench quantize`, and what is wrong with one."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from bench.errors import SuiteError
from bench.lowering.quantize import agreement

METRICS = """
import numpy as np
def score(outputs, reference): return {"mae": np.float32(0.5), "odd": float("nan")}
def raises(outputs, reference):
    raise ValueError("no boxes")
def ends(outputs, reference): raise SystemExit(3)
def five(outputs, reference): return 5
def none(outputs, reference): pass
def empty(outputs, reference): return {}
def text(outputs, reference): return {"map": "good"}
"""
OUTPUTS = {"y": np.ones((2, 3), np.float32)}


def test_numbers_of_a_metric_are_as_it_returns_them(tmp_path: Path) -> None:
    (tmp_path / "met.py").write_text(METRICS)
    values = agreement.of_user("met.py:score", tmp_path)(OUTPUTS, OUTPUTS)
    assert values["mae"] == 0.5
    assert math.isnan(values["odd"])


@pytest.mark.parametrize(
    ("spec", "message", "fix"),
    [
        ("met.py:raises", "met.py:raises raised ValueError: no boxes (met.py:5)", "correct the function in met.py"),
        ("met.py:ends", "met.py:ends ended Python (exit code 3) (met.py:6)", "correct the function in met.py"),
        ("met.py:five", "met.py:five returned int in place of numbers by name", "return {'map': 0.5}"),
        ("met.py:none", "met.py:none returned None in place of numbers by name", "return {'map': 0.5}"),
        ("met.py:empty", "met.py:empty returned no number in place of numbers by name", "return {'map': 0.5}"),
        ("met.py:text", "met.py:text returned no number for 'map' but str", "return {'map': 0.5}"),
        ("bad.py:score", "bad.py ended Python (exit code 0) (bad.py:1)", "def score(outputs, reference)"),
    ],
)
def test_a_metric_that_breaks_its_promise_is_named_with_its_line(
    tmp_path: Path, spec: str, message: str, fix: str
) -> None:
    (tmp_path / "met.py").write_text(METRICS)
    (tmp_path / "bad.py").write_text("raise SystemExit")
    with pytest.raises(SuiteError) as caught:
        agreement.of_user(spec, tmp_path)(OUTPUTS, OUTPUTS)
    assert (caught.value.where, caught.value.what) == ("--metric", message)
    assert fix in caught.value.fix


def test_a_network_that_is_fp32_has_a_cosine_of_one() -> None:
    values = np.random.default_rng(0).random((2, 1001), np.float32)
    assert agreement.agreement({"y": values}, {"y": values}) == {"top1": 1.0, "cosine": 1.0, "sqnr": math.inf}
