"""The section ``models``: import paths, programs, inputs from files, arguments and limits; and the page's example."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import bench
from bench import tensors
from bench.errors import SuiteError
from bench.model.suite import Input, Limit, Model
from tests.suite.kit import load

PAGE = (Path(bench.__file__).parent.parent / "docs" / "suites.md").read_text()


def model(folder: Path, text: str) -> Model:
    """The model of a suite whose entries are the lines of ``text``."""
    lines = "".join(f"    {line}\n" for line in text.splitlines())
    sizes = ", batch: [2]" if "batch" in text else ""
    suite = f"schema: 1\nmodels:\n  a:\n{lines}matrix: {{backend: eager{sizes}}}\n"
    return load(folder, suite).models["a"]


def wrong(folder: Path, text: str) -> SuiteError:
    with pytest.raises(SuiteError) as caught:
        model(folder, text)
    assert re.search(r"x\.yaml:\d+$", caught.value.where)
    return caught.value


X = "inputs: {x: {shape: [batch, 3]}}"


@pytest.mark.parametrize(
    "factory",
    [
        "mypkg.models:build",
        "mypkg:Net.small",
        "torchvision.models.segmentation:fcn",
        "a/net.pt2",
        "net.pt",
        "n.ts",
        "n.onnx",
    ],
)
def test_a_factory_is_an_import_path_or_a_program(tmp_path: Path, factory: str) -> None:
    assert model(tmp_path, f"factory: '{factory}'\n{X}").factory == factory


@pytest.mark.parametrize(
    ("factory", "what"),
    [
        ("tim:dla34", "Did you mean 'timm'"),
        ("net.pth", "net.pth holds weights, and no model"),
        ("weights.safetensors", "holds weights"),
        ("net.tflite", "unknown factory 'net.tflite'"),
        ("my-pkg:net", "unknown factory"),
        ("mypkg..a:net", "unknown factory"),
        ("mypkg.models:", "unknown factory"),
        (":net", "unknown factory"),
    ],
)
def test_what_is_none_of_them_is_refused(tmp_path: Path, factory: str, what: str) -> None:
    assert what in wrong(tmp_path, f"factory: '{factory}'\n{X}").what


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (f"factory: net.pt2\nargs: {{width: 2}}\n{X}", "net.pt2 is a program that exists already"),
        (f"factory: net.onnx\narguments: {{flag: true}}\n{X}", "an ONNX file takes tensors only"),
        (f"factory: a.b:c\narguments: {{x: 1}}\n{X}", "'x' is an input and an argument"),
        (f"factory: a.b:c\narguments: {{flag: [1]}}\n{X}", "expected true, false, a number"),
        (f"factory: a.b:c\nlimits: {{map50: {{min: 1}}}}\n{X}", "there is no metric"),
        (f"factory: a.b:c\nmetric: a.py:m\nlimits: {{map50: {{}}}}\n{X}", "limits nothing"),
        (f"factory: a.b:c\nmetric: a.py:m\nlimits: {{map50: {{min: 2, max: 1}}}}\n{X}", "min 2 is above max 1"),
        (f"factory: a.b:c\nmetric: a.py:m\nlimits: {{map50: {{least: 2}}}}\n{X}", "unknown limit 'least'"),
        ("factory: a.b:c\ninputs: {x: {shape: [2], array: y}}", "there is no file that has it"),
        ("factory: a.b:c\ninputs: {x: {shape: [2], dtype: int8, range: [0, 2], file: x.npz}}", "are those of x.npz"),
        ("factory: a.b:c\ninputs: {x: {shape: [2], file: x.csv}}", "inputs.safetensors or images.npz"),
        ("factory: a.b:c\ninputs: none.npz", "none.npz: there is no such file"),
    ],
)
def test_entries_that_contradict_each_other_are_refused(tmp_path: Path, text: str, what: str) -> None:
    assert what in wrong(tmp_path, text).what


def test_arguments_and_limits_are_read_as_they_are(tmp_path: Path) -> None:
    text = "factory: a.b:c\narguments: {flag: false, n: 2, mode: fast, mask: null}\nmetric: a.py:m\n"
    read = model(tmp_path, f"{text}limits: {{map50: {{min: 0.5}}, loss: {{max: 1}}}}\n{X}")
    assert read.arguments == {"flag": False, "n": 2, "mode": "fast", "mask": None}
    assert read.limits == {"map50": Limit(min=0.5), "loss": Limit(max=1.0)}


def test_a_file_of_inputs_declares_its_arrays(tmp_path: Path) -> None:
    tensors.write(tmp_path / "in.safetensors", {"ids": np.zeros((2, 5), np.int64), "x": np.zeros((2, 3), np.float32)})
    read = model(tmp_path, "factory: a.b:c\ninputs: in.safetensors")
    assert read.inputs == {
        "ids": Input(shape=(2, 5), dtype="int64", file="in.safetensors"),
        "x": Input(shape=(2, 3), file="in.safetensors"),
    }


@pytest.mark.parametrize(
    ("arrays", "what"), [({"x": np.zeros(2, complex)}, "x is complex128"), ({"x": np.zeros((0, 2))}, "x is empty")]
)
def test_arrays_that_can_be_no_inputs_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray], what: str) -> None:
    np.savez(tmp_path / "in.npz", **arrays)
    assert what in wrong(tmp_path, "factory: a.b:c\ninputs: in.npz").what


def test_the_example_on_the_page_is_a_suite(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(models:\n  segmenter:.*?)```", PAGE, re.DOTALL)
    np.savez(tmp_path / "tokens.npz", input_ids=np.zeros((4, 64), np.int64))
    tensors.write(tmp_path / "inputs.safetensors", {"x": np.zeros((2, 3), np.float32)})
    suite = load(tmp_path, f"schema: 1\n{text}matrix: {{backend: eager}}\n")
    assert suite.models["bert"].arguments == {"return_dict": False}
    assert suite.models["bert"].limits == {"top1": Limit(min=0.99)}
    assert suite.models["exported"].inputs["x"].shape == (2, 3)
