"""The command `diverge`, by the oracle: the first wrong layer of a network, its module, ranges and cause."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.conftest import Trtbench

HERE = Path(__file__).parents[1] / "lowering"
SUITE = """
schema: 1
name: diverging
models:
  grows: {factory: "zoo.py:grows", inputs: {x: {shape: [batch, 16]}}, symbols: {batch: 2}}
  block: {factory: "zoo.py:block", inputs: {x: {shape: [batch, 8]}}, symbols: {batch: 2}}
matrix: {model: [grows, block], backend: [fx2trt], precision: [fp32, fp16], batch: [2]}
accuracy: {fp16: {cosine: 0.999, rel_l2: 0.05}}
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A suite of the models that diverge, beside a copy of their file."""
    (tmp_path / "zoo.py").write_text((HERE / "diverging.py").read_text())
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE)
    return path


def suite_of(suite: Path, model: str) -> Path:
    """A suite of one model of the file at fp16, on both routes."""
    pytest.importorskip("onnxruntime")
    path = suite.with_name(f"{model}.yaml")
    path.write_text(
        f"""
schema: 1
name: {model}
models: {{{model}: {{factory: "zoo.py:{model}", inputs: {{x: {{shape: [batch, 8]}}}}}}}}
matrix: {{backend: [fx2trt, tensorrt], precision: fp16, batch: 2}}
accuracy: {{fp16: {{cosine: 0.999, rel_l2: 0.05}}}}
"""
    )
    return path


def edited(trtbench: Trtbench, suite: Path, old: str, new: str, *more: str) -> Path:
    """A suite whose program of ``block`` at fp32 has ``new`` in place of ``old``, and so on for pairs of ``more``: at
    once, so that texts can be swapped.
    """
    folder = suite.parent / "edited"
    assert trtbench("codegen", suite, "--select", "model=block and precision=fp32", "--out", folder) == 0
    text = (folder / "program.py").read_text()
    texts = dict(zip([old, *more[::2]], [new, *more[1::2]], strict=True))
    assert all(each in text for each in texts)
    pattern = "|".join(map(re.escape, texts))
    (folder / "program.py").write_text(re.sub(pattern, lambda match: texts[match[0]], text))
    path = suite.with_name("edited.yaml")
    path.write_text(suite.read_text().replace("[fx2trt]", "[{name: fx2trt, program: edited/program.py}]"))
    return path


@pytest.mark.torch
@pytest.mark.workers
@pytest.mark.long
class TestOnTheOracle:
    """Whole searches, whose artifacts are made by workers."""

    @pytest.mark.parametrize("at_once", [(), ("--at-once", "1")])
    def test_an_activation_beyond_float16(self, trtbench: Trtbench, suite: Path, at_once: tuple[str, ...]) -> None:
        assert trtbench("diverge", suite, "--select", "model=grows and precision=fp16", *at_once) == 1
        assert "first wrong layer: second\n" in trtbench.out
        assert "second (Linear)" in trtbench.out
        assert "linear, as float16" in trtbench.out
        assert "reads     relu: ok" in trtbench.out
        assert "suspected cause: overflow: the values reach" in trtbench.out
        assert "float16 ends at 65,504" in trtbench.out

    def test_networks_that_keep_the_limits(self, trtbench: Trtbench, suite: Path) -> None:
        assert trtbench("diverge", suite, "--select", "precision=fp32 or model=block", "--format", "json") == 0
        cases = json.loads(trtbench.out)["cases"]
        assert [(each["case"]["model"], each["networks"], "first" in each) for each in cases] == [
            ("grows", 1, False), ("block", 1, False), ("block", 1, False),
        ]  # fmt: skip
        assert all(check["ok"] for each in cases for check in each["outputs"])
        assert {check["node"]["name"] for check in cases[1]["outputs"]} == {"y", "best", "place"}

    def test_a_tighter_limit_finds_rounding(self, trtbench: Trtbench, suite: Path) -> None:
        select = ("--select", "model=block and precision=fp16")
        assert trtbench("diverge", suite, *select, "--limit", "1e-6", "--format", "json") == 1
        (case,) = json.loads(trtbench.out)["cases"]
        assert case["cause"]["kind"] == "rounding"
        assert all(each["ok"] for each in case.get("inputs", ()))

    def test_each_limit_that_an_output_leaves_is_told_without_its_name(self, trtbench: Trtbench, suite: Path) -> None:
        suite.write_text(suite.read_text().replace("{cosine: 0.999, rel_l2: 0.05}", "{cosine: 1.0, rel_l2: 1.0e-9}"))
        assert trtbench("diverge", suite, "--select", "model=block and precision=fp16") == 1
        assert re.search(r"output +y: WRONG, cosine 0.9\S+ is below 1; rel_l2 \S+ is above 1e-09, eager", trtbench.out)
        assert "output '" not in trtbench.out

    def test_a_layer_of_an_edited_program(self, trtbench: Trtbench, suite: Path) -> None:
        wrong = edited(trtbench, suite, "trt.ElementWiseOperation.PROD", "trt.ElementWiseOperation.SUM")
        assert trtbench("diverge", wrong, "--select", "model=block and precision=fp32", "--format", "json") == 1
        (case,) = json.loads(trtbench.out)["cases"]
        assert (case["first"]["node"]["op"], case["cause"]["kind"]) == ("mul", "layer")
        assert len(case["inputs"]) == 2
        assert all(each["ok"] for each in case["inputs"])

    def test_outputs_that_an_edited_program_returns_in_the_place_of_others(
        self, trtbench: Trtbench, suite: Path
    ) -> None:
        wrong = edited(
            trtbench, suite, '"best", "float32")', '"y", "float32")', '"y", "float32")', '"best", "float32")'
        )
        assert trtbench("diverge", wrong, "--select", "model=block and precision=fp32", "--format", "json") == 1
        (case,) = json.loads(trtbench.out)["cases"]
        assert case["cause"]["kind"] == "outputs"
        assert case["cause"]["what"] == "output y has the values that output best should have"
        assert case["cause"]["fix"] == "the lines `p.output(...)` at the end of edited/program.py"

    def test_where_eager_is_nan_itself(self, trtbench: Trtbench, suite: Path) -> None:
        assert trtbench("diverge", suite_of(suite, "has_nan"), "--format", "json") == 1
        for case in json.loads(trtbench.out)["cases"]:
            assert (case["first"]["node"]["op"].lower(), case["cause"]["kind"]) == ("log", "reference")
            assert {check["node"]["name"]: check["ok"] for check in case["outputs"]} == {
                "logarithm": False, "double": True,
            }  # fmt: skip

    def test_a_cancellation_on_both_routes(self, trtbench: Trtbench, suite: Path) -> None:
        assert trtbench("diverge", suite_of(suite, "cancels"), "--format", "json") == 1
        for case in json.loads(trtbench.out)["cases"]:
            assert (case["first"]["node"]["op"].lower(), case["cause"]["kind"]) == ("sub", "cancellation")

    def test_a_syntax_error_in_an_edited_program(self, trtbench: Trtbench, suite: Path) -> None:
        wrong = edited(trtbench, suite, "p = Prelude(trt, net)", "p = Prelude(trt, net")
        assert trtbench("diverge", wrong, "--select", "model=block and precision=fp32") == 2
        assert "no Python" in trtbench.out
        assert "program.py:" in trtbench.out


@pytest.mark.torch
@pytest.mark.workers
@pytest.mark.long
def test_the_onnx_route_node_by_node(trtbench: Trtbench, suite: Path) -> None:
    pytest.importorskip("onnxruntime")
    select = ("--select", "model=grows or precision=fp32", "--backend", "tensorrt", "--format", "json")
    assert trtbench("diverge", suite, *select) == 1
    by_name = {(each["case"]["model"], each["case"]["precision"]): each for each in json.loads(trtbench.out)["cases"]}
    first = by_name["grows", "fp16"]["first"]
    assert (first["node"]["op"], first["node"]["module"], first["dtype"]) == ("Gemm", "second", "float16")
    assert by_name["grows", "fp16"]["cause"]["kind"] == "overflow"
    assert [each["ok"] for each in by_name["grows", "fp16"]["inputs"]] == [True]
    for name in (("grows", "fp32"), ("block", "fp32")):
        assert "cause" not in by_name[name], name
        assert by_name[name]["tensors"] > 3


def test_a_network_by_hand_has_nothing_to_compare_with(trtbench: Trtbench, suite: Path) -> None:
    suite.write_text(suite.read_text().replace("[fx2trt]", "[{name: tensorrt, network: zoo.py:build}]"))
    assert trtbench("diverge", suite) == 2
    assert "have no counterpart in the model" in trtbench.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--limit", "much"), "no relative error above 0"),
        (("--at-once", "0"), "not an integer of 1 or more"),
        (("--backend", "eager"), "the tensors within a network of eager cannot be looked at"),
        (("--device", "cpu"), "TensorRT needs a CUDA device"),
        (("--on", "nothing"), "invalid choice"),
    ],
)
def test_bad_input_is_one_error(trtbench: Trtbench, suite: Path, arguments: tuple[str, ...], message: str) -> None:
    assert trtbench("diverge", suite, *arguments) == 2
    assert message in trtbench.err


def test_a_case_at_int8_is_refused_before_anything_is_made_of_another(trtbench: Trtbench, suite: Path) -> None:
    suite.write_text(suite.read_text().replace("[fp32, fp16]", "[fp16, int8]"))
    assert trtbench("diverge", suite, "--select", "model=grows", "--progress", "plain") == 2
    assert "grows/fx2trt/int8/batch=2: every tensor of a network at int8 differs from eager's" in trtbench.err
    assert "fix: precision!=int8 in --select" in trtbench.err
    assert "grows/fx2trt/fp16" not in trtbench.err
    assert trtbench.out == ""


def test_at_most_eight_cases(trtbench: Trtbench, suite: Path) -> None:
    suite.write_text(suite.read_text().replace("batch: [2]", "batch: [1, 2, 3]"))
    assert trtbench("diverge", suite) == 2
    assert "12 cases are selected; at most 8 are examined" in trtbench.err
