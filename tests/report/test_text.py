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

from bench.analysis.rows import rows
from bench.model.run import Failure, Footer, Measurement, Phase, Record
from bench.model.suite import Case
from bench.report import cells, export, text

from .conftest import accuracy, case, deployed, example, make, quantized, record

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
    assert cells.PYTHON_LEGEND.partition(":")[0] not in text.render(run, width=200)


@pytest.mark.parametrize("width", [60, 160])
def test_a_column_is_explained_only_where_it_is_shown(width: int) -> None:
    printed = " ".join(text.render(quantized(), width=width).split())
    assert (f"{cells.QUANTIZED_COSINE}: with the outputs" in printed) == (width == 160)
    assert (f"not shown at {width} columns" in printed) == (width == 60)


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


def timed(asked: Case, *samples: int) -> Record:
    """A record of exactly these samples of latency, in nanoseconds."""
    return record(asked, 1.0, measurements=(Measurement(boundary="latency", samples=samples),))


@pytest.mark.parametrize(
    ("samples", "shown"),
    [
        ((6_900, 7_000, 24_000, 24_600, 80_000, 86_500), "24.3 us ±unknown"),
        ((16_800, 17_000, 24_000, 24_600, 36_000, 36_500), "24.3 us [16.8, 36.5]"),
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
    assert (cells.VAGUE_LEGEND in printed) == shown.endswith("±unknown")
    assert f"| {shown} |" in export.markdown(run)


def test_a_legend_explains_only_what_is_on_the_screen() -> None:
    of_case = case("bert", "eager")
    vague = Measurement(boundary="enqueue", samples=(6_900, 7_000, 24_000, 24_600, 80_000, 86_500))
    times = (
        Measurement(boundary="gpu", samples=(1_000,) * 60),
        vague,
        Measurement(boundary="latency", samples=(2_000,) * 60),
    )
    run = make([of_case], [record(of_case, 1.0, measurements=times)])
    for width in (60, 200):
        printed = text.render(run, width=width)
        assert ("24.3 us ±unknown" in printed) == (cells.VAGUE_LEGEND in " ".join(printed.split())) == (width == 200)
        assert "QPS" not in printed


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


def ended(asked: Case, replicate: int, kind: str) -> Record:
    broken = Failure(kind=kind, stage="start", message="x")
    return Record(case=asked.id, label=asked.label, replicate=replicate, failure=broken)


def test_the_other_processes_of_a_failed_case_are_said_not_to_be_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = case("bert", "eager")
    run = make([asked], [ended(asked, 0, "Crash")], 3)
    said = "2 processes of cases that failed: a case is not tried again once one of its processes has failed"
    assert f"not tried: {said}, nor does --resume" in text.render(run, width=200)
    assert f"not tried: {said}" in export.markdown(run)
    monkeypatch.setenv("HOME", str(tmp_path))
    of_home = msgspec.structs.replace(run, header=msgspec.structs.replace(run.header, suite_path="~/my suites/a.yaml"))
    assert "a new run: trtbench run SUITE" in text.render(of_home, width=200)
    (tmp_path / "my suites").mkdir()
    (tmp_path / "my suites/a.yaml").touch()
    assert "a new run: trtbench run ~/'my suites/a.yaml'" in text.render(of_home, width=200)
    # Nothing is said of those that lack a package, or whose GPU was lost: --resume runs these again.
    lacks, lost = case("bert", "onnxruntime"), case("bert", "aoti")
    others = [ended(asked, 0, "Crash"), ended(lacks, 0, "Unavailable"), ended(lost, 0, "DeviceLost")]
    assert f"not tried: {said}" in text.render(make([asked, lacks, lost], others, 3), width=200)


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
