"""Models in parts on a real GPU: lowered by this PyTorch, run in the toolchain $TORCH22_PYTHON with TensorRT 8.6."""

from __future__ import annotations

import os

import pytest

from tests.backends.gpu_kit import Suite, measured, run
from tests.backends.test_fx2trt_parts import HERE

pytestmark = pytest.mark.gpu

# The inverse has no half precision in PyTorch; the gamma function has.
SUITE = """\
schema: 1
name: parts
device: cuda
toolchains: {torch22: {python: $TORCH22_PYTHON}}
models:
  inverse: {factory: "zoo.py:inverse", inputs: {x: {shape: [4, 3, 8, 8]}}}
  fixed: {factory: "zoo.py:gamma", inputs: {x: {shape: [4, 3, 8, 8]}}}
  ranged: {factory: "zoo.py:gamma", inputs: {x: {shape: [batch, 3, 8, 8]}}}
dynamic: {batch: {min: 1, opt: 8, max: 16, at: [1, 16]}}
matrix:
  toolchain: torch22
  model: [inverse, fixed, ranged]
  backend: [&parts {name: fx2trt, fallback: torch, min_block_size: 1}]
  precision: [fp32]
  include:
    - {model: fixed, backend: *parts, precision: fp16, streams: 2}
    - {model: fixed, backend: *parts, precision: fp16, cuda_graph: on}
    - {model: fixed, backend: {name: fx2trt, fallback: torch, min_block_size: 50}}
    - {model: fixed, backend: fx2trt}
    - {model: fixed, backend: eager, toolchain: default}
measure: {replicates: 1, max_time: 1s}
"""
COUNTS = {"engines": 2, "partitions": 3, "fallback_nodes": 1, "crossings": 2}


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    if not os.environ.get("TORCH22_PYTHON"):
        pytest.skip("TORCH22_PYTHON names no Python with TensorRT 8.6 and PyTorch 2.2")
    pytest.importorskip("torch")
    return Suite(tmp_path_factory.mktemp("parts"), "parts", SUITE, HERE / "zoo.py")


@pytest.mark.parametrize("label", [
    "inverse/fx2trt", "batch=1 of 1..16", "batch=16 of 1..16", "fixed/fx2trt[fallback=torch,min_block_size=1]/fp32",
    "fp16/streams=2", "fp16/graph",
])  # fmt: skip
def test_parts_compute_what_eager_does_and_are_counted(suite: Suite, label: str) -> None:
    facts = measured(suite("fx2trt[", label))
    assert {name: facts[name] for name in COUNTS} == COUNTS
    assert facts["engine"]["plan_bytes"] > 0


def test_without_an_engine_or_a_fallback_it_is_a_row(suite: Suite) -> None:
    for label, message in (("min_block_size=50", "no engine is left"), ("fixed/fx2trt/fp32", "no converter for 1")):
        failure = suite(label).failure
        assert failure is not None
        assert (failure.kind, message in failure.message) == ("Unsupported", True)


def test_the_written_program_builds_and_runs_by_itself(suite: Suite) -> None:
    out = suite.folder / "program"
    written = suite.trtbench("codegen", "parts.yaml", "--select", "model=inverse", "--out", str(out))
    assert written.returncode == 0, written.stderr
    python = os.environ["TORCH22_PYTHON"]
    code = "import torch; from safetensors.torch import save_file; save_file({'x': torch.rand(4, 3, 8, 8)}, 'x')"
    assert run([python, "-c", code], suite.folder, {}).returncode == 0
    alone = run([python, out / "program.py", "--inputs", "x", "--outputs", "y"], suite.folder, {})
    assert alone.returncode == 0, alone.stderr
    code = "from safetensors.torch import load_file; print(list(load_file('y')['output'].shape))"
    assert run([python, "-c", code], suite.folder, {}).stdout.strip() == "[4, 3, 8, 8]"
