"""Whole runs whose models are built once, in a template."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import store
from tests.conftest import Trtbench
from tests.runner.model_kit import ModelRunner, model_runner

pytestmark = pytest.mark.workers


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelRunner]:
    with model_runner(tmp_path, monkeypatch, size=2) as runner:
        yield runner


REHEARSAL = """\
schema: 1
name: ahead
models:
  twice: {factory: "timm:net", args: {name: twice}, inputs: {x: {shape: [batch, 2]}}}
  once: {factory: "timm:net", args: {name: once}, inputs: {x: {shape: [1, 2]}}}
matrix: {model: [twice], batch: [1, 2], backend: ahead, include: [{model: once, backend: ahead}]}
measure: {replicates: 1, max_time: 1s}
"""


def test_in_a_run_workers_find_their_models(
    trtbench: Trtbench, runner: ModelRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = runner.folder / "ahead.yaml"
    suite.write_text(REHEARSAL)
    monkeypatch.setenv("PYTHONPATH", str(runner.folder))
    assert trtbench("run", suite, "--prestart", 2, "--fork", "--progress", "json") == 0, trtbench.err
    measured = sorted(path.read_text() for path in runner.folder.glob("measured-*"))
    assert measured == ["once ['once']", "twice ['twice']", "twice ['twice']"]
    built = [event for event in trtbench.events() if event["event"] == "step" and event.get("work") == "preload"]
    assert sorted((event["label"], event["phase"]) for event in built) == [
        (label, phase) for label in ("once/ahead/fp32", "twice/ahead/fp32/batch=1") for phase in ("load", "start")
    ]
    (run,) = trtbench.runs()
    assert [record.failure for record in run.records] == [None] * 3
    assert "note" not in {event["event"] for event in trtbench.events()}
    assert trtbench("run", suite, "--prestart", 2, "--no-fork") == 0
    assert len(list(runner.folder.glob("measured-*"))) == 6
    assert sorted(path.read_text() for path in runner.folder.glob("measured-*"))[-1] == "twice []"


def test_a_log_says_once_which_model_each_worker_builds_itself(
    trtbench: Trtbench, runner: ModelRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = runner.folder / "ahead.yaml"
    suite.write_text(REHEARSAL.replace("args: {name: twice}", "args: {name: twice, way: raises}"))
    monkeypatch.setenv("PYTHONPATH", str(runner.folder))
    assert trtbench("run", suite, "--prestart", 2, "--fork", "--progress", "plain") == 0, trtbench.err
    assert trtbench.err.count("each worker builds twice itself: ValueError: no such layer\n") == 1
    assert "once itself" not in trtbench.err


@pytest.mark.long
def test_a_model_that_stops_its_process_is_a_timeout_and_the_others_are_measured(
    trtbench: Trtbench, runner: ModelRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = runner.folder / "ahead.yaml"
    stops = REHEARSAL.replace("args: {name: twice}", "args: {name: twice, way: stops}")
    suite.write_text(stops.replace("batch: [1, 2]", "batch: 1").replace("max_time: 1s", "max_time: 1s, timeout: 10s"))
    monkeypatch.setenv("PYTHONPATH", str(runner.folder))
    assert trtbench("run", suite, "--prestart", 2, "--fork", "--progress", "plain") == 1, trtbench.err
    assert trtbench.err.count("each worker builds twice itself: building it takes more than 10.0 s\n") == 1
    (run,) = trtbench.runs()
    kinds = {record.label.partition("/")[0]: record.failure and record.failure.kind for record in run.records}
    assert kinds == {"twice": "Timeout", "once": None}


SUITE = """\
schema: 1
name: ahead
device: cpu
models:
  bert:
    factory: transformers:BertModel
    config: {transformers: BertConfig, num_hidden_layers: 1, hidden_size: 64, num_attention_heads: 2, vocab_size: 99}
    inputs: {input_ids: {shape: [batch, 8], dtype: int64, range: [0, 99]}}
matrix: {backend: eager, batch: [1, 2]}
measure: {boundaries: [latency], replicates: 2, max_time: 1s}
"""


@pytest.mark.long
@pytest.mark.torch
def test_a_run_builds_a_model_once_and_counts_the_time(trtbench: Trtbench, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    suite = tmp_path / "ahead.yaml"
    suite.write_text(SUITE)
    assert trtbench("run", suite, "--prestart", 2, "--fork", "--progress", "json") == 0
    events = [event for event in trtbench.events() if event["event"] == "step"]
    built = [event["phase"] for event in events if event.get("work") == "preload" and event["phase"] == "load"]
    assert built == ["load"]
    assert not [event for event in trtbench.events() if event["event"] == "note"]
    run = store.read(store.runs(trtbench.store)[0])
    assert len(run.records) == 4
    assert all(record.accuracy is not None and record.accuracy.ok for record in run.records)
    assert all("load" in {phase.name for phase in record.phases} for record in run.records)
    [end] = [event for event in trtbench.events() if event["event"] == "end"]
    whole: dict[str, int] = end["times"]  # type: ignore[assignment]
    assert sum(whole.values()) > sum(sum(record.times.values()) for record in run.records)
