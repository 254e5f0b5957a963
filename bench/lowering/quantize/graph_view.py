"""The placement rules' view of a normalised FX graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.lowering import normalise
from bench.lowering.passes import edit
from bench.lowering.quantize.view import Vertex, link

if TYPE_CHECKING:
    import torch

_WEIGHT = {"convolution": "weight", "linear": "weight", "matmul": "other"}


def of_graph(module: torch.fx.GraphModule) -> list[Vertex]:
    """The vertices of a graph, whose ``node`` is the node of FX."""
    vertices: dict[torch.fx.Node, Vertex] = {}
    for node in module.graph.nodes:
        vertex = Vertex(node.name, _op(node), str(node.meta.get("path", "")), node)
        vertices[node] = vertex
        if node.op == "get_attr":
            vertex.shape = tuple(module.get_buffer(str(node.target)).shape)
            continue
        weight = node.kwargs.get(_WEIGHT.get(vertex.op, ""))
        for each in node.all_input_nodes:
            if each is weight:
                vertex.weight = vertices[each]
            elif _is_data(each, node, vertex.op):
                vertex.data.append(vertices[each])
        if vertex.op in _WEIGHT and vertex.data:
            vertex.rank = len(node.kwargs["input"].meta["val"].shape)
        if vertex.op in ("quantize", "dequantize"):
            vertex.scale, vertex.axis = scale_of(module, node), node.kwargs.get("axis")
        elif vertex.op == "convolution":
            vertex.transposed = bool(node.kwargs["transposed"])
        elif vertex.op == "matmul":
            vertex.transposed = bool(node.kwargs.get("transpose_other", False))
        elif vertex.op == "add" and (node.kwargs.get("alpha", 1) != 1 or len(node.all_input_nodes) != 2):
            vertex.op = "add of a number, or scaled"
    return link(list(vertices.values()))


def scale_of(module: torch.fx.GraphModule, node: torch.fx.Node) -> tuple[float, ...]:
    """The scale of a Q or DQ: one number, or one for each channel."""
    value: Any = node.kwargs["scale"]
    constant = edit.tensor_of(module, value)
    return (float(value),) if constant is None else tuple(constant.flatten().tolist())


def _op(node: torch.fx.Node) -> str:
    kinds = {"placeholder": "input", "get_attr": "constant", "output": "output"}
    return kinds.get(node.op) or normalise.op_name(node) or str(node.target)


def _is_data(each: torch.fx.Node, node: torch.fx.Node, op: str) -> bool:
    """Whether a node reads another as a tensor of the network, and not as its bias, scale or statistics."""
    if op in ("quantize", "dequantize", "convolution", "linear", "batch_norm"):
        return each is node.kwargs["input"]
    return True
