"""The plots of a page: their rows against the store's figures, and specifications that read only what is there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.analysis import history, payback
from bench.analysis.rows import rows
from bench.checkup import calibrate
from bench.model.profile import CaseProfile
from bench.model.run import Duel, Phase, Run
from bench.profiling.condense import condense
from bench.report import cold_start
from bench.report.html.plots import PLOTS
from tests.profile_kit import eager
from tests.report.conftest import MS, case, example, make, record
from tests.report.html.kit import ASSETS, page_of, renamed, rows_of
from tests.report.html.profiles_kit import file_of

# Columns of a row that the page's script adds for the screen.
DRAWN = {
    "choice", "created", "created_text", "end", "error_text", "figure", "form", "gain_text", "hue", "last", "name",
    "ns_text", "share_text", "number", "rank", "ratio_text", "achieved_text", "roof_text", "side", "sound",
    "source_text", "text", "total_text", "x0", "x1",
}  # fmt: skip


def by_id(page: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {plot["id"]: plot for plot in page["plots"]}


@pytest.fixture
def page() -> dict[str, Any]:
    """Two runs of one plan, the older of one process; a case has a profile."""
    older = renamed(example(1), "20261122T101500Z-smoke-1a2b3c4", created="2026-11-22T10:15:00+00:00")
    run = example(3)
    of = run.header.cases[0]
    profile = CaseProfile(case=of.id, label=of.label, condensed=condense(eager().profile(unprofiled_ns=(200_000,))))
    return page_of(run, older, profiled={str(Path(run.path).parent): [file_of(profile)]})


def test_each_plot_has_its_words_and_a_specification() -> None:
    assert {path.stem for path in (ASSETS / "plots").glob("*.json")} == set(PLOTS)
    for plot in page_of()["plots"]:
        assert plot["rows"]["rows"] == 0
        assert plot["missing"]
        assert plot["name"]
        assert plot["title"]
        assert plot["text"].endswith(".")
        assert plot["columns"][0]["name"] == "case"


def test_what_a_chart_or_a_table_reads_is_there(page: dict[str, Any]) -> None:
    of_case = set(page["cases"]["columns"])
    for plot in page["plots"]:
        there = of_case | set(plot["rows"]["columns"]) | DRAWN
        spec = json.dumps(plot["spec"])
        fields = set(re.findall(r'"field": "(\w+)"', spec)) | set(re.findall(r"datum\.(\w+)", spec))
        # Plots without rows here name columns that only rows would have.
        if plot["rows"]["rows"]:
            assert fields - {"value", "label", "level"} <= there, plot["id"]
            assert {column["name"] for column in plot["columns"]} <= there, plot["id"]


def test_speeds_are_those_of_the_table_and_of_the_inaccurate(page: dict[str, Any]) -> None:
    cases = rows_of(page["cases"])
    shown = {
        cases[row["case"]]["label"]: row
        for row in rows_of(by_id(page)["speed"]["rows"])
        if not cases[row["case"]]["run"]
    }
    table = rows(example(3))
    wrong = [row.label for row in table if row.score and not row.score.ok]
    assert set(shown) == {row.label for row in table if row.speed} | {*wrong}
    assert all(shown[label]["speed"] > 1 for label in wrong)
    assert shown["bert/inductor/fp32/batch=1/seq=128"].get("speed") is None  # the case has it


def test_a_baseline_without_rivals_is_no_row() -> None:
    of = case("net", "eager")
    assert by_id(page_of(make([of], [record(of, 1.0)])))["speed"]["rows"]["rows"] == 0


def test_trades_have_latency_and_say_which_are_on_the_front(page: dict[str, Any]) -> None:
    cases = rows_of(page["cases"])
    table = rows_of(by_id(page)["trade"]["rows"])
    front = [cases[row["case"]]["label"] for row in table if row["front"] and cases[row["case"]]["run"] == 0]
    assert "bert/inductor[mode=max-autotune]/fp32/batch=1/seq=128" in front
    assert not any("onnxruntime" in label and "batch=1" in label for label in front)
    for row in table:
        assert row["latency"] == pytest.approx(cases[row["case"]]["time"])


def test_starts_are_long_rows_with_the_total(page: dict[str, Any]) -> None:
    table = [row for row in rows_of(by_id(page)["start"]["rows"]) if row["case"] == 0]
    assert [row["step"] for row in table] == ["compile or build", "import", "first call"]
    assert {row["total"] for row in table} == {sum(row["ns"] for row in table)}


def test_a_start_says_after_how_many_requests_it_is_paid_back() -> None:
    cases = [case("net", "eager"), case("net", "inductor")]
    phases = [(Phase(name="first_call", ns=MS),), (Phase(name="compile", ns=100 * MS), Phase(name="first_call", ns=MS))]
    records = [record(of, ms, phases=each) for of, ms, each in zip(cases, (2.0, 1.0), phases, strict=True)]
    page = page_of(make(cases, records))
    table = rows_of(by_id(page)["start"]["rows"])
    paid = {row["case"]: row["paid"] for row in table}
    found = payback.of_run(make(cases, records)).cases[1]
    assert 90 <= (found.requests or 0) <= 110  # 100 ms for 1 ms each
    assert paid == {0: "-", 1: cold_start.outcome(found)}


def test_a_history_that_steps_has_its_levels() -> None:
    of = case("net", "eager")
    series = [
        renamed(
            make([of], [record(of, ms, n) for n in range(3)]),
            f"202611{day:02}T101500Z-smoke-1a2b3c4",
            created=f"2026-11-{day:02}T10:15:00+00:00",
        )
        for day, ms in enumerate([1.0] * 6 + [1.2] * 6, 1)
    ]
    table = rows_of(by_id(page_of(*reversed(series)))["history"]["rows"])
    assert len(table) == 12
    assert [row["level"] / MS for row in table] == pytest.approx([1.0] * 6 + [1.2] * 6, rel=0.01)
    assert [row["step"] for row in table[:6] + table[7:]] == [None] * 11
    assert table[6]["step"] == pytest.approx(1.2, rel=0.01)


def test_a_history_breaks_where_a_boundary_is_defined_otherwise() -> None:
    of = case("net", "eager")
    series = []
    for day, definition in enumerate(["aaaa", "aaaa", "bbbb"], 1):
        run = make([of], [record(of, 1.0, n) for n in range(3)])
        here = msgspec.structs.replace(run.header.environments["default"], boundaries=definition)
        created = f"2026-11-{day:02}T10:15:00+00:00"
        name = f"202611{day:02}T101500Z-smoke-1a2b3c4"
        series.append(renamed(run, name, created=created, environments={"default": here}))
    table = rows_of(by_id(page_of(*series))["history"]["rows"])
    assert [(row["line"], row["part"]) for row in table] == [(0, 0), (0, 0), (0, 1)]  # one panel
    assert [row["redefined"] for row in table] == [None, None, "boundaries aaaa -> bbbb"]


def test_a_duel_is_no_point_of_a_history() -> None:
    sides = [case("net", "eager"), case("net", "aoti")]
    run = make(sides, [record(of, 1.0, n) for of in sides for n in range(3)], 3)
    duel = Duel(contests=(tuple(of.id for of in sides),), boundary="latency", pairs=3)
    kinds = {"20261101": None, "20261102": duel, "20261103": None, "20261104": duel}
    runs = [renamed(run, f"{day}T101500Z-smoke-1a2b3c4", created=day, duel=of) for day, of in kinds.items()]
    page = page_of(*runs)
    cases, table = rows_of(page["cases"]), rows_of(by_id(page)["history"]["rows"])
    assert [cases[row["case"]]["run"] for row in table] == [0, 2] * 2
    assert rows_of(by_id(page_of(runs[0], runs[1]))["history"]["rows"]) == []  # one point is no line
    assert [len(whole.points) for whole, _ in history.histories(runs, sides)] == [2, 2]  # of the command, too


def test_the_calibration_of_a_device_finds_the_steps_of_few_runs() -> None:
    of = case("net", "eager")

    def runs_of(times: list[float], processes: int, first: int) -> list[Run]:
        return [
            msgspec.structs.replace(
                renamed(
                    make([of], [record(of, ms, day * 100 + n) for n in range(processes)]),
                    f"202611{day:02}T101500Z-smoke-1a2b3c4",
                    created=f"2026-11-{day:02}T10:15:00+00:00",
                ),
                path=f"results/here/{day}.jsonl",
            )
            for day, ms in enumerate(times, first)
        ]

    few = runs_of([1.0, 1.0, 1.2, 1.2], 3, 1)
    known = calibrate.make(runs_of([1.0, 1.0], 20, 11), 7)

    def steps(**options: Any) -> list[float]:
        table = rows_of(by_id(page_of(*few, **options))["history"]["rows"])
        return [row["step"] for row in table if row["step"]]

    assert steps() == []
    assert steps(calibrations={"results/here": [known]}) == pytest.approx([1.2], rel=0.02)
    assert steps(calibrations={"results/elsewhere": [known]}) == []
    here = msgspec.structs.replace(known.environment, device="Other CPU", slug="other")
    assert steps(calibrations={"results/here": [msgspec.structs.replace(known, environment=here)]}) == []


def test_histories_join_the_runs_of_a_case(page: dict[str, Any]) -> None:
    cases = rows_of(page["cases"])
    lines: dict[int, list[Any]] = {}
    for row in rows_of(by_id(page)["history"]["rows"]):
        lines.setdefault(row["line"], []).append(cases[row["case"]])
    assert len(lines) == len([row for row in rows(example(3)) if row.ranked])
    for points in lines.values():
        assert len({of["id"] for of in points}) == 1
        assert [of["run"] for of in points] == [1, 0]  # from old to new


def test_devices_are_compared_where_the_page_has_both() -> None:
    run = example(3)
    there = msgspec.structs.replace(run.header.environments["default"], device="Other CPU")
    other = renamed(run, "20261124T101500Z-smoke-1a2b3c4", environments={"default": there})
    page = page_of(run, other)
    cases, table = rows_of(page["cases"]), rows_of(by_id(page)["machines"]["rows"])
    assert {row["side"] for row in table} == {"Other CPU"}
    assert {row["base"] for row in table} == {"Example CPU @ 2.50GHz"}
    for row in table:
        assert cases[row["case"]]["label"] == cases[row["other"]]["label"]
        assert row["ratio"] == pytest.approx(1.0)
        assert row["ratio_low"] < 1 < row["ratio_high"]
    assert len(table) == len([row for row in rows(run) if row.ranked])


def test_only_cases_that_are_shown_have_rows() -> None:
    run = example(1)
    best = next(of for of in run.header.cases if of.options and of.model == "bert" and of.batch == 1)
    for plot in page_of(run, only=[{best.id}])["plots"]:
        assert {row["case"] for row in rows_of(plot["rows"])} <= {0}, plot["id"]
