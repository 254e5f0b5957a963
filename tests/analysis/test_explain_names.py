"""Which modules and nodes the names of layers, nodes and kernels consist of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis import explain_names

P = "/layer1/layer1.0/"
PATHS = {
    f"{P}conv3/Conv + {P}Add + {P}relu_2/Relu": ["layer1.0.conv3", "layer1.0", "layer1.0.relu_2"],
    f"PWN(PWN({P}act/Sigmoid), {P}Mul)": ["layer1.0.act", "layer1.0"],
    f"Reformatting CopyNode for Input Tensor 0 to {P}conv1/Conv + {P}relu/Relu": ["layer1.0.conv1", "layer1.0.relu"],
    f"Reformatting CopyNode for Output Tensor 0 to {P}conv1/Conv": ["layer1.0.conv1"],
    "{ForeignNode[/head/MatMul.../head/Softmax]}": ["head", "head"],
    "conv1 + PWN(re_lu_clip)": ["conv1", "re_lu_clip"],
    "/a/Conv || /b/Conv": ["a", "b"],
    "layer1.0.bn1+layer1.0.relu": ["layer1.0.bn1", "layer1.0.relu"],
    "/attn/MatMul_myl0_1": ["attn"],
    "squeeze_after_/Tanh + /Reshape": [".", "."],
    "backbone.conv.weight + /backbone/conv/QuantizeLinear + /backbone/conv/Conv": ["backbone.conv", "backbone.conv"],
    "fc + (Unnamed Layer* 16) [ElementWise]": ["fc"],
    "node_Conv_64 + node_relu": ["", ""],
    "Identity_49 + /head/Conv": ["", "head"],
    "__myl_AddResTranMulSoft_myl0_2": [],
    "": [],
}


@pytest.mark.parametrize("text", PATHS)
def test_a_name_is_taken_apart(text: str) -> None:
    assert [name.path for name in explain_names.parse(text).names] == PATHS[text]


def test_operators_are_the_types_of_nodes_and_of_layers_without_a_name() -> None:
    read = explain_names.parse(f"{P}conv3/Conv_1 + (Unnamed Layer* 3) [Activation]")
    assert [name.operator for name in read.names] == ["Conv"]
    assert read.operators == ("Activation",)
    assert explain_names.parse("node_Conv_64").names[0].operator == "Conv"


def test_a_reformat_and_a_span_are_marked() -> None:
    reformat = explain_names.parse("Reformatting CopyNode for Input Tensor 0 to {ForeignNode[/a/Add.../b/Add]}")
    assert reformat.reformat
    assert reformat.span
    assert not explain_names.parse("/a/Add + /b/Add").span


def test_the_module_that_paths_lie_in() -> None:
    assert explain_names.common(["layer1.0.conv1", "layer1.0.relu"]) == "layer1.0"
    assert explain_names.common(["layer1.0", "layer1.0.relu"]) == "layer1.0"
    assert explain_names.common(["layer1", "layer2"]) == ""
    assert explain_names.common(["layer1.0", "."]) == ""


@given(st.text(alphabet="ab/+|(),[]{}. *_0PWNForeignNode", max_size=60))
def test_any_text_can_be_read(text: str) -> None:
    for name in explain_names.parse(text).names:
        assert name.exact
        assert name.exact == name.exact.strip()
