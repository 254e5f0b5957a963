"""Where the wall time went, as one line and as tables in four formats."""

from __future__ import annotations

import csv
import io
import json

import msgspec
import pytest

from bench.analysis.times import CATEGORIES, CaseTimes, RunTimes, of_run
from bench.report import times

from .conftest import case, example, make, record

S = 1_000_000_000


@pytest.mark.parametrize(
    ("sums", "line"),
    [
        (
            {"start_up": 3 * S, "imports": 8 * S, "warmup": 9_900_000_000, "measuring": 15_123_456_789, "other": 1},
            "time: 36.0 s: 15.1 measuring, 9.9 warm-up, 8.0 imports, 3.0 start-up",
        ),
        ({"builds": 900 * S, "waiting": 300 * S}, "time: 20.0 min: 15.0 exports and builds, 5.0 waiting"),
        ({"references": 36000 * S}, "time: 10.0 h: 10.0 references"),
        ({"other": 9}, "time: 0.0 s"),
        ({}, "time: 0.0 s"),
    ],
)
def test_the_line_names_the_largest_first_in_one_unit(sums: dict[str, int], line: str) -> None:
    assert times.line(sums) == line


TIMES = RunTimes(
    run="20261123T101500Z-smoke-1a2b3c4",
    cases=(
        CaseTimes(case="1", label="bert/eager/fp32", processes=2, ns={"imports": 8 * S, "measuring": 3 * S}),
        CaseTimes(case="2", label="bert/aoti[mode=a|b]/fp32", processes=1, ns={"builds": 200 * S, "measuring": S}),
    ),
    rest={"start_up": 30 * S, "other": S // 100},
    total={"start_up": 30 * S, "imports": 8 * S, "builds": 200 * S, "measuring": 4 * S, "other": S // 100},
)


def test_the_table_has_a_line_per_case_one_for_the_rest_and_the_total() -> None:
    lines = times.render(TIMES, width=120).splitlines()
    assert lines[0] == TIMES.run
    assert [line.split() for line in lines[2:8] if "─" not in line] == [
        ["case", "processes", "total", "start-up", "imports", "builds", "measuring", "other"],
        ["bert/eager/fp32", "2", "11.0", "-", "8.0", "-", "3.0", "-"],
        ["bert/aoti[mode=a|b]/fp32", "1", "201.0", "-", "-", "200.0", "1.0", "-"],
        ["not", "of", "one", "case", "30.0", "30.0", "-", "-", "-", "0.0"],
        ["total", "3", "242.0", "30.0", "8.0", "200.0", "4.0", "0.0"],
    ]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_narrow_table_leaves_columns_out_and_says_which(width: int) -> None:
    lines = times.render(TIMES, width=width).splitlines()
    assert max(map(len, lines)) <= width
    left_out = " ".join(line for line in lines if line.startswith("not shown at"))
    assert ("processes" in left_out) == ("processes" not in lines[2])
    assert "total" in lines[2]


def test_a_short_run_has_two_decimals() -> None:
    short = msgspec.structs.replace(TIMES, cases=TIMES.cases[:1], rest=None, total=TIMES.cases[0].ns)
    assert times.render(short, width=120).splitlines()[4].split() == ["bert/eager/fp32", "2", "11.00", "8.00", "3.00"]


def test_markdown_has_all_columns_and_no_cell_breaks_it() -> None:
    lines = times.markdown(TIMES).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert table[3] == "| bert/aoti[mode=a\\|b]/fp32 | 1 | 201.0 | - | - | 200.0 | 1.0 | - |"
    assert table[-1].startswith("| total | 3 | 242.0 |")
    assert len({line.replace("\\|", "").count("|") for line in table}) == 1


def test_csv_has_nanoseconds_by_category_for_each_case_and_the_rest() -> None:
    lines = list(csv.DictReader(io.StringIO(times.csv([TIMES, TIMES]))))
    assert len(lines) == 6
    assert [line["case"] for line in lines[:3]] == ["1", "2", ""]
    assert {name: lines[1][f"{name}_ns"] for name in CATEGORIES} == {
        name: str(TIMES.cases[1].ns.get(name, 0)) for name in CATEGORIES
    }
    assert lines[2]["start_up_ns"] == str(30 * S)
    total = sum(int(line[f"{name}_ns"]) for line in lines[:3] for name in CATEGORIES)
    assert total == sum(TIMES.total.values())


def test_json_has_every_field() -> None:
    (one,) = json.loads(times.json([TIMES]))["runs"]
    assert one["total"] == TIMES.total
    assert one["rest"] == TIMES.rest
    assert one["cases"][0] == {"case": "1", "label": "bert/eager/fp32", "processes": 2, "unknown": 0} | {
        "ns": TIMES.cases[0].ns
    }


def test_a_run_of_an_earlier_version_says_what_is_unknown() -> None:
    run = example(3)
    shown = times.render(of_run(run), width=120)
    assert (
        f"{len(run.records)} processes measured by a version that did not record times, only their phases are here"
        in shown
    )
    assert "not of one case" not in shown.partition("\n\n")[2].partition("\n\n")[0]
    found = list(csv.DictReader(io.StringIO(times.csv([of_run(run)]))))
    assert (found[0]["imports_ns"], found[0]["waiting_ns"]) == (str(2_700_000_000), "")
    assert f"- {len(run.records)} processes measured by" in times.markdown(of_run(run))


@pytest.mark.parametrize(("start", "shown_start"), [("=", "'="), ("\x1b[2J", "\\x1b[2J"), ("\n| x", "'\\n| x")])
def test_a_label_draws_nothing_and_runs_nowhere(start: str, shown_start: str) -> None:
    asked = case(f"{start}cmd", "eager")
    hostile = of_run(make([asked], [record(asked, 1.0, times={f"{start}x": S})], times={"imports": 2 * S}))
    for shown in (times.render(hostile), times.markdown(hostile), times.csv([hostile])):
        assert not {"\x1b"} & set(shown)
        assert not any(line.startswith("| x") for line in shown.splitlines())
    (line, _) = csv.DictReader(io.StringIO(times.csv([hostile])))
    assert line["label"].startswith(shown_start)
