"""The table of an engine's layers: what it shows, how it fits a terminal, and the same as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from bench.model.profile import Layer, Layers, Tensor
from bench.model.suite import Case, Input
from bench.report import layers

GOLDEN = Path(__file__).parents[1] / "golden" / "layers"
CASE = Case(
    model="net", factory="zoo.py:net", inputs={"x": Input(shape=("batch", 3, 32, 32))}, backend="tensorrt",
    precision="fp16", symbols={"batch": 4}, cuda_graph=True,
)  # fmt: skip
KERNEL = "sm80_xmma_fprop_implicit_gemm_indexed_wo_smem_f16f16_f16f16_f16_nhwckcrs_nhwc_tilesize128x32x64_stage1"


def tensor(format: str, dtype: str = "float16") -> Tensor:
    return Tensor(name="t", shape=(4, 3, 32, 32), dtype=dtype, format=format)


LINEAR, WIDE = tensor("Row major linear FP16 format"), tensor("Channel major FP16 format where channel % 8 == 0")
FOUND = Layers(
    runtime="TensorRT 8.6.1",
    calls=3,
    layers=(
        Layer(
            name="Reformatting CopyNode for Input Tensor 0 to /stem/conv/Conv + /stem/relu/Relu", kind="Reformat",
            precision="fp16", tactic="0x00000000000003ea", inputs=(tensor("Row major linear FP32", "float32"),),
            outputs=(WIDE,), reformat=True, ns=(20_000, 21_000, 25_000),
        ),
        Layer(
            name="/stem/conv/Conv + /stem/relu/Relu", kind="CaskConvolution", precision="fp16", tactic=KERNEL,
            inputs=(WIDE,), outputs=(WIDE,), origin=("/stem/conv/Conv",), ns=(70_000, 71_000, 75_000),
        ),
        Layer(
            name="Reformatting CopyNode for Input Tensor 0 to /flatten/Flatten", kind="Reformat", precision="fp16",
            inputs=(WIDE,), outputs=(LINEAR,), reformat=True, ns=(1_000, 1_000, 2_000),
        ),
        Layer(name="/flatten/Flatten", kind="NoOp", precision="fp16", inputs=(LINEAR,), outputs=(LINEAR,)),
        Layer(
            name="{ForeignNode[/head/MatMul.../head/Softmax]}", kind="Myelin", precision="fp16",
            inputs=(LINEAR,), outputs=(LINEAR,), ns=(9_000, 9_500, 9_000),
        ),
    ),
)  # fmt: skip


@pytest.mark.parametrize("width", [80, 110, 150])
def test_the_table_is_as_it_was(width: int) -> None:
    shown = layers.render(CASE, FOUND, width=width)
    assert max(map(len, shown.splitlines())) <= width
    assert shown == (GOLDEN / f"table-{width}.txt").read_text()


def test_reformats_are_marked_and_summed_and_told_from_what_to_what() -> None:
    shown = layers.render(CASE, FOUND, width=200)
    assert [line.split("  ")[0] for line in shown.splitlines() if line.startswith("~ Input")] == [
        "~ Input 0 to /stem/conv/Conv + /stem/relu/Relu",
        "~ Input 0 to /flatten/Flatten",
    ]
    assert "fp32 linear > fp16 HWC8" in shown
    assert "HWC8 > linear" in shown
    assert "reformats: 2 of 5 layers, 22% of the time, 23.3 us a call" in shown


def test_times_are_medians_and_the_total_is_of_whole_calls() -> None:
    shown = layers.render(CASE, FOUND, width=150)
    assert "71.0 us    69%" in shown
    (total,) = (line for line in shown.splitlines() if line.startswith("total"))
    assert total.split() == ["total", "102", "us", "100%"]


def test_an_engine_without_times_or_reformats_says_so() -> None:
    quiet = Layers(runtime="TensorRT 10.16.1", layers=(Layer(name="conv"),))
    shown = layers.render(CASE, quiet)
    assert "no reformats" in shown
    assert "1 layer (1 untimed), 0 calls profiled" in shown
    assert layers.render(CASE, Layers(runtime="TensorRT 10.16.1", layers=()))


def test_layers_timed_in_some_calls_only_add_up_by_their_medians() -> None:
    uneven = (Layer(name="a", ns=(1_000, 1_000)), Layer(name="b", ns=(3_000,)))
    shown = layers.render(CASE, Layers(runtime="TensorRT 10.16.1", layers=uneven, calls=2))
    assert "total  4.00 us" in shown


def test_colour_leaves_the_text_as_it_is() -> None:
    import re

    colored = layers.render(CASE, FOUND, width=110, color=True)
    assert "\x1b[" in colored
    assert re.sub(r"\x1b\[[\d;]*m", "", colored) == layers.render(CASE, FOUND, width=110)


@pytest.mark.parametrize(
    ("format", "short"),
    [
        ("Row major linear FP16 format (kLINEAR)", "linear"),
        ("Row major linear BOOL", "linear"),
        ("Channel major FP32 format", "HWC"),
        ("Channel major FP16 format where channel % 8 == 0 with 3 spatial dimensions", "DHWC8"),
        ("Channel major INT8 format where channel == 4 and column stride % 32 == 0", "HWC4"),
        ("Thirty-two wide channel vectorized row major Int8 format", "CHW32"),
        ("Thirty-two wide channel vectorized row major INT8 format (kCDHW32) with 3 spatial dimensions", "CDHW32"),
        ("Two wide channel vectorized row major FP16 format", "CHW2"),
        ("Half", ""),
        ("N/A due to dynamic shapes", ""),
    ],
)
def test_a_format_has_the_name_that_tensorrt_s_enum_gives_it(format: str, short: str) -> None:
    assert layers.layout(tensor(format)) == short


def test_json_has_every_case_with_all_that_is_known() -> None:
    told = json.loads(layers.json([(CASE, FOUND)]))
    assert told["schema"] == 1
    (case,) = told["cases"]
    assert case["case"] == CASE.id
    assert case["label"] == CASE.label
    assert case["runtime"] == "TensorRT 8.6.1"
    assert case["layers"][1]["tactic"] == KERNEL
    assert case["layers"][1]["origin"] == ["/stem/conv/Conv"]
    assert case["layers"][0]["ns"] == [20_000, 21_000, 25_000]


def test_constants_that_take_no_time_are_counted_and_not_listed() -> None:
    constants = tuple(Layer(name=f"onnx::Conv_{index}", kind="Constant", ns=(0, 0, 0)) for index in range(90))
    slow = Layer(name="copied", kind="Constant", ns=(1_000, 1_000, 1_000))
    shown = layers.render(CASE, msgspec.structs.replace(FOUND, layers=(*constants, slow, *FOUND.layers)), width=110)
    assert "onnx::Conv" not in shown
    assert "copied" in shown
    assert "not shown: 90 constants without time, which --format json has" in shown
    assert "96 layers" in shown
