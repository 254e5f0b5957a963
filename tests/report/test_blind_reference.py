"""A case whose reference does not depend on the inputs: every view leaves it unranked, and says why."""

from __future__ import annotations

import csv
import io
import json

import msgspec
import pytest

from bench.analysis import compare, leaders
from bench.analysis.pool import gather
from bench.analysis.rows import rows
from bench.model.run import Run, Warning
from bench.report import compare as compare_view
from bench.report import export, text
from tests.report.conftest import case, make, record
from tests.report.html.kit import page_of, rows_of

BACKENDS = {"eager": 2.0, "inductor": 1.0, "torchscript": 1.0}
REASON = "has a reference that does not depend on the inputs"


def measured(outputs: int) -> Run:
    """Three processes of three backends whose reference is zeros in one of so many outputs."""
    figures = {"constant": {"y": 0}, "repeated": [], "samples": 1, "outputs": outputs, "single": 0}
    zeros = (Warning(kind="BlindReference", figures=figures),)
    cases = {backend: case("net", backend) for backend in BACKENDS}
    records = [
        record(of, BACKENDS[backend], n, warnings=zeros) for n in range(3) for backend, of in cases.items()
    ]  # fmt: skip
    return make(cases.values(), records, 3)


def depends(run: Run) -> Run:
    """The same run where the reference depends on the inputs."""
    return msgspec.structs.replace(
        run, records=tuple(msgspec.structs.replace(each, warnings=()) for each in run.records)
    )


@pytest.fixture
def blind() -> Run:
    return measured(outputs=1)


def test_the_same_run_ranks_where_another_output_depends_on_the_inputs() -> None:
    shown = text.render(measured(outputs=2), width=200)
    assert "baseline" in shown
    assert "inductor *" in shown
    assert "* lowest time of the accurate cases" in shown


def test_the_table_marks_none_of_them_and_gives_no_speed(blind: Run) -> None:
    shown = text.render(blind, width=200)
    heading, *_ = shown.partition("BlindReference")
    assert "*" not in heading
    assert "\u2248" not in heading
    assert "baseline" not in heading
    assert heading.count(" blind ") == 3
    assert "the accuracy says nothing, so the case does not rank: in the reference output 'y' is 0" in shown
    assert "**" not in export.markdown(blind)


def test_exported_rows_are_not_ranked_and_have_no_verdict(blind: Run) -> None:
    for line in csv.DictReader(io.StringIO(export.csv(blind))):
        assert (line["ranked"], line["fastest"], line["tied"], line["accurate"], line["speed"]) == (
            "False",
            "False",
            "False",
            "",
            "",
        )
    for row in json.loads(export.json(blind))["rows"]:
        assert (row["ranked"], row["score"]["ok"], row["score"]["blind"]) == (False, True, True)


def test_a_comparison_has_no_verdict_and_says_why(blind: Run) -> None:
    whole = compare.compare([blind], axis="backend")
    assert {pair.kind for pair in whole.pairs} == {"NONE"}
    assert f"A {REASON}" in compare_view.render(whole, width=200)


@pytest.mark.parametrize("side", ["A", "B"])
def test_a_gate_fails_where_only_the_new_side_has_such_a_reference(blind: Run, side: str) -> None:
    a, b = (blind, depends(blind)) if side == "A" else (depends(blind), blind)
    whole = compare.compare([a], [b])
    assert {(pair.kind, pair.why) for pair in whole.pairs} == {("NONE", f"{side} {REASON}")}
    assert whole.fails(slower=0.0, failed=True) is (side == "B")
    for flat in json.loads(compare_view.json(whole))["pairs"]:
        assert [flat["a_ok"], flat["b_ok"]] == ([None, True] if side == "A" else [True, None])
    assert not compare.compare([blind], [blind]).fails(slower=0.0, failed=True)


def test_the_dashboard_has_no_leader_and_the_reason(blind: Run) -> None:
    page = page_of(blind)
    assert page["leaders"]["rows"] == 0
    shown = rows_of(page["cases"])
    assert {(row["status"], row["accuracy"], row["flaw"]) for row in shown} == {("unranked", "blind", REASON)}
    (gain,) = [each for each in rows_of(page["findings"]) if each["kind"] == "gain"]
    assert (gain["count"], gain["of"]) == (0, 0)


def test_a_baseline_whose_reference_is_blind_is_the_reason_of_a_missing_speed(blind: Run) -> None:
    cases = {of.id: of.backend for of in blind.header.cases}
    others = [
        each if cases[each.case] == "eager" else msgspec.structs.replace(each, warnings=()) for each in blind.records
    ]
    mixed = msgspec.structs.replace(blind, records=tuple(others))
    assert f"no speed, as the baseline eager {REASON}" in " ".join(text.render(mixed, width=200).split())
    assert [leader.case for leader in leaders.leaders(mixed, rows(mixed), gather(mixed))] != [blind.header.cases[0].id]
