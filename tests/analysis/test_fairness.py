"""Warnings from what a backend tells of itself."""

from __future__ import annotations

from typing import Any

import pytest

from bench.analysis import fairness
from bench.model.suite import Case
from bench.report.warnings import describe

OFF = Case(model="m", factory="f:m", inputs={}, backend="b")
GROUPED_CASE = Case(model="m", factory="f:m", inputs={}, backend="b", options={"deconvolutions": "grouped"})
DENSE_CASE = Case(model="m", factory="f:m", inputs={}, backend="b", options={"deconvolutions": "dense"})
GROUPED = {"engine": {"grouped_deconvolutions": {"layers": 8, "groups": 832}}}
ON = Case(model="m", factory="f:m", inputs={}, backend="b", cuda_graph=True)


@pytest.mark.parametrize(
    ("told", "case", "kind", "texts"),
    [
        ({"graph_capture": "backend"}, OFF, "GraphsByBackend", ["cuda_graph: off"]),
        (
            {"graph_capture": "none", "graphs_skipped": 2, "skip_reasons": ["skipping cudagraphs due to cpu device"]},
            OFF, "GraphsSkipped", ["declined 2 times", ": skipping cudagraphs due to cpu device"],
        ),
        (
            {"graph_breaks": 3, "break_reasons": {"first": 2, "second": 1}},
            OFF, "GraphBreaks", ["3 times", ": first (and 1 more)"],
        ),
        ({"recompiles": 1, "recompile_reasons": ["size mismatch"]}, ON, "Recompiled", ["again once: size mismatch"]),
        (
            {"recompiles": 8, "recompile_reasons": ["n == 0"], "recompile_limit": True},
            OFF, "Recompiled", ["8 times until the compiler gave up", "uncompiled: n == 0"],
        ),
        ({"engine": {"errors": ["an old", "a new"]}}, ON, "LoggedErrors", ["succeeded: a new (and 1 more)"]),
        (
            {"deconvolutions": {"in_groups": 3, "dense": 1, "reasons": ["up: it stays in PyTorch", "out: another"]}},
            OFF, "NotDense", ["left 2 of 3 grouped transposed", "unchanged: up: it stays in PyTorch (and 1 more)"],
        ),
        ({"deconvolutions": {"in_groups": 0, "dense": 0}}, OFF, "NotDense", ["changed nothing: the model has no"]),
        (
            {"calibration": {"layers": 3, "quantized": 1, "uncovered": ["up: its weights are computed"]}},
            OFF, "PartlyQuantized", ["1 of 3 layers", "; left in floating point: up: its weights are computed"],
        ),
        (
            GROUPED, OFF, "GroupedDeconvolutions",
            ["has 8 grouped transposed convolutions with 832 groups in all, and TensorRT 8 computes one group after"],
        ),
        (GROUPED, GROUPED_CASE, "GroupedDeconvolutions", ["has 8 grouped transposed convolutions with 832 groups"]),
        ({"graph_breaks": 1}, OFF, "GraphBreaks", ["once, and Python runs in between"]),
    ],
)  # fmt: skip
def test_a_fact_that_a_reader_must_know_is_a_warning_with_what_to_try(
    told: dict[str, Any], case: Case, kind: str, texts: list[str]
) -> None:
    (warning,) = fairness.warnings(told, case)
    assert warning.kind == kind
    text, hint = describe(warning)
    assert [part for part in texts if part not in text] == []
    assert hint


@pytest.mark.parametrize(
    ("told", "case"),
    [
        ({}, OFF),
        ({"graph_capture": "none", "graph_breaks": 0, "recompiles": 0, "graphs_skipped": 0, "graphs": 1}, OFF),
        ({"graph_capture": "backend"}, ON),
        ({"graph_capture": "harness"}, ON),
        ({"deconvolutions": {"in_groups": 2, "dense": 2}}, OFF),
        ({"engine": {"plan_bytes": 1}}, OFF),
        ({"calibration": {"layers": 3, "quantized": 1, "uncovered": []}}, OFF),  # two of them by `floating`
        ({"calibration": {"samples": 16}}, OFF),  # of a version that did not count, or of TensorRT's calibrator
        (GROUPED | {"deconvolutions": {"in_groups": 8, "dense": 8}}, DENSE_CASE),
    ],
)
def test_what_was_asked_for_is_no_warning(told: dict[str, Any], case: Case) -> None:
    assert fairness.warnings(told, case) == ()


@pytest.mark.parametrize("option", ["network", "program"])
def test_a_network_by_hand_is_to_be_edited(option: str) -> None:
    case = Case(model="m", factory="f:m", inputs={}, backend="b", options={option: "net.py"})
    (warning,) = fairness.warnings(GROUPED, case)
    assert describe(warning).hint.startswith("a single group in net.py, with zeros in the kernel")


def export_warning(kind: str, text: str, place: str, count: int = 1) -> dict[str, Any]:
    return {"kind": kind, "text": text, "place": place, "count": count}


def test_what_tracers_and_exporters_said_is_one_warning_each_with_the_first_text() -> None:
    told = [
        export_warning("ExporterWarning", "a size", "b.py:1"),
        export_warning("TracerWarning", "a boolean", "net.py:9", 2),
        export_warning("TracerWarning", "a loop", "net.py:12"),
    ]
    tracer, exporter = fairness.warnings({"export_warnings": told}, OFF)
    assert (tracer.kind, exporter.kind) == ("TracerWarning", "ExporterWarning")
    assert tracer.figures == {"warnings": 3, "text": "a boolean", "place": "net.py:9", "others": ["net.py:12"]}
    assert exporter.figures == {"warnings": 1, "text": "a size", "place": "b.py:1", "others": []}


def test_graphs_captured_in_part_are_told_twice() -> None:
    told = {"graph_capture": "backend", "graphs_skipped": 1, "skip_reasons": ["mutated inputs"]}
    assert [warning.kind for warning in fairness.warnings(told, OFF)] == ["GraphsByBackend", "GraphsSkipped"]
