"""The search with real engines of TensorRT, in the toolchain $TORCH22_PYTHON (suites/fx2trt_resnet18.yaml)."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from bench.machine import nvml
from tests.backends.gpu_kit import ROOT, run

pytestmark = pytest.mark.gpu
HERE = Path(__file__).parents[1] / "lowering"
SUITE = """
schema: 1
name: diverging
device: cuda
toolchains: {torch22: {python: $TORCH22_PYTHON}}
models:
  grows: {factory: "zoo.py:grows", inputs: {x: {shape: [batch, 16]}}}
  block: {factory: "zoo.py:block", inputs: {x: {shape: [batch, 8]}}}
matrix:
  model: [grows, block]
  backend: [{name: fx2trt, optimization_level: 0}, {name: tensorrt, optimization_level: 0}]
  precision: fp16
  batch: [2]
  toolchain: torch22
"""


def test_engines_are_searched(tmp_path: Path) -> None:
    if not os.environ.get("TORCH22_PYTHON"):
        pytest.skip("TORCH22_PYTHON names no Python with TensorRT 8.6")
    if reason := nvml.GpuTelemetry(0).reason:
        pytest.skip(reason)
    (tmp_path / "suite.yaml").write_text(SUITE)
    (tmp_path / "zoo.py").write_text((HERE / "diverging.py").read_text())
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    words = ["diverge", "suite.yaml", "--on", "engine", "--format", "json", "--progress", "plain"]
    done = run([sys.executable, "-m", "bench", *words], tmp_path, paths)
    print(done.stderr, done.stdout)
    assert done.returncode == 1, done.stderr
    cases = {(each["case"]["model"], each["case"]["backend"]): each for each in json.loads(done.stdout)["cases"]}
    assert {name: each["failure"] for name, each in cases.items() if "failure" in each} == {}
    for backend, op in (("fx2trt", "linear"), ("tensorrt", "Gemm")):
        wrong = cases["grows", backend]
        assert wrong["runtime"].startswith("TensorRT 8.6")
        assert (wrong["first"]["node"]["op"], wrong["first"]["node"]["module"]) == (op, "second")
        assert wrong["cause"]["kind"] == "overflow"
        assert wrong["networks"] > 2
        assert "cause" not in cases["block", backend]
