"""What a worker finds out about a backend reaches the record, and from there every way to show it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from bench.backends import base
from bench.errors import OutOfMemory
from bench.model.lanes import Lane
from bench.model.run import Record
from bench.model.suite import Case, Limit, Policy, Precision, Threshold
from bench.report import export, text
from bench.report.warnings import describe
from bench.runner import jobs
from bench.runner.phase_log import PhaseLog, Wire
from bench.runner.worker_jobs import produce
from bench.runner.worker_measure import measure
from bench.runtimes.torch import lane
from tests.backends.kit import HERE, IMAGES
from tests.report.conftest import make

pytestmark = pytest.mark.workers

pytest.importorskip("torch")
SHORT = Policy(boundaries=("latency",), warmup_calls=1, warmup_ns=0, min_samples=6, max_samples=6, warmup_limit_ns=1)


class Silent(Wire):
    """Sends to nobody."""

    def __init__(self) -> None:
        pass

    def send(self, reply: jobs.Reply) -> None:
        pass


def measured(case: Case, root: Path, policy: Policy = SHORT, threshold: Threshold = Threshold()) -> Record:
    """The record of ``case``, measured in this process as a worker would."""
    scratch = root / "scratch"
    scratch.mkdir()
    common = {"device": "cpu", "case": case, "scratch": str(scratch), "suite_dir": str(HERE), "cold": True}
    log, made = PhaseLog(Silent()), {}
    for stage in base.load(case.backend).stages(case):
        out = root / stage.name
        out.mkdir()
        produce(jobs.Produce(stage=stage, artifacts=made, out=str(out), **common), log)
        made = {**made, stage.name: str(out)}
    job = jobs.Measure(policy=policy, threshold=threshold, artifacts=made, **common)
    return measure(job, log).record


@pytest.mark.torch
@pytest.mark.parametrize("factory", ["zoo.py:in_place", "zoo.py:rectifies"])
@pytest.mark.parametrize(
    ("backend", "precision"),
    [
        ("eager", "fp32"),
        ("eager", "bf16"),
        ("torchscript", "fp32"),
        pytest.param("inductor", "fp32", marks=pytest.mark.long),
        pytest.param("aoti", "fp32", marks=pytest.mark.long),
    ],
)
def test_a_model_that_changes_its_input_in_place_is_unsupported_and_never_timed(
    tmp_path: Path, factory: str, backend: str, precision: Precision
) -> None:
    lacks = base.load(backend).missing()
    if lacks is not None:
        pytest.skip(f"{lacks.reason}; {lacks.fix}")
    record = measured(Case(model="net", factory=factory, inputs=IMAGES, backend=backend, precision=precision), tmp_path)
    assert record.failure is not None
    assert (record.failure.kind, record.failure.stage) == ("Unsupported", "first_call")
    assert record.failure.message == "the model changes its input 'x' in place"
    assert "x.clone()" in record.failure.hint
    assert record.measurements == ()


@pytest.mark.torch
@pytest.mark.parametrize(
    ("precision", "options"),
    [("fp32", {}), ("fp16", {}), ("bf16", {"memory_format": "channels_last"}), ("bf16", {"autocast": True})],
)
def test_inputs_that_were_converted_are_not_taken_for_changed(
    tmp_path: Path, precision: Precision, options: dict[str, object]
) -> None:
    case = Case(model="net", factory="zoo.py:net", inputs=IMAGES, backend="eager", precision=precision, options=options)
    record = measured(case, tmp_path)
    assert record.failure is None
    assert [m.boundary for m in record.measurements] == ["latency"]


@pytest.mark.torch
def test_a_further_lane_that_finds_no_memory_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = lane.TorchPrepared.lanes

    def lanes(self: lane.TorchPrepared, count: int) -> Sequence[Lane]:
        if count > 2:
            raise OutOfMemory("no room")
        return made(self, count)

    monkeypatch.setattr(lane.TorchPrepared, "lanes", lanes)
    case = Case(model="net", factory="zoo.py:net", inputs=IMAGES, backend="eager", streams=4)
    policy = msgspec.structs.replace(SHORT, boundaries=("throughput",), throughput_ns=1)
    record = measured(case, tmp_path, policy)
    assert record.failure is None
    assert [m.lane_count for m in record.measurements] == [2]
    assert "FewerLanes" in [warning.kind for warning in record.warnings]


@pytest.mark.torch
@pytest.mark.parametrize(
    "text", ["CUDA out of memory. Tried to allocate 2 MiB", "[E:onnxruntime] Failed to allocate memory"]
)
def test_a_further_lane_whose_first_call_finds_no_memory_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    made = lane.TorchLane.call
    seen: list[lane.TorchLane] = []

    def call(self: lane.TorchLane) -> None:
        seen.extend([self] * (self not in seen))
        if seen.index(self) > 1:  # the first one made the reference
            raise RuntimeError(text)
        made(self)

    monkeypatch.setattr(lane.TorchLane, "call", call)
    case = Case(model="net", factory="zoo.py:net", inputs=IMAGES, backend="eager", streams=2)
    record = measured(case, tmp_path, msgspec.structs.replace(SHORT, boundaries=("throughput",), throughput_ns=1))
    assert record.failure is None
    assert [m.lane_count for m in record.measurements] == [1]
    (fewer,) = [warning for warning in record.warnings if warning.kind == "FewerLanes"]
    assert fewer.figures == {"cause": "memory", "lanes": 1, "requested": 2}
    assert describe(fewer).text.startswith("memory had room for 1 of 2 lanes")


@pytest.mark.torch
def test_a_metric_that_raises_is_the_suites_fault_and_leaves_what_was_found_before(tmp_path: Path) -> None:
    case = Case(model="net", factory="zoo.py:net", inputs=IMAGES, backend="eager", metric="zoo.py:divides")
    record = measured(case, tmp_path)
    assert record.failure is not None
    assert (record.failure.kind, record.failure.stage) == ("SuiteError", "validate")
    assert record.failure.message.startswith("zoo.py:divides raised ZeroDivisionError: division by zero (zoo.py:")
    assert "fix it" in record.failure.hint
    assert record.accuracy is not None
    assert record.accuracy.ok
    assert record.fairness["graph_capture"] == "none"
    assert (record.fairness["input_dtypes"], record.fairness["output_dtypes"]) == (["float32"], ["float32"])
    assert record.measurements


@pytest.mark.torch
@pytest.mark.parametrize(("least", "why"), [(-1e9, ""), (1e9, "metric total")])
def test_a_limit_of_the_metric_decides_with_the_accuracy(tmp_path: Path, least: float, why: str) -> None:
    case = Case(model="net", factory="zoo.py:net", inputs=IMAGES, backend="eager", metric="zoo.py:totals")
    limits = Threshold(metric={"total": Limit(min=least)})
    record = measured(case, tmp_path, threshold=limits)
    assert record.accuracy is not None
    assert (record.accuracy.ok, " ".join(record.accuracy.why.split()[:2])) == (not why, why)


def test_the_end_of_the_saturated_loop_is_told_at_once() -> None:
    told = []

    class Told(Silent):
        def send(self, reply: jobs.Reply) -> None:
            assert isinstance(reply, jobs.Doing)
            told.append((reply.phase, reply.timed))

    log = PhaseLog(Told())
    with log("measure"):
        pass
    with log("saturate"):
        told.append(("in it", True))
    assert told == [("measure", True), ("saturate", True), ("in it", True), ("saturated", False)]
    assert [phase.name for phase in log.phases] == ["measure", "saturate"]


@pytest.mark.torch
def test_a_model_whose_last_layer_is_zero_is_told(tmp_path: Path) -> None:
    case = Case(model="net", factory="zoo.py:begins_at_zero", inputs=IMAGES, backend="eager", precision="bf16")
    record = measured(case, tmp_path)
    assert record.accuracy is not None
    assert record.accuracy.ok
    (blind,) = [warning for warning in record.warnings if warning.kind == "BlindReference"]
    assert (blind.figures["constant"], blind.figures["repeated"]) == ({"logits": 0}, [])
    assert "output 'logits' is 0 everywhere" in describe(blind).text
    assert "map" not in describe(blind).text
    assert " ok " in text.render(make([case], [record]), width=160)  # as another output depends on the inputs


@pytest.mark.torch
@pytest.mark.parametrize(
    ("metric", "ranks", "sentence"),
    [
        ("", False, "the accuracy says nothing, so the case does not rank"),
        ("zoo.py:totals", True, "only zoo.py:totals judges the outputs"),
        ("zoo.py:says_nothing", False, "zoo.py:says_nothing returned no number, so the case does not rank"),
    ],
)
def test_only_a_metric_judges_outputs_that_do_not_depend_on_the_inputs(
    tmp_path: Path, metric: str, ranks: bool, sentence: str
) -> None:
    case = Case(model="net", factory="zoo.py:zeros", inputs=IMAGES, backend="eager", metric=metric)
    record = measured(case, tmp_path)
    (blind,) = [warning for warning in record.warnings if warning.kind == "BlindReference"]
    assert sentence in describe(blind).text
    run = make([case], [record])
    (row,) = json.loads(export.json(run))["rows"]
    assert row["ranked"] is ranks
    assert (" ok " if ranks else " blind ") in text.render(run, width=160)


@pytest.mark.torch
def test_outputs_without_an_element_are_told_in_the_record_the_table_and_the_json(tmp_path: Path) -> None:
    case = Case(model="net", factory="zoo.py:detects_nothing", inputs=IMAGES, backend="eager")
    record = measured(case, tmp_path)
    assert record.accuracy is not None
    assert (record.accuracy.ok, record.accuracy.empty) == (True, True)
    run = make([case], [record])
    table = text.render(run, width=160)
    assert " empty " in table
    assert " ok " not in table
    assert "EmptyOutput: the case has only empty outputs, so it does not pass: the reference has no element" in table
    (row,) = json.loads(export.json(run))["rows"]
    assert row["score"]["empty"] is True
    (line,) = csv.DictReader(io.StringIO(export.csv(run)))
    assert (line["accurate"], line["cosine"]) == ("", "")


@pytest.mark.torch
@pytest.mark.parametrize(
    ("metric", "accurate", "text"),
    [
        ("zoo.py:totals", True, "only zoo.py:totals judges the outputs"),
        ("zoo.py:says_nothing", None, "zoo.py:says_nothing returned no number, so the case does not pass"),
    ],
)
def test_a_metric_judges_empty_outputs_by_the_numbers_that_it_returns(
    tmp_path: Path, metric: str, accurate: bool | None, text: str
) -> None:
    case = Case(model="net", factory="zoo.py:detects_nothing", inputs=IMAGES, backend="eager", metric=metric)
    record = measured(case, tmp_path)
    assert record.accuracy is not None
    assert record.accuracy.accurate is accurate
    (empty,) = [warning for warning in record.warnings if warning.kind == "EmptyOutput"]
    assert text in describe(empty).text


@pytest.mark.torch
@pytest.mark.long  # the C++ compiler, whose first run alone takes half a minute
def test_a_graph_break_is_a_warning_in_the_record_the_table_the_markdown_and_the_json(tmp_path: Path) -> None:
    case = Case(model="net", factory="zoo.py:breaks", inputs=IMAGES, backend="inductor")
    record = measured(case, tmp_path)
    assert record.failure is None
    assert "GraphBreaks" in [warning.kind for warning in record.warnings]
    run = make([case], [record])
    for shown in (text.render(run, width=140), export.markdown(run), export.json(run)):
        assert "GraphBreaks" in shown
        assert "fullgraph: true" in shown
