"""Plots in a browser: each is drawn, follows the filter, and has a table with the store's figures."""

from __future__ import annotations

import re

import msgspec
import pytest

from bench.analysis.rows import rows
from bench.model.profile import CaseProfile
from bench.profiling.condense import condense
from bench.report import cells
from bench.report.html.plots import PLOTS
from tests.profile_kit import eager
from tests.report.conftest import case, make, record
from tests.report.html.kit import renamed
from tests.report.html.profiles_kit import FOLDER, file_of

pytestmark = pytest.mark.long
EVIL = "</script><img src=x onerror=alert(1)>"
PHONE = {"viewport": {"width": 390, "height": 844}}


def open_table(page) -> None:
    """Open the table beside the plot; its rows are made when it opens."""
    page.locator("details.beside summary").click()
    page.locator("details.beside tbody tr").first.wait_for()


@pytest.fixture
def everything(runs, committed):
    """Runs with which each plot has rows: those of one plan, another device, two toolchains, GPUs."""
    here = runs[0].header.environments["default"]
    there = renamed(
        runs[0],
        "20261125T101500Z-smoke-1a2b3c4",
        environments={"default": msgspec.structs.replace(here, device="Other CPU")},
    )
    both = [case("net", "eager"), case("net", "eager", toolchain="old")]
    toolchains = renamed(
        make(both, [record(of, 1 + n / 9, k) for n, of in enumerate(both) for k in range(3)], 3),
        "20261121T101500Z-two-1a2b3c4",
    )
    return [*runs, there, toolchains, *committed]


@pytest.mark.parametrize("screen", [{}, PHONE | {"color_scheme": "dark"}], ids=["desktop", "phone"])
def test_each_plot_is_drawn_with_its_table_and_without_a_complaint(view, everything, screen) -> None:
    first = everything[0]
    of = first.header.cases[0]
    profiles = file_of(CaseProfile(case=of.id, label=of.label, condensed=condense(eager().profile())))
    there = msgspec.structs.replace(first, path=f"{FOLDER}/{first.header.run}.jsonl")
    shown = view(there, *everything[1:], screen=screen, profiled={FOLDER: [profiles]})
    said: list[str] = []
    shown.page.on("console", lambda message: said.append(message.text))
    for plot in PLOTS:
        page = shown.go(f"#/plots/{plot}")
        charts = page.locator(".chart svg.marks")
        assert charts.count() >= 1, plot
        assert page.locator(".chart").count() == charts.count(), plot
        assert page.locator(".chart .empty").count() == 0, plot
        open_table(page)
        assert page.locator("details.beside tbody tr").count() >= 1, plot
        assert not shown.wider_than_the_screen(), plot
    assert said == []


BEYOND = """() => [...document.querySelectorAll(".chart svg.marks")].flatMap((chart) => {
  const box = chart.getBoundingClientRect();
  return [...chart.querySelectorAll("text")].filter((text) => {
    const at = text.getBoundingClientRect();
    const seen = at.width && text.getAttribute("opacity") !== "0";
    return seen && (at.left < box.left - 1 || at.right > box.right + 1);
  }).map((text) => text.textContent);
})"""


def test_no_text_of_a_chart_is_cut_off_at_its_edge(view, everything) -> None:
    shown = view(*everything)
    for plot in ("speed", "start", "machines", "toolchains", "roof"):
        assert shown.go(f"#/plots/{plot}").evaluate(BEYOND) == [], plot


def test_on_a_phone_no_date_is_cut_off_and_times_stand_beside_the_names(view, runs) -> None:
    several = [
        renamed(runs[1], f"2026112{day}T101500Z-smoke-1a2b3c4", created=f"2026-11-2{day}T10:15:00+00:00")
        for day in range(1, 6)
    ]
    shown = view(*several, screen=PHONE)
    page = shown.go("#/plots/history?model=resnet18&run=*")
    assert page.locator(".chart svg.marks").count() > 1
    assert page.evaluate(BEYOND) == []
    page = shown.go("#/plots/speed")
    assert page.evaluate(BEYOND) == []
    row = next(row for row in rows(several[-1]) if row.label.startswith("resnet18/torchscript"))
    texts = page.locator(".chart svg.marks text").all_text_contents()
    assert f"torchscript fp32, {cells.bare(row.times['latency'].value)}" in texts


def test_without_a_filter_the_fullest_run_is_shown_and_any_other_can_be_chosen(view, committed) -> None:
    shown = view(*committed)
    page = shown.go("#/plots")
    fullest = max(committed, key=lambda run: sum(row.ranked for row in rows(run)))
    select = page.locator("#by-run")
    assert select.input_value() == f"={fullest.header.run}"
    assert page.locator(".panel-title").first.inner_text() == "resnet18 · batch=1"
    select.select_option("all")
    shown.drawn()
    assert page.evaluate("location.hash") == "#/plots/speed?run=*"
    assert fullest.header.run in page.locator(".panel-title").first.inner_text()
    page.get_by_role("link", name="Batch scaling").click()
    shown.drawn()
    assert page.evaluate("location.hash") == "#/plots/batch?run=*"
    page.reload()
    shown.drawn()
    assert page.locator("#by-run").input_value() == ""


def test_the_table_of_speeds_has_the_stores_figures_and_follows_the_filter(view, committed) -> None:
    shown = view(*committed)
    page = shown.go("#/plots/speed?model=resnet50&batch=32")
    open_table(page)
    lines = {
        line.locator("th").inner_text(): [text.strip() for text in line.locator("td").all_inner_texts()]
        for line in page.locator("details.beside tbody tr").all()
    }
    wanted = [
        row
        for run in committed
        for row in rows(run)
        if row.model == "resnet50" and row.symbols.get("batch") == 32 and row.speed
    ]
    assert set(lines) == {row.label for row in wanted}
    for row in wanted:
        assert lines[row.label][1] == f"{row.speed.ratio:.2f}x"
        assert lines[row.label][4] == cells.bare(row.times[row.primary].value)
    page.get_by_label("Precision").focus()
    page.get_by_label("Precision").select_option("fp16")
    shown.drawn()
    assert page.evaluate("document.activeElement.id") == "by-precision"
    open_table(page)
    assert page.locator("details.beside tbody tr").count() == len([row for row in wanted if row.precision == "fp16"])
    page.locator("details.beside tbody a").first.click()
    shown.drawn()
    assert page.locator("h1").inner_text().startswith("resnet50/")


def test_inaccurate_cases_are_marked(view, runs) -> None:
    page = view(*runs).go("#/plots/speed?model=resnet18")
    assert "onnxruntime fp32 ≠" in page.locator(".chart").first.text_content()
    assert "inaccurate, does not rank" in page.locator(".key").inner_text()


def test_the_front_is_listed_with_links(view, committed) -> None:
    shown = view(*committed)
    page = shown.go("#/plots/trade?model=resnet18&run=" + committed[0].header.run)
    items = page.locator("ol.front li").all_inner_texts()
    numbers = [text for text in page.locator(".chart text").all_text_contents() if re.fullmatch("[0-9]", text)]
    assert sorted(numbers) == [str(n + 1) for n in range(len(items))]
    assert items[0].startswith("inductor[mode=reduce-overhead] fp16 batch=1")
    page.locator("ol.front a").first.click()
    shown.drawn()
    assert page.locator("h1").inner_text() == "resnet18/inductor[mode=reduce-overhead]/fp16/batch=1"


# The colours of the points as red, green and blue: what an opaque pixel of each has.
COLOURS = """() => {
  const brush = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const points = [...document.querySelectorAll(".chart .mark-symbol path")].map((path) => getComputedStyle(path).fill);
  return points.filter((fill) => fill !== "none" && fill !== "rgba(0, 0, 0, 0)").map((fill) => {
    brush.fillStyle = fill;
    brush.fillRect(0, 0, 1, 1);
    return `rgb(${[...brush.getImageData(0, 0, 1, 1).data].slice(0, 3).join(", ")})`;
  });
}"""


def test_points_can_be_coloured_by_what_they_cost(view, committed) -> None:
    shown = view(*committed)
    page = shown.go("#/plots/trade?model=resnet18")
    page.get_by_label("Colour").select_option("memory")
    shown.drawn()
    assert page.evaluate("location.hash").endswith("color=memory")
    assert page.locator(".key").inner_text().startswith("memory: ")
    light = page.evaluate(COLOURS)
    assert {"rgb(169, 203, 232)", "rgb(8, 48, 107)"} < set(light)  # the ends of the ramp in the key
    assert len(set(light)) > 3
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(COLOURS)
    assert {"rgb(63, 127, 181)", "rgb(255, 242, 194)"} < set(dark)
    page.get_by_label("Colour").select_option("energy per inference")
    shown.drawn()
    assert "energy per inference: not recorded" in page.locator(".key").inner_text()


def test_a_click_on_a_bar_leads_to_its_case(view, runs) -> None:
    shown = view(*runs)
    page = shown.go("#/plots/speed?model=resnet18&run=" + runs[0].header.run)
    box = page.locator(".chart svg.marks").first.bounding_box()
    page.mouse.click(box["x"] + box["width"] - 60, box["y"] + 14)
    shown.drawn()
    assert page.locator("h1").inner_text() == "resnet18/inductor[mode=max-autotune]/fp32/batch=1"


def test_a_plot_without_rows_says_what_would_fill_it(view, runs) -> None:
    shown = view(*runs)
    page = shown.go("#/plots/machines")
    assert "What would fill it: runs of one suite on two devices" in page.locator("#plot").inner_text()
    page = shown.go("#/plots/speed?status=failed")
    assert "No case that matches the filter has these figures" in page.locator("#plot").inner_text()
    page.get_by_role("button", name="Show all cases").click()
    shown.drawn()
    assert page.locator(".chart svg.marks").count() >= 1


def test_a_history_has_a_point_for_each_run(view, runs) -> None:
    page = view(*runs).go("#/plots/history?model=resnet18&backend=eager")
    assert page.locator(".panel-title").all_inner_texts() == ["resnet18/eager/fp32/batch=1"]
    open_table(page)
    times = [
        row.times["latency"].value
        for run in reversed(runs)
        for row in rows(run)
        if row.label == "resnet18/eager/fp32/batch=1"
    ]
    shown = [line.locator("td").nth(1).inner_text() for line in page.locator("details.beside tbody tr").all()]
    assert shown == [cells.bare(time) for time in times]
    assert page.locator(".chart .mark-symbol path").count() == 2


def test_copies_of_a_plots_table_have_raw_numbers_with_units(view, runs) -> None:
    page = view(*runs).go("#/plots/speed?model=resnet18&run=" + runs[0].header.run)
    page.evaluate("navigator.clipboard.writeText = (text) => { window.copied = text; return Promise.resolve(); }")
    open_table(page)
    page.get_by_role("button", name="Copy CSV").click()
    head, *body = page.evaluate("window.copied").splitlines()
    assert head == "id,label,status,speed,speed_low,speed_high,time_ns,against"
    row = next(row for row in rows(runs[0]) if row.label == "resnet18/inductor/fp32/batch=1")
    values = next(line.split(",") for line in body if line.startswith(row.case))
    assert float(values[6]) == pytest.approx(row.times["latency"].value, rel=1e-5)
    page.get_by_role("button", name="Copy Markdown").click()
    assert page.evaluate("window.copied").startswith("| case | status | speed-up |")


def test_many_charts_come_in_portions(view) -> None:
    cases = [case(f"model{n}", backend) for n in range(30) for backend in ("eager", "aoti")]
    shown = view(make(cases, [record(of, 1 + n / 100) for n, of in enumerate(cases)]))
    page = shown.go("#/plots/speed")
    assert page.locator(".chart svg.marks").count() == 12
    page.get_by_role("button", name="Show 12 more of 30 charts").click()
    page.locator(".chart svg.marks").nth(23).wait_for()
    page.get_by_role("button", name="Show 6 more of 30 charts").click()
    page.locator(".chart svg.marks").nth(29).wait_for()
    assert page.locator("#more-panels").count() == 0


def test_names_of_html_are_texts_in_every_plot(view, runs) -> None:
    cases = [
        case(EVIL, name, batch=n, toolchain=t) for name in ("eager", EVIL) for n in (1, 8) for t in ("default", EVIL)
    ]
    records = [record(of, 1 + n / 10, k) for n, of in enumerate(cases) for k in range(3)]
    run = make(cases, records, 3)
    run = renamed(run, "20261123T101500Z-evil-1a2b3c4", ceilings={"fp32": 1e9, "copy": 1e9})
    here = run.header.environments["default"]
    other = renamed(
        run, "20261124T101500Z-evil-1a2b3c4", environments={"default": msgspec.structs.replace(here, device=EVIL)}
    )
    again = renamed(run, "20261125T101500Z-evil-1a2b3c4", created="2026-11-25T10:15:00+00:00")
    profiles = [CaseProfile(case=of.id, label=of.label, condensed=condense(eager().profile())) for of in cases]
    there = msgspec.structs.replace(run, path=f"{FOLDER}/{run.header.run}.jsonl")
    shown = view(there, other, again, *runs, profiled={FOLDER: [file_of(*profiles)]})
    for plot in PLOTS:
        page = shown.go(f"#/plots/{plot}?model=" + "%3C%2Fscript%3E%3Cimg+src%3Dx+onerror%3Dalert%281%29%3E")
        assert page.locator(".chart").count() >= 1, plot
        open_table(page)
        page.locator(".chart svg.marks").first.hover()
        assert page.locator("img").count() == 0, plot
        assert EVIL in page.locator("#plot").inner_text(), plot


def test_a_name_that_a_specification_uses_is_a_name(view) -> None:
    cases = [case("@hues", "@count", batch=n) for n in (1, 8)]
    page = view(make(cases, [record(of, 1.0) for of in cases])).go("#/plots/batch")
    points = page.locator(".chart .mark-symbol path")
    assert [point.get_attribute("fill") for point in points.all()] == ["var(--s1)"] * 2
    assert page.locator(".key").inner_text().startswith("@count")


def test_a_chart_takes_the_colours_of_the_theme_and_of_print(view, runs) -> None:
    shown = view(*runs, screen={"color_scheme": "light"})
    page = shown.go("#/plots/speed?model=resnet18")
    text = "document.querySelector('.chart .role-mark.mark-text text')"
    color = f"getComputedStyle({text}).fill"
    light = page.evaluate(color)
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(color) != light
    page.emulate_media(color_scheme="dark", media="print")
    assert page.evaluate(color) == "rgb(0, 0, 0)"
    assert not page.locator(".pills").is_visible()


def test_a_change_of_the_theme_leaves_a_view_as_it_is(view, runs) -> None:
    page = view(*runs, screen={"color_scheme": "light"}).go("#/plots/speed?model=resnet18")
    open_table(page)
    page.evaluate("() => { window.chart = document.querySelector('.chart svg.marks'); }")
    light = page.evaluate("getComputedStyle(document.querySelector('.chart .mark-rect path')).fill")
    page.locator("#theme").click()  # auto, light
    page.locator("#theme").click()  # dark
    assert page.evaluate("getComputedStyle(document.querySelector('.chart .mark-rect path')).fill") != light
    assert page.evaluate("window.chart.isConnected")
    assert page.locator("details.beside tbody tr").first.is_visible()
    box = page.locator(".chart svg.marks").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] - 60, box["y"] + 14)
    page.locator("#vg-tooltip-element.visible").wait_for()
    paper = page.evaluate("getComputedStyle(document.querySelector('.card')).backgroundColor")
    assert page.evaluate("getComputedStyle(document.getElementById('vg-tooltip-element')).backgroundColor") == paper


DRAWN_THREE_TIMES = """() => {
  const charts = () => document.querySelectorAll(".chart svg.marks").length;
  window.standing = [];
  new MutationObserver(() => { if (document.body.dataset.ready === "yes") window.standing.push(charts()); })
    .observe(document.body, { attributes: true, attributeFilter: ["data-ready"] });
  for (let n = 0; n < 3; n += 1) dispatchEvent(new Event("hashchange"));
}"""


def test_a_view_that_is_drawn_again_and_again_is_ready_with_all_charts_alone(view, runs) -> None:
    shown = view(*runs)
    page = shown.go("#/plots/speed?run=*")
    charts = page.locator(".chart svg.marks").count()
    assert charts > 1
    page.evaluate(DRAWN_THREE_TIMES)
    page.wait_for_function("() => standing.length")
    assert set(page.evaluate("standing")) == {charts}
