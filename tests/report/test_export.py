"""Exports: markdown for a page, CSV and JSON that keep every raw figure."""

import csv
import io
import json
from pathlib import Path

import msgspec

from bench.analysis.rows import rows
from bench.model.run import Accuracy
from bench.model.telemetry import Telemetry
from bench.report import export, text

from .conftest import case, example, make, record

GOLDEN = Path(__file__).parent.parent / "golden" / "report"


def test_markdown_reads_as_agreed() -> None:
    assert export.markdown(example(3)) == (GOLDEN / "tables-3.md").read_text()


def test_every_line_of_a_markdown_table_has_the_same_number_of_cells(run) -> None:
    tables = [block for block in export.markdown(run).split("\n\n") if block.startswith("|")]
    assert len(tables) == 2
    for block in tables:
        assert len({line.count("|") for line in block.splitlines()}) == 1


def test_markdown_escapes_what_would_break_a_table_or_a_page() -> None:
    asked = case("a|b", "eager", options={"x": "<b>|"})
    shown = export.markdown(make([asked], [record(asked, 2.0)]))
    assert "### a\\|b" in shown
    assert "eager[x=&lt;b>\\|]" in shown


def test_csv_has_a_line_per_case_with_raw_numbers(run) -> None:
    found = list(csv.DictReader(io.StringIO(export.csv(run))))
    made = rows(run)
    assert [line["case"] for line in found] == [row.case for row in made]
    for line, row in zip(found, made, strict=True):
        assert line["latency_ns"] == (str(row.times["latency"].value) if row.times else "")
        assert line["failure_kind"] == (row.failure.kind if row.failure else "")
    assert found[0]["symbol_seq"] == "128"
    assert found[-1]["symbol_seq"] == ""


def test_csv_tells_which_speeds_rest_on_one_process(run) -> None:
    found = list(csv.DictReader(io.StringIO(export.csv(run))))
    told = [str(row.speed.within) if row.speed else "" for row in rows(run)]
    assert [line["speed_within"] for line in found] == told
    assert ("True" in told) == (run.header.policy.replicates == 1)


def test_csv_of_an_empty_run_is_a_header() -> None:
    assert export.csv(make([], [])) == "run,case\n"


def test_json_has_every_field_of_every_row_and_the_run_around_it(run) -> None:
    found = json.loads(export.json(run))
    made = rows(run)
    assert found["run"] == run.header.run
    assert found["environments"]["default"]["fingerprint"] == run.header.environments["default"].fingerprint
    assert [row["label"] for row in found["rows"]] == [row.label for row in made]
    assert all(set(row) == set(made[0].__struct_fields__) for row in found["rows"])
    assert found["rows"][0]["times"]["latency"]["value"] == made[0].times["latency"].value
    assert found["rows"][0]["times"]["latency"]["percentiles"].keys() == {"50", "90", "95"}  # 99 needs more samples
    assert len(found["left_out"]) == 5


def test_json_keeps_facts_as_values_and_what_each_process_told() -> None:
    asked = case("bert", "eager")
    tf32 = {"cudnn": False, "matmul": False}
    told = [{"clock": {"gpu_period_ns": 2592467 + n}, "gpu": {"throttle_reasons": {}}} for n in range(2)]
    facts = [{"threads": 16, "tf32": tf32, "cache": ("cold", "warm")[n]} for n in range(2)]
    found = [record(asked, 2.0, n, telemetry=msgspec.convert(told[n], Telemetry), fairness=facts[n]) for n in range(2)]
    (row,) = json.loads(export.json(make([asked], found, 2)))["rows"]
    assert row["fairness"] == {"threads": [16], "tf32": [tf32], "cache": ["cold", "warm"]}
    assert row["telemetry"] == {"0": told[0], "1": told[1]}


def test_the_page_on_the_format_names_every_column_and_field(run) -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "results-format.md").read_text()
    columns = next(csv.reader(io.StringIO(export.csv(run))))
    boundary = [name for name in columns if name.startswith("latency_")]
    figures = ("", "_low", "_high", "_min", "_sd", "_p90", "_p95", "_p99")
    assert boundary == [f"latency{figure}_ns" for figure in figures]
    whole = json.loads(export.json(run))
    names = {*columns, *whole, *whole["rows"][0]} - set(boundary) - {"symbol_batch", "symbol_seq"}
    names -= {name for name in columns if name.startswith("phase_")}
    for part in ("speed", "score"):
        names |= {name for row in whole["rows"] for name in (row[part] or ())}
    assert {name for name in names if f"`{name}`" not in page} == set()


def test_markdown_says_what_bold_is_and_sets_a_hint_apart() -> None:
    shown = export.markdown(example(3))
    assert shown.endswith("\nBold: fastest accurate case of its model and sizes; 5 combinations left out.\n")
    assert "(likewise torchscript batch=8); try: close other programs" in shown
    alone = case("bert", "eager")
    assert "old: fastest" not in export.markdown(make([alone], [record(alone, 2.0)]))


def test_json_writes_undefined_numbers_as_null() -> None:
    asked = case("bert", "eager")
    score = Accuracy(ok=True, outputs=(), metric={"map50": float("nan")})
    shown = export.json(make([asked], [record(asked, 2.0, accuracy=score)]))
    assert json.loads(shown)["rows"][0]["score"]["metric"] == {"map50": None}


def test_exports_take_the_baseline() -> None:
    run = example(1)
    assert "vs inductor (latency)" in export.markdown(run, "inductor")
    assert json.loads(export.json(run, "inductor"))["rows"][0]["speed"]["against"].startswith("bert/inductor/")
    assert "bert/inductor/fp32" in export.csv(run, "inductor").splitlines()[1]


def test_several_runs_are_one_csv_and_a_list_of_objects() -> None:
    first, second = example(1), example(3)
    second = msgspec.structs.replace(second, header=msgspec.structs.replace(second.header, run="another"))
    lines = list(csv.DictReader(io.StringIO(export.csv([first, second]))))
    assert [line["run"] for line in lines] == [one.header.run for one in (first, second) for _ in one.header.cases]
    assert [found["run"] for found in json.loads(export.json([first, second]))] == [first.header.run, "another"]


def test_csv_has_builds_and_phases() -> None:
    asked = case("bert", "eager")
    run = make([asked], [record(asked, 2.0, n, build=n % 2) for n in range(3)])
    (line,) = csv.DictReader(io.StringIO(export.csv(run)))
    assert (line["builds"], line["processes"]) == ("2", "3")
    assert (float(line["phase_compile_ns"]), float(line["phase_compile_warm_ns"])) == (30e9, 2e9)
    assert line["phase_import_warm_ns"] == ""


def test_numbers_of_the_models_own_metric_are_in_every_output() -> None:
    asked = case("bert", "eager")
    score = Accuracy(ok=True, outputs=(), metric={"map50": 0.51234})
    run = make([asked], [record(asked, 2.0, accuracy=score)])
    for shown in (text.render(run, width=200), export.markdown(run)):
        assert "map50" in shown
        assert "0.5123 " in shown
    (line,) = csv.DictReader(io.StringIO(export.csv(run)))
    assert line["metric_map50"] == "0.51234"
