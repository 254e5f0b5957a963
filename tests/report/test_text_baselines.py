"""Speeds in tables: what they are against, and why some have none or are marked."""

import csv
import io
import json
import re

import msgspec
import pytest

from bench.model.run import Environment, Failure, Record, Warning
from bench.model.telemetry import Telemetry
from bench.report import export, text
from bench.report.html import notebook
from tests.report.test_text import timed

from .conftest import accuracy, case, example, make, record
from .html.kit import page_of, rows_of


@pytest.mark.parametrize(
    ("slower", "ratio", "interval"),
    [
        (2941, r"0\.000\d{3}x", r"0\.000\d{3}, 0\.000\d{3}"),
        (20, r"0\.0\d{3}x", r"0\.0\d{3}, 0\.0\d{3}"),
        (4, r"0\.25x", r"0\.1\d, 0\.\d\d"),
        (1 / 25, r"2\d\.\d\dx", r"1\d\.\d\d, 3\d\.\d\d"),
    ],
)
def test_a_ratio_and_its_interval_keep_digits_that_tell_something(slower, ratio, interval) -> None:
    cases = [case("bert", "eager"), case("bert", "inductor")]
    even = [record(each, ms, n) for n in range(7) for each, ms in zip(cases, (2.0, 2.0 * slower), strict=True)]
    assert re.search(rf" {ratio} ±0\.\d% ", text.render(make(cases, even), width=200))
    apart = [record(cases[0], 2.0 + n / 4, n) for n in range(3)] + [record(cases[1], 2.2 * slower, n) for n in range(3)]
    assert re.search(rf" {ratio} \[{interval}\] ", text.render(make(cases, apart, 3), width=200))


def test_a_time_of_0_has_no_ratio_and_the_note_says_why() -> None:
    cases = [case("bert", "eager"), case("bert", "inductor")]
    run = make(cases, [timed(cases[0], *[0] * 9), timed(cases[1], *[1_800_000] * 9)])
    note = "baseline: inductor: a time of 0, its own or the baseline's, has no ratio, so no speed"
    for shown in (text.render(run, width=200), export.markdown(run)):
        (row,) = [line for line in shown.splitlines() if "1.80 ms" in line]
        assert not re.search(r"\dx", row)
        assert note in shown
    _, speed = (row["speed"] for row in json.loads(export.json(run))["rows"])
    assert (speed["ratio"], speed["low"], speed["high"]) == (None, None, None)
    assert list(csv.DictReader(io.StringIO(export.csv(run))))[1]["speed"] == ""


def test_the_time_that_ratios_are_of_is_named_where_it_is_not_the_first() -> None:
    eager, other = case("bert", "eager"), case("bert", "inductor")
    held = record(other, 1.0, boundaries=("gpu", "latency"))
    run = make([eager, other], [record(eager, 2.0, boundaries=("gpu_unheld", "latency")), held])
    note = "boundary: speed, rank and speed of light are read from latency, as eager has no gpu"
    assert " vs eager (latency) " in text.render(run, width=200)
    assert note in text.render(run, width=200)
    assert note in export.markdown(run)
    # Plain events of what could not be held leave before the held times of the others.
    found = [text.render(run, width=width) for width in range(40, 200)]
    assert all(" gpu " in shown for shown in found if " gpu_unheld " in shown)
    assert any(" gpu " in shown and " gpu_unheld " not in shown for shown in found)
    both = make([eager, other], [record(eager, 2.0, boundaries=("gpu", "latency")), held])
    assert "(gpu)" not in text.render(both, width=200)
    assert "boundary:" not in text.render(both, width=200)


def test_a_ratio_of_two_cards_is_marked_everywhere() -> None:
    base, here, there = (case("bert", name) for name in ("eager", "inductor", "torchscript"))
    moved = (Warning(kind="ResumedElsewhere", figures={"what": "card"}),)
    several = [[record(base, 2.0, n), record(here, 1.0, n), record(there, 1.5, n, warnings=moved)] for n in range(3)]
    run = make([base, here, there], [each for of_process in several for each in of_process], 3)
    legend = (
        "‡ no card or machine is known to have run both sides (1 case): how two of them differ is not in the interval"
    )
    shown = text.render(run, width=200)
    assert legend in shown.splitlines()
    assert re.search(r"torchscript .*x ±\d\.\d% ‡ ", shown)
    assert not re.search(r"inductor .*‡", shown)
    assert re.search(r"torchscript .*x ±\d\.\d% ‡ \|", export.markdown(run))
    assert legend in export.markdown(run)
    assert [row["speed"]["across_devices"] for row in json.loads(export.json(run))["rows"]] == [False, False, True]
    told = [line["speed_across_devices"] for line in csv.DictReader(io.StringIO(export.csv(run)))]
    assert told == ["False", "False", "True"]


def test_a_ratio_is_not_marked_where_a_card_measured_both_sides() -> None:
    base, other = case("bert", "eager"), case("bert", "inductor")
    moved = {"warnings": (Warning(kind="ResumedElsewhere", figures={"what": "card"}),)}
    both = [record(c, 2.0, n, **(moved if n else {})) for c in (base, other) for n in range(3)]
    assert "‡" not in text.render(make([base, other], both, 3), width=200)

    def after(*cards: str) -> str:
        facts = [{"telemetry": Telemetry(resumed_on=card)} if card else {} for card in cards]
        found = [record(c, 2.0, **moved, **fact) for c, fact in zip((base, other), facts, strict=True)]
        return text.render(make([base, other], found), width=200)

    assert "‡" not in after("b", "b")
    assert "‡" in after("b", "c")  # a second and a third sitting
    assert "‡" in after("", "")  # records of before, which do not say which


def test_one_process_is_said_not_to_show_the_spread_between_processes() -> None:
    footnote = "1 process: spread between processes is not in the intervals, and no case is marked as the fastest"
    assert footnote in text.render(example(1), width=200)
    assert footnote not in text.render(example(3), width=200)


def test_figures_of_one_process_are_marked_where_others_have_several() -> None:
    eager, unheld, alone = (case("bert", name) for name in ("eager", "inductor", "torchscript"))
    held = ("gpu", "latency")
    found = [record(eager, 2.0, replicate, held) for replicate in range(3)]
    found += [record(unheld, 1.0, 0, held), *(record(unheld, 1.0, r, ("gpu_unheld", "latency")) for r in (1, 2))]
    found += [record(alone, 1.5, 0, held)]
    run = make([eager, unheld, alone], found, replicates=3)
    mark = "† one process, or in a ratio one on a side (2 cases): spread between processes is not in the interval"
    shown = text.render(run, width=200)
    assert mark in shown.splitlines()
    by_name = {line.split()[0]: line for line in shown.splitlines() if " ok " in line}
    assert "†" not in by_name["eager"]
    assert re.search(r"us ±\S+ † .*x ±unknown † ", by_name["inductor"])
    assert by_name["inductor"].count("†") == 2  # its latency has three processes
    assert max(map(len, text.render(run, width=80).splitlines())) <= 80
    assert re.search(r"x ±\S+ †", text.render(run, width=80))
    page = export.markdown(run)
    assert re.search(r"x ±\S+ † \|", page)
    assert mark in page


def test_a_ratio_against_a_baseline_of_one_process_is_marked_too() -> None:
    eager, other = case("bert", "eager"), case("bert", "inductor")
    found = [record(eager, 2.0, 0), *(record(other, 1.0, replicate) for replicate in range(3))]
    shown = text.render(make([eager, other], found, replicates=3), width=200)
    assert re.search(r"x ±\S+ † ", shown)
    assert "(2 cases)" in shown


def test_a_run_of_one_process_per_case_says_so_once_and_marks_nothing() -> None:
    printed = text.render(example(1), width=200) + export.markdown(example(1)) + notebook.tables(example(1))
    assert not re.search(r"[†≈*]", printed)
    assert "bold" not in printed
    assert "<th>inductor" not in printed


def test_a_baseline_of_one_process_on_a_noisy_host_decides_nothing_in_any_output() -> None:
    """The samples of that process say its median to 1 %, and nothing of what another one would take."""
    eager, other = case("bert", "eager"), case("bert", "inductor")
    noise = Warning(kind="NoisyHost", figures={"window_ns": 2_000 * 1_000_000, "longest_wait_ns": 1_900 * 1_000_000})
    found = [record(eager, 474.0, warnings=(noise,)), *(record(other, 1.0, replicate) for replicate in range(3))]
    run = make([eager, other], found, replicates=3)
    legend = (
        "±unknown of a ratio: a side has one process, which does not show how processes differ (--replicates 3 does)"
    )
    for shown in (text.render(run, width=200), export.markdown(run)):
        (row,) = [line for line in shown.splitlines() if "inductor" in line and " ok " in line]
        assert re.search(r"4\d\dx ±unknown †", row)
        assert legend in shown
    assert re.search(r"4\d\dx ±unknown †", notebook.tables(run))
    _, judged = json.loads(export.json(run))["rows"]
    assert judged["speed"]["ratio"] == pytest.approx(474, rel=0.02)
    assert (judged["speed"]["low"], judged["speed"]["high"], judged["speed"]["within"]) == (None, None, True)
    assert (judged["fastest"], judged["tied"]) == (True, True)
    _, line = csv.DictReader(io.StringIO(export.csv(run)))
    assert (line["speed_low"], line["speed_high"], line["speed_within"]) == ("", "", "True")
    ((_, dashboard),) = [rows_of(page_of(run)["cases"])]
    assert (dashboard["speed_low"], dashboard["speed_text"][-9:]) == (None, " ±unknown")


@pytest.mark.parametrize(
    ("times", "shown"),
    [
        ((1.0, 4.0, 0.3), r"undecided \[0\.\d\d, \d+\.\d\d\]"),  # neither which is faster nor by how much
        ((1.0, 40.0), r"undecided \[<0\.01, >100\]"),  # nor even a bound that says something
        ((0.995, 1.0, 1.005), r"[12]\.\d\dx ±\d\.\d%"),
        ((0.4, 0.41, 0.9), r"3\.\d\dx \[1\.\d\d, \d+\.\d+\]"),  # faster, but nobody knows by how much
    ],
)
def test_a_ratio_whose_interval_leaves_all_open_is_called_undecided(times, shown) -> None:
    eager, other = case("bert", "eager"), case("bert", "inductor")
    found = [record(of, ms, n) for n, of_other in enumerate(times) for of, ms in ((eager, 2.0), (other, of_other))]
    run = make([eager, other], found, replicates=3)
    printed = text.render(run, width=200)
    assert re.search(rf" {shown} ", printed)
    assert re.search(rf" {shown} \|", export.markdown(run).replace("\\", "").replace("&lt;", "<").replace("&gt;", ">"))
    legend = "undecided: the interval of the ratio contains 1, and its ends differ by more than a factor of 2"
    assert (legend in printed) == (legend in export.markdown(run)) == ("undecided" in shown)
    assert json.loads(export.json(run))["rows"][1]["speed"]["low"] > 0


def test_a_speed_against_another_precision_is_said() -> None:
    cases = [case("bert", "eager"), case("bert", "inductor", "fp16")]
    shown = text.render(make(cases, [record(c, 2.0) for c in cases]), width=200)
    assert "inductor against bert/eager/fp32/batch=1/seq=128: no baseline has their precision" in shown


def test_toolchains_have_a_line_of_their_own_and_speeds_within_each_are_said() -> None:
    cases = [case("bert", name, toolchain=place) for place in ("default", "old") for name in ("eager", "inductor")]
    run = make(cases, [record(c, 2.0) for c in cases])
    old = Environment(kind="cpu", arch="cpu-x86_64", device="Example CPU", slug="example", python="3.11.2",
        libraries={"torch": "2.2.0", "tensorrt-cu12": "8.6.1", "tensorrt-bindings": "8.6.1"},
    )  # fmt: skip
    header = msgspec.structs.replace(run.header, environments=run.header.environments | {"old": old})
    run = msgspec.structs.replace(run, header=header)
    line = "@old: Python 3.11.2, torch 2.2.0, tensorrt 8.6.1"
    shown = text.render(run, width=140)
    assert line in shown.splitlines()
    assert "each toolchain against the baseline of its own" in shown
    assert "one for all: --baseline eager@default" in shown
    assert "of its own" not in text.render(run, width=140, baseline="eager@old")
    assert line.replace("@old", "`@old`") in export.markdown(run).splitlines()


def test_a_baseline_with_a_path_among_its_options_is_named_in_full() -> None:
    filled = {"options": {"network": "nets/@x.py:resnet"}}
    places = ("default", "old")
    cases = [case("bert", "tensorrt", toolchain=p, **filled) for p in places]
    cases += [case("bert", "eager", toolchain=p) for p in places]
    run = make(cases, [record(c, 2.0) for c in cases])
    name = "tensorrt[network=nets/@x.py:resnet]"
    shown = text.render(run, width=200, baseline="tensorrt")
    assert " vs baseline " in shown  # a title never widens its column
    assert f"the baseline is {name}" in shown.splitlines()
    assert "the baseline is" not in text.render(run, width=200, baseline="eager")
    assert f"| vs {name} (latency) |" in export.markdown(run, "tensorrt")
    assert f"one for all: --baseline {name}@default" in text.render(run, width=200, baseline="tensorrt")


def test_a_run_without_the_baseline_says_so_and_names_what_it_has() -> None:
    cases = [case("bert", "inductor"), case("bert", "torchscript"), case("bert", "inductor[mode=max-autotune]")]
    run = make(cases, [record(c, 2.0) for c in cases])
    shown = text.render(run, width=200)
    assert "baseline: no speed, as this run has no eager\n" in shown
    assert "try: --baseline with one of: inductor, torchscript\n" in shown
    assert "no speed, as this run has no eager; try" in export.markdown(run)
    assert "no speed" not in text.render(run, baseline="inductor")
    header = msgspec.structs.replace(run.header, baseline="aoti")
    assert "this run has no aoti" in text.render(msgspec.structs.replace(run, header=header), width=200)


def test_a_baseline_that_is_not_sound_at_the_sizes_of_a_row_is_told_as_that() -> None:
    cases = [case("bert", "eager"), case("bert", "inductor"), case("bert", "eager", batch=8)]
    wrong = record(cases[0], 2.0, accuracy=accuracy(False, 0.2, why="cosine 0.2 is below 0.999"))
    run = make(cases, [wrong, record(cases[1], 1.0), record(cases[2], 9.0)])
    shown = text.render(run, width=200)
    assert "baseline: inductor: no speed, as the baseline eager is inaccurate\n" in shown
    assert "try: --baseline with one of: inductor\n" in shown


def test_a_baseline_that_failed_is_one_sentence_on_what_failed_and_why_and_what_to_do() -> None:
    run = example(3)
    shown = text.render(run, width=200, baseline="aoti")
    first = (
        "  - baseline: eager, inductor, inductor[mode=max-autotune] and 1 more: no speed, as the baseline aoti failed "
        "(Timeout in compile: no result within 1200 s)\n    try: --baseline with one of: eager, inductor, torchscript"
    )
    assert first in shown
    assert "no speed, as the baseline aoti was not measured yet\n" in shown  # resnet18
    page = export.markdown(run, "aoti")
    assert (
        "no speed, as the baseline aoti failed (Timeout in compile: no result within 1200 s); try: --baseline" in page
    )
    alone = msgspec.structs.replace(
        run, records=tuple(each for each in run.records if each.case != run.records[0].case)
    )
    waiting = text.render(alone, width=200)
    assert "no speed, as the baseline eager was not measured yet" in waiting


def test_a_failed_baseline_of_other_sizes_is_no_reason() -> None:
    failure = Failure(kind="Crash", stage="measure", message="signal 11")
    of, base, other = case("bert", "inductor"), case("bert", "eager", batch=8), case("bert", "eager", "fp16")
    crashed = [Record(case=each.id, label=each.label, failure=failure) for each in (base, other)]
    shown = text.render(make([of, base, other], [record(of, 1.0), *crashed]), width=200)
    assert "no speed, as there is no accurate eager of the same sizes and precision (or fp32) at latency\n" in shown
    cold = case("bert", "eager", l2="cold")
    crash = Record(case=cold.id, label=cold.label, failure=failure)
    shown = text.render(make([of, cold], [record(of, 1.0), crash]), width=200)
    assert "no speed, as there is no accurate eager of the same sizes" in shown
