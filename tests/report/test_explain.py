"""An explanation as text, Markdown and JSON."""

from __future__ import annotations

import json

import pytest

from bench.analysis.explain import explain
from bench.report import explain as view
from tests.analysis.explain_kit import engine, kernels, layer, residual

A = engine(*residual("layer1.0"), *residual("layer1.1"), layer("/head/Conv", 5))
B = engine(*residual("layer1.0"), *residual("layer1.1", broken=True), layer("/head/Conv", 4, tactic="other"))


def test_the_largest_difference_comes_first_with_its_cause_and_kernels() -> None:
    shown = view.render(explain(A, B), width=120)
    assert "B takes 54.0 us longer, 1.24 times A" in shown
    assert "1  layer1.1: conv3 + relu_2  60.0 us   115 us  +55.0 us   102%  fused on one side only" in shown
    assert "2  head                      5.00 us  4.00 us  -1.00 us  -1.9%  another kernel" in shown
    assert "B in 2, with Add + Relu apart" in shown
    assert "A: /layer1/layer1.1/conv3/Conv + /layer1/layer1.1/Add + /layer1/layer1.1/relu_2/Relu [k]" in shown
    assert shown.count("what does not differ") == 1


@pytest.mark.parametrize("width", [60, 80, 120])
def test_tables_keep_to_the_width(width: int) -> None:
    lines = view.render(explain(A, B), width=width).splitlines()
    ends = next(at for at, line in enumerate(lines) if line.startswith("  1 "))
    assert max(map(len, lines[:ends])) <= width
    assert any(line.startswith(f"not shown at {width} columns") for line in lines) == (width < 120)


def test_parts_that_are_not_shown_are_summed() -> None:
    shown = view.render(explain(A, B), width=120, most=1)
    assert "1 more" in shown
    assert "-1.00 us  -1.9%" in shown
    assert "another kernel for Conv" not in shown


def test_a_case_against_itself_says_that_nothing_differs() -> None:
    for shown in (view.render(explain(A, A)), view.markdown(explain(A, A))):
        assert view.NOTHING in shown.lower()
        assert "share" not in shown


def test_markdown_has_both_tables_and_the_sentences() -> None:
    shown = view.markdown(explain(A, B))
    assert "| fused on one side only | +55.0 us | 102% | 1 |" in shown
    assert "| 1 | layer1.1: conv3 + relu\\_2 | 60.0 us | 115 us | +55.0 us | 102% | fused on one side only |" in shown
    assert "1. layer1.1: conv3 + relu\\_2, +55.0 us\n   - fused on one side only" in shown


def test_json_has_units_causes_and_sums() -> None:
    document = json.loads(view.json(explain(A, B)))
    assert document["schema"] == 1
    assert document["difference"] == sum(part["difference"] for part in document["parts"]) == 54_000
    assert document["totals"][0] == {"kind": "fusion", "ns": 55_000, "parts": 1}
    part = document["parts"][0]
    assert document["b"]["units"][part["units_b"][0]]["name"] == "/layer1/layer1.1/conv3/Conv"
    assert part["causes"][0]["kernels_a"]


def test_names_cannot_steer_a_terminal_or_a_page() -> None:
    evil = kernels(("sgemm\x1b[31m|<b>", 9), notes=("see\nhttp://x",))
    explanation = explain(kernels(("sgemm", 5)), evil)
    assert "\x1b" not in view.render(explanation)
    assert "<b>" not in view.markdown(explanation)
    assert "\x1b" not in view.json(explanation)


def test_notes_say_what_the_figures_do_not() -> None:
    shown = view.render(explain(kernels(("sgemm", 5), notes=("no stacks",)), A), width=200)
    assert "blocks are matched by the order of their operators" in shown
    assert "A are kernels as nsys 2025.1 saw them, B layers of TensorRT 8.6.1" in shown
    assert "A: no stacks" in shown
    fast, slow = kernels(("sgemm", 5), unprofiled_us=4), kernels(("sgemm", 9), unprofiled_us=7)
    assert "without a profiler A takes 4.00 us, B 7.00 us, 3.00 us longer" in view.render(
        explain(fast, slow), width=200
    )
    slow = kernels(("sgemm", 9), unprofiled_us=3)
    assert "1.00 us less: the other way round" in view.render(explain(fast, slow), width=200)
