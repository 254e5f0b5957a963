"""Whole runs of models whose factories do not return: what that costs, and what is measured all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.runner.hung_factories import in_factory
from tests.conftest import Trtbench

pytestmark = [pytest.mark.workers, pytest.mark.torch, pytest.mark.long]

ZOO = """\
import signal
import torch

def hangs():
    signal.pause()

def good():
    return torch.nn.Linear(3, 3)
"""
SUITE = """\
schema: 1
device: cpu
models:
  hangs: {factory: zoo.py:hangs, inputs: {input: {shape: [b, 3]}}}
  good: {factory: zoo.py:good, inputs: {input: {shape: [2, 3]}}}
matrix: {backend: eager, b: [1, 2, 4]}
measure: {replicates: 1, max_time: 1s, warmup: 0s, boundaries: [latency], timeout: 40s}
"""


def test_a_run_calls_it_once_for_each_size_that_is_made_at_the_same_time(trtbench: Trtbench, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "zoo.py").write_text(ZOO)
    (tmp_path / "s.yaml").write_text(SUITE)
    assert trtbench("run", tmp_path / "s.yaml", "--prestart", 2, "--progress", "json") == 1, trtbench.err
    (run,) = trtbench.runs()
    failures = [record.failure for record in run.records if record.label.startswith("hangs")]
    assert len(failures) == 3
    assert all(failure is not None and failure.stage.endswith(": factory of hangs") for failure in failures)
    assert sum("not begun" in failure.message for failure in failures if failure) == 1
    assert [record.failure for record in run.records if record.label.startswith("good")] == [None]
    events = trtbench.events()
    calls = [event for event in events if event["event"] == "step" and "factory of hangs" in str(event["phase"])]
    assert len(calls) == 3  # counting, and two references beside it
    assert not [event for event in events if event["event"] == "note" and "made again alone" in str(event["text"])]


LATER_ZOO = """\
import signal
from pathlib import Path
import torch

def net():
    if Path(__file__).with_name("hang").exists():
        signal.pause()
    return torch.nn.Linear(3, 3)
"""
LATER_SUITE = """\
schema: 1
device: cpu
models: {net: {factory: zoo.py:net, inputs: {input: {shape: [b, 3]}}}}
matrix: {backend: [eager, torchscript, onnxruntime], b: [1, 2]}
measure: {replicates: 1, max_time: 1s, warmup: 0s, boundaries: [latency], timeout: 60s}
"""


def test_it_hangs_as_cases_are_measured_whose_references_are_there(trtbench: Trtbench, tmp_path: Path) -> None:
    for package in ("torch", "onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    suite = tmp_path / "s.yaml"
    (tmp_path / "zoo.py").write_text(LATER_ZOO)
    suite.write_text(LATER_SUITE)
    words = ["--prestart", 2, "--fork"]
    assert trtbench("run", suite, *words) == 0, trtbench.err
    suite.write_text(LATER_SUITE.replace("60s", "5s"))
    assert trtbench("run", suite, "--select", "backend=eager", *words) == 0, trtbench.err
    before = {run.path for run in trtbench.runs()}
    measured = max(before)

    (tmp_path / "hang").touch()
    assert trtbench("run", suite, *words) == 1
    (run,) = [run for run in trtbench.runs() if run.path not in before]
    failures = {record.label: record.failure for record in run.records}
    assert [failures.pop(f"net/onnxruntime/fp32/b={b}") for b in (1, 2)] == [None, None]  # they run what was exported
    first, *others = failures.values()
    assert first is not None
    assert in_factory(first, "net")
    message = f"not begun, as the same factory did not return in {run.records[0].label}: {first.message}"
    assert [failure.message for failure in others if failure] == [message] * 3

    assert run.footer is not None
    assert run.footer.status == "interrupted"
    assert "before all of its plan was measured" in trtbench.out
    assert f"trtbench run --resume {run.path}" in trtbench.out

    words = ["--select", "backend=eager", "--tool", "torch"]
    assert trtbench("profile", suite, *words) == 1
    assert trtbench.err.count("no result within 5.00 s") == 2
    assert trtbench.err.count("not begun, as the same factory did not return in net/eager/fp32/b=1: no result") == 1

    # What a run had measured before it is resumed is measured again, and not held to what others meet.
    assert trtbench("run", "--resume", Path(measured).stem, "--replicates", 2, "--prestart", 2) == 1, trtbench.err
    (other,) = [run for run in trtbench.runs() if run.path == measured]
    again = [record.failure for record in other.records if record.replicate == 1]
    assert [failure is not None and in_factory(failure, "net") for failure in again] == [True, True]

    # A factory that was slow once: what was not begun is measured, and what has hung is not tried again.
    (tmp_path / "hang").unlink()
    words = ["--select", "backend=eager", "--prestart", 2]
    assert trtbench("run", "--resume", run.header.run, *words) == 1, trtbench.err
    (again_run,) = [each for each in trtbench.runs() if each.path == run.path]
    last = {record.label: record.failure for record in again_run.records}
    assert [last[f"net/eager/fp32/b={b}"] for b in (1, 2)] == [first, None]
