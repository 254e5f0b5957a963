"""Profiles in a browser: the waterfall, the timeline by mouse and keys, its tables, and the explanations."""

from __future__ import annotations

import re

import msgspec
import pytest

from bench.analysis.rows import rows
from bench.model.profile import CaseProfile
from bench.profiling.condense import condense
from bench.report import cells
from tests.profile_kit import US, Timeline, eager, on_cpu, replayed
from tests.report.conftest import case, make, record
from tests.report.html.profiles_kit import COMPILED, EAGER, EVIL, FOLDER, file_of, profiled, run_of

pytestmark = pytest.mark.long
PHONE = {"viewport": {"width": 390, "height": 844}}


@pytest.fixture
def shown(view):
    """A page of two cases with their profiles, and the address of the second one's."""
    run = run_of(EAGER, COMPILED)
    both = file_of(profiled(EAGER, eager()), profiled(COMPILED, replayed(kernel_ns=10 * US)))

    def open_page(**options):
        return view(run, profiled={FOLDER: [both]}, **options), f"/{run.header.run}/{COMPILED.id}"

    return open_page


def test_the_parts_of_an_inference_are_a_bar_and_a_table(shown) -> None:
    page, address = shown()
    tab = page.go(f"#/case{address}")
    lines = tab.get_by_role("table", name="Parts of one inference").locator("tbody tr").all()
    texts = {line.locator("th").inner_text().strip(): line.locator("td").first.inner_text() for line in lines}
    assert texts["kernels"] == cells.bare(40 * US)
    assert tab.locator("svg.waterfall rect").count() == len(lines)
    tab = page.go("#/plots/waterfall")
    tab.locator("details.beside summary").click()
    body = tab.locator("details.beside tbody tr", has_text="kernels")
    body.first.wait_for()
    assert sorted(body.nth(n).locator("td").nth(1).inner_text() for n in range(body.count())) == [
        cells.bare(40 * US), cells.bare(80 * US),
    ]  # fmt: skip


def test_a_timeline_zooms_by_buttons_keys_and_a_drag_and_tells_of_an_event(shown) -> None:
    page, address = shown()
    tab = page.go(f"#/case{address}")
    scope = tab.locator(".timeline .tools [role=status]")
    whole = scope.inner_text()
    end = whole.rpartition(" of ")[2]
    assert whole == f"0 ns to {end} of {end}"
    tab.get_by_role("button", name="Zoom in").click()
    assert scope.inner_text() != whole
    tab.locator(".trace-frame").focus()
    for key in ("ArrowRight", "+", "-", "-", "0"):
        before = scope.inner_text()
        tab.keyboard.press(key)
        assert scope.inner_text() != before or key == "0", key
    assert scope.inner_text() == whole
    kernel = tab.locator(".event.kernel rect").first
    kernel.scroll_into_view_if_needed()
    kernel.click()
    assert re.match(
        r"gemm_0, 10\.0 us from .* on, .* after the start of its launch", tab.locator(".chosen").inner_text()
    )
    box = tab.locator("svg.trace").bounding_box()
    tab.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 40)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 40, steps=4)
    tab.mouse.up()
    assert scope.inner_text() != whole
    assert tab.locator(".band").count() == 0
    tab.get_by_role("button", name="Whole inference").click()
    assert scope.inner_text() == whole


def test_the_longest_events_kernels_and_copies_are_tables(shown) -> None:
    page, address = shown()
    tab = page.go(f"#/case{address}")
    tab.locator("details.events summary").click()
    rows = tab.get_by_role("table", name="Events, the longest first").locator("tbody tr")
    rows.first.wait_for()
    lanes = {rows.nth(n).locator("td").first.inner_text() for n in range(rows.count())}
    assert lanes == {"phases", "host calls", "stream 7"}
    kernels = tab.get_by_role("table", name="The kernels of one inference").locator("tbody tr")
    assert kernels.count() == 4
    assert kernels.first.locator("td").all_inner_texts()[:4] == ["1", "10.0 us", "10.0 us", "25.0%"]
    copies = tab.get_by_role("table", name="Copies and memsets of one inference").locator("tbody")
    assert "64.0 KiB" in copies.inner_text()


def test_a_case_is_explained_in_the_list_on_its_page_and_part_by_part(shown) -> None:
    page, address = shown()
    tab = page.go("#/explain")
    tab.get_by_role("link", name=COMPILED.label).click()
    page.drawn()
    assert tab.evaluate("location.hash") == f"#/explain{address}"
    assert EAGER.label in tab.locator("#main").inner_text()
    names = tab.locator("ol.parts > li > p > strong").all_inner_texts()
    assert len(names) >= 2
    assert "the GPU waits for launches" in names
    assert "launch" not in names
    tab = page.go(f"#/case{address}")
    tab.get_by_role("link", name="Part by part").click()
    page.drawn()
    assert tab.evaluate("location.hash") == f"#/explain{address}"
    tab = page.go("#/explain/no/such")
    assert "no such pair" in tab.locator("#main").inner_text()


def test_the_list_has_the_speed_that_it_is_sorted_by_and_a_remark_where_the_run_measured_something_else(view) -> None:
    cases = [case("net", backend) for backend in ("eager", "aoti", "inductor")]
    run = make(cases, [record(of, ms) for of, ms in zip(cases, (4.0, 1.0, 12.0), strict=True)])
    run = msgspec.structs.replace(run, path=f"{FOLDER}/{run.header.run}.jsonl")
    profiles = file_of(*(profiled(of, on_cpu().profile(device="cpu")) for of in cases))
    page = view(run, profiled={FOLDER: [profiles]})
    tab = page.go("#/explain")
    lines = [" ".join(text.split()) for text in page.texts("table.explained tbody tr")]
    assert [re.findall(r"[\d.]+x", line) for line in lines] == [
        [re.sub("x.*", "x", cells.ratio(row.speed, row.label))] for row in rows(run)[1:]
    ]
    assert all(line.count("a larger difference") == 1 for line in lines)
    tab.get_by_role("link", name=cases[1].label).click()
    page.drawn()
    text = tab.locator("#main").inner_text()
    assert "The run measures a larger difference: latency of B is" in text
    assert run.header.run in text


def test_each_figure_of_the_list_names_its_boundary_also_where_those_of_gpu_and_latency_disagree(view) -> None:
    boundaries = ("gpu", "latency")
    eager_record, compiled = record(EAGER, 4.0, boundaries=boundaries), record(COMPILED, 2.0, boundaries=boundaries)
    slower = record(COMPILED, 8.0, boundaries=boundaries).measurements[0]  # on the GPU, the host takes less
    compiled = msgspec.structs.replace(compiled, measurements=(slower, *compiled.measurements[1:]))
    run = make([EAGER, COMPILED], [eager_record, compiled])
    run = msgspec.structs.replace(run, path=f"{FOLDER}/{run.header.run}.jsonl")
    both = file_of(profiled(EAGER, eager()), profiled(COMPILED, replayed(kernel_ns=10 * US)))
    tab = view(run, profiled={FOLDER: [both]}).go("#/explain")
    texts = tab.locator("table.explained tbody tr").locator("td").all_inner_texts()
    speed, difference, measured = (text.split("\n") for text in texts[1:4])
    assert speed[-1] == "gpu"
    gaps = difference[-1]
    assert gaps in ("gpu", "latency")
    signs = {measured[n + 1]: measured[n][0] for n in (0, 2)}
    assert signs == {"gpu": "+", "latency": "\N{MINUS SIGN}"}
    assert difference[0][0] == signs[gaps]


def test_without_profiles_each_view_says_what_would_fill_it(view) -> None:
    run = run_of(EAGER)
    page = view(run)
    assert "trtbench profile" in page.go("#/explain").locator("#main").inner_text()
    assert "trtbench profile" in page.go("#/plots/waterfall").locator("#plot").inner_text()
    assert "trtbench profile" in page.go(f"#/case/{run.header.run}/{EAGER.id}").locator("#main").inner_text()


def test_names_of_kernels_and_modules_are_texts(view) -> None:
    timeline = Timeline()
    with timeline.range("iteration", "0"), timeline.range("module", EVIL):
        timeline.launch(f"kernel_{EVIL}", 20 * US, module=EVIL)
        timeline.sync(EVIL)
    run = run_of(EAGER)
    each = CaseProfile(case=EAGER.id, label=EAGER.label, condensed=condense(timeline.profile()))
    page = view(run, profiled={FOLDER: [file_of(each)]})
    tab = page.go(f"#/case/{run.header.run}/{EAGER.id}")
    tab.locator("details.events summary").click()
    assert tab.locator("img").count() == 0
    assert EVIL in tab.locator("details.events tbody").inner_text()


@pytest.mark.parametrize("screen", [PHONE, {}], ids=["phone", "desktop"])
def test_no_view_of_profiles_is_wider_than_the_screen(shown, screen) -> None:
    page, address = shown(screen=screen)
    for place in (f"#/case{address}", "#/explain", f"#/explain{address}", "#/plots/waterfall"):
        page.go(place)
        assert not page.wider_than_the_screen(), place
