"""What a worker finds out about a backend reaches the record, and from there every way to show it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import jobs, worker
from bench.backends import base
from bench.model import Case, Policy, Record, Threshold
from bench.report import export, text
from tests.backends.kit import HERE, IMAGES
from tests.report.conftest import make

pytest.importorskip("torch")
SHORT = Policy(boundaries=("latency",), warmup_calls=1, warmup_ns=0, min_samples=6, max_samples=6, warmup_limit_ns=1)


class Silent(worker.Wire):
    """Sends to nobody."""

    def __init__(self) -> None:
        pass

    def send(self, reply: jobs.Reply) -> None:
        pass


def measured(case: Case, root: Path) -> Record:
    """The record of ``case``, measured in this process as a worker would."""
    reference, scratch = root / "reference", root / "scratch"
    for folder in (reference, scratch):
        folder.mkdir()
    stage = base.load(case.backend).stages(case)[0]
    common = {"device": "cpu", "case": case, "scratch": str(scratch), "suite_dir": str(HERE), "cold": True}
    made = jobs.Produce(stage=stage, artifacts={}, out=str(reference), **common)
    job = jobs.Measure(policy=SHORT, threshold=Threshold(), artifacts={"reference": str(reference)}, **common)
    log = worker.PhaseLog(Silent())
    worker.produce(made, log)
    return worker.measure(job, log).record


@pytest.mark.torch
def test_a_graph_break_is_a_warning_in_the_record_the_table_the_markdown_and_the_json(tmp_path: Path) -> None:
    case = Case(model="net", factory="zoo.py:breaks", inputs=IMAGES, backend="inductor")
    record = measured(case, tmp_path)
    assert record.failure is None
    assert "GraphBreaks" in [warning.kind for warning in record.warnings]
    run = make([case], [record])
    for shown in (text.render(run, width=140), export.markdown(run), export.json(run)):
        assert "GraphBreaks" in shown
        assert "fullgraph: true" in shown
