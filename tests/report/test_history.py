"""A history as it is shown."""

from __future__ import annotations

import csv
import io
import json

import msgspec

from bench.report import history as view
from tests.analysis.test_history import only, series

STEP = only(series([1.0] * 6 + [1.05] * 6))


def test_the_table_has_a_line_per_run_and_says_what_a_step_is() -> None:
    text = view.render(STEP, width=140)
    assert f"{STEP.label} ({STEP.case}): latency on H100 (sm_90)" in text
    assert "12 runs, " in text
    assert "1 step" in text
    line = next(line for line in text.splitlines() if line.startswith("R006"))
    assert line.endswith("+5.0%")
    assert "000000000006" in line
    assert "  - step at R006: 1.00 ms -> 1.05 ms, 1.05" in text
    assert "commit 000000000005 -> 000000000006" in text
    assert max(map(len, view.render(STEP, width=80).splitlines())) <= 80
    assert "\x1b[" in view.render(STEP, width=140, color=True)


def test_intervals_are_those_of_the_tables() -> None:
    history = only(series([1.0] * 3))
    bounds = ((0.99e6, 1.01e6), (0.5e6, 1.9e6), (0.05e6, 20e6))
    points = [
        msgspec.structs.replace(point, ns=1e6, low=low, high=high)
        for point, (low, high) in zip(history.points, bounds, strict=True)
    ]
    text = view.render(msgspec.structs.replace(history, points=tuple(points)), width=140)
    assert "3 runs, 1.00 ms\n" in text
    for shown in (" ±1.0% ", " [0.500, 1.90] ", " ±unknown "):
        assert text.count(shown) == 1


def test_the_curve_is_from_the_least_to_the_greatest() -> None:
    assert view.curve([1.0, 2.0, 1.5]) == "▁█▅"
    assert view.curve([1.0, 1.0]) == "▁▁"


def test_few_runs_gaps_and_unread_files_are_told() -> None:
    short = msgspec.structs.replace(
        only(series([1.0] * 2)), gaps=(("R9\x1b", "failed: Crash"),), unread=("x.jsonl: not a run",)
    )
    text = view.render(short, width=120)
    assert "2 runs: steps are looked for from 4 runs on with a calibration, from 6 without" in text
    assert "no point, failed: Crash: R9\\x1b" in text
    assert "not read: x.jsonl: not a run" in text
    assert "no point" in view.render(msgspec.structs.replace(short, points=()), width=120)


def test_an_outlier_is_told() -> None:
    assert "apart from their level, and no step: R007" in view.render(only(series([1.0] * 7 + [1.4] + [1.0] * 7)))


def test_csv_json_and_markdown_have_all_histories() -> None:
    lines = list(csv.DictReader(io.StringIO(view.csv([STEP, STEP]))))
    assert len(lines) == 24
    assert [line["run"] for line in lines if line["step"]] == ["R006", "R006"]
    assert float(lines[0]["ns"]) == STEP.points[0].ns
    whole = json.loads(view.json([STEP]))
    assert whole["schema"] == 1
    assert whole["histories"][0]["steps"][0]["index"] == 6
    assert whole["histories"][0]["points"][0]["apart"] is False
    text = view.markdown([STEP])
    assert "| R006 | 000000000006 | 0.2.0 | 3 | 1.05 ms |" in text
    assert "- step at R006" in text
