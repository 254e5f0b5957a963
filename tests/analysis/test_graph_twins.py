"""Whether a graph is advised where the same run has measured what it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench import store
from bench.analysis.rows import Row, rows
from bench.model.run import Failure, Record, Run, Warning
from bench.report import export, text
from bench.report.warnings import describe
from tests.report.conftest import accuracy, case, make, record

RESULTS = Path(__file__).parents[2] / "results"
PLAIN, GRAPH = case("bert", "eager"), case("bert", "eager", cuda_graph=True)
BOUND = Warning(kind="HostBound", figures={"enqueue_ns": 3_000_000, "gpu_ns": 1_000_000, "graph": False})


def run(plain_ms: float, graph_ms: float, boundaries: tuple[str, ...] = ("gpu", "latency"), **of_graph: Any) -> Run:
    return make(
        [PLAIN, GRAPH],
        [record(PLAIN, plain_ms, 0, boundaries, warnings=(BOUND,)), record(GRAPH, graph_ms, 0, boundaries, **of_graph)],
    )


def hint(of: Run) -> str:
    (warning,) = [w for w in rows(of)[0].warnings if w.kind == "HostBound"]
    return describe(warning).hint


@pytest.mark.parametrize("boundaries", [("gpu", "latency"), ("gpu",)])
def test_a_graph_that_was_slower_in_the_same_run_is_not_advised(boundaries: tuple[str, ...]) -> None:
    slower, faster = hint(run(1.0, 2.0, boundaries)), hint(run(2.0, 1.0, boundaries))
    figures = "latency 2." if "latency" in boundaries else "inferences/s with it"
    assert slower.startswith("not cuda_graph: on, which was slower here: ")
    assert slower.endswith("; a larger batch")
    assert faster.startswith("cuda_graph: on, which was faster here: ")
    assert figures in slower
    for shown in (text.render(run(1.0, 2.0), width=300), export.markdown(run(1.0, 2.0)), export.json(run(1.0, 2.0))):
        assert "not cuda_graph: on, which was slower here: latency 2.0" in shown


def test_a_case_that_is_not_ranked_says_nothing_of_graphs() -> None:
    wrong = msgspec.structs.replace(run(2.0, 1.0).records[0], accuracy=accuracy(False, 0.5))
    of = msgspec.structs.replace(run(2.0, 1.0), records=(wrong, run(2.0, 1.0).records[1]))
    assert "here" not in hint(of)


def test_a_graph_that_changes_next_to_nothing_is_neither_advised_nor_called_slower() -> None:
    assert hint(run(1.0, 1.001)).startswith("not cuda_graph: on, which made no difference here: latency 1.0")
    assert hint(run(1.001, 1.0)).endswith("; a larger batch")


def test_the_time_of_the_gpu_alone_says_nothing_of_what_the_host_saves() -> None:
    """A graph's kernels may take longer, and its requests a third of the time: those are what the warning is about."""
    both = run(3.0, 1.0)
    longer = msgspec.structs.replace(both.records[1].measurements[0], samples=(9_000_000,) * 60)
    slow_gpu = msgspec.structs.replace(both.records[1], measurements=(longer, *both.records[1].measurements[1:]))
    assert hint(msgspec.structs.replace(both, records=(both.records[0], slow_gpu))).startswith(
        "cuda_graph: on, which was faster here: latency"
    )


def test_without_a_sound_case_with_a_graph_the_advice_is_as_ever() -> None:
    crash = Record(case=GRAPH.id, label=GRAPH.label, failure=Failure(kind="Crash", stage="measure", message=""))
    whole = run(1.0, 2.0)
    assert hint(msgspec.structs.replace(whole, records=(whole.records[0], crash))) == "cuda_graph: on"
    assert hint(make([PLAIN], whole.records[:1])) == "cuda_graph: on"
    other = case("bert", "eager", batch=8, cuda_graph=True)
    assert hint(make([PLAIN, other], [whole.records[0], record(other, 2.0)])) == "cuda_graph: on"


def test_a_warning_that_has_its_own_sentence_keeps_it() -> None:
    old = Warning(kind="HostBound", message="issuing a call takes 7 us", hint="cuda_graph: on")
    whole = run(1.0, 2.0)
    first = msgspec.structs.replace(whole.records[0], warnings=(old,))
    assert hint(msgspec.structs.replace(whole, records=(first, whole.records[1]))) == "cuda_graph: on"


def test_a_committed_run_advises_graphs_where_they_gained_and_nowhere_else() -> None:
    (path,) = RESULTS.rglob("20261129T233631Z-devices*.jsonl")
    of_case: dict[str, Row] = {row.label: row for row in rows(store.read(path))}

    def advice(label: str) -> str:
        (warning,) = [w for w in of_case[label].warnings if w.kind == "HostBound"][:1]
        return describe(warning).hint

    assert advice("distilbert/eager/fp16/batch=1/seq=128").startswith(
        "cuda_graph: on, which was faster here: 2,617 inferences/s with it"
    )
    assert advice("distilbert/eager/fp16/batch=32/seq=128").startswith(
        "not cuda_graph: on, which was slower here: 13,5"
    )
