"""An explanation as text, Markdown and JSON."""

from __future__ import annotations

import json

import msgspec
import pytest

from bench.analysis.explain import explain
from bench.analysis.explain_sides import Side, Unit
from bench.report import explain as view
from bench.report.explain_groups import groups
from tests.analysis.explain_kit import US, engine, kernels, layer, residual

A = engine(*residual("layer1.0"), *residual("layer1.1"), layer("/head/Conv", 5))
B = engine(*residual("layer1.0"), *residual("layer1.1", broken=True), layer("/head/Conv", 4, tactic="other"))


def lines(shown: str) -> list[str]:
    """The lines with one space between words, as the width of columns is not what matters."""
    return [" ".join(line.split()) for line in shown.splitlines()]


def test_the_largest_difference_comes_first_with_its_cause_and_kernels() -> None:
    shown = view.render(explain(A, B), width=120)
    assert "B takes 54.0 us longer, 1.24 times A" in shown
    assert "the largest cause in the work: fused on one side only, +55.0 us in 1 part" in shown
    assert "1 layer1.1: conv3 + relu_2 60.0 us 115 us +55.0 us 102%" in lines(shown)
    assert "fused on one side only 60.0 us 115 us +55.0 us 102%" in lines(shown)
    assert "2 head 5.00 us 4.00 us -1.00 us -1.9%" in lines(shown)
    assert "another kernel 5.00 us 4.00 us -1.00 us -1.9%" in lines(shown)
    assert "A computes Conv + Add + Relu in one step, B in 2: Conv, Add + Relu, and one reformat of the" in shown
    kernel = "/layer1/layer1.1/conv3/Conv + /layer1/layer1.1/Add + /layer1/layer1.1/relu_2/Relu [k]"
    assert f"A: {kernel} (60.0 us)" in shown
    assert shown.count("what does not differ") == 1


def test_of_several_kernels_the_short_form_names_the_one_that_takes_longest() -> None:
    a = kernels(("tiny_conv", 1, "l.conv"), ("long_conv<4, int>(int)", 30, "l.conv"))
    shown = view.render(explain(a, kernels(("other_conv", 9, "l.conv"))), width=120)
    assert "      A: long_conv<4, int> (30.0 us) and 1 more\n      B: other_conv (9.00 us)\n" in shown


def test_parts_that_differ_alike_are_one_row() -> None:
    rows = [(f"{part}_conv", 9.0, f"layer.{block}.{part}") for block in range(12) for part in ("key", "value")]
    slow = [(f"slow_{name}", 9.5 if "key" in name else 12.0, module) for name, _, module in rows]
    explanation = explain(kernels(*rows), kernels(*slow))
    shown = view.render(explanation, width=120)
    assert "1 layer.*.value (12 parts) 108 us 144 us +36.0 us 86%" in lines(shown)
    assert "2 layer.*.key (12 parts) 108 us 114 us +6.00 us 14%" in lines(shown)
    assert "1 in all 12 parts: another kernel for conv\n      A: value_conv (12 times, 108 us)\n" in shown
    assert len(json.loads(view.json(explanation))["parts"]) == 24


SLOW, FAST, NORM = "precomputed_convolve_sgemm<__half>", "sm80_xmma_fprop_implicit_gemm_f16f16", "bn_fw_inf"


def of_blocks(*conv_us: float, name: str, norm_us: float, reformat_us: float = 0) -> Side:
    """A convolution, a reformat and a normalisation for each time."""
    rows = []
    for at, us in enumerate(conv_us):
        rows += [("nchwToNhwcKernel", reformat_us, f"l.{at}.conv")] if reformat_us else []
        rows.append((name, us, f"l.{at}.conv", "aten::conv"))
        rows.append((NORM, norm_us, f"l.{at}.norm", "aten::batch_norm"))
    return kernels(*rows)


def test_a_row_is_split_by_cause_and_its_causes_add_up_to_it() -> None:
    a = of_blocks(*[10] * 20, name=FAST, norm_us=3, reformat_us=5)
    b = of_blocks(*[40] * 19, 140, name=SLOW, norm_us=4)
    rows = groups(explain(a, b))
    assert [(row.name, row.difference) for row in rows] == [
        ("l.*.conv (20 parts)", 600_000),
        ("l.*.norm (20 parts)", 20_000),
    ]
    cores, reformat = rows[0].causes
    assert (cores.kind, cores.a, cores.b, cores.ns, cores.parts) == ("cores", 200_000, 900_000, 700_000, 20)
    assert (reformat.kind, reformat.a, reformat.b, reformat.ns) == ("reformat", 100_000, 0, -100_000)
    shown = view.render(explain(a, b), width=120)
    assert "1 l.*.conv (20 parts) 300 us 900 us +600 us 97%" in lines(shown)
    assert "tensor cores on one side only 200 us 900 us +700 us 113%" in lines(shown)
    assert "reformats and casts 100 us 0 ns -100 us -16.1%" in lines(shown)
    sentence = (
        "  1 in all 20 parts: aten::conv on tensor cores (fp16) in A, without tensor cores (fp16) in B; most in "
        "l.19.conv,"
    )
    assert sentence in shown
    assert f"      A: {FAST} (20 times, 200 us)\n      B: {SLOW} (20 times, 900 us)\n" in shown
    verbose = view.render(explain(a, b), width=120, verbose=True)
    assert "      reformats and casts, -100 us: in all 20 parts: A has 20 reformats, B none\n" in verbose


def test_small_causes_of_a_row_share_one() -> None:
    a = kernels((FAST, 100, "conv"), ("nchwToNhwcKernel", 1, "conv"), ("CatArrayBatchedCopy", 1, "conv"))
    shown = view.render(explain(a, kernels((SLOW, 300, "conv"))), width=120)
    assert "tensor cores on one side only 100 us 300 us +200 us 101%" in lines(shown)
    assert "2 other causes 2.00 us 0 ns -2.00 us -1.0%" in lines(shown)


def test_what_is_not_shown_is_behind_an_option() -> None:
    rows = [(f"{name}_conv", 9.0, name) for name in "abcde"]
    explanation = explain(
        kernels(*rows), kernels(*((f"x_{name}", us + at, part) for at, (name, us, part) in enumerate(rows, 1)))
    )
    shown = view.render(explanation, width=120)
    assert "2 more rows: --top 5; the sentences of all causes, whole names of kernels: --verbose" in shown
    assert "2 more" in shown
    verbose = view.render(explanation, width=120, verbose=True)
    assert "2 more parts" not in verbose
    assert "--verbose" not in verbose
    assert "  3 c, +3.00 us\n      another kernel, +3.00 us: another kernel for conv" in verbose


def test_what_a_run_measured_stands_beside_the_profile() -> None:
    a = msgspec.structs.replace(kernels(("sgemm", 5), gap_us=9), measured={"gpu": 6_000.0, "latency": 12_000.0})
    b = msgspec.structs.replace(kernels(("sgemm", 7), gap_us=1), measured={"gpu": 9_000.0, "latency": 11_000.0})
    shown = view.render(explain(a, b, run="20261128T1-net"), width=160)
    assert "run 20261128T1-net measured: gpu 3.00 us longer, 1.50 times A; latency 1.00 us less, 0.92 times A" in shown
    assert "B takes 1.00 us less, 0.92 times A: its gaps without work 3.00 us less, all else 2.00 us longer" in shown
    assert "measured: gpu        6.00 us  9.00 us  +3.00 us" in shown
    two = view.render(explain(a, b, run={"gpu": "older", "latency": "newer"}), width=160)
    assert "run older measured: gpu 3.00 us longer, 1.50 times A; run newer measured: latency 1.00 us less" in two
    unknown = view.render(explain(kernels(("sgemm", 5), gap_us=9), kernels(("sgemm", 7))), width=160)
    assert "(under the profiler, which makes gaps longer)" in unknown
    assert "measured" not in unknown


def test_a_case_that_its_run_cannot_judge_has_no_ratio_and_the_reason() -> None:
    a, b = (
        msgspec.structs.replace(kernels(("sgemm", us), gap_us=9), measured={"latency": us * 3_000.0}) for us in (5, 7)
    )
    assert "times A" in view.render(explain(a, b, run="R"), width=160)
    for side in ("A", "B"):
        sides = [
            msgspec.structs.replace(each, flaw="has only empty outputs in R" if name == side else "")
            for name, each in (("A", a), ("B", b))
        ]
        for shown in (view.render(explain(*sides, run="R"), width=160), view.markdown(explain(*sides, run="R"))):
            assert "times A" not in shown
            assert f"o ratio is given: {side} has only empty outputs in R" in shown
    assert json.loads(view.json(explain(*sides, run="R")))["b"]["flaw"] == "has only empty outputs in R"


def of_cpu(busy_us: int, window_us: int, latency_us: int) -> Side:
    unit = Unit(name="aten::addmm", ns=busy_us * US, family="gemm", operators=("addmm",), tactic="aten::addmm")
    return Side(
        case="c", label="net/eager/fp32/batch=1", tool="torch", kind="operator", window=window_us * US, units=(unit,),
        measured={"latency": float(latency_us * US)},
    )  # fmt: skip


def test_on_a_cpu_the_largest_cause_may_lie_outside_of_operators() -> None:
    shown = view.render(explain(of_cpu(40, 90, 60), of_cpu(47, 60, 40)), width=160)
    assert (
        "the largest cause: outside of operators, -37.0 us; in the operators: the same kernels, another time, +7.00 us"
        in shown
    )
    assert "%" not in view.render(explain(of_cpu(40, 90, 60), of_cpu(80, 85, 40)), width=160)  # of a small balance
    inside = view.render(explain(of_cpu(40, 50, 60), of_cpu(20, 31, 40)), width=160)
    assert "the largest cause in the work: the same kernels, another time, -20.0 us" in inside


@pytest.mark.parametrize("width", [60, 80, 120])
def test_tables_keep_to_the_width(width: int) -> None:
    lines = view.render(explain(A, B), width=width).splitlines()
    assert max(map(len, lines)) <= width
    assert any(line.startswith(f"not shown at {width} columns") for line in lines) == (width < 80)


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
    assert "| 1 | layer1.1: conv3 + relu\\_2 | 60.0 us | 115 us | +55.0 us | 102% |" in shown
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
    fast, slow = kernels(("sgemm", 5), gap_us=4, unprofiled_us=6), kernels(("sgemm", 9), unprofiled_us=12)
    shown = view.render(explain(fast, slow, gaps="profiled"), width=200)
    assert "without it A takes 6.00 us, B 12.0 us, 6.00 us longer" in shown


def test_the_legend_says_what_shares_are_of() -> None:
    assert view.render(explain(A, B), width=120).endswith(
        "times are of one inference, those of a cause of its layers; shares are of the whole difference\n"
    )
    unit = Unit(name="aten::addmm", ns=90 * US, family="gemm", operators=("addmm",))
    slow, fast = (
        Side(case=str(us), label="net/eager/batch=1", tool="torch", kind="operator", window=us * US, units=(unit,))
        for us in (120, 100)
    )
    assert view.render(explain(slow, fast), width=160).endswith(
        "its operators; shares are of the whole difference, with what is outside of operators\n"
    )
