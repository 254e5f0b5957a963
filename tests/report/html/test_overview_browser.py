"""The overview in a browser: the fastest of each model, what is said of them, and what failed."""

from __future__ import annotations

import re

import msgspec
import pytest

from bench.analysis.rows import rows
from bench.model.run import Warning
from bench.report import cells
from tests.report.conftest import accuracy, case, make, record
from tests.report.html.kit import figure, renamed
from tests.report.html.test_data import pair_of_runs

pytestmark = pytest.mark.long


def test_the_overview_names_the_fastest_accurate_case_of_each_model_with_its_margin(view, runs) -> None:
    shown = view(*runs)
    page = shown.go("#/overview")
    lines = [
        [figure(text) for text in line.locator("th, td").all_inner_texts()]
        for line in page.locator("table.best tbody tr").all()
    ]
    best = {row.symbols["batch"]: row for row in rows(runs[0]) if row.fastest and row.model == "bert"}
    assert [line[0] for line in lines] == ["bert", "bert", "resnet18"]
    assert [line[2].split(" tied")[0] for line in lines] == ["inductor[mode=max-autotune] fp32"] * 3
    assert lines[0][3] == cells.time(best[1].times["latency"])
    assert lines[0][5] == cells.ratio(best[1].speed, best[1].label)
    assert lines[0][8] == "inductor fp32"  # onnxruntime is faster, and inaccurate
    assert (
        figure(page.locator(".finding .big").first.inner_text())
        == f"{max(row.speed.ratio for row in rows(runs[0]) if row.fastest):.2f}x"
    )


def test_a_lower_time_that_does_not_lead_stands_below_with_its_reason(view) -> None:
    page = view(*pair_of_runs()).go("#/overview")
    (line,) = page.locator("table.best tbody tr").all()
    assert "inductor fp32" in line.locator("td").nth(1).inner_text()
    faster = line.locator(".faster")
    assert re.search(r"s ±.* by onnxruntime fp32 in another run, which ranks only 1 case", faster.inner_text())
    faster.locator("a").click()
    page.locator("h1", has_text="onnxruntime").wait_for()


def test_what_failed_and_what_is_inaccurate_is_told_with_its_reason(view, runs) -> None:
    page = view(*runs).go("#/overview")
    text = page.locator("table.reasons").inner_text()
    assert "Timeout in compile" in text
    assert "no result within 1200 s" in text
    assert "raise `measure: {timeout: ...}` in the suite" in text
    assert "y: cosine 0.97 < 0.99999" in text
    assert "CUDA graphs need a GPU" in text
    asked = page.locator("table.runs").inner_text()
    assert "suites/smoke.yaml, 17 cases set against eager" in asked
    assert "2 processes of cases that failed" in asked


def test_what_cannot_be_ranked_is_told_with_its_reason(view) -> None:
    empty, changing, blind = (case(model, "eager") for model in ("empty", "changing", "net"))
    output = msgspec.structs.replace(accuracy(cosine=None).outputs[0], empty=True)
    nothing = msgspec.structs.replace(accuracy(), outputs=(output,), empty=True)
    note = Warning(kind="EmptyOutput", figures={"empty": ["y"], "outputs": 1})
    hidden = {"constant": {"y": 0}, "repeated": [], "samples": 1, "outputs": 1, "single": 0}
    zero = Warning(kind="BlindReference", figures=hidden)
    states = Warning(kind="OutputsChange", figures={"outputs": {"y": 0.5}, "by": "program", "more": 0})
    records = [
        record(empty, 1.0, accuracy=nothing, warnings=(note,)),
        record(changing, 1.0, warnings=(states,)),
        record(blind, 1.0, warnings=(zero,)),
    ]
    page = view(make([empty, changing, blind], records)).go("#/overview")
    lines = [" ".join(line.split()) for line in page.locator("table.reasons tbody tr").all_inner_texts()]
    assert ["unranked" in line for line in lines] == [True, True, True, False]
    assert "unranked 1 it has only empty outputs Try: inputs" in lines[0]
    assert "it has calls that are not alike Try: a factory without dropout" in lines[1]
    assert "it has a reference that does not depend on the inputs Try: initialise the last layer" in lines[2]
    assert page.locator("table.best").count() == 0


@pytest.mark.parametrize("width", [1000, 1300])
def test_the_best_runtimes_are_seen_up_to_what_comes_next(view, committed, width) -> None:
    page = view(*committed, screen={"viewport": {"width": width, "height": 900}}).go("#/overview")
    tables = page.locator(".scroll:has(table.best)")
    assert tables.count()
    widths = tables.evaluate_all("each => each.map(one => [one.scrollWidth, one.clientWidth])")
    assert [inner for inner, outer in widths if inner > outer] == []
    assert page.locator("table.best thead th").last.inner_text() == "next"


def test_times_and_speeds_of_the_best_say_what_they_are_of(view, runs) -> None:
    page = view(*runs).go("#/overview")
    assert page.locator("table.best thead th").all_inner_texts()[3:6:2] == ["time (latency)", "vs eager"]
    of = [case("net", "eager"), case("net", "inductor"), case("other", "eager"), case("other", "inductor")]
    records = [
        record(each, 1.0 + (each.backend == "eager"), n, boundaries=("gpu",) if each.model == "net" else ("latency",))
        for each in of
        for n in range(3)
    ]
    page = view(make(of, records, 3)).go("#/overview")
    lines = [line.locator("th, td").all_inner_texts() for line in page.locator("table.best tbody tr").all()]
    assert [line[3].split()[-1] for line in lines] == ["gpu", "latency"]
    assert page.locator("table.best thead th").all_inner_texts()[3:6:2] == ["time", "vs eager"]


def test_engines_of_level_0_alone_are_named_below_the_best(view) -> None:
    options = {"optimization_level": 0}
    alone, beside = case("a", "tensorrt", options=options), case("b", "tensorrt", options=options)
    cases = [alone, beside, case("b", "eager")]
    run = make(cases, [record(of, 2.0 + (of.backend == "eager"), n) for of in cases for n in range(3)], 3)
    page = view(run).go("#/overview")
    (line,) = (each.locator("th, td").all_inner_texts() for each in page.locator("table.best tbody tr").all())
    assert line[0] == "b"
    assert line[2].endswith("built at optimization level 0, which is not its fastest")
    assert "only engines of optimization level 0 were measured: a batch=1." in page.locator("main").inner_text()


def test_two_machines_of_one_name_are_two(view, runs) -> None:
    here = runs[0].header.environments["default"]
    there = msgspec.structs.replace(here, memory=80 * 2**30)
    other = renamed(runs[0], "20261125T101500Z-smoke-1a2b3c4", environments={"default": there})
    page = view(runs[0], other).go("#/overview")
    names = page.locator("main h3").all_inner_texts()
    assert [f"{here.device} ({gib} GiB)" for gib in (0, 80)] == sorted(name for name in names if here.device in name)


def test_a_run_in_which_nothing_is_faster_has_no_gain(view, runs) -> None:
    alone = next(case.id for case in runs[0].header.cases if case.backend == "eager")
    shown = view(runs[0], only=[{alone}])
    assert shown.go("#/overview").locator(".finding .big").first.inner_text() == "none"
