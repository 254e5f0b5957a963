"""What `show`, `runs` and pages say of duels: their verdicts, and none of their cases as the fastest."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

import bench
from bench.report.html import notebook
from tests.conftest import Trtbench
from tests.report.html.kit import data_of, page_of, rows_of

RESULTS = Path(__file__).parents[2] / "results"
UNDECIDED = "20261128T145513Z-net-c868ae8"
INTERRUPTED = "20261128T214421Z-more_work-615753d", "20261128T212602Z-more_work-4f2888c"
DUELS = (UNDECIDED, *INTERRUPTED, "20261128T144205Z-smoke-48200e0", "20261128T214334Z-more_work-de6281e")


@pytest.fixture
def shown(trtbench: Trtbench) -> Trtbench:
    trtbench.store = RESULTS
    return trtbench


@pytest.mark.parametrize("duel", DUELS)
def test_no_case_of_a_duel_is_marked(shown: Trtbench, duel: str) -> None:
    assert shown("show", duel) == 0
    below = shown.out.partition("ratio is time of B / time of A")[2]
    assert "eager" in below
    assert not {"*", "≈"} & {*below}
    assert "fastest" not in below
    assert shown("show", duel, "--format", "csv") == 0
    rows = list(csv.DictReader(io.StringIO(shown.out)))
    assert {(row["fastest"], row["tied"]) for row in rows} == {("False", "False")}
    assert shown("show", duel, "--format", "markdown") == 0
    assert "**" not in shown.out
    assert "bold" not in shown.out.lower()
    run = bench.read(duel, store=RESULTS)
    assert "<strong>" not in notebook.tables(run).partition("</p>")[2]


@pytest.mark.parametrize("duel", DUELS[:4])  # the last is of two models
def test_the_ratios_of_a_duels_table_are_those_of_its_verdicts(shown: Trtbench, duel: str) -> None:
    for match in bench.matches(bench.read(duel, store=RESULTS)):
        *_, toolchain = match.a_label.split("/")
        baseline = f"eager{toolchain if toolchain.startswith('@') else '@default'}"
        assert shown("show", duel, "--format", "csv", "--baseline", baseline) == 0
        rows = {row["case"]: row for row in csv.DictReader(io.StringIO(shown.out))}
        row = rows[match.b]
        assert row["speed_against"] == match.a_label
        shown_ratio = [1 / float(row[name]) for name in ("speed", "speed_high", "speed_low")]
        standing = match.standing
        assert shown_ratio == pytest.approx([standing.ratio, standing.low, standing.high])
        assert int(row["speed_pairs"]) == standing.pairs


@pytest.mark.parametrize("duel", DUELS)
def test_a_page_has_the_verdicts_of_a_duel_and_no_fastest_case(duel: str) -> None:
    page = page_of(bench.read(duel, store=RESULTS))
    assert {of["status"] for of in rows_of(page["cases"])} == {"ok"}
    assert {of["tied"] for of in rows_of(page["cases"])} == {False}
    assert rows_of(page["leaders"]) == []
    (run,) = rows_of(page["runs"])
    assert [text.rpartition(" ")[2] for text in run["verdicts"]] == [
        match.kind for match in bench.matches(bench.read(duel, store=RESULTS))
    ]


@pytest.mark.parametrize("duel", DUELS)
def test_no_plot_judges_the_sides_of_a_duel_otherwise(duel: str) -> None:
    plots = {plot["id"]: rows_of(plot["rows"]) for plot in page_of(bench.read(duel, store=RESULTS))["plots"]}
    assert [plots[name] for name in ("toolchains", "machines", "history")] == [[], [], []]


def test_a_duel_does_not_lead_the_runs_beside_it(tmp_path: Path) -> None:
    runs = [bench.read(name, store=RESULTS) for name in ("20261128T210903Z-smoke-a900ddc", DUELS[3])]
    bench.write_report(runs, tmp_path / "report.html")
    page = data_of((tmp_path / "report.html").read_text())
    cases = rows_of(page["cases"])
    leaders = rows_of(page["leaders"])
    assert {cases[leader["case"]]["run"] for leader in leaders} == {0}
    assert {leader["elsewhere"] for leader in leaders} == {0}
    assert [len(run["verdicts"]) for run in rows_of(page["runs"])] == [0, 2]
