"""ONNX Runtime's CUDA provider, on one that lies on the host: memory, streams and faults of lanes."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bench.backends import base
from bench.errors import CaseError, OutOfMemory, Unsupported
from tests.backends.kit import Bench
from tests.backends.onnxruntime_standin import FullBinding, OnHost
from tests.runtimes.trt.cuda_standin import Cuda, Steps

torch = pytest.importorskip("torch")
ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.torch
ORT = base.load("onnxruntime")


@pytest.fixture
def steps() -> Steps:
    """What is called of the CUDA runtime."""
    return Steps()


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, steps: Steps) -> Cuda:
    """A GPU that onnxruntime can use."""
    runtime = Cuda(steps)
    monkeypatch.setitem(sys.modules, "cuda.bindings", SimpleNamespace(runtime=runtime))  # type: ignore[arg-type]
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(ort, "preload_dlls", lambda: None, raising=False)
    monkeypatch.setattr(ort, "InferenceSession", OnHost)
    return runtime


@contextlib.contextmanager
def on_gpu(bench: Bench, **fields: Any) -> Iterator[Any]:
    """The small network, loaded for the first GPU."""
    case = bench.case("onnxruntime", **fields)
    context = Bench(bench.root, device="cuda:0").context(case, bench.artifacts(case))
    with ORT.prepare(case, base.options_of(ORT, case), context) as prepared:
        yield prepared


def load_on_gpu(bench: Bench) -> None:
    with on_gpu(bench):
        pass


def test_lanes_on_a_gpu_have_a_stream_and_memory_each_and_give_them_back(bench: Bench, gpu: Cuda) -> None:
    with on_gpu(bench) as prepared:
        first, second = prepared.lanes(2)
        assert first.stream != second.stream
        second.call()
        found = second.read()
    wanted = bench.reference(bench.case("onnxruntime"))
    assert all(np.allclose(found[name], wanted[name], atol=1e-5) for name in wanted)
    assert not gpu.live


def test_nodes_that_the_cpu_runs_in_a_row_of_cuda_are_counted_with_their_operators(
    bench: Bench, gpu: Cuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    with on_gpu(bench) as prepared:
        assert prepared.fairness()["fallback_nodes"] == 0
    monkeypatch.setattr(OnHost, "on_cpu", ("Conv", "Gemm"))
    with on_gpu(bench) as prepared:
        report = prepared.fairness()
    assert (report["fallback_nodes"], report["fallback_ops"]) == (2, ["Conv", "Gemm"])
    assert "cudnn_search" not in report  # the provider runs no convolution


@pytest.mark.parametrize(("options", "search"), [({}, "exhaustive"), ({"cudnn_search": "heuristic"}, "heuristic")])
def test_how_algorithms_of_convolutions_are_chosen_is_asked_for_and_recorded(
    bench: Bench, gpu: Cuda, options: dict[str, Any], search: str
) -> None:
    with on_gpu(bench, options=options) as prepared:
        assert prepared.fairness()["cudnn_search"] == search
    assert dict(OnHost.asked)["CUDAExecutionProvider"]["cudnn_conv_algo_search"] == search.upper()


def test_a_row_of_cuda_in_which_all_runs_on_the_cpu_is_unsupported(
    bench: Bench, gpu: Cuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OnHost, "on_cpu", ("Conv", "Relu", "ReduceMean", "Gemm"))
    with pytest.raises(Unsupported, match="runs all 4 nodes on the CPU: the provider has no Conv, Relu"):
        load_on_gpu(bench)


@pytest.mark.parametrize("lanes", [0, 2])
def test_a_kernel_s_fault_is_told_and_not_that_nothing_can_be_given_back_after_it(
    bench: Bench, gpu: Cuda, lanes: int
) -> None:
    fault = CaseError("CUDA_ERROR_ILLEGAL_ADDRESS in a CUDA call", fix="compute-sanitizer")

    def measured() -> None:
        with on_gpu(bench) as prepared:
            prepared.lanes(lanes)
            gpu.faulted = True
            raise fault

    with pytest.raises(CaseError) as caught:
        measured()
    assert caught.value is fault
    assert not gpu.live
    assert "clean-up: cudaStreamDestroy failed: cudaErrorIllegalAddress" in fault.__notes__


def test_a_further_lane_that_finds_no_memory_says_so_and_leaves_nothing(
    bench: Bench, gpu: Cuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    with on_gpu(bench) as prepared:
        (first,) = prepared.lanes(1)
        live = len(gpu.live)

        class Full(OnHost):
            def __init__(self, *arguments: Any, **named: Any) -> None:
                raise RuntimeError("BFCArena: Failed to allocate memory for requested buffer of size 1024")

        monkeypatch.setattr(ort, "InferenceSession", Full)
        with pytest.raises(OutOfMemory):
            prepared.lanes(2)
        assert len(gpu.live) == live
        monkeypatch.setattr(ort, "InferenceSession", OnHost)
        monkeypatch.setattr(OnHost, "io_binding", lambda self: FullBinding(self))
        with pytest.raises(OutOfMemory):
            prepared.lanes(2)
        assert len(gpu.live) == live
        assert prepared.lanes(1) == [first]


def test_a_fault_that_only_the_end_sees_is_told_by_its_first_call(bench: Bench, gpu: Cuda) -> None:
    def measured() -> None:
        with on_gpu(bench) as prepared:
            prepared.lanes(2)
            gpu.faulted = True

    with pytest.raises(RuntimeError) as caught:
        measured()
    assert str(caught.value) == "cudaStreamSynchronize failed: cudaErrorIllegalAddress"
    assert not gpu.live


def test_memory_that_cannot_be_given_back_is_told_and_the_rest_is_given_back(
    bench: Bench, gpu: Cuda, steps: Steps
) -> None:
    def measured() -> None:
        with on_gpu(bench) as prepared:
            prepared.lanes(2)
            steps.fail_on = {"cudaFree"}

    with pytest.raises(RuntimeError, match="cudaFree failed"):
        measured()
    assert not gpu.live
