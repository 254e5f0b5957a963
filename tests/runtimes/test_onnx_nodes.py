"""Which nodes of an ONNX file a runtime's fused node computes, and how they are called by the modules of the model."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.runtimes import onnx_nodes
from bench.runtimes.onnx_nodes import Node, Nodes

# A bottleneck as torch's exporter writes it: one module `relu` computes twice.
BLOCK = [
    Node("node_conv", "Conv", ("x", "w"), ("conv",), "model.conv1"),
    Node("node_relu", "Relu", ("conv",), ("relu",), "model.relu"),
    Node("node_conv_1", "Conv", ("relu", "w1"), ("conv_1",), "model.conv2"),
    Node("node_add", "Add", ("conv_1", "x"), ("add",), "model"),
    Node("node_relu_1", "Relu", ("add",), ("relu_1",), "model.relu"),
    Node("node_mean", "ReduceMean", ("relu_1",), ("output_0",), "model"),
]


@pytest.mark.parametrize(
    ("name", "operator", "computed", "types"),
    [
        ("node_conv", "Conv", "/conv1/Conv", "Conv"),
        ("fused node_conv", "FusedConv", "/conv1/Conv + /relu/Relu", "Conv+Relu"),
        ("node_conv_1", "FusedConv", "/conv2/Conv + /Add + /relu_1/Relu", "Conv+Add+Relu"),
        ("relu_nchwc", "Conv", "/conv1/Conv + /relu/Relu", "Conv+Relu"),
        ("relu_1_nchwc", "Conv", "/conv2/Conv + /Add + /relu_1/Relu", "Conv+Add+Relu"),
        ("node_mean", "ReduceMean", "/ReduceMean", "ReduceMean"),
        ("node_mean", "FusedReduceMean", "/ReduceMean", "FusedReduceMean"),
        ("node_mean", "MatMul", "/ReduceMean", "MatMul"),
        ("node_conv_1_FusedConv", "FusedConv", "/conv2/Conv + /Add + /relu_1/Relu", "Conv+Add+Relu"),
        ("node_conv_cast_3", "Cast", "", "Cast"),
        ("ReorderOutput", "ReorderOutput", "", "ReorderOutput"),
    ],
)
def test_a_fused_node_computes_what_leads_to_its_output_or_follows_its_first(
    name: str, operator: str, computed: str, types: str
) -> None:
    assert Nodes(BLOCK, "model").computed_by(name, operator) == (computed, types)


def test_what_two_nodes_use_is_not_fused_into_one_of_them() -> None:
    nodes = [*BLOCK, Node("node_other", "Exp", ("conv",), ("exp",), "model.other")]
    assert Nodes(nodes, "model").computed_by("node_conv", "FusedConv") == ("/conv1/Conv", "FusedConv")


def test_without_scopes_nodes_have_their_own_names() -> None:
    nodes = [Node("/model/conv1/Conv", "Conv", ("x",), ("a",)), Node("", "Relu", ("a",), ("b",))]
    named = Nodes(nodes, "model")
    assert named.computed_by("/model/conv1/Conv", "Conv") == ("/conv1/Conv", "Conv")
    assert named.computed_by("b", "Relu") == ("Relu", "Relu")
    assert Nodes(nodes).computed_by("/model/conv1/Conv", "Conv") == ("/model/conv1/Conv", "Conv")


def test_nodes_are_read_from_a_file(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Relu", ["x"], ["y"], name="node_relu")
    entry = node.metadata_props.add()
    entry.key, entry.value = "pkg.torch.onnx.name_scopes", "['', 'model', 'model.act', 'relu']"
    odd = onnx.helper.make_node("Neg", ["y"], ["z"], name="node_neg")
    entry = odd.metadata_props.add()
    entry.key, entry.value = "pkg.torch.onnx.name_scopes", "not a list ["
    output = onnx.helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, [1])
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node, odd], "g", [value], [output])), tmp_path / "m.onnx")
    nodes = onnx_nodes.read(tmp_path / "m.onnx", "model")
    assert nodes.computed_by("node_relu", "Relu") == ("/act/Relu", "Relu")
    assert nodes.computed_by("node_neg", "Neg") == ("node_neg", "Neg")


def test_what_is_no_model_is_a_value_error(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\xff\xff\xff not a model")
    with pytest.raises(ValueError, match=r"protobuf|cut short"):
        onnx_nodes.read(tmp_path / "m.onnx")
