"""The data of a page against the rows that the terminal shows."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench import store
from bench.analysis.rows import rows
from bench.model.run import Run
from bench.report import cells
from bench.report.html.data import quantiles_for
from tests.report.conftest import case, deployed, example, make, quantized, record
from tests.report.html.kit import page_of, renamed, rows_of

GOLDEN = Path(__file__).parents[2] / "golden"


def test_cases_have_the_figures_and_the_texts_of_the_tables(run: Run) -> None:
    shown = rows_of(page_of(run)["cases"])
    for row, of in zip(rows(run), shown, strict=True):
        assert of["id"] == row.case
        assert of["label"] == row.label
        assert of["speed_text"] == cells.ratio(row.speed, row.label)
        assert of["rate_text"] == cells.rate(row.rate)
        assert of["accuracy"] == cells.verdict(row.score)
        figure = row.times.get("latency")
        assert of["time_text"] == cells.time(figure)
        assert of["time"] == (figure and pytest.approx(figure.value, rel=1e-5))
        assert of["warnings"].split() == [warning.kind for warning in row.warnings]


def test_outputs_have_both_references_where_a_case_was_quantized_here() -> None:
    run = quantized()
    plain, int8 = rows_of(page_of(run)["outputs"])
    assert (plain["quantized_cosine"], plain["quantized_cosine_text"]) == (None, cells.NONE)
    assert (int8["quantized_cosine_text"], int8["quantized_sqnr"]) == (">0.999999", 60.7)
    assert (plain["rounding_cosine"], int8["rounding_cosine_text"]) == (None, "0.987600")
    for name in ("quantized_cosine", "rounding_cosine"):
        assert [of[name] for of in rows_of(page_of(run)["cases"])] == [None, int8[name]]


def test_a_case_that_a_program_runs_too_has_pythons_share() -> None:
    run = deployed()
    shown = rows_of(page_of(run)["cases"])
    for row, of in zip(rows(run), shown, strict=True):
        assert of["python_share_text"] == cells.python_share(row.python_share)
        assert of["python_share"] == (row.python_share and pytest.approx(row.python_share.ns, rel=1e-5))
    assert [of["python_share_of"] for of in shown] == [None, "enqueue", None, "enqueue", None]


def test_every_case_has_one_status(run: Run) -> None:
    statuses = {of["label"]: of["status"] for of in rows_of(page_of(run)["cases"])}
    assert statuses["bert/aoti/fp32/batch=1/seq=128"] == "failed"
    assert statuses["resnet18/aoti/fp32/batch=1"] == "waiting"
    assert statuses["bert/onnxruntime/fp32/batch=1/seq=128"] == "inaccurate"
    best = "fastest" if run.header.policy.replicates > 1 else "ok"  # one process is told from nothing
    assert statuses["bert/inductor[mode=max-autotune]/fp32/batch=1/seq=128"] == best
    assert statuses["bert/eager/fp32/batch=1/seq=128"] == "ok"


def test_processes_have_at_most_64_quantiles_a_boundary() -> None:
    of = case("net", "eager")
    one = record(of, 1.0)
    long = msgspec.structs.replace(one.measurements[0], samples=tuple(range(1000, 1256)))
    run = make([of], [msgspec.structs.replace(one, measurements=(long,))])
    (series,) = rows_of(page_of(run)["distributions"])
    assert (series["samples"], len(series["steps"])) == (256, 64 + 1)


@pytest.mark.parametrize(("records", "most"), [(0, 64), (2_499, 64), (2_500, 32), (5_000, 16), (100_000, 16)])
def test_a_page_of_more_records_has_fewer_quantiles_of_each(records: int, most: int) -> None:
    assert quantiles_for(records) == most


def test_a_warning_is_there_once_with_its_sentence_and_the_cases_that_have_it(run: Run) -> None:
    page = page_of(run)
    notes, labels = rows_of(page["notes"]), [of["label"] for of in rows_of(page["cases"])]
    pairs = [(labels[pair["case"]], notes[pair["note"]]) for pair in rows_of(page["case_notes"])]
    steady = [(label, note["text"]) for label, note in pairs if note["kind"] == "NotSteady"]
    assert [label for label, _ in steady] == [f"bert/torchscript/fp32/batch={n}/seq=128" for n in (1, 8)]
    assert all("the medians of three windows still differed" in text for _, text in steady)


def test_selected_cases_alone_are_shown_with_their_rank_in_the_whole_run() -> None:
    run = example(3)
    best = next(of for of in run.header.cases if of.options and of.model == "bert" and of.batch == 1)
    page = page_of(run, only=[{best.id}])
    (of,) = rows_of(page["cases"])
    assert (of["id"], of["status"]) == (best.id, "fastest")
    (leader,) = rows_of(page["leaders"])
    assert (leader["case"], leader["runner_up"]) == (0, None)
    assert leader["margin"] > 1


def pair_of_runs() -> list[Run]:
    """A run against a baseline, and a later one of one backend that is faster."""
    cases, alone = [case("net", "eager"), case("net", "inductor")], case("net", "onnxruntime")
    broad = make(cases, [record(of, 4.0 - at) for at, of in enumerate(cases)])
    later = renamed(make([alone], [record(alone, 1.0)]), "20261124T101500Z-smoke-1a2b3c4")
    return [broad, later]


def test_a_lower_time_of_a_run_that_does_not_lead_is_a_case_with_its_reason() -> None:
    page = page_of(*pair_of_runs())
    (leader,) = rows_of(page["leaders"])
    labels = [of["label"].split("/")[1] for of in rows_of(page["cases"])]
    assert (labels[leader["case"]], labels[leader["faster"]]) == ("inductor", "onnxruntime")
    assert [leader[f"faster_{name}"] for name in ("why", "rivals", "backends")] == ["narrow", 1, 1]
    of_first = pair_of_runs()[0]
    assert rows_of(page_of(of_first)["leaders"])[0]["faster"] is None


def test_what_the_plan_left_out_is_grouped_by_reason(run: Run) -> None:
    (left_out,) = rows_of(page_of(run)["left_out"])
    assert (left_out["reason"], left_out["count"]) == ("CUDA graphs need a GPU", 5)


def test_the_command_that_reruns_a_case_selects_it_by_its_id(run: Run) -> None:
    for of in rows_of(page_of(run)["cases"]):
        assert of["rerun"] == f"trtbench run suites/smoke.yaml --select id={of['id']}"
    of_home = renamed(run, run.header.run, suite_path="~/my suites/a.yaml")
    for of in rows_of(page_of(of_home)["cases"]):
        assert of["rerun"] == f"trtbench run ~/'my suites/a.yaml' --select id={of['id']}"
    for path in ("", "$TRTBENCH_CACHE/models/net/suite.yaml"):
        without = renamed(run, "20261123T101500Z-adhoc-1a2b3c4", suite_path=path)
        assert {of["rerun"] for of in rows_of(page_of(without)["cases"])} == {""}


def test_an_empty_page_has_every_table_without_rows() -> None:
    page = page_of()
    tables = {name: table for name, table in page.items() if isinstance(table, dict) and "rows" in table}
    assert {name for name, table in tables.items() if table["rows"]} == {"findings"}
    assert [finding["count"] for finding in rows_of(page["findings"])] == [0, 0, 0]


def test_the_same_case_of_two_runs_is_two_rows() -> None:
    run = example(1)
    other = renamed(run, "20261124T101500Z-smoke-1a2b3c4")
    shown = rows_of(page_of(run, other)["cases"])
    assert len(shown) == 2 * len(run.header.cases)
    assert {of["run"] for of in shown} == {0, 1}


@pytest.mark.parametrize("version", [1, 2])
def test_runs_of_each_schema_are_shown_with_the_sentences_of_their_warnings(version: int) -> None:
    run = store.read(GOLDEN / f"run-v{version}.jsonl", packed=True)
    page = page_of(run)
    assert [of["id"] for of in rows_of(page["cases"])] == [case.id for case in run.header.cases]
    assert page["processes"]["rows"] == len(run.records)
    kinds = {warning.kind for record in run.records for warning in record.warnings}
    assert kinds <= {note["kind"] for note in rows_of(page["notes"])}
    assert all(note["text"] for note in rows_of(page["notes"]))


def test_one_record_is_a_page() -> None:
    of = case("net", "eager")
    page = page_of(make([of], [record(of, 1.0)]))
    (shown,) = rows_of(page["cases"])
    assert (shown["status"], shown["speed_text"]) == ("ok", "baseline")
    (leader,) = rows_of(page["leaders"])
    assert (leader["rivals"], leader["runner_up"], leader["margin"]) == (1, None, None)


def test_a_speed_names_its_baseline_with_what_is_not_the_cases_own() -> None:
    eager = [case("net", "eager"), case("net", "eager", toolchain="old")]
    others = [case("net", "inductor"), case("net", "inductor", precision="fp16"), case("net", "aoti", toolchain="new")]
    run = make([*eager, *others], [record(of, 1.0) for of in (*eager, *others)])
    shown = {of["label"]: of["baseline"] for of in rows_of(page_of(run)["cases"])}
    assert list(shown.values()) == ["eager", "eager", "eager", "eager/fp32", "eager@default"]
    alone = make(others[:1], [record(others[0], 1.0)])
    assert [of["baseline"] for of in rows_of(page_of(alone)["cases"])] == [None]
