"""The PyTorch and ONNX Runtime backends on a GPU: streams, graphs, precision."""

from __future__ import annotations

import pytest

from tests.backends.gpu_kit import Suite, measured
from tests.backends.kit import HERE

pytestmark = [pytest.mark.gpu, pytest.mark.torch]

SUITE = """\
schema: 1
name: runtimes
device: cuda
models:
  net: {factory: zoo.py:net, inputs: &images {x: {shape: [4, 3, 8, 8]}}}
  branches: {factory: zoo.py:branches, inputs: *images}
matrix:
  model: net
  streams: 2
  cuda_graph: [off, on]
  backend: [eager, inductor, torchscript, aoti, onnxruntime]
  include:
    - {backend: {name: inductor, mode: reduce-overhead}}
    - {backend: {name: eager, memory_format: channels_last}, precision: [fp16, tf32], cuda_graph: on}
    - {model: branches, backend: eager, cuda_graph: on}
measure: {replicates: 1, max_time: 1s}
"""


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    pytest.importorskip("torch")
    return Suite(tmp_path_factory.mktemp("runtimes"), "runtimes", SUITE, HERE / "zoo.py")


@pytest.mark.parametrize("graph", ["", "/graph"])
@pytest.mark.parametrize("name", ["eager", "inductor", "torchscript", "aoti", "onnxruntime"])
def test_two_streams_give_the_reference_with_and_without_a_graph(rows: Suite, name: str, graph: str) -> None:
    record = rows(f"net/{name}/fp32{graph}/streams=2")
    if name == "onnxruntime" and record.failure and record.failure.kind == "Unavailable":
        pytest.skip(record.failure.message)
    assert measured(record)["graph_capture"] == ("harness" if graph else "none")
    (loop,) = [each for each in record.measurements if each.boundary == "throughput"]
    assert loop.lanes == 2


def test_inductors_own_graphs_are_told_and_their_one_lane_too(rows: Suite) -> None:
    record = rows("mode=reduce-overhead")
    assert measured(record)["graph_capture"] == "backend"
    assert {"GraphsByBackend", "FewerLanes"} <= {warning.kind for warning in record.warnings}


def test_tf32_is_on_only_where_it_is_asked_for(rows: Suite) -> None:
    on = {"fp32/graph": False, "tf32/graph": True, "fp16/graph": False}
    for precision, wanted in on.items():
        backend = "net/eager/" if precision.startswith("fp32") else "net/eager[memory_format=channels_last]/"
        assert measured(rows(backend + precision))["tf32"] == {"matmul": wanted, "cudnn": wanted}


def test_what_cannot_be_captured_says_why(rows: Suite) -> None:
    failure = rows("branches/").failure
    assert failure is not None
    assert (failure.kind, "captur" in failure.message) == ("Unsupported", True)
