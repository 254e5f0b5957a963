"""A metric is looked at before anything is measured, and a rehearsal does not fail for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.model.suite import Limit
from tests.conftest import FAKE_SUITE, Trtbench

pytestmark = pytest.mark.workers

METRIC = """
def score(outputs, reference):
    return {"map50": 0.5, "outputs": len(outputs)}

def top1(outputs, reference):
    return {"top1": float((outputs["logits"] == reference["logits"]).mean())}

def one(outputs):
    return {}
"""


def suite(folder: Path, *lines: str) -> Path:
    text = FAKE_SUITE.format(backends="[fake]", replicates=1, timeout="60s")
    text = text.replace("batch: [1, 8]", "batch: [1]")
    (folder / "metric.py").write_text(METRIC)
    path = folder / "suite.yaml"
    path.write_text(text.replace("matrix:", "".join(f"    {line}\n" for line in lines) + "matrix:"))
    return path


@pytest.mark.parametrize(
    ("metric", "what"),
    [
        ("none.py:score", "the metric's file 'none.py' is not beside the suite"),
        ("metric.py:scor", "metric.py has no function 'scor'. Did you mean 'score'?"),
        ("metric.py:one", "metric.py:one cannot be called with outputs and reference"),
    ],
)
def test_a_metric_that_cannot_be_called_ends_the_run_before_a_file_is_written(
    trtbench: Trtbench, tmp_path: Path, metric: str, what: str
) -> None:
    assert trtbench("run", suite(tmp_path, f"metric: {metric}")) == 2
    assert what in trtbench.err
    assert "fix: " in trtbench.err
    assert not trtbench.runs()


def test_the_limits_of_a_metric_are_of_no_weight_in_a_rehearsal(trtbench: Trtbench, tmp_path: Path) -> None:
    assert trtbench("run", suite(tmp_path, "metric: metric.py:score", "limits: {map50: {min: 0.6}}")) == 0
    (run,) = trtbench.runs()
    (record,) = run.records
    assert record.accuracy is not None
    assert record.accuracy.metric == {"map50": 0.5, "outputs": float(len(record.accuracy.outputs))}
    assert (record.accuracy.ok, record.accuracy.why) == (True, "")
    assert run.header.limits["net"] == {"map50": Limit(min=0.6)}


def test_a_metric_that_needs_the_models_own_outputs_does_not_fail_a_rehearsal(
    trtbench: Trtbench, tmp_path: Path
) -> None:
    assert trtbench("run", suite(tmp_path, "metric: metric.py:top1", "limits: {top1: {min: 0.6}}")) == 0
    (run,) = trtbench.runs()
    (record,) = run.records
    assert record.failure is None
    assert record.accuracy is not None
    assert (record.accuracy.ok, record.accuracy.metric) == (True, {})
    assert "MetricNotRehearsed: metric.py:top1 was not computed: KeyError: 'logits'" in trtbench.out


def test_a_limit_of_a_number_that_the_metric_lacks_is_a_row(trtbench: Trtbench, tmp_path: Path) -> None:
    assert trtbench("run", suite(tmp_path, "metric: metric.py:score", "limits: {map: {min: 0.5}}")) == 1
    (run,) = trtbench.runs()
    failure = run.records[0].failure
    assert failure is not None
    assert failure.message == "metric.py:score returned no 'map', which has a limit. Did you mean 'map50'?"
    assert failure.hint == "limits: those of map50, outputs"
