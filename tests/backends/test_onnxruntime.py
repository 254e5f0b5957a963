"""ONNX Runtime: exported once, run without torch."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bench as package
from bench import tensors
from bench.analysis import explain_names
from bench.backends import base
from bench.errors import CaseError, OutOfMemory, Unavailable, Unsupported
from bench.model.suite import Input, Range
from bench.runtimes import memory, onnx_manifest
from tests.backends import zoo
from tests.backends.kit import Bench
from tests.runtimes.trt.runtime_standin import Cuda, Steps

torch = pytest.importorskip("torch")
ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.torch
ORT = base.load("onnxruntime")

# What a measuring process does, with torch made impossible to import.
WITHOUT_TORCH = """
import contextlib, json, sys
sys.modules["torch"] = None
from pathlib import Path
import msgspec
from bench import tensors
from bench.backends import base
from bench.model.suite import Case
from bench.model.seam import Context
case = msgspec.json.decode(sys.argv[1], type=Case)
backend = base.load("onnxruntime")
context = Context(device="cpu", inputs=tensors.seeded_inputs(case.inputs, 0), artifacts={"export": Path(sys.argv[2])},
                  scratch=Path(), suite_dir=Path(), clock=None, phase=lambda name: contextlib.nullcontext())
with backend.prepare(case, backend.options(), context) as prepared:
    (lane,) = prepared.lanes(1)
    lane.call()
    tensors.write(Path(sys.argv[3]), lane.read())
modules = sorted(set(sys.modules) & {"onnx", "onnxscript"})
print(json.dumps({"missing": backend.missing() is not None, "modules": modules}))
"""


@pytest.mark.parametrize("library", ["libonnxruntime_providers_cuda.so", "libonnxruntime_providers_shared.so"])
def test_for_cuda_a_build_with_that_provider_is_needed_and_none_is_imported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, library: str
) -> None:
    (tmp_path / "onnxruntime" / "capi").mkdir(parents=True)
    (tmp_path / "onnxruntime" / "capi" / library).touch()
    (tmp_path / "onnxruntime" / "__init__.py").write_text("raise ImportError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    assert ORT.missing("cpu") is None
    lacks = ORT.missing("cuda:0")
    assert (lacks is None) is ("cuda" in library)
    assert lacks is None or "CUDAExecutionProvider" in lacks.reason
    assert lacks is None or "onnxruntime-gpu" in lacks.fix


def test_the_measuring_process_needs_no_torch(bench: Bench, tmp_path: Path) -> None:
    case = bench.case("onnxruntime")
    folder, out = bench.artifacts(case)["export"], tmp_path / "out.safetensors"
    root = str(Path(package.__file__).parents[1])
    command = [sys.executable, "-c", WITHOUT_TORCH, msgspec.json.encode(case).decode(), str(folder), str(out)]
    env = os.environ | {"PYTHONPATH": root}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    assert json.loads(done.stdout) == {"missing": False, "modules": []}
    found, wanted = tensors.read(out), bench.reference(case)
    assert all(np.allclose(found[name], wanted[name], atol=1e-5) for name in wanted)


@pytest.mark.parametrize("exporter", ["dynamo", "legacy"])
def test_names_integers_and_sizes_known_only_afterwards_come_through(bench: Bench, exporter: str) -> None:
    case = bench.case("onnxruntime", "zoo.py:renamed", {"x": Input(shape=(3, 5))}, options={"exporter": exporter})
    found, wanted = bench.run(case), bench.reference(case)
    assert list(found) == ["x", "best", "positive"]
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
    assert onnx_manifest.read_manifest(bench.artifacts(case)["export"]).exporter == exporter


@pytest.mark.filterwarnings("ignore:Converting a tensor to a Python boolean")  # torch's own checks, traced
@pytest.mark.parametrize("exporter", ["dynamo", "legacy"])
def test_attention_that_pytorch_fuses_is_exported_in_parts(bench: Bench, exporter: str) -> None:
    case = bench.case("onnxruntime", "zoo.py:attends", {"x": Input(shape=(2, 5, 8))}, options={"exporter": exporter})
    found, wanted = bench.run(case), bench.reference(case)
    assert np.allclose(found["output"], wanted["output"], atol=1e-5)


def test_outputs_of_unknown_size_are_told_where_they_lie(bench: Bench) -> None:
    case = bench.case("onnxruntime", "zoo.py:renamed", {"x": Input(shape=(3, 5))})
    with bench.prepared(case) as prepared:
        (lane,) = prepared.lanes(1)
        lane.call()
        assert lane.outputs()["positive"].shape == bench.reference(case)["positive"].shape


@pytest.mark.parametrize("batch", [1, 8])
def test_one_file_serves_all_points_of_a_dynamic_case(bench: Bench, batch: int) -> None:
    case = bench.case(
        "onnxruntime",
        inputs={"x": Input(shape=("batch", 3, 16, 16))},
        symbols={"batch": batch},
        dynamic={"batch": Range(min=1, opt=4, max=8)},
    )
    found, wanted = bench.run(case), bench.reference(case)
    assert all(np.allclose(found[name], wanted[name], atol=1e-5) for name in wanted)


def test_half_precision_is_that_of_inputs_and_outputs(bench: Bench) -> None:
    with bench.prepared(bench.case("onnxruntime", precision="fp16")) as prepared:
        (lane,) = prepared.lanes(1)
        assert {b.dtype for b in (*lane.inputs().values(), *lane.outputs().values())} == {"float16"}


def test_a_type_that_the_provider_lacks_is_unsupported_without_the_path_of_the_file(bench: Bench) -> None:
    with pytest.raises(Unsupported, match=r"ONNX Runtime cannot run this file.*bfloat16") as caught:
        bench.run(bench.case("onnxruntime", precision="bf16"))
    assert str(bench.root) not in caught.value.what
    assert "precision: fp32" in caught.value.fix


def test_a_file_for_tf32_is_the_file_for_fp32(bench: Bench) -> None:
    export = ORT.stages(bench.case("onnxruntime"))[1]
    assert export == ORT.stages(bench.case("onnxruntime", precision="tf32", options={"threads": 1}))[1]
    assert export != ORT.stages(bench.case("onnxruntime", options={"opset": 20}))[1]


@pytest.mark.parametrize("exporter", ["dynamo", "legacy"])
def test_nodes_that_it_runs_have_the_modules_of_the_model(bench: Bench, exporter: str) -> None:
    case = bench.case("onnxruntime", options={"exporter": exporter})
    with bench.prepared(case, profiled=True) as prepared:
        (lane,) = prepared.lanes(1)
        before = time.time_ns()
        lane.call()
        after = time.time_ns()
        nodes = prepared.nodes()
        lane.call()  # goes on without a record
    assert nodes
    assert all(before - 1_000_000 <= node.start <= node.end <= after + 1_000_000 for node in nodes)
    types = [node.name for node in nodes if node.kind == "operator"]
    assert any(name.startswith("Conv") for name in types)
    paths = [name.path for node in nodes if node.kind == "layer" for name in explain_names.parse(node.name).names]
    torch_paths = {path for path, _ in zoo.net().named_modules()}
    assert paths
    assert set(paths) <= torch_paths | {"."}
    with bench.prepared(case) as prepared:
        assert prepared.nodes() == ()


def test_an_opset_that_is_asked_for_is_the_one_in_the_file(bench: Bench) -> None:
    case = bench.case("onnxruntime", options={"opset": 20, "threads": 1, "graph_optimization": "basic"})
    with bench.prepared(case) as prepared:
        told = prepared.fairness()
    assert (told["opset"], told["threads"], told["graph_optimization"]) == (20, 1, "basic")


def test_a_provider_that_is_not_built_in_is_unavailable(bench: Bench) -> None:
    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("this onnxruntime has the CUDA provider")
    case = bench.case("onnxruntime", options={"provider": "cuda"})
    with pytest.raises(Unavailable, match="CUDAExecutionProvider"):
        bench.run(case)


@pytest.mark.parametrize(("provider", "device"), [("cuda", "cpu"), ("tensorrt", "cpu"), ("cpu", "cuda:0")])
def test_a_provider_of_another_device_is_left_out(bench: Bench, provider: str, device: str) -> None:
    assert ORT.unsupported(bench.case("onnxruntime", options={"provider": provider}), device)


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=50))
def test_bfloat16_is_rounded_as_torch_rounds_it(values: list[float]) -> None:
    array = np.array(values, np.float32)
    wanted = torch.from_numpy(array).to(torch.bfloat16).to(torch.float32).numpy()
    data = memory.encode(array, "bfloat16").view(np.uint8)
    assert np.array_equal(memory.decode(data, "bfloat16", array.shape), wanted)


@pytest.mark.parametrize(("exporter", "other"), [("legacy", "dynamo"), ("dynamo", "legacy")])
def test_what_one_exporter_cannot_take_is_told_with_the_other(bench: Bench, exporter: str, other: str) -> None:
    case = bench.case("onnxruntime", "zoo.py:inverse", {"x": Input(shape=(3, 3))}, options={"exporter": exporter})
    with pytest.raises(Unsupported) as refused:
        bench.artifacts(case)
    assert refused.value.fix.startswith(f"exporter: {other}")


# -------------------------------------------------------------------------------------------------- the CUDA provider


class OnHost(ort.InferenceSession):  # type: ignore[misc]
    """The CPU provider under the CUDA provider's name, on the memory of ``Cuda``, which is the host's.

    ``on_cpu`` are the operators that the provider leaves to the CPU's, ``asked`` the providers with options of the
    latest one.
    """

    on_cpu: tuple[str, ...] = ()
    asked: tuple[tuple[str, dict[str, str]], ...] = ()

    def __init__(self, path: str, settings: Any, providers: list[Any]) -> None:
        OnHost.asked = tuple(each for each in providers if isinstance(each, tuple))
        super().__init__(path, settings, providers=["CPUExecutionProvider"])

    def get_providers(self) -> list[str]:
        return ["CUDAExecutionProvider"]

    def io_binding(self) -> Any:
        return Binding(self)

    def get_provider_graph_assignment_info(self) -> list[Any]:
        """As the real one, by node, with the names of the providers that would run it."""
        nodes = [node for part in super().get_provider_graph_assignment_info() for node in part.get_nodes()]
        names = ["CPUExecutionProvider" if node.op_type in self.on_cpu else "CUDAExecutionProvider" for node in nodes]
        return [
            SimpleNamespace(ep_name=name, get_nodes=lambda node=node: [node])
            for name, node in zip(names, nodes, strict=True)
        ]


class Binding(ort.IOBinding):  # type: ignore[misc]
    """Takes addresses of the device for the host's."""

    def bind_input(self, name: str, device_type: str, *rest: Any) -> None:
        super().bind_input(name, device_type.replace("cuda", "cpu"), *rest)

    def bind_output(self, name: str, device_type: str = "cpu", *rest: Any) -> None:
        super().bind_output(name, device_type.replace("cuda", "cpu"), *rest)


class FullBinding(Binding):
    """Finds no memory when outputs are bound, once inputs are."""

    def bind_output(self, name: str, device_type: str = "cpu", *rest: Any) -> None:
        raise RuntimeError("Failed to allocate memory for requested buffer of size 1024")


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


def test_the_search_of_the_cuda_provider_is_no_option_on_a_cpu(bench: Bench) -> None:
    case = bench.case("onnxruntime", options={"cudnn_search": "heuristic"})
    assert ORT.unsupported(case, "cpu") == "cudnn_search is of the CUDA provider"
    assert ORT.unsupported(case, "cuda:0") is None


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
