"""`trtbench profile` on a GPU: what is attributed, what is unexplained, and how it compares with `gpu`."""

from __future__ import annotations

import shutil
from pathlib import Path
from statistics import median

import pytest

import bench
from bench.analysis import attribution, held_calls
from bench.model.profile import CaseProfile
from tests.conftest import Trtbench

pytestmark = pytest.mark.gpu

# Most of the time on a GPU host is that of starting processes: a case is in the suite only for what it alone shows.
SUITE = """\
schema: 1
name: profiled
device: cuda
models: {net: {factory: zoo.py:net, inputs: {input: {shape: [batch, 3, 64, 64]}}}}
matrix:
  backend: [eager, {name: inductor, mode: reduce-overhead}]
  precision: [fp16]
  batch: [16]
  include: [{model: net, backend: eager, precision: fp16, batch: 16, cuda_graph: on}]
measure: {replicates: 1, max_time: 300ms, boundaries: [gpu]}
"""
ZOO = """\
import torch

def net():
    layers = [torch.nn.Conv2d(3, 64, 3, padding=1)]
    for _ in range(6):
        layers += [torch.nn.Conv2d(64, 64, 3, padding=1), torch.nn.BatchNorm2d(64), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers).requires_grad_(False)
"""
WAITING = """\
import torch

class Net(torch.nn.Module):
    def forward(self, x):
        if x.sum().item() > 1e30:
            return x
        return x * 2

def net():
    return Net()
"""
WITH_NSYS = pytest.mark.skipif(not shutil.which("nsys"), reason="nsys is not here")
# Each tool with the cases that it is to look at: under nsys a worker takes longest to start.
TOOLS = [
    ("torch", "backend=eager or backend=inductor", 3),
    pytest.param("nsys", "backend=eager", 2, marks=WITH_NSYS),
]


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "zoo.py").write_text(ZOO)
    path = tmp_path / "profiled.yaml"
    path.write_text(SUITE)
    return path


@pytest.mark.parametrize(("tool", "select", "count"), TOOLS)
def test_the_time_of_an_inference_is_explained(
    trtbench: Trtbench, suite: Path, tool: str, select: str, count: int
) -> None:
    assert trtbench("profile", suite, "--tool", tool, "--modules", "--select", select) == 0, trtbench.out
    stored = bench.read_profiles(store=trtbench.store)
    assert len(stored.cases) == count
    for case in stored.cases:
        check(case)
        check_against_gpu(case)
    eager = next(each for each in stored.cases if "/eager/" in each.label and "graph" not in each.label)
    assert eager.condensed is not None
    assert {"0", "1", "2"} <= {kernel.module for kernel in eager.condensed.profile.kernels}


@pytest.mark.parametrize("tool", ["torch", pytest.param("nsys", marks=WITH_NSYS)])
def test_kernels_of_onnxruntime_have_the_nodes_that_launched_them(trtbench: Trtbench, suite: Path, tool: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has no CUDA provider")
    text = suite.read_text().replace("[eager, {name: inductor, mode: reduce-overhead}]", "[onnxruntime]")
    suite.write_text(text)
    assert trtbench("profile", suite, "--tool", tool, "--select", "backend=onnxruntime") == 0, trtbench.out
    (case,) = bench.read_profiles(store=trtbench.store).cases
    assert case.condensed is not None
    kernels = case.condensed.profile.kernels
    assert case.condensed.attribution is not None
    share = case.condensed.attribution
    assert share.module_ns >= 0.99 * share.total_ns, [kernel.name for kernel in kernels if not kernel.module]
    convolutions = {kernel.module for kernel in kernels if "Conv" in kernel.operator}
    assert len(convolutions) == 7, convolutions


def check(case: CaseProfile) -> None:
    """All kernels belong to an iteration, and at most 5 % of its time is unexplained."""
    assert case.condensed is not None, case.failure
    profile = case.condensed.profile
    share = attribution.share(profile)
    assert share.total_ns, case.label
    assert share.iteration_ns >= 0.99 * share.total_ns, case.label
    shares = [parts.unexplained / parts.window for parts in case.condensed.parts]
    assert median(shares) <= 0.05, case.label
    assert {copy.kind for copy in profile.copies} >= {"h2d", "d2h"}, case.label
    assert profile.unprofiled_ns
    replayed = "graph" in case.label or "reduce-overhead" in case.label
    assert any(kernel.node is not None for kernel in profile.kernels) == replayed, case.label


def check_against_gpu(case: CaseProfile) -> None:
    """The profiler and events tell the same of the same calls; and `gpu` of that process before the profiler started is
    shorter at most by what recording each kernel adds: to a kernel or the gap after it 1 us, or a tenth.
    """
    assert case.condensed is not None
    own, count = held_calls.compare(case.condensed), len(case.condensed.profile.recorded_gpu_ns)
    assert own.span is not None, case.condensed.profile.notes
    assert own.recorded_gpu is not None
    assert own.gpu is not None
    assert len(case.condensed.held) == count == len(case.condensed.parts)
    assert held_calls.is_close(own.span, own.recorded_gpu), (case.label, own)
    added = max(0.1 * own.gpu, 1_000 * len(case.condensed.profile.kernels), held_calls.CLOSE_NS)
    assert abs(own.span - own.gpu) <= added, (case.label, own)


def test_the_function_that_waits_is_named_with_its_first_line(trtbench: Trtbench, tmp_path: Path) -> None:
    (tmp_path / "zoo.py").write_text(WAITING)
    path = tmp_path / "waits.yaml"
    path.write_text(
        "schema: 1\nname: waits\ndevice: cuda\n"
        "models: {net: {factory: zoo.py:net, inputs: {x: {shape: [batch, 64]}}}}\n"
        "matrix: {backend: [eager], precision: [fp16], batch: [4]}\n"
    )
    assert trtbench("profile", path, "--tool", "torch") == 0
    (case,) = bench.read_profiles(store=trtbench.store).cases
    assert case.condensed is not None
    frames = [frame for call in case.condensed.profile.calls for frame in call.stack]
    assert any(frame.endswith("zoo.py:4 forward") for frame in frames)
    assert (case.condensed.held, case.condensed.profile.gpu_ns) == ((), ())  # its stream cannot be held
    assert str(tmp_path) not in "".join(frames)
