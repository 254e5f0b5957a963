"""Findings on fairness in the runs of results/."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import store
from bench.analysis.lint import lint
from bench.model.run import Run

RESULTS = Path(__file__).parent.parent.parent / "results"


def committed(name: str) -> Run:
    (path,) = RESULTS.rglob(f"{name}*.jsonl")
    return store.read(path)


# What the committed runs say, each checked against the suite and the records by hand.
EXPECTED = {
    "20261124T014303Z-smoke": [],
    "20261128T144205Z-smoke": [],
    "20261123T213336Z-vision": ["graphs"],
    "20261127T044128Z-vision": [],
    "20261124T031036Z-compile_modes": ["graphs"],
    "20261123T160736Z-native_resnet50": ["graphs", "inputs_copied", "autotune", "higher_precision"],
    "20261123T160138Z-engines": ["graphs", "autotune", "higher_precision"],
    "20261127T051709Z-axes": [],
    "20261128T115659Z-clock_gpu": [],
}


@pytest.mark.parametrize(("name", "kinds"), EXPECTED.items())
def test_a_committed_run_has_the_findings_that_are_true_of_it(name: str, kinds: list[str]) -> None:
    assert [finding.kind for finding in lint(committed(name))] == kinds


def test_a_committed_run_tells_what_graphs_do_to_inductors_times() -> None:
    (finding,) = lint(committed("20261124T031036Z-compile_modes"))
    at_gpu = [each.ratio for each in finding.effects if each.boundary == "gpu"]
    assert len(at_gpu) == 4
    assert 1.09 < min(at_gpu) < max(at_gpu) < 1.18


def test_committed_runs_of_bert_have_another_program_in_its_graph_and_those_of_resnets_have_not() -> None:
    (finding,) = (each for each in lint(committed("20261128T174351Z-devices")) if each.kind == "graph_program")
    assert 2.3 < finding.figures["ratio"] < 2.4
    cases = {each.id: each.label for each in committed("20261128T174351Z-devices").header.cases}
    assert {cases[case].partition("/")[0] for case in finding.cases} == {"bert", "distilbert"}


def test_layers_are_counted_engine_by_engine() -> None:
    """Of 84 and 67 layers one each is a reformat."""
    (finding,) = [
        each for each in lint(committed("20261129T050436Z-int8_centernet")) if each.kind == "higher_precision"
    ]
    assert finding.figures["counts"] == ("3 of 83", "3 of 66")
    assert [len(side.names) for side in finding.sides] == [2]
