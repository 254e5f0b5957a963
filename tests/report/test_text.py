"""The tables as a terminal shows them, at narrow and wide widths."""

import csv
import io
import json
import re
import statistics
from pathlib import Path

import msgspec
import numpy as np
import pytest

from bench import store
from bench.analysis.rows import rows
from bench.model.run import Accuracy, Environment, Failure, Footer, Measurement, Phase, Record, Run, Warning
from bench.model.suite import Case
from bench.model.telemetry import Telemetry
from bench.report import export, table, text
from bench.report.html import notebook

from .conftest import accuracy, case, deployed, example, make, record
from .html.kit import page_of, rows_of

GOLDEN = Path(__file__).parent.parent / "golden" / "report"


@pytest.mark.parametrize(("replicates", "width"), [(1, 80), (3, 80), (3, 140)])
def test_tables_read_as_agreed(replicates, width) -> None:
    shown = text.render(example(replicates), width=width, phases=width == 140, verbose=width == 140)
    assert shown == (GOLDEN / f"tables-{replicates}-{width}.txt").read_text()


@pytest.mark.parametrize(("boundaries", "name"), [(("gpu", "enqueue"), "gpu"), (("latency",), "cpu")])
def test_what_a_c_program_runs_too_has_pythons_share(boundaries, name) -> None:
    run = deployed(boundaries)
    assert text.render(run, width=140) == (GOLDEN / f"tables-deployed-{name}-140.txt").read_text()
    assert export.markdown(run) == (GOLDEN / f"tables-deployed-{name}.md").read_text()


def test_pythons_share_without_an_interval_is_marked_beside_figures_of_several_processes(run) -> None:
    whole = deployed()
    alone = msgspec.structs.replace(
        whole, records=tuple(r for r in whole.records if "executor=cpp" not in r.label or r.replicate == 0)
    )
    (line,) = [line for line in text.render(alone, width=200).splitlines() if line.startswith("aoti ")]
    assert re.search(r" \d+ us, \d\d% †", line)
    assert text.PYTHON_LEGEND.partition(":")[0] not in text.render(run, width=200)


def test_programs_have_pythons_share_in_numbers() -> None:
    rows = json.loads(export.json(deployed()))["rows"]
    assert [row["label"] for row in rows if row["python_share"]] == [
        "bert/aoti/fp32/batch=1/seq=128", "bert/torchscript/fp32/batch=8/seq=128",
    ]  # fmt: skip
    shares = list(csv.DictReader(io.StringIO(export.csv(deployed()))))
    assert [line["python_share_boundary"] for line in shares] == ["", "enqueue", "", "enqueue", ""]
    of = shares[1]
    assert float(of["python_share_low_ns"]) < float(of["python_share_ns"]) < float(of["python_share_high_ns"])
    assert float(of["python_share_fraction"]) == pytest.approx(0.4, abs=0.02)


@pytest.mark.parametrize("width", [60, 80, 100, 140, 200])
def test_no_line_of_a_table_is_longer_than_the_terminal(run, width) -> None:
    shown = text.render(run, width=width, phases=True, verbose=True)
    long = [line for line in shown.splitlines() if len(line) > width]
    assert all(line.lstrip().startswith("trtbench ") for line in long)  # a command is one line, to be pasted


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


def timed(asked: Case, *samples: int) -> Record:
    """A record of exactly these samples of latency, in nanoseconds."""
    return record(asked, 1.0, measurements=(Measurement(boundary="latency", samples=samples),))


@pytest.mark.parametrize(
    ("samples", "shown"),
    [
        ((6_900, 7_000, 24_000, 24_600, 80_000, 86_500), "24.3 us ±unknown"),
        ((990, 1_000, 1_000, 1_000, 1_000, 1_010), "1.00 us ±1.0%"),
        ((992, 1_000, 1_000, 1_000, 1_000, 1_000), "1.00 us ±0.8%"),
        ((980, 1_000, 1_000, 1_000, 1_000, 1_000), "1.00 us [0.980, 1.00]"),
        ((800_000, 990_000, 999_000, 999_000, 1_400_000, 12_000_000), "999 us ±unknown"),
        ((100_000, 100_000, 100_000, 100_000, 100_000, 100_010), "100 us ±<0.1%"),
    ],
)
def test_an_interval_is_a_percentage_only_where_its_halves_are_alike(samples, shown) -> None:
    run = make([case("bert", "eager")], [timed(case("bert", "eager"), *samples)])
    printed = text.render(run, width=200)
    assert f" {shown} " in printed
    assert (text.VAGUE in printed) == shown.endswith("±unknown")
    assert f"| {shown} |" in export.markdown(run)


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


@pytest.mark.parametrize(
    ("cosine", "shown"),
    [
        (1.0, "1.000000"),
        (1 - 1e-12, ">0.999999"),
        (0.9999997, ">0.999999"),
        (0.9999994, "0.999999"),
        (-1.0, "-1.000000"),
    ],
)
def test_only_a_cosine_of_exactly_1_reads_as_1(cosine, shown) -> None:
    asked = case("bert", "eager")
    line = text.render(make([asked], [record(asked, 2.0, accuracy=accuracy(cosine=cosine))]), width=200)
    assert f" {shown} " in line


def test_a_wider_terminal_only_adds_columns(run) -> None:
    def titles(width):
        return [line.split() for line in text.render(run, width=width).splitlines() if line.startswith("backend")]

    for narrow, wide in zip(titles(80), titles(160), strict=True):
        assert set(narrow) < set(wide)


def test_columns_that_do_not_fit_are_named_below_and_none_is_at_full_width(run) -> None:
    assert "not shown at 80 columns: rel L2, cosine" in text.render(run, width=80)
    assert "not shown" not in text.render(run, width=160)


@pytest.mark.parametrize("width", [40, 60, 72, 80, 100])
def test_a_backend_that_is_too_long_goes_over_several_lines_and_loses_nothing(width) -> None:
    spare = {"memory_format": "channels_last"}
    modes = ("max-autotune-no-cudagraphs", "max-autotune", "reduce-overhead")
    cases = [case("bert", "inductor", options=spare | {"mode": mode}, symbols={"batch": 1}) for mode in modes]
    cases.append(
        case("bert", "tensorrt", options={"network": "a_folder/of_networks.py:filled_by_hand"}, symbols={"batch": 1})
    )
    records = [record(c, n + 1.0, replicate) for n, c in enumerate(cases) for replicate in range(3)]
    shown = text.render(make(cases, records, 3), width=width)
    body = shown.partition("───\n")[2].partition("not shown")[0]
    assert max(map(len, body.splitlines())) <= width
    rows = re.split(r"\n(?=inductor|tensorrt)", body)
    names = ["".join(line.split("  ", 1)[0] if not n else line.strip() for n, line in enumerate(row.splitlines()))
             for row in rows]  # fmt: skip
    starred = ["inductor[memory_format=channels_last,mode=max-autotune-no-cudagraphs] *",
               "inductor[memory_format=channels_last,mode=max-autotune]",
               "inductor[memory_format=channels_last,mode=reduce-overhead]",
               "tensorrt[network=a_folder/of_networks.py:filled_by_hand]"]  # fmt: skip
    assert [name.replace(" *", "*") for name in names] == [name.replace(" *", "*") for name in starred]


def test_a_short_name_that_was_broken_to_fit_stays_broken() -> None:
    columns = [
        table.names("backend", ["fake", "fake[noise=0.1]"], 55, 35),
        table.Column(title="t", cells=("1" * 46,) * 2),
    ]
    fitting, _ = table.fit(columns, 60)
    assert fitting[0].cells == ("fake", "fake[\n  noise=0.1]")
    assert max(map(len, table.draw(fitting, 60, spans={}, styles={}))) <= 60


RESULTS = Path(__file__).parents[2] / "results"


@pytest.mark.parametrize(
    "name",
    [
        "20261128T145513Z-net",  # a toolchain of 40 digits
        "20261129T044304Z-deploy",  # uneven intervals and many notes
        "20261123T160736Z-native_resnet50",  # long options, sizes and settings
        "20261123T215447Z-transformers",  # a ratio of another time than the first
        "20261126T184119Z-vision",
    ],
)
def test_at_80_columns_stay_the_backend_its_time_its_speed_and_its_accuracy(name) -> None:
    (path,) = RESULTS.rglob(f"{name}*.jsonl")
    lines = text.render(store.read(path), width=80).splitlines()
    rules = [n for n, line in enumerate(lines) if line and set(line) == {"─"}]
    tables = [n for n in rules if lines[n - 1].startswith("backend")]
    assert tables
    for rule in tables:
        words = {*lines[rule - 2].split(), *lines[rule - 1].split()}  # of a title of one line or two
        assert {"acc", "vs"} <= words
        assert {"gpu", "latency"} & words
        end = next(n for n in range(rule, len(lines)) if lines[n].startswith(("not shown", "  1 ")))
        assert max(map(len, lines[rule - 1 : end])) <= 80


def test_what_was_folded_for_a_column_that_left_all_the_same_is_not() -> None:
    names = table.names("case", ["a[first=1,second=2]", "b"], 30)
    times = table.with_intervals("time", ["464 ms [408, 527]", "1.00 ms ±1.0%"], 20)
    notes = table.Column(title="a title of thirty characters !", cells=("x", "y"), drop=10)
    assert table.fit([names, times, notes], 45) == ([*table.fit([names, times], 45)[0]], [notes.title])
    assert [column.width for column in table.fit([names, times, notes], 45)[0]] == [19, 17]
    kept, omitted_titles = table.fit([names, times, notes], 61)
    assert (omitted_titles, kept[1].cells) == ([], ("464 ms\n[408, 527]", "1.00 ms ±1.0%"))
    shown = [str(line) for line in table.draw(kept, 61, spans={}, styles={})]
    assert shown[2].split() == ["a[first=1,", "464", "ms", "x"]
    assert shown[3].split() == ["second=2]", "[408,", "527]"]


def test_a_title_of_two_lines_stands_above_its_rule() -> None:
    column = table.with_intervals("vs eager (latency)", ["1.02x [0.99, 1.05]"], 1)
    kept, _ = table.fit([table.names("case", ["a"], 2), column], 18)
    shown = [str(line) for line in table.draw(kept, 18, spans={}, styles={})]
    assert shown[:2] == ["          vs eager", "case     (latency)"]
    assert shown[3:] == ["a            1.02x", "      [0.99, 1.05]"]


def test_what_a_clock_suite_is_for_stays_at_120_columns_beside_long_names() -> None:
    options = [{"memory_format": "channels_last"}, {"memory_format": "channels_last", "mode": "reduce-overhead"}]
    cases = [case("resnet", "eager", options=o, symbols={"batch": 32}) for o in options]
    boundaries = ("gpu", "gpu_unheld", "latency", "enqueue", "h2d", "compute", "d2h")
    found = [record(c, 2.0, n, boundaries) for c in cases for n in range(3)]
    (titles,) = [line for line in text.render(make(cases, found, 3), width=120).splitlines() if " gpu " in line]
    assert {"gpu", "gpu_unheld", "QPS", "vs baseline", "acc"} <= set(re.split(r"\s{2,}", titles))


def test_the_number_of_a_failure_s_note_is_never_cut_off() -> None:
    options = {"network": "engine_zoo.py:branches_by_hand", "max_aux_streams": 3}
    cases = [case("bert", name, options=options, streams=2, cuda_graph=True) for name in ("tensorrt", "fake")]
    failed = Failure(kind="Unsupported", stage="deserialize", message="x")
    run = make(cases, [record(cases[0], 2.0), Record(case=cases[1].id, label=cases[1].label, failure=failed)])
    for width in (60, 80, 100, 200):
        assert " note 1: " in text.render(run, width=width)


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


def ended(asked: Case, replicate: int, kind: str) -> Record:
    broken = Failure(kind=kind, stage="start", message="x")
    return Record(case=asked.id, label=asked.label, replicate=replicate, failure=broken)


def test_the_heading_tells_results_from_failures_and_what_is_not_tried() -> None:
    cases = [case("bert", name) for name in ("eager", "onnxruntime", "aoti")]
    eager, missing, broken = cases
    fine = [record(eager, 2.0, n) for n in range(3)]

    def heading(run: Run) -> str:
        return next(line for line in text.render(run, width=200).splitlines() if " x 3 processes" in line)

    assert "1 case x 3 processes: 3 of 3 measured; made" in heading(make([eager], fine, 3))
    some = [*fine, ended(missing, 0, "Unavailable")]
    assert "4 of 6 done: 3 measured, 1 unavailable; 2 not tried; made" in heading(make(cases[:2], some, 3))
    assert "not tried:" not in text.render(make(cases[:2], some, 3))
    run = make(cases, [*some, ended(broken, 0, "Crash")], 3)
    assert "5 of 9 done: 3 measured, 1 unavailable, 1 failed; 4 not tried; made" in heading(run)
    lost = make(cases, [*fine, ended(broken, 0, "DeviceLost")], 3)  # --resume runs it again
    assert "4 of 9 done: 3 measured, 1 failed; made" in heading(lost)


def test_the_other_processes_of_a_failed_case_are_said_not_to_be_tried() -> None:
    asked = case("bert", "eager")
    run = make([asked], [ended(asked, 0, "Crash")], 3)
    said = "2 processes of cases that failed: a case is not tried again once one of its processes has failed"
    assert f"not tried: {said}, nor does --resume" in text.render(run, width=200)
    assert f"not tried: {said}" in export.markdown(run)
    # Nothing is said of those that lack a package, or whose GPU was lost: --resume runs these again.
    lacks, lost = case("bert", "onnxruntime"), case("bert", "aoti")
    others = [ended(asked, 0, "Crash"), ended(lacks, 0, "Unavailable"), ended(lost, 0, "DeviceLost")]
    assert f"not tried: {said}" in text.render(make([asked, lacks, lost], others, 3), width=200)


def test_a_note_of_several_processes_of_one_row_does_not_name_it_as_another() -> None:
    asked = case("bert", "eager")
    figures = [{"boundary": "latency", "half_width": n / 100, "samples": 112} for n in (1, 2, 3)]
    said = [(Warning(kind="Plateau", figures=each),) for each in figures]
    run = make([asked], [record(asked, 2.0, n, warnings=warnings) for n, warnings in enumerate(said)], 3)
    shown = text.render(run, width=200)
    assert "Plateau: the median of latency is known to ±1.0% to 3.0% from 112 samples" in shown
    assert "(and 2 like it)" in " ".join(shown.split())
    assert "likewise" not in shown


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


def test_phases_stand_in_the_order_in_which_they_happen() -> None:
    cases = [case("bert", name) for name in ("eager", "inductor", "torchscript", "tensorrt")]
    orders = (
        ("import", "load", "first_call", "measure"),
        ("prestart", "import", "load", "compile", "first_call", "measure"),
        ("import", "load", "export", "compile", "first_call", "measure"),
        ("weights", "build", "prestart", "import", "deserialize", "first_call", "measure"),
    )
    found = [
        record(c, 2.0, phases=tuple(Phase(name=name, ns=1000) for name in names))
        for c, names in zip(cases, orders, strict=True)
    ]
    shown = text.render(make(cases, found), width=200, phases=True)
    (titles,) = [line.split()[1:] for line in shown.splitlines() if line.startswith("backend") and "load" in line]
    for names in orders:
        assert sorted(names, key=titles.index) == list(names)


def test_notes_of_the_report_itself_use_the_sign_of_its_tables() -> None:
    asked = case("bert", "eager")
    shown = text.render(make([asked], [record(asked, 2.0 + n % 2, n) for n in range(4)], 4), width=200)
    assert "though each is known to ±" in shown


def test_the_widest_identity_still_fits_80_columns_and_keeps_its_time_and_note() -> None:
    options = {"mode": "max-autotune-no-cudagraphs", "fullgraph": True}
    cases = [case("bert", "inductor", precision, batch, options=options, symbols={"batch": batch, "seq": 64 * batch},
                  streams=2, cuda_graph=True) for precision in ("fp32", "fp16") for batch in (1, 256)]  # fmt: skip
    warned = (Warning(kind="NotSteady", figures={"calls": 1, "ns": 1, "spread": 0.1}),)
    boundaries = ("gpu", "latency", "enqueue", "h2d", "compute", "d2h")
    found = [record(c, 2.0, boundaries=boundaries, warnings=warned) for c in cases]
    lines = text.render(make(cases, found), width=80).splitlines()
    assert max(map(len, lines)) <= 80
    (titles,) = [line.split() for line in lines if line.startswith("backend")]
    assert {"prec", "batch", "seq", "setting", "gpu", "note"} <= set(titles)


def test_a_failure_stands_in_place_of_times_with_message_and_hint_below(run) -> None:
    shown = text.render(run, width=120)
    (row,) = [line for line in shown.splitlines() if line.startswith("aoti")]
    assert "Timeout in compile" in row
    assert "no result within 1200 s" in shown
    assert "try: raise `measure: {timeout: ...}`" in shown
    assert "[autotune] 412 of 9000" not in shown
    assert "[autotune] 412 of 9000" in text.render(run, width=120, verbose=True)


def test_the_same_warning_of_several_rows_is_told_once_unless_verbose(run) -> None:
    assert text.render(run).count("NotSteady") == 1
    assert "(likewise torchscript batch=8)" in text.render(run, width=200)
    assert text.render(run, verbose=True).count("NotSteady") == 2


def shown_with(*notes: Failure | Warning | Accuracy) -> str:
    """The table of one row per note."""
    cases = [case("bert", "eager", batch=batch) for batch in range(1, len(notes) + 1)]
    found = []
    for asked, note in zip(cases, notes, strict=True):
        if isinstance(note, Failure):
            found.append(Record(case=asked.id, label=asked.label, failure=note))
        elif isinstance(note, Warning):
            found.append(record(asked, 2.0, warnings=(note,)))
        else:
            found.append(record(asked, 2.0, accuracy=note))
    return text.render(make(cases, found), width=200)


def failure(message: str) -> Failure:
    return Failure(kind="ValueError", stage="load", message=message)


def test_failures_of_one_kind_that_say_different_things_are_both_told() -> None:
    shown = shown_with(
        failure("batch 2 is not a multiple of 3"),
        failure("tokenizer vocabulary exhausted at position 17"),
        failure("batch 4 is not a multiple of 3"),
    )
    assert "batch 2 is not a multiple of 3 (likewise eager batch=3)" in shown
    assert "tokenizer vocabulary exhausted at position 17\n" in shown
    names = shown_with(failure("no converter of conv2d"), failure("no converter of conv3d"))
    assert "like it" not in names


def test_warnings_that_differ_in_numbers_are_one_note_with_their_span() -> None:
    times = ((5_780_000, 777_000), (12_100_000, 4_200_000), (903_000, 88), (1_020_000_000, 2_048_000))
    figures = [{"enqueue_ns": host, "gpu_ns": gpu, "graph": False} for host, gpu in times]
    shown = shown_with(*(Warning(kind="HostBound", figures=each) for each in figures))
    assert shown.count("HostBound") == 1
    assert (
        "issuing a call takes the host 903 us to 1.02 s, running it takes the GPU 88.0 ns to 4.20 ms: the GPU waits"
        in shown
    )
    assert "(likewise eager batch=2, eager batch=3, eager batch=4)" in " ".join(shown.split())
    graphs = shown_with(*(Warning(kind="HostBound", figures={**figures[0], "graph": graph}) for graph in (True, False)))
    assert graphs.count("HostBound") == 2
    many = shown_with(*(Warning(kind="ForeignProcess", figures={"processes": n}) for n in range(1, 9)))
    assert "1 to 8 other processes were on the GPU (and 7 like it)" in many


def test_warnings_of_schema_1_have_their_own_words() -> None:
    said = [f"issuing a call takes the host {n} ms" for n in range(1, 9)]
    shown = shown_with(*(Warning(kind="HostBound", message=text, hint="cuda_graph: on") for text in said))
    assert f"{said[0]} (and 7 like it)" in shown
    assert shown.count("HostBound") == shown.count("try: cuda_graph: on") == 1


def test_a_nan_is_never_told_as_another_low_cosine() -> None:
    def low(why: str) -> Accuracy:
        return Accuracy(ok=False, outputs=(), why=why)

    shown = shown_with(
        low("cosine 0.97 is below 0.999"), low("cosine nan is below 0.999"), low("cosine -1e-05 is below 0.999")
    )
    assert "cosine 0.97 is below 0.999; not ranked (likewise eager batch=3)" in shown
    assert "cosine nan is below 0.999; not ranked\n" in shown


def test_unequal_conditions_are_told_with_who_has_which(run) -> None:
    shown = text.render(run, width=200)
    assert "- threads: 4 (onnxruntime), 2 (eager, inductor, torchscript)" in shown
    assert "tf32" not in shown


def test_conditions_of_several_parts_are_told_part_by_part() -> None:
    cases = [case("bert", "eager"), case("bert", "inductor"), case("bert", "onnxruntime")]
    common = {"quantizer": "trtbench", "data": ""}
    told = [{**common, "samples": 32, "placement": ["a", "b"]}, {**common, "samples": 128}, {**common, "samples": 128}]
    found = [record(c, 2.0, fairness={"calibration": parts}) for c, parts in zip(cases, told, strict=True)]
    shown = text.render(make(cases, found), width=120)
    assert "unequal: calibration.samples: 32 (eager), 128 (inductor, onnxruntime)" in shown
    assert "calibration.data" not in shown  # which all have alike
    assert "{" not in shown


def test_figures_that_describe_an_engine_are_no_unequal_condition() -> None:
    cases = [case("bert", "tensorrt"), case("bert", "torch_tensorrt")]
    found = [record(c, 2.0, fairness={"engine": {"plan_bytes": len(c.backend)}}) for c in cases]
    assert "plan_bytes" not in text.render(make(cases, found))


def test_conditions_that_only_differ_between_precisions_are_not_called_unequal() -> None:
    cases = [case("bert", "eager", "fp32"), case("bert", "eager", "tf32")]
    found = [record(c, 2.0, fairness={"tf32": c.precision == "tf32"}) for c in cases]
    assert "unequal" not in text.render(make(cases, found))


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
        ((1.0, 4.0, 0.3), r"undecided \[0\.\d+, \d+\.?\d*\]"),  # neither which is faster nor by how much
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
    assert re.search(rf" {shown} \|", export.markdown(run))
    legend = "undecided: the interval of the ratio contains 1, and its ends differ by more than a factor of 2"
    assert (legend in printed) == (legend in export.markdown(run)) == ("undecided" in shown)
    assert json.loads(export.json(run))["rows"][1]["speed"]["low"] > 0


def test_left_out_combinations_are_counted_and_told_with_reasons_on_demand(run) -> None:
    assert "5 combinations left out; --verbose says why" in text.render(run)
    shown = text.render(run, verbose=True)
    assert "CUDA graphs need a GPU (5)" in shown
    assert "bert/torchscript/fp32/batch=128/graph" in shown


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
    assert " vs baseline " in text.render(run, width=200, baseline="tensorrt")  # a title never widens its column
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


def test_an_interrupted_or_damaged_run_says_so_and_how_to_go_on(run) -> None:
    ended = Footer(finished="2026-11-23T10:16:00+00:00", status="interrupted")
    shown = text.render(msgspec.structs.replace(run, footer=ended, damage="line 7 is torn and was skipped"))
    assert "damaged: line 7 is torn" in shown
    assert "try: trtbench run --resume 20261123T101500Z-smoke-1a2b3c4" in shown
    assert "unfinished" in text.render(msgspec.structs.replace(run, footer=None))


def test_a_model_of_which_nothing_was_measured_says_so_below_its_name() -> None:
    asked = [case("bert", "eager"), case("gpt2", "eager"), case("dla34", "eager")]
    shown = text.render(make(asked, [record(asked[0], 2.0)]))
    assert "\ngpt2\n  0 of 1 case measured\n\ndla34\n  0 of 1 case measured\n" in shown
    assert shown.count("1 case not measured yet") == 1  # in the notes of several tables


def test_a_run_in_which_nothing_was_measured_renders() -> None:
    asked = case("bert", "eager")
    assert "1 case not measured yet" in text.render(make([asked], []))
    assert "legend" not in text.render(make([], []))


def test_colour_changes_nothing_but_escape_codes(run) -> None:
    colored = text.render(run, color=True, phases=True, width=100)
    assert "\x1b[1m" in colored
    assert "\x1b[31m" in colored
    plain = "\n".join(line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", colored).splitlines()) + "\n"
    assert plain == text.render(run, phases=True, width=100)


def test_a_gpu_that_nothing_watched_is_told_once_for_the_whole_run() -> None:
    cases = [case("bert", "eager"), case("resnet18", "eager"), case("resnet18", "inductor")]
    unwatched = Telemetry(gpu_reason="NVML says: Insufficient Permissions")
    run = make(cases, [record(asked, 1.0, telemetry=unwatched) for asked in cases])
    for shown in (text.render(run, width=140), export.markdown(run)):
        assert shown.count("NVML says: Insufficient Permissions") == 1
    assert "Insufficient" not in text.render(make(cases, [record(asked, 1.0) for asked in cases]))


def test_autotuned_and_reused_kernels_side_by_side_are_unequal_and_reasons_are_not() -> None:
    names = ("inductor[mode=max-autotune]", "inductor", "eager")
    cases = [case("bert", name) for name in names]
    told = [
        {"autotune_cache": "cold", "mode": "max-autotune", "break_reasons": {"a": 1}},
        {"autotune_cache": "warm", "mode": "default", "break_reasons": {"b": 2}},
        {},
    ]
    shown = text.render(make(cases, [record(c, 1.0, fairness=f) for c, f in zip(cases, told, strict=True)]), width=140)
    choices = "timed for this build (inductor[mode=max-autotune]), taken from earlier timings (inductor)"
    assert f"Inductor's choice of kernels: {choices}" in " ".join(shown.split())
    assert "break_reasons" not in shown
    assert "unequal: mode" not in shown


def test_statistics_are_those_of_the_samples_of_all_processes() -> None:
    asked = case("bert", "eager")
    records = [timed(asked, *range(1_000_000, 1_100_000, 1_000)) for _ in range(2)]
    records[1] = msgspec.structs.replace(records[1], replicate=1)
    run = make([asked], records, 2)
    shown = text.render(run, width=120, stats=True)
    assert "latency      200  1.00 ms  1.05 ms  1.09 ms  1.09 ms  28.9 us" in shown
    assert "samples of all processes" not in text.render(run, width=120)
    (row,) = csv.DictReader(io.StringIO(export.csv(run)))
    samples = sorted([*range(1_000_000, 1_100_000, 1_000)] * 2)
    assert float(row["latency_min_ns"]) == 1_000_000
    assert float(row["latency_sd_ns"]) == pytest.approx(statistics.stdev(samples))
    assert float(row["latency_p90_ns"]) == pytest.approx(np.quantile(samples, 0.9))
    assert row["latency_p99_ns"] == ""
    (figure,) = [found["times"]["latency"] for found in json.loads(export.json(run))["rows"]]
    assert (figure["samples"], figure["minimum"]) == (200, 1_000_000)


def test_only_the_cases_asked_for_are_shown_with_the_figures_of_the_whole(run) -> None:
    wanted = next(row for row in rows(run) if row.speed and row.speed.ratio != 1 and row.speed.ratio)
    for shown in (text.render(run, width=200, only={wanted.case}), export.markdown(run, only={wanted.case})):
        assert wanted.backend in shown
        assert "torchscript " not in shown.partition("torchscript:")[0] or wanted.backend == "torchscript"
    assert f"1 of {len(run.header.cases)} cases shown" in text.render(run, only={wanted.case})
    (line,) = csv.DictReader(io.StringIO(export.csv(run, only={wanted.case})))
    assert float(line["speed"]) == wanted.speed.ratio
    assert [row["case"] for row in json.loads(export.json(run, only={wanted.case}))["rows"]] == [wanted.case]


COMMANDS = [
    "trtbench run --resume 20261123T101500Z-a-suite-with-a-long-name-1a2b3c4",
    "trtbench run suites/smoke.yaml --select 'model=resnet50 and batch=32' --backend fake --store DIR",
    "pip install -c constraints.txt torch transformers nvidia-cuda-runtime-cu12",
    "nvidia-smi -lgc MHZ",
    "apt-get install g++",
]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("width", [30, 40, 60])
def test_a_command_that_can_be_pasted_is_never_broken(command, width) -> None:
    for said in (f"try: {command}, or something else that takes some words", f"it helps ({command}) or so; and more"):
        lines = table.wrap(said, width, "    ")
        assert [line for line in lines if command in line]
        assert " ".join(line.strip() for line in lines) == said
        assert all(len(line) <= width for line in lines if not any(c[:9] in line for c in COMMANDS))


def test_prose_around_a_command_is_wrapped() -> None:
    lines = table.wrap("trtbench doctor says what to install where it is missing, and so it goes on", 20, "")
    assert lines[0] == "trtbench doctor says"


def shared_run(names, **fields):
    cases = [case(name, "eager") for name in names]
    warnings = [
        Warning(kind="HostBound", figures={"enqueue_ns": 1000 * n, "gpu_ns": 100 * n, "graph": False})
        for n in range(1, 9)
    ]
    return make(cases, [record(c, 2.0, warnings=(w,), **fields) for c, w in zip(cases, warnings, strict=False)])


def test_a_note_that_repeats_for_every_model_is_told_once() -> None:
    shown = text.render(shared_run(["bert", "resnet18", "vit"]), width=120)
    assert shown.count("HostBound: ") == 1
    assert len([line for line in shown.splitlines() if line.startswith("eager") and line.endswith("  A")]) == 3
    assert "(likewise resnet18 eager, vit eager)" in " ".join(shown.split())
    assert shown.index("notes of several tables") < shown.index("HostBound: ")
    assert text.render(shared_run(["bert", "resnet18"]), width=120, verbose=True).count("HostBound: ") == 2
    alone = text.render(shared_run(["bert"]), width=120)
    assert "notes of several tables" not in alone
    assert "  1 HostBound: " in alone


def test_a_failure_of_every_model_is_told_once_and_its_rows_refer_to_it() -> None:
    cases = [case(name, "tensorrt") for name in ("bert", "resnet18")]
    failure = Failure(
        kind="Unavailable", stage="start", message="tensorrt is not installed", hint="pip install tensorrt"
    )
    records = [Record(case=asked.id, label=asked.label, failure=failure) for asked in cases]
    shown = text.render(make(cases, records), width=100)
    assert shown.count("tensorrt is not installed") == 1
    assert shown.count("note A: Unavailable in start") == 2
