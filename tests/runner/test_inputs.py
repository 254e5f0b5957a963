"""Files that do not fit the cases of a plan are the suite's fault: told at its line, before anything runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.backends import base
from bench.errors import SuiteError
from bench.runner import inputs
from bench.suite import plan, reader
from tests.conftest import Trtbench
from tests.suite.kit import REGISTRY

SUITE = """\
schema: 1
models:
  net:
    factory: {factory}
    inputs:
      x: {{shape: [batch, 3], file: {file}}}
matrix: {{backend: {backend}, batch: [1, 4]}}
"""


def check(folder: Path, factory: str = "zoo.py:net", file: str = "in.npz", backend: str = "fake") -> None:
    path = folder / "suite.yaml"
    path.write_text(SUITE.format(factory=factory, file=file, backend=backend))
    suite = reader.load(path, REGISTRY)
    inputs.check(suite, plan.plan(suite, REGISTRY, device="cpu"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    np.savez(tmp_path / "in.npz", x=np.zeros((4, 3), np.float32))
    np.savez(tmp_path / "few.npz", x=np.zeros((2, 3), np.float32))
    np.savez(tmp_path / "wide.npz", x=np.zeros((4, 3)))
    (tmp_path / "net.pt2").touch()
    (tmp_path / "net.onnx").write_bytes(b"no model")
    return tmp_path


def test_files_that_fit_pass(folder: Path) -> None:
    check(folder)
    check(folder, factory="net.pt2")


@pytest.mark.parametrize(
    ("change", "line", "what"),
    [
        ({"file": "few.npz"}, 6, "few.npz: x is float32 [2, 3], and the input 'x' float32 [4, 3]"),
        ({"file": "wide.npz"}, 6, "wide.npz: x is float64 [4, 3], and the input 'x' float32"),
        ({"file": "none.npz"}, 6, "none.npz: there is no such file"),
        ({"factory": "gone.pt2"}, 4, "the model's file 'gone.pt2' is not there"),
        ({"factory": "gone.onnx"}, 4, "the model's file 'gone.onnx' is not there"),
        ({"factory": "net.onnx"}, 4, "net.onnx is no whole ONNX file"),
    ],
)
def test_a_file_that_does_not_is_told_at_the_line_that_names_it(
    folder: Path, change: dict[str, str], line: int, what: str
) -> None:
    with pytest.raises(SuiteError) as caught:
        check(folder, **change)
    assert what in caught.value.what
    assert caught.value.where.endswith(f"suite.yaml:{line}")
    assert caught.value.fix


CALIBRATED = """\
schema: 1
models:
  net:
    factory: zoo.py:net
    inputs: {{x: {{shape: [batch, 3]}}, mask: {{shape: [batch], dtype: int64, range: [0, 1]}}}}
matrix:
  precision: int8
  batch: [2, 4]
  backend: [{{name: onnxruntime, data: "{data}"}}]
"""


@pytest.fixture
def calibrated(folder: Path) -> Path:
    """The folder with calibration data that fits, and data that does not."""
    mask = np.zeros(4, np.int64)
    np.savez(folder / "right.npz", x=np.zeros((4, 3), np.float32), mask=mask, names=np.array(["a", "b"]))
    np.savez(folder / "wide.npz", x=np.zeros((4, 5), np.float32), mask=mask)
    np.savez(folder / "double.npz", x=np.zeros((4, 3)), mask=mask)
    np.savez(folder / "other.npz", image=np.zeros((4, 3), np.float32), mask=mask)
    np.savez(folder / "short.npz", x=np.zeros((3, 3), np.float32), mask=mask)
    with (folder / "array.npz").open("wb") as file:
        np.save(file, np.zeros((4, 3), np.float32))
    (folder / "data.py").write_text("raise ValueError('whoever runs it reports that')\ndef images(): ...\n")
    return folder


def check_calibration(folder: Path, data: str) -> None:
    path = folder / "suite.yaml"
    path.write_text(CALIBRATED.format(data=data))
    registry = base.registry()
    suite = reader.load(path, registry)
    inputs.check(suite, plan.plan(suite, registry, device="cpu"))


@pytest.mark.parametrize("data", ["right.npz", "data.py:images"])
def test_calibration_data_that_may_fit_passes_and_no_function_is_run(calibrated: Path, data: str) -> None:
    check_calibration(calibrated, data)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        ("none.npz", "none.npz cannot be read: No such file or directory"),
        ("none.py:images", "there is no 'none.py' beside the suite"),
        ("data.py:image", "data.py has no function 'image'. Did you mean 'images'?"),
        ("wide.npz", "wide.npz: float32[4, 5] for the input 'x', a batch of which is float32[2, 3]"),
        ("double.npz", "double.npz: float64[4, 3] for the input 'x', a batch of which is float32[2, 3]"),
        ("other.npz", "other.npz: no input 'x'; there is image"),
        ("short.npz", "short.npz has 3 samples, fewer than a batch of 4"),
        ("array.npz", "array.npz is no .npz of plain arrays"),
        ("net.onnx.npz", "net.onnx.npz is no .npz of plain arrays"),
    ],
)
def test_calibration_data_that_does_not_is_told_at_the_line_of_its_backend(
    calibrated: Path, data: str, what: str
) -> None:
    (calibrated / "net.onnx.npz").write_bytes(b"no archive")
    with pytest.raises(SuiteError) as caught:
        check_calibration(calibrated, data)
    assert what in caught.value.what
    assert caught.value.where.endswith("suite.yaml:9: data")
    assert caught.value.fix


def test_a_run_with_wrong_calibration_data_measures_nothing(trtbench: Trtbench, calibrated: Path) -> None:
    path = calibrated / "suite.yaml"
    head, _, _ = CALIBRATED.format(data="").partition("matrix")
    include = "{precision: int8, backend: [{name: onnxruntime, data: wide.npz}]}"
    path.write_text(f"{head}matrix: {{backend: eager, batch: 2,\n  include: [{include}]}}\n")
    for command in (["run", path], ["duel", path, "--select", "net/eager", "--against", "net/onnxruntime"]):
        assert trtbench(*command) == 2
        assert f"{path}:7: data: wide.npz: float32[4, 5] for the input 'x'" in trtbench.err
        assert trtbench.out == ""
        assert not trtbench.store.exists()


@pytest.mark.parametrize(
    "command",
    [
        ["list", "--device", "cpu"],
        ["run", "--dry-run", "--device", "cpu"],
        ["profile", "--tool", "torch", "--device", "cpu"],
        ["build", "--device", "cpu"],
        ["codegen", "--out", "programs"],
        ["quantize"],
        ["lint-qdq"],
        ["diverge"],
    ],
    ids=lambda command: command[0],
)
def test_every_command_of_a_suite_refuses_wrong_calibration_data_before_it_begins(
    trtbench: Trtbench, calibrated: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(calibrated)
    path = calibrated / "suite.yaml"
    backend = "onnxruntime" if "cpu" in command else "fx2trt"
    path.write_text(CALIBRATED.format(data="wide.npz").replace("onnxruntime", backend))
    before = set(calibrated.iterdir())
    assert trtbench(*command, path) == 2
    (problem, fix) = trtbench.err.splitlines()
    assert problem.startswith(f"trtbench: {path}:9: data: wide.npz: float32[4, 5] for the input 'x'")
    assert fix.startswith("  fix: an array of float32 and the shape [samples, 3]")
    assert trtbench.out == ""
    assert set(calibrated.iterdir()) == before


def test_a_rehearsal_needs_no_calibration_data(trtbench: Trtbench, calibrated: Path) -> None:
    path = calibrated / "suite.yaml"
    path.write_text(CALIBRATED.format(data="wide.npz"))
    assert trtbench("list", path, "--backend", "fake") == 0
