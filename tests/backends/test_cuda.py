"""The PyTorch and ONNX Runtime backends on a GPU: streams, graphs, precision."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.analysis.provenance import name_kernels
from bench.backends import base
from bench.errors import Unsupported
from bench.model.profile import Kernel, Profile
from bench.model.suite import Case, Input
from tests.backends.gpu_kit import ROOT, run
from tests.backends.kit import HERE, Bench
from tests.backends.lanes_check import LACKS

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.gpu, pytest.mark.torch]


@pytest.fixture
def gpu(bench: Bench) -> Bench:
    """A bench on the first GPU, with artifacts of its own."""
    if not torch.cuda.is_available():
        pytest.skip("torch can use no CUDA device")
    return Bench(bench.root, artifacts_in=bench.root / "cuda", device="cuda:0")


CASES: list[tuple[str, dict[str, Any]]] = [
    ("eager", {}),
    ("eager", {"cuda_graph": True}),
    ("eager", {"precision": "fp16", "cuda_graph": True, "options": {"memory_format": "channels_last"}}),
    ("inductor", {}),
    ("inductor", {"cuda_graph": True}),
    ("inductor", {"options": {"mode": "reduce-overhead"}}),
    ("torchscript", {}),
    ("torchscript", {"cuda_graph": True}),
    ("aoti", {}),
    ("aoti", {"cuda_graph": True}),
    ("onnxruntime", {}),
    ("onnxruntime", {"precision": "fp16"}),
    ("onnxruntime", {"cuda_graph": True}),
    ("tensorrt", {"precision": "tf32"}),
    ("tensorrt", {"precision": "fp16", "cuda_graph": True}),
    ("torch_tensorrt", {"precision": "fp16", "options": {"min_block_size": 1}}),
    ("torch_tensorrt", {"precision": "fp16", "options": {"ir": "fx"}}),
    ("torch_tensorrt", {"precision": "fp16", "options": {"ir": "fx"}, "cuda_graph": True}),
]


def case_of(gpu: Bench, name: str, fields: dict[str, Any], factory: str = "zoo.py:net") -> Case:
    lacks = base.load(name).missing("cuda:0")
    if lacks is not None:
        pytest.skip(f"{lacks.reason}; {lacks.fix}")
    case = gpu.case(name, factory, **fields)
    assert base.load(name).unsupported(case, "cuda:0") is None
    return case


@pytest.mark.parametrize(("name", "fields"), CASES, ids=lambda value: value if isinstance(value, str) else str(value))
def test_lanes_give_the_reference_on_streams_of_their_own(
    gpu: Bench, tmp_path: Path, name: str, fields: dict[str, Any]
) -> None:
    """In a process of its own: a runtime that crashes takes no other test with it."""
    case_of(gpu, name, fields)
    command = [sys.executable, "-X", "faulthandler", HERE / "lanes_check.py", name, json.dumps(fields)]
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = run(command, tmp_path, {"PYTHONPATH": paths})
    if done.returncode == LACKS:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr[-3000:]}"


def test_what_cannot_be_captured_says_why(gpu: Bench) -> None:
    case = case_of(gpu, "eager", {"cuda_graph": True}, "zoo.py:branches")
    with gpu.prepared(case) as prepared, pytest.raises(Unsupported, match="captur"):
        prepared.lanes(1)


def test_tf32_is_on_only_where_it_is_asked_for(gpu: Bench) -> None:
    case = case_of(gpu, "eager", {})
    for precision in ("fp32", "tf32"):
        with gpu.prepared(msgspec.structs.replace(case, precision=precision)) as prepared:
            assert prepared.fairness()["tf32"] == {"matmul": precision == "tf32", "cudnn": precision == "tf32"}


@pytest.mark.filterwarnings("ignore:Warning. Profiler clears events")  # of torch's own, at its first profile
@pytest.mark.filterwarnings("ignore:The CUDA Graph is empty")  # which torch captures to keep its pool
@pytest.mark.parametrize("options", [{}, {"mode": "reduce-overhead"}], ids=["default", "graphs"])
def test_kernels_of_inductor_are_traced_to_modules(gpu: Bench, options: dict[str, Any]) -> None:
    """By their names and order alone, as in a graph, whose nodes one call launches."""
    inputs = {"input": Input(shape=(64, 16, 256))}
    case = case_of(gpu, "inductor", {"options": options, "inputs": inputs}, "zoo.py:blocks")
    with base.load("inductor").provenance() as watch, gpu.prepared(case) as prepared:
        (lane,) = prepared.lanes(1)
        for _ in range(4):
            lane.call()
        torch.cuda.synchronize()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
            lane.call()
            torch.cuda.synchronize()
    copies = ("Memcpy", "Memset", "void at::native::(anonymous namespace)::multi_tensor_apply_kernel")  # of inputs
    kernels = [
        Kernel(name=event.name, start=round(event.time_range.start * 1000), end=round(event.time_range.end * 1000))
        for event in profiler.events()
        if event.device_type == torch.autograd.DeviceType.CUDA and not event.name.startswith(copies)
    ]
    profile = Profile(tool="torch", case=case.id, label=case.label, kernels=tuple(kernels))
    named = name_kernels(profile, watch.provenance()).kernels
    total = sum(kernel.end - kernel.start for kernel in named)
    assert sum(kernel.end - kernel.start for kernel in named if kernel.module) > 0.95 * total, named
    modules = {path for kernel in named for path in kernel.module.split("+")}
    assert {f"{block}.{part}" for block in range(3) for part in ("norm", "fc1", "fc2")} <= modules
    assert "aten::gelu" in {name for kernel in named for name in kernel.operator.split("+")}
