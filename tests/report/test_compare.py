"""A comparison in every format: figures, verdicts, and what has none."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import msgspec
import pytest

from bench.analysis.compare import Comparison, compare
from bench.model.run import Accuracy, Failure, Measurement, OutputError, Run
from bench.model.suite import Case
from bench.model.telemetry import GpuFigures, Telemetry
from bench.report import compare as view
from bench.report import compare_notes, escape
from tests.analysis.test_compare import EAGER, HERE, INDUCTOR, case, record, run

FAILED = case("aoti")


@pytest.fixture(scope="module")
def whole() -> Comparison:
    output = OutputError(name="y", cosine=1.0, max_abs=0.0, rel_l2=2e-5, sqnr=None)
    a = run([(EAGER, 1.0), (INDUCTOR, 1.0), (case("fake"), 1.0), (FAILED, 1.0)], "RUN-A", cold=True)
    b = run([(EAGER, 1.1), (INDUCTOR, 1.0)], "RUN-B", record_fields={"accuracy": Accuracy(ok=True, outputs=(output,))})
    failure = Failure(kind="Crash", stage="measure", message="")
    broken = run([(FAILED, 1.0)], record_fields={"failure": failure})
    more = {"records": (*b.records, *broken.records)}
    b = msgspec.structs.replace(b, **more, header=msgspec.structs.replace(b.header, cases=(EAGER, INDUCTOR, FAILED)))
    return compare([a], [b])


def test_text_has_times_ratio_verdict_and_notes(whole: Comparison) -> None:
    text = view.render(whole, width=160)
    row = next(line for line in text.splitlines() if line.startswith(EAGER.label))
    assert row.split()[1:7] == ["latency", "1.00", "ms", "1.10", "ms", "1.100"]
    assert "SLOWER" in row
    assert "- -> 2.0e-05" in row
    assert "3 cases: 1 SLOWER, 1 SAME, 1 not judged" in text
    assert f"not judged, B failed: Crash: {FAILED.label}" in text
    assert "only in A: net/fake/fp32/batch=1" in text
    assert "the runs also differ in cold on -> off" in text


def test_a_gate_says_which_cases_pass_for_want_of_processes() -> None:
    few, many = [EAGER, INDUCTOR], [case("fake"), FAILED]

    def of(name: str) -> Run:
        return run([(each, 1.0) for each in (*few, *many)], name)

    def without(whole: Run, replicates: int, *cases: Case) -> Run:
        ids = {each.id for each in cases}
        kept = tuple(each for each in whole.records if each.case not in ids or each.replicate < replicates)
        return msgspec.structs.replace(whole, records=kept)

    b = without(without(of("B"), 3, EAGER), 1, INDUCTOR)
    whole = compare([without(of("A"), 3, EAGER)], [b])
    three, one = compare_notes.gate_notes(whole, 0.02)
    assert three.startswith("with 3 and 3 processes 1 of 4 cases can be called SLOWER only from 20% on, so a smaller")
    assert one.startswith("with 7 and 1 processes 1 of 4 cases cannot be called SLOWER, so any slow-down passes")
    assert compare_notes.gate_notes(whole, 0.5) == [one]
    assert compare_notes.gate_notes(compare([of("A")], [of("B")]), 0.0) == []


def test_a_narrow_terminal_keeps_the_verdict(whole: Comparison) -> None:
    text = view.render(whole, width=64)
    assert max(map(len, text.splitlines())) <= 64
    assert "SLOWER" in text
    assert "not shown at 64 columns: " in text


def test_a_name_is_not_broken_within_its_arrow() -> None:
    pair = run([(case("eager"), 1.0), (case("a_backend_with_a_long_name"), 1.0)])
    for width in range(40, 120):
        text = view.render(compare([pair], axis="backend"), width=width)
        assert not any(line.lstrip().startswith(">") for line in text.splitlines())


def test_json_and_csv_have_raw_numbers(whole: Comparison) -> None:
    pairs = json.loads(view.json(whole))["pairs"]
    (row, *_) = csv.DictReader(io.StringIO(view.csv(whole)))
    assert (pairs[0]["verdict"], row["verdict"]) == ("SLOWER", "SLOWER")
    assert float(row["ratio"]) == pairs[0]["ratio"] == pytest.approx(1.1, rel=1e-3)
    assert (pairs[0]["a_processes"], pairs[0]["b_rel_l2"], row["b_rel_l2"]) == (7, 2e-5, "2e-05")
    assert pairs[2]["why"] == "B failed: Crash"


def test_markdown_and_github_have_the_table(whole: Comparison) -> None:
    plain, comment = view.markdown(whole), view.github(whole)
    assert plain.count("\n| net/") == 3
    assert "| SLOWER |" in plain
    assert comment.startswith("**trtbench: 1 SLOWER, 1 SAME, 1 not judged**\n")
    assert "<details><summary>all cases</summary>\n" in comment
    assert [comment.count(f"| {of.label} |") for of in (EAGER, INDUCTOR)] == [2, 1]


def test_a_refusal_names_the_option() -> None:
    there = msgspec.structs.replace(HERE, driver="570", libraries={"torch": "2.13.0"})
    refused = compare([run([(EAGER, 1.0)])], [run([(EAGER, 1.0)], "B", there)])
    text = view.render(refused, width=200)
    assert "REFUSED: the environments differ in driver 550 -> 570, torch 2.11.0 -> 2.13.0" in text
    assert "; try: --across driver --across library:torch\n" in text


def test_how_many_processes_would_decide_is_said() -> None:
    one = compare([run([(EAGER, 1.0)], processes=1)], [run([(EAGER, 1.0)], "B", processes=1)])
    pair = one.pairs[0]
    assert pair.verdict is not None
    decided = msgspec.structs.replace(pair.verdict, needed=9, basis="calibration")
    one = msgspec.structs.replace(one, pairs=(msgspec.structs.replace(pair, verdict=decided),))
    text = view.render(one, width=160)
    assert "INCONCLUSIVE (needs 9)" in text
    assert "--replicates 9\n" in text
    assert "† a side has one process, so the interval is from the calibrated spread" in text


def test_the_row_of_one_process_is_marked_where_its_interval_is_calibrated() -> None:
    a, b = run([(EAGER, 1.0), (INDUCTOR, 1.0)]), run([(EAGER, 1.2), (INDUCTOR, 1.2)], "B")
    short = msgspec.structs.replace(b, records=tuple(r for r in b.records if r.case == EAGER.id or not r.replicate))
    whole = compare([a], [short], process_sd=0.001)
    assert [pair.kind for pair in whole.pairs] == ["SLOWER", "INCONCLUSIVE"]
    for text in (view.render(whole, width=160), view.markdown(whole), view.github(whole)):
        rows = {of.id: next(line for line in text.splitlines() if of.label in line) for of in (EAGER, INDUCTOR)}
        assert "†" not in rows[EAGER.id]
        assert "] †" in rows[INDUCTOR.id].replace("\\", "")
    assert [pair["basis"] for pair in json.loads(view.json(whole))["pairs"]] == ["processes", "calibration"]


def spread(name: str, *ms: float) -> Run:
    """A run of one case whose processes take these milliseconds."""
    empty = run([(EAGER, 1.0)], name, processes=0)
    return msgspec.structs.replace(empty, records=tuple(record(EAGER, each, n) for n, each in enumerate(ms)))


def test_more_processes_than_anybody_runs_are_no_advice() -> None:
    """Processes that differ by 30 %, and sides by 2 %: some 3,000 processes a side would tell them apart."""
    noisy = (1.0, 1.5, 0.8, 1.2, 0.7, 1.4, 0.9)
    whole = compare([spread("A", *noisy)], [spread("B", *(1.02 * each for each in noisy))])
    text = " ".join(view.render(whole, width=160).split())
    assert "1 case INCONCLUSIVE: processes differ by too much for so small a difference, more than 50 a side" in text
    assert "try: a quieter host (close other programs, fix clocks), or trtbench duel" in text
    assert "would decide each" not in text
    assert "--replicates" not in text + view.github(whole)
    assert "(needs" not in text
    assert json.loads(view.json(whole))["pairs"][0]["needed"] is None


def test_sessions_that_differ_are_no_matter_of_more_processes() -> None:
    calm = [1.0 + n / 10_000 for n in range(7)]
    whole = compare([spread("A", *calm)], [spread("B", *(1.03 * each for each in calm))], session_sd=0.02)
    text = " ".join(view.render(whole, width=160).split())
    assert "1 case INCONCLUSIVE: sessions differ by too much for so small a difference" in text
    assert "more runs of each side, listed with commas: trtbench compare A1,A2 B1,B2: net/eager/fp32/batch=1" in text


@pytest.mark.parametrize(
    ("a", "b", "ratio"),
    [
        ((1.0,), (474.0,) * 7, "474 ±unknown"),
        ((1.0, 40.0, 3.0), (2.0, 1.0, 0.1), "undecided [<0.01, 6.45]"),
        ((1.0, 40.0), (40.0, 1.0), "undecided [<0.01, >100]"),
        ((1.0, 1.1, 0.9), (1.0, 1.1, 0.9), "1.000 ["),
    ],
)
def test_a_ratio_that_decides_nothing_does_not_look_like_one_that_does(
    a: tuple[float, ...], b: tuple[float, ...], ratio: str
) -> None:
    whole = compare([spread("A", *a)], [spread("B", *b)])
    for shown in (view.render(whole, width=160), view.markdown(whole), view.github(whole)):
        assert ratio in shown.replace("\\", "").replace("&lt;", "<")
        assert ("undecided: the interval contains 1, and its ends differ by more than a factor of 2" in shown) == (
            "undecided" in ratio
        )
    (row,) = csv.DictReader(io.StringIO(view.csv(whole)))
    assert (row["verdict"], row["low"] == "") == ("INCONCLUSIVE", "unknown" in ratio)
    assert ("±unknown: a side has one process" in " ".join(shown.split())) == ("unknown" in ratio)


@pytest.mark.parametrize(
    ("fields", "label"),
    [
        ({"toolchain": "torch22"}, "net/eager/fp32/batch=1: @default -> @torch22"),
        ({"cuda_graph": True}, "net/eager/fp32/batch=1: no graph -> graph"),
        ({"precision": "fp16"}, "net/eager/batch=1: fp32 -> fp16"),
    ],
)
def test_a_label_says_in_what_partners_differ(fields: dict[str, Any], label: str) -> None:
    other = msgspec.structs.replace(EAGER, **fields)
    text = view.render(compare([run([(EAGER, 1.0), (other, 1.1)])], axis=next(iter(fields))), width=160)
    assert label in text
    assert "cases that differ in" in text


def test_more_dimensions_than_two_of_a_toolchain_are_named_as_one() -> None:
    other = msgspec.structs.replace(HERE, python="3.99", libraries={"numpy": "9", "torch": "9"})
    refused = compare([run([(EAGER, 1.0)], "A")], [run([(EAGER, 1.0)], "B", other)]).refused
    assert compare_notes.across(refused) == "--across toolchain"


@pytest.mark.parametrize(("factor", "text"), [(2e-5, "2e-05 ["), (3e3, "3e+03 [")])
def test_large_and_small_ratios_keep_their_digits(factor: float, text: str) -> None:
    shown = view.render(compare([run([(EAGER, 1.0)], "A")], [run([(EAGER, factor)], "B")]), width=160)
    assert text in shown


def test_markdown_shows_text_as_text() -> None:
    assert escape.markdown("a@b `c` #1 https://x <i> *d* &lt;") == (
        "a@<!-- -->b \\`c\\` \\#1 https:<!-- -->//x &lt;i> \\*d\\* &amp;lt;"
    )


def test_means_sessions_rates_and_cycles_are_shown() -> None:
    def clocked(mhz: int) -> dict:
        samples = tuple(1_000_000 + n for n in range(11))
        measured = (
            Measurement(boundary="gpu", samples=samples),
            Measurement(boundary="throughput", samples=samples, calls=mhz, window_ns=1_000_000_000),
        )
        return {"telemetry": Telemetry(gpu=GpuFigures(sm_mhz_median=mhz)), "measurements": measured}

    sides = [
        [run([(EAGER, 1.0), (INDUCTOR, 1.0)], f"{name}{n}", record_fields=clocked(mhz)) for n in range(2)]
        for name, mhz in (("A", 1980), ("B", 1755))
    ]
    several = compare(*sides)
    text = view.render(several, width=200)
    assert "geometric mean of 2 ratios: 1.000 [" in text
    assert "sessions differ by no more than their processes do (4 degrees of freedom)" in text
    row = next(line for line in text.splitlines() if line.startswith(EAGER.label))
    assert row.count("0.886") == 2  # QPS and cycles
    assert "geometric mean of 2 ratios: 1.000" in view.markdown(several)
    assert "geometric mean of 2 ratios: 1.000" in view.github(several)
    whole = json.loads(view.json(several))
    assert (whole["geometric_means"][0]["pairs"], whole["sessions"]["dof"]) == (2, 4)
    assert whole["pairs"][0]["cycles"] == pytest.approx(1755 / 1980)
    assert whole["pairs"][0]["rate_low"] <= whole["pairs"][0]["rate_ratio"] <= whole["pairs"][0]["rate_high"]
    plain = view.render(compare(sides[0], [run([(EAGER, 1.0)], "B")], boundary="latency"), width=200)
    assert "cycles " not in plain.splitlines()[4]


def test_the_cpu_time_of_a_call_is_beside_its_time() -> None:
    def spent(cpu_ns: int) -> dict:
        samples = tuple(1_000_000 + n for n in range(10))
        measured = Measurement(boundary="latency", samples=samples, cpu_ns=cpu_ns, preemptions=3)
        return {"measurements": (measured,)}

    a, b = (run([(EAGER, 1.0)], name, record_fields=spent(ns)) for name, ns in (("A", 8_000_000), ("B", 10_000_000)))
    whole = compare([a], [b])
    head, _, row, *_ = view.render(whole, width=160).splitlines()[4:]
    assert "CPU" in head
    assert "1.250" in row
    assert json.loads(view.json(whole))["pairs"][0]["b_cpu_ns"] == pytest.approx(1_000_000)
    assert "CPU" not in view.render(compare([a], [run([(EAGER, 1.0)], "C")]), width=160).splitlines()[4]


def test_two_states_of_a_side_are_a_note() -> None:
    states = run([(EAGER, 1.0)], "B")
    records = [
        *(record(EAGER, 1.0 + n / 10_000, n) for n in range(4)),
        *(record(EAGER, 1.032 + n / 10_000, n + 4) for n in range(3)),
    ]
    text = view.render(
        compare([run([(EAGER, 1.0)])], [msgspec.structs.replace(states, records=tuple(records))]), width=300
    )
    assert (
        f"B, {EAGER.label}: processes are in one of two states of latency, 1.00 ms and 1.03 ms (43% of 7 in the slower)"
        "; try: 7" in text
    )
    assert "INCONCLUSIVE" in text
