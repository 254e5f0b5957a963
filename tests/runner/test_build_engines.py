"""`trtbench build` with TensorRT-RTX's real builder, on any machine: engines, what is refused, and where."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Trtbench
from tests.runner import build_kit

pytestmark = [
    pytest.mark.long,
    pytest.mark.torch,
    pytest.mark.workers,
    pytest.mark.skipif(
        importlib.util.find_spec("tensorrt_rtx") is None,
        reason="tensorrt_rtx is not installed: pip install tensorrt-rtx-cu13 (on x86-64); nox -s long installs it",
    ),
]
ZOO = f"""{build_kit.ZOO}
class Det(torch.nn.Module):
    def forward(self, x):
        return torch.linalg.det(x)
"""
SUITE = """\
schema: 1
name: engines
device: cuda
models:
  net: {factory: zoo.py:Net, inputs: {x: {shape: [batch, 3]}}}
  det: {factory: zoo.py:Det, inputs: {x: {shape: [batch, 3, 3]}}}
matrix:
  model: net
  backend: [tensorrt_rtx, {name: tensorrt_rtx, compute_capabilities: current}]
  batch: 2
  include:
    - {model: det, backend: tensorrt_rtx}
"""


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (tmp_path / "zoo.py").write_text(ZOO)
    path = tmp_path / "engines.yaml"
    path.write_text(SUITE)
    return path


def built(trtbench: Trtbench, *arguments: object, code: int) -> dict[str, dict[str, Any]]:
    """The cases of a build by their labels."""
    assert trtbench("build", *arguments, "--format", "json") == code, trtbench.err
    return {case["label"]: case for case in json.loads(trtbench.out)["cases"]}


def test_engines_are_built_without_a_gpu_and_what_is_refused_is_named(trtbench: Trtbench, suite: Path) -> None:
    cases = built(trtbench, suite, "--device", "cuda", code=1)
    net, current, det = (cases[label] for label in sorted(cases, key=lambda each: ("det" in each, "current" in each)))
    assert [(stage["stage"], stage["kind"]) for stage in net["stages"]] == [("export", "onnx"), ("build", "engine")]
    assert net["stages"][1]["layers"] > 0
    assert net["stages"][1]["bytes"] > 10_000
    assert (current["failed"], current["failure"]["kind"]) == ("build", "Unavailable")
    assert [stage["stage"] for stage in current["stages"]] == ["export"]
    assert (det["failed"], det["failure"]["kind"]) == ("build", "Unsupported")
    assert "Det /" in det["failure"]["message"]

    ada = built(trtbench, suite, "--select", "model=net", "--compute-capability", "8.9", code=0)
    (case,) = ada.values()  # what the suite names, and its default, are one case
    assert [stage["cold"] for stage in case["stages"]] == [False, True]
    again = built(trtbench, suite, "--select", "model=net", "--compute-capability", "8.9", code=0)
    assert [stage["cold"] for stage in next(iter(again.values()))["stages"]] == [False, False]

    hopper = built(trtbench, suite, "--select", "model=net", "--compute-capability", "9.0", code=1)
    (refused,) = hopper.values()
    assert (refused["failed"], refused["failure"]["kind"]) == ("build", "Unsupported")
    assert "does not build for compute capability 9.0; it has 7.5" in refused["failure"]["message"]


def test_a_disk_that_fills_is_a_row_with_what_to_do_and_leaves_no_engine(suite: Path, tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "bench", "build", str(suite), "--select", "model=net", "--compute-capability", "8.9",
        "--cache", str(tmp_path / "cache"),
    ]  # fmt: skip
    limited = ["bash", "-c", 'ulimit -f 100; exec "$@"', "bash", *command]  # files of 100 KiB at most
    root = str(Path(__file__).parents[2])
    env = os.environ | {"PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]), "COLUMNS": "200"}
    done = subprocess.run(limited, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "cannot be written: File too large" in done.stdout
    assert "fix: free some disk space, or choose another place: --cache DIR" in done.stdout
    assert list((tmp_path / "cache").rglob("engine.plan")) == []
    assert [path.name for path in (tmp_path / "cache").rglob("model.onnx")] == ["model.onnx"]
