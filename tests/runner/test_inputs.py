"""Files that do not fit the cases of a plan are the suite's fault: told at its line, before anything runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.errors import SuiteError
from bench.runner import inputs
from bench.suite import plan, reader
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
