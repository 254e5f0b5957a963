"""Pages in a browser: filters, links and figures against the store, as a reader meets them."""

from __future__ import annotations

import itertools
import re

import msgspec
import pytest

from bench.analysis.rows import rows
from bench.model.run import Failure, Record
from bench.report import cells
from tests.report.conftest import case, make, quantized, record
from tests.report.html.kit import ASSETS, figure, renamed

pytestmark = pytest.mark.long
EVIL = "</script><img src=x onerror=alert(1)>"
PHONE = {"viewport": {"width": 390, "height": 844}}


def test_facets_filter_the_table_and_stand_in_the_address(view, committed) -> None:
    shown = view(*committed)
    page = shown.go("#/cases")
    whole = sum(len(run.header.cases) for run in committed)
    assert page.locator("#result").inner_text() == f"{whole} cases"
    page.get_by_role("group", name="Backend").get_by_label(re.compile("^torchscript")).check()
    page.get_by_role("group", name="Precision").get_by_label(re.compile("^fp16")).check()
    wanted = [
        of for run in committed for of in run.header.cases if of.backend == "torchscript" and of.precision == "fp16"
    ]
    assert page.locator("#result").inner_text() == f"{len(wanted)} of {whole} cases"
    assert page.evaluate("location.hash") == "#/cases?backend=torchscript&precision=fp16"
    assert page.locator("table.cases tbody tr").count() == len(wanted)
    page.reload()
    shown.drawn()
    assert page.locator("#result").inner_text() == f"{len(wanted)} of {whole} cases"
    page.get_by_label("Remove the filter precision: fp16").click()
    assert page.evaluate("location.hash") == "#/cases?backend=torchscript"


def test_a_search_a_sort_and_the_way_back(view, committed) -> None:
    shown = view(*committed)
    of = [
        row
        for run in committed
        for row in rows(run)
        if row.model == "resnet50" and row.precision == "fp16" and row.symbols.get("batch") == 32
    ]
    page = shown.go("#/cases?model=resnet50")
    page.get_by_label("Search the cases").fill("fp16 batch=32")
    page.locator("#result", has_text=re.compile(rf"^{len(of)} of ")).wait_for()
    page.get_by_role("button", name="time", exact=True).click()
    shown_times = [text.split(" ±")[0].split(" [")[0] for text in shown.texts('td[data-title="time"]')]
    times = sorted(row.times[row.primary].value for row in of if row.primary in row.times)
    assert [figure(text) for text in shown_times if text != "\u2013"] == [cells.bare(time) for time in times]
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("time")
    page.locator("[data-sort=time]").click()
    assert page.evaluate("location.hash").endswith("sort=-time")
    assert page.evaluate("document.activeElement.dataset.sort") == "time"
    page.locator("table.cases tbody a").first.click()
    shown.drawn()
    page.go_back()
    shown.drawn()
    assert page.evaluate("location.hash").endswith("sort=-time")
    assert page.get_by_label("Search the cases").input_value() == "fp16 batch=32"


def test_a_case_has_the_figures_of_the_store_and_the_distribution_of_each_process(view, committed) -> None:
    run = committed[1]
    row = rows(run)[0]
    shown = view(*committed)
    page = shown.go(f"#/case/{run.header.run}/{row.case}")
    assert page.locator("h1").inner_text() == row.label
    lines = {
        line.locator("th").inner_text(): line
        for line in page.get_by_role("table", name="Times by boundary").locator("tbody tr").all()
    }
    assert list(lines) == list(row.times)
    for boundary, of in row.times.items():
        median, least = (figure(text) for text in lines[boundary].locator("td").all_inner_texts()[:2])
        assert median == cells.time(of)
        assert least == cells.bare(of.minimum)
    drawing = page.locator("details.distribution").first
    assert drawing.locator("summary").inner_text().startswith("gpu")
    assert drawing.locator("path.density").count() == row.processes == 7
    assert page.get_by_role("table", name="Processes with their telemetry").locator("tbody tr").count() == 7
    notes = page.locator(".notes").inner_text()
    assert all(warning.kind in notes for warning in row.warnings)
    commands = page.locator(".command").all_inner_texts()
    assert any(f"trtbench run {run.header.suite_path} --select id={row.case}" in command for command in commands)


def test_a_case_that_was_quantized_here_has_its_accuracy_against_both_references(view) -> None:
    run = quantized()
    shown = view(run)
    titles = {}
    for of in run.header.cases:
        page = shown.go(f"#/case/{run.header.run}/{of.id}")
        table = page.get_by_role("table", name="Accuracy of each output against the fp32 reference")
        cells_of = table.locator("tbody tr").first.locator("th, td").all_inner_texts()
        titles[of.precision] = dict(zip(table.locator("thead th").all_inner_texts(), cells_of, strict=True))
    assert "cosine (int8)" not in titles["fp32"]
    assert titles["int8"]["cosine"] == "0.999980"
    assert titles["int8"]["cosine (int8)"] == ">0.999999"
    assert titles["int8"]["SQNR dB (int8)"] == "60.7"
    assert titles["int8"]["cosine (rounding)"] == "0.987600"
    assert "cosine (rounding)" not in titles["fp32"]


def test_two_modes_of_a_distribution_are_seen(view) -> None:
    of = case("net", "eager")
    one = record(of, 1.0)
    samples = tuple(range(1_000_000, 1_000_128)) + tuple(range(1_100_000, 1_100_128))
    run = make(
        [of],
        [msgspec.structs.replace(one, measurements=(msgspec.structs.replace(one.measurements[0], samples=samples),))],
    )
    page = view(run).go(f"#/case/{run.header.run}/{of.id}")
    path = page.locator("path.density").first.get_attribute("d")
    heights = [-float(y) for y in re.findall(r"L[\d.]+,([\d.]+)", path or "")]
    high = [height - min(heights) > (max(heights) - min(heights)) / 2 for height in heights]
    assert [len([*group]) > 2 for above, group in itertools.groupby(high) if above] == [True, True]


def test_a_link_to_a_case_that_is_not_there_says_so(view, runs) -> None:
    page = view(*runs).go("#/case/20991231T000000Z-none-0000000/abc")
    assert page.locator("h1").inner_text() == "No such case"
    page.get_by_role("link", name="All cases").click()
    page.locator("h1", has_text="Cases").wait_for()


def test_copies_have_all_rows_that_match(view, runs) -> None:
    shown = view(*runs)
    page = shown.go("#/cases?model=resnet18&status=ok")
    page.evaluate("navigator.clipboard.writeText = (text) => { window.copied = text; return Promise.resolve(); }")
    page.get_by_role("button", name="Copy Markdown").click()
    lines = page.evaluate("window.copied").splitlines()
    assert lines[0].startswith("| model | backend | precision | sizes |")
    assert len(lines) == 2 + page.locator("table.cases tbody tr").count()
    page.get_by_role("button", name="Copy CSV").click()
    head, *body = page.evaluate("window.copied").splitlines()
    values = dict(zip(head.split(","), body[0].split(","), strict=True))
    row = next(row for row in rows(runs[0]) if row.label == values["label"])
    assert float(values["time_ns"]) == pytest.approx(row.times["latency"].value, rel=1e-5)
    assert page.locator("#toast").inner_text().endswith("copied")


def test_names_of_html_are_texts_in_every_view(view) -> None:
    of, failed = case(EVIL, EVIL, toolchain=EVIL), case(EVIL, "eager")
    failure = Failure(kind=EVIL, stage=EVIL, message=EVIL, hint=EVIL, log=EVIL)
    records = [record(of, 1.0), Record(case=failed.id, label=failed.label, failure=failure)]
    run = renamed(make([of, failed], records), "20261123T101500Z-evil-1a2b3c4", suite_path=f"{EVIL}.yaml")
    shown = view(run, title=EVIL, problems=[EVIL])
    places = [f"#/case/{run.header.run}/{each.id}" for each in (of, failed)]
    for address in ("#/overview", "#/cases", "#/plots", *places,
                    "#/case/%3Cimg%20src=x%20onerror=alert(1)%3E/x",
                    "#/cases?q=%3Cimg+src%3Dx%3E&model=%3C%2Fscript%3E"):  # fmt: skip
        page = shown.go(address)
        assert page.locator("img").count() == 0
    page = shown.go(f"#/case/{run.header.run}/{failed.id}")
    assert EVIL in page.locator(".failure").inner_text()


@pytest.mark.parametrize("screen", [PHONE, {}], ids=["phone", "desktop"])
def test_no_view_is_wider_than_the_screen(view, committed, screen) -> None:
    long = "name-" * 60
    cases = [case(long, f"backend{n}_" + "x" * 280 * (n == 0)) for n in range(200)]
    many = renamed(
        make(cases, [record(of, 1 + n / 100) for n, of in enumerate(cases)]), "20261120T101500Z-many-1a2b3c4"
    )
    shown = view(*committed, many, screen=screen)
    first = committed[0].header
    for address in ("#/overview", "#/cases", f"#/cases?model={long}", "#/plots?run=" + many.header.run,
                    f"#/case/{first.run}/{first.cases[0].id}", f"#/case/{many.header.run}/{cases[0].id}"):  # fmt: skip
        shown.go(address)
        assert not shown.wider_than_the_screen(), address
    shown.go("#/cases")
    assert "backend199_" not in shown.page.locator("#facets").inner_text()
    if screen == PHONE:
        shown.page.locator("#side summary").click()
    shown.page.locator("#more-backend").click()
    assert "backend199_" in shown.page.locator("#facets").inner_text()


def test_a_page_without_runs_or_results_says_what_would_fill_it(view) -> None:
    page = view(place="results", problems=["results/x.jsonl: the file is empty"]).go("#/overview")
    assert "There are no runs in results yet" in page.locator("main").inner_text()
    assert "trtbench run suites/smoke.yaml" in page.locator("main").inner_text()
    assert "results/x.jsonl: the file is empty" in page.locator(".problems").inner_text()
    of = case("net", "eager")
    failure = Failure(kind="OutOfMemory", stage="load", message="the device has no memory left")
    failed = make([of], [Record(case=of.id, label=of.label, failure=failure)])
    shown = view(failed)
    page = shown.go("#/overview")
    assert "nothing to choose from" in page.locator("main").inner_text()
    assert "OutOfMemory in load" in page.locator("table.reasons").inner_text()
    page = shown.go("#/plots")
    assert "What would fill it" in page.locator("main").inner_text()
    assert "No case matches" in shown.go("#/cases?status=ok").locator("main").inner_text()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_theme_is_the_readers_until_chosen(view, runs, theme) -> None:
    shown = view(*runs, screen={"color_scheme": theme})
    page = shown.go("#/overview")
    color = "getComputedStyle(document.body).backgroundColor"
    first = page.evaluate(color)
    assert (sum(map(int, re.findall(r"\d+", first))) < 200) == (theme == "dark")
    button = page.locator("#theme")
    for expected in ("light", "dark", "auto"):
        button.click()
        assert button.inner_text() == f"Theme: {expected}"
    button.click()
    assert page.evaluate(color) == "rgb(246, 247, 249)"


def test_what_is_printed_has_the_figures_and_no_controls(view, runs) -> None:
    page = view(*runs, screen={"color_scheme": "dark"}).go("#/cases")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert not page.locator("#side").is_visible()
    assert not page.get_by_role("button", name="Copy CSV").is_visible()
    assert page.locator("table.cases tbody tr").first.is_visible()
    assert page.pdf().startswith(b"%PDF")


def test_the_keyboard_reaches_the_content_and_the_controls(view, runs) -> None:
    page = view(*runs).go("#/cases")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "search"
    page.locator("#facet-model-0").focus()
    page.keyboard.press("Space")
    assert page.evaluate("document.activeElement.id") == "facet-model-0"
    assert "model=" in page.evaluate("location.hash")


def test_each_view_has_one_heading_and_a_title(view, runs) -> None:
    shown = view(*runs)
    run = runs[0]
    titles = {
        "#/overview": "trtbench report",
        "#/nowhere": "trtbench report",
        "#/cases": "Cases · trtbench report",
        f"#/case/{run.header.run}/{run.header.cases[0].id}": "bert/eager/fp32/batch=1/seq=128 · trtbench report",
    }
    for address, title in titles.items():
        page = shown.go(address)
        assert page.locator("h1").count() == 1
        assert page.title() == title


def test_scripts_have_no_way_to_read_data_as_html() -> None:
    for path in ASSETS.glob("*.js"):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", path.read_text()), path


def test_a_page_of_a_run_that_goes_on_loads_itself_again_and_stays_where_it_is(view, runs) -> None:
    shown = view(*runs)
    html = shown.file.read_text()
    shown.file.write_text(html.replace('"refresh":0', '"refresh":1'))
    page = shown.go("#/cases?model=bert")
    page.wait_for_event("load")
    shown.drawn()
    assert page.evaluate("location.hash") == "#/cases?model=bert"
