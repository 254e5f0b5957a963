"""Findings on fairness as sentences: of each kind, in tables, and as text, Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from typing import get_args

import pytest

from bench.analysis.compare import compare
from bench.analysis.conditions import CONDITIONS, FACTS, Kind
from bench.analysis.effects import Effect
from bench.analysis.lint import Finding, Side, lint
from bench.report import compare as comparison_view
from bench.report import export, text
from bench.report import lint as view
from bench.report.html.data import page_data

from .conftest import case, make, record

ODD = "\x1b[31m<b>|"


def differing(key: str = "threads", kind: Kind = "threads", **fields) -> Finding:
    sides = (
        Side(values=("4",), names=("onnxruntime",), cases=("b",)),
        Side(values=("2",), names=("eager",), cases=("a",)),
    )
    return Finding(kind=kind, key=key, sides=sides, **fields)


@pytest.fixture
def unequal():
    """A run whose two cases differ in threads, and one of which broke its graph."""
    cases = [case("bert", "eager"), case("bert", "inductor")]
    reports = [{"threads": 2}, {"threads": 4, "graph_breaks": 1, "break_reasons": {"call to print": 1}}]
    return make(cases, [record(of, 1.0, fairness=facts) for of, facts in zip(cases, reports, strict=True)])


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda each: each.key)
def test_every_condition_has_a_name_and_something_to_try(condition) -> None:
    finding = differing(condition.key, condition.kind)
    name, _, who = view.sentence(finding).partition(": ")
    assert (name.replace("_", ""), who) == (name, "4 (onnxruntime), 2 (eager)")
    assert view.fix(finding)


def test_every_kind_is_read_from_a_report() -> None:
    from_times = {"graph_program"}
    assert {each.kind for each in (*CONDITIONS, *FACTS)} == set(get_args(Kind)) - from_times


@pytest.mark.parametrize(
    ("kind", "key", "figures", "expected"),
    [
        ("graph_breaks", "graph_breaks", {"breaks": 2, "reasons": ("print",)}, "2 graph breaks in inductor: print"),
        ("recompiles", "recompiles", {"recompiles": 1}, "recompiled 1 time: inductor"),
        ("uncompiled", "frames_skipped", {"functions": 3}, "3 functions left to Python in inductor"),
        (
            "graphs_skipped",
            "graphs_skipped",
            {"skipped": 1, "reasons": ("mutated inputs",)},
            "Inductor captured no CUDA graph of 1 graph of inductor: mutated inputs",
        ),
        (
            "fallback",
            "fallback_nodes",
            {"nodes": 2, "partitions": 3, "operators": ("NonZero",)},
            "2 nodes left to another runtime by inductor, in 3 parts: NonZero",
        ),
        ("fallback", "fallback_nodes", {"nodes": 1, "partitions": 1}, "1 node left to another runtime by inductor"),
        (
            "higher_precision",
            "engine",
            {"layers": 4, "of": 58, "precisions": ("fp32",), "counts": ("4 of 58", "3 of 25")},
            "layers that compute in fp32, wider than the precision: 4 of 58 and 3 of 25 in inductor",
        ),
        (
            "higher_precision",
            "engine",
            {"layers": 1, "of": 9, "precisions": ("fp32",), "counts": tuple(f"1 of {n}" for n in range(9, 15))},
            "layers that compute in fp32, wider than the precision: 1 of 9, 1 of 10, 1 of 11, 1 of 12 and 2 other "
            "counts in inductor",
        ),
    ],
)
def test_what_happened_reads_as_a_sentence(kind, key, figures, expected) -> None:
    side = Side(values=(), names=("inductor",), cases=("a",))
    finding = Finding(kind=kind, key=key, sides=(side,), figures=figures)
    assert view.sentence(finding) == expected
    assert view.fix(finding)


def test_an_effect_is_told_with_both_values_and_the_span_of_its_pairs() -> None:
    def effect(a: str, boundary: str, ratio: float) -> Effect:
        low, high = ratio - 0.01, ratio + 0.01
        return Effect(
            a=a, b="b", a_value="not captured", b_value="captured", boundary=boundary, ratio=ratio, low=low, high=high
        )

    effects = (effect("x", "gpu", 1.034), effect("x", "latency", 4.891), effect("y", "gpu", 1.25))
    assert view.sentence(differing(effects=effects)).endswith(
        "; time of not captured / captured: 1.03 to 1.25 at gpu, 4.89 at latency (2 pairs measured)"
    )


def test_tables_end_with_what_is_unequal_and_leave_out_what_their_notes_have(unequal) -> None:
    shown = text.render(unequal, width=120)
    assert "unequal conditions\n  - threads: 2 (eager), 4 (inductor)\n    try: trtbench show" in shown
    assert "1 graph break in" not in shown
    assert "### Unequal conditions\n\n- threads: 2 (eager), 4 (inductor)" in export.markdown(unequal)


def test_tables_of_equal_conditions_say_nothing_of_them() -> None:
    cases = [case("bert", "eager"), case("bert", "inductor")]
    equal = make(cases, [record(of, 1.0, fairness={"threads": 2}) for of in cases])
    assert "nequal conditions" not in text.render(equal) + export.markdown(equal)
    assert view.NONE in " ".join(view.render(equal, ()).split())
    assert f"{view.NONE[1:]}." in view.markdown(equal, ())


def test_the_full_text_names_cases_boundaries_and_what_to_try(unequal) -> None:
    shown = view.render(unequal, lint(unequal), width=100)
    assert "1 threads: threads: 2 (eager), 4 (inductor)" in shown
    assert "cases: bert/eager/fp32/batch=1/seq=128; against 1 case" in shown
    assert "touches: latency, throughput" in shown
    assert "2 graph_breaks: 1 graph break in inductor: call to print" in shown
    assert shown.count("try: ") == 2
    assert all(len(line) <= 100 for line in shown.splitlines())


def test_json_has_every_field_and_the_sentence(unequal) -> None:
    whole = json.loads(view.json([(unequal, lint(unequal))]))
    assert (whole["schema"], whole["runs"][0]["run"]) == (1, unequal.header.run)
    threads, breaks = whole["runs"][0]["findings"]
    assert threads["sentence"] == "threads: 2 (eager), 4 (inductor)"
    assert [side["cases"] for side in threads["sides"]] == [[of.id] for of in unequal.header.cases]
    assert breaks["figures"] == {"breaks": 1, "reasons": ["call to print"]}


def test_csv_has_a_line_for_each_finding(unequal) -> None:
    first, second = csv.DictReader(io.StringIO(view.csv([(unequal, lint(unequal))])))
    assert (first["kind"], second["kind"]) == ("threads", "graph_breaks")
    assert first["cases"].split() == [of.id for of in unequal.header.cases]


def test_texts_of_a_model_or_library_steer_no_terminal_and_are_no_markup() -> None:
    cases = [case("bert", "eager"), case("bert", "inductor")]
    facts = {"graph_breaks": 1, "break_reasons": {ODD: 1}}
    run = make(cases, [record(cases[0], 1.0), record(cases[1], 1.0, fairness=facts)])
    found = lint(run)
    assert found
    outputs = view.render(run, found), view.markdown(run, found), view.csv([(run, found)]), view.json([(run, found)])
    assert not any("\x1b" in output for output in outputs)
    assert "<b>" not in view.markdown(run, found)


def test_a_comparison_says_in_what_its_partners_are_unequal(unequal) -> None:
    shown = comparison_view.render(compare([unequal], axis="backend"), width=200)
    assert "- unequal conditions (1 case): threads: 2 (eager), 4 (inductor)" in shown
    assert "- unequal conditions (1 case): 1 graph break in inductor: call to print" in shown
    assert "unequal" not in comparison_view.render(compare([unequal], [unequal]), width=200)


def test_the_page_has_the_findings_among_the_notes_of_a_run(unequal) -> None:
    notes = page_data([unequal], made="2026-11-28T12:00:00+00:00")["runs"]["columns"]["notes"]
    assert "fairness: threads: 2 (eager), 4 (inductor); try: threads: N" in str(notes)
