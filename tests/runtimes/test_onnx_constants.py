"""Constants of equal value in a file of torch's exporter on TorchScript."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.runtimes import onnx_constants

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.torch


class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
    """Layers whose biases are zeros, as those of many untrained models."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList([torch.nn.Linear(8, 8) for _ in range(3)])
        for layer in self.layers:
            torch.nn.init.zeros_(layer.bias)
        self.tied = torch.nn.Parameter(torch.ones(width, 8))

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x).relu()
        return x @ self.tied.T, self.layers[0].bias


def exported(path: Path, width: int) -> Any:
    torch.onnx.export(Net(width).eval(), (torch.ones(2, 8),), str(path), dynamo=False)
    return onnx.load(str(path)).graph


def outputs(path: Path) -> list[Any]:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return list(session.run(None, {session.get_inputs()[0].name: np.ones((2, 8), np.float32)}))


@pytest.mark.filterwarnings("ignore")
def test_what_the_exporter_shares_becomes_a_constant_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    before = exported(path, 4)
    shared = [node.output[0] for node in before.node if node.op_type == "Identity"]
    assert len(shared) == 3, "two biases, and the output that is one"
    expected = outputs(path)
    onnx_constants.separate(path)
    after = onnx.load(str(path)).graph
    left = [node.output[0] for node in after.node if node.op_type == "Identity"]
    assert left == [name for name in shared if name in {each.name for each in after.output}]
    onnx.checker.check_model(str(path))
    assert all(np.array_equal(one, other) for one, other in zip(expected, outputs(path), strict=True))


def test_a_constant_of_a_constant_is_one_and_the_default_of_an_input_is_none(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    of = onnx.helper
    small = [onnx.numpy_helper.from_array(np.arange(3, dtype=np.float32), name) for name in ("c", "d")]
    info = {name: of.make_tensor_value_info(name, 1, [3]) for name in ("x", "y", "d")}
    nodes = [
        of.make_node("Identity", ["c"], ["c1"]),
        of.make_node("Identity", ["c1"], ["c2"]),
        of.make_node("Identity", ["d"], ["d1"]),
        of.make_node("Sum", ["x", "c2", "d1"], ["y"]),
    ]
    graph = of.make_graph(nodes, "g", [info["x"], info["d"]], [info["y"]], small)
    onnx.save(of.make_model(graph), str(path))
    onnx_constants.separate(path)
    after = onnx.load(str(path)).graph
    assert [node.output[0] for node in after.node] == ["d1", "y"]
    assert {each.name for each in after.initializer} == {"c", "d", "c1", "c2"}


def test_large_constants_stay_shared_and_a_file_without_small_ones_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    of = onnx.helper
    large = onnx.numpy_helper.from_array(np.zeros(1 << 19, np.float32), "w")
    info = [of.make_tensor_value_info(name, 1, [1 << 19]) for name in ("x", "y")]
    nodes = [of.make_node("Identity", ["w"], ["v"]), of.make_node("Add", ["x", "v"], ["y"])]
    onnx.save(of.make_model(of.make_graph(nodes, "g", info[:1], info[1:], [large])), str(path))
    before = path.read_bytes()
    onnx_constants.separate(path)
    assert path.read_bytes() == before
