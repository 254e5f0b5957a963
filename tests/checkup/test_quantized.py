"""The commands `lint-qdq` and `quantize` on the int8 cases of a suite, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Trtbench

ZOO = '''
import torch
from torch import nn


class Net(nn.Module):
    """A residual block, and a transposed convolution whose activation FX does not know as one op with it."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.up = nn.Sequential(nn.ConvTranspose2d(8, 8, 4, 2, 1, bias=False), nn.BatchNorm2d(8), nn.LeakyReLU(0.1))
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        x = self.stem(x).relu()
        x = self.up((self.conv(x) + x).relu())
        return self.head(x.mean((2, 3)))


class Audio(nn.Module):
    """A convolution over one dimension."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv1d(4, 8, 3, padding=1), nn.Linear(8, 10)

    def forward(self, x):
        return self.head(self.conv(x).relu().mean(2))


def net():
    return Net()


def audio():
    return Audio()


def zero():
    model = Net()
    nn.init.zeros_(model.conv.weight)
    return model


def raises():
    raise ValueError("no net")


def same(outputs, reference):
    (name,) = reference
    return {"same": float((outputs[name] == reference[name]).mean())}
'''
FX = "{name: fx2trt, samples: 8, observer: minmax}"
SUITE = f"""
schema: 1
name: quantized
models: {{net: {{factory: "zoo.py:net", inputs: {{x: {{shape: [batch, 3, 16, 16]}}}}}}}}
matrix:
  batch: 4
  precision: int8
  backend: [{FX}, {{name: fx2trt, samples: 8, observer: minmax, placement: mended}}]
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Two int8 cases of one model, as FX places its pairs and mended."""
    (tmp_path / "zoo.py").write_text(ZOO)
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE)
    return path


@pytest.mark.torch
@pytest.mark.workers
@pytest.mark.long
def test_lint_then_the_layers_to_spare_then_the_network_without_them(trtbench: Trtbench, suite: Path) -> None:
    """One calibration for all, as each worker takes seconds to start."""
    assert trtbench("lint-qdq", suite, "--fail", "--format", "json") == 1
    first, mended = json.loads(trtbench.out)["networks"]
    findings = [(each["rule"], each["module"]) for each in first["findings"]]
    assert ("activation", "up.2") in findings
    assert "residual" in [rule for rule, _ in findings]
    assert first["quantized"] == first["weighted"] == 4
    assert "findings" not in mended
    assert mended["pairs"] < first["pairs"]

    assert trtbench("quantize", suite, "--ranges", "--format", "json") == 0
    (only,) = json.loads(trtbench.out)["cases"]  # both placements have one calibration
    tensors = only["ranges"]["tensors"]
    assert (tensors[0]["module"], tensors[0]["problem"], only["ranges"]["samples"]) == ("x", None, 8)
    assert {"stem", "conv", "head"} <= {each["module"] for each in tensors}

    suite.write_text(suite.read_text().replace(f"{FX}, ", ""))
    assert trtbench("quantize", suite, "--target", "same >= -0 %", "--metric", "zoo.py:same") == 2
    assert "\none layer quantized at a time, the most sensitive first" in trtbench.out
    assert "\n--target: no assignment meets same >= -0 against fp32: fp32 has 1, " in trtbench.out
    assert "UsageError" not in trtbench.out
    assert "each layer alone misses it: " in trtbench.out
    assert "head" in trtbench.out

    assert trtbench("quantize", suite, "--rank", "--format", "json") == 0
    ranked = json.loads(trtbench.out)["cases"][0]["accuracy"]
    assert len(ranked["sensitivity"]) == 4
    limit = ranked["quantized"]["sqnr"] + 1

    assert trtbench("quantize", suite, "--target", f"sqnr >= {limit}", "--format", "json") == 0
    spared = json.loads(trtbench.out)["cases"][0]["accuracy"]
    assert 0 < len(spared["floating"]) < 4
    assert spared["assigned"]["sqnr"] >= limit

    text = suite.read_text()
    suite.write_text(text.replace("placement: mended", f"placement: mended, floating: {spared['floating']}"))
    assert trtbench("quantize", suite) == 0
    (line,) = [line for line in trtbench.out.splitlines() if line.startswith("all quantized")]
    assert f"{spared['assigned']['sqnr']:.6g}" in line.split()


@pytest.mark.torch
@pytest.mark.workers
@pytest.mark.long
def test_a_weight_without_a_scale_is_refused_before_ranges_are_observed(trtbench: Trtbench, suite: Path) -> None:
    suite.write_text(suite.read_text().replace("zoo.py:net", "zoo.py:zero").replace(f"[{FX}, ", "["))
    assert trtbench("quantize", suite, "--ranges") == 1
    assert "calibration: conv: the weight conv.weight is zero or not finite, which has no scale" in trtbench.out


@pytest.mark.torch
@pytest.mark.workers
@pytest.mark.long
def test_a_program_has_convolutions_over_one_dimension_at_int8(trtbench: Trtbench, suite: Path, tmp_path: Path) -> None:
    text = suite.read_text().replace("zoo.py:net", "zoo.py:audio").replace("[batch, 3, 16, 16]", "[batch, 4, 16]")
    suite.write_text(text.replace(f"[{FX}, ", "["))
    assert trtbench("codegen", suite, "--out", tmp_path / "program") == 0
    source = (tmp_path / "program" / "program.py").read_text()
    assert "conv.weight_2d" in source
    assert "(1, 3)" in source


def set_matrix(suite: Path, precision: str, backend: str) -> None:
    """Put these in place of the suite's precision and all that follows it."""
    head, _, _ = suite.read_text().partition("  precision")
    suite.write_text(f"{head}  precision: {precision}\n  backend: {backend}\n")


@pytest.mark.parametrize("command", ["lint-qdq", "quantize"])
class TestRefusals:
    """Before anything is calibrated."""

    def test_no_int8_case(self, trtbench: Trtbench, suite: Path, command: str) -> None:
        set_matrix(suite, "fp16", "fx2trt")
        assert trtbench(command, suite) == 2
        assert "they are those of int8 in fx2trt" in trtbench.err
        assert f"fix: `precision: [int8]` in the matrix of {suite}\n" in trtbench.err
        suite.write_text(suite.read_text().replace("fx2trt", "eager"))
        assert trtbench(command, suite) == 2
        assert f"fix: `precision: [int8]` in the matrix of {suite}, and --backend fx2trt\n" in trtbench.err

    def test_int8_cases_that_are_not_selected(self, trtbench: Trtbench, suite: Path, command: str) -> None:
        suite.write_text(suite.read_text().replace("precision: int8", "precision: [fp16, int8]"))
        suite.write_text(suite.read_text().replace(f"[{FX}, ", "[").replace(", samples: 8, observer: minmax", ""))
        suite.write_text(suite.read_text().replace(", placement: mended", ""))
        assert trtbench(command, suite, "--select", "precision=fp16") == 2
        assert 'fix: --select "precision=int8"\n' in trtbench.err

    def test_int8_cases_of_backends_that_do_not_quantize(self, trtbench: Trtbench, suite: Path, command: str) -> None:
        set_matrix(suite, "[fp16, int8]", "[{name: tensorrt, calibrator: entropy}]")
        assert trtbench(command, suite) == 2
        assert 'fix: --backend fx2trt --select "precision=int8"\n' in trtbench.err

    def test_int8_cases_that_are_left_out(self, trtbench: Trtbench, suite: Path, command: str) -> None:
        set_matrix(suite, "[fp32, int8]", "[{name: onnxruntime, opset: 9}]")
        assert trtbench(command, suite) == 2
        assert "those of int8 are left out: opset: 13 is the first with scales by channel" in trtbench.err
        assert f"fix: trtbench list {suite} says why of each\n" in trtbench.err

    def test_an_fp8_suite(self, trtbench: Trtbench, suite: Path, command: str) -> None:
        set_matrix(suite, "[fp16, fp8]", "fx2trt")
        assert trtbench(command, suite) == 2
        assert "is looked at for int8, and the selected cases are at fp8" in trtbench.err
        assert f"fix: `precision: [int8]` in the matrix of {suite}; of fp8, `trtbench run" in trtbench.err

    def test_a_backend_in_place_of_others_that_does_not_quantize(
        self, trtbench: Trtbench, suite: Path, command: str
    ) -> None:
        suite.write_text(suite.read_text().replace("precision: int8", "precision: [fp16, int8]"))
        suite.write_text(suite.read_text().replace(f"[{FX}, ", "[").replace(", samples: 8, observer: minmax", ""))
        suite.write_text(suite.read_text().replace(", placement: mended", ""))
        assert trtbench(command, suite, "--backend", "eager") == 2
        assert 'fix: leave --backend eager out, and --select "precision=int8"\n' in trtbench.err
        suite.write_text(suite.read_text().replace("fx2trt", "inductor"))
        assert trtbench(command, suite, "--backend", "eager") == 2
        assert "fix: --backend fx2trt or --backend onnxruntime or " in trtbench.err
        assert ' in place of eager, and --select "precision=int8"\n' in trtbench.err

    def test_no_suite(self, trtbench: Trtbench, command: str) -> None:
        assert trtbench(command) == 2
        assert f"fix: trtbench {command} suites/" in trtbench.err


def test_a_file_that_is_neither_a_suite_nor_onnx(trtbench: Trtbench, tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("# A page: [with\n")
    assert trtbench("lint-qdq", page) == 2
    assert f"{page}: a suite (.yaml) or an ONNX file (.onnx) is expected" in trtbench.err


@pytest.mark.torch
@pytest.mark.workers
def test_data_that_is_not_there_is_wrong_input_at_the_line_that_names_it(trtbench: Trtbench, suite: Path) -> None:
    suite.write_text(suite.read_text().replace(f"[{FX}, ", "[").replace("samples: 8", "data: absent.npz"))
    line = f"{suite}:{len(suite.read_text().splitlines())}"
    for command in (("list", "--device", "cuda"), ("lint-qdq",), ("quantize",)):
        assert trtbench(*command, suite) == 2
        assert f"trtbench: {line}: data: absent.npz cannot be read: No such file or directory" in trtbench.err
        array = f"numpy.savez('{suite.parent / 'absent.npz'}', x=array), 'x' float32 [samples, 3, 16, 16]"
        assert f"fix: {array}; or file.py:function\n" in trtbench.err
        assert trtbench.out == ""


@pytest.mark.torch
@pytest.mark.workers
def test_progress_counts_the_cases_of_all_networks(trtbench: Trtbench, suite: Path) -> None:
    suite.write_text(suite.read_text().replace("zoo.py:net", "zoo.py:raises"))
    assert trtbench("lint-qdq", suite, "--progress", "plain") == 1
    assert [line.partition(" ")[0] for line in trtbench.err.splitlines() if line.startswith("[")] == ["[1/2]", "[2/2]"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--target", "top1 = 3"), "'top1 = 3' is no target"),
        (("--target", "cosine >= 1.5"), "cosine >= 1.5: no network has more than fp32"),
        (("--target", "sqnr >= -1"), "sqnr >= -1 against fp32: fp32 has no error"),
        (("--metric", "gone.py:f"), "the metric's file 'gone.py' is not beside the suite"),
        (("--metric", "zoo.py:sane"), "zoo.py has no function 'sane'. Did you mean 'same'?"),
        (("--ranges", "--rank"), "--rank: --ranges shows what the calibration observed, and compares no outputs"),
    ],
)
def test_questions_that_are_none(trtbench: Trtbench, suite: Path, options: tuple[str, ...], message: str) -> None:
    assert trtbench("quantize", suite, *options) == 2
    assert message in trtbench.err
