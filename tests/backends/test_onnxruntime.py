"""ONNX Runtime: exported once, run without torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bench as package
from bench import tensors
from bench.analysis import explain_names
from bench.backends import base
from bench.errors import Unavailable, Unsupported
from bench.model.suite import Input, Range
from bench.runtimes import memory, onnx_manifest
from tests.backends import zoo
from tests.backends.kit import Bench

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


def test_the_search_of_the_cuda_provider_is_no_option_on_a_cpu(bench: Bench) -> None:
    case = bench.case("onnxruntime", options={"cudnn_search": "heuristic"})
    assert ORT.unsupported(case, "cpu") == "cudnn_search is of the CUDA provider"
    assert ORT.unsupported(case, "cuda:0") is None
