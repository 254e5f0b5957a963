"""The placement rules' view of an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import Unavailable, UsageError
from bench.lowering.quantize.view import Vertex, link
from bench.model.distributions import install

if TYPE_CHECKING:
    import onnx

_OPS = {
    "Conv": "convolution", "ConvTranspose": "convolution", "Gemm": "linear", "MatMul": "matmul", "Add": "add",
    "Concat": "cat", "BatchNormalization": "batch_norm", "QuantizeLinear": "quantize",
    "DequantizeLinear": "dequantize", "MaxPool": "max_pool", "Reshape": "reshape", "Flatten": "reshape",
    "Transpose": "permute", "Squeeze": "reshape", "Unsqueeze": "reshape", "Slice": "slice", "Relu": "relu",
    "Clip": "clamp", "Sigmoid": "sigmoid", "Tanh": "tanh", "LeakyRelu": "leaky_relu", "Elu": "elu",
    "HardSigmoid": "hardsigmoid", "HardSwish": "hardswish",
}  # fmt: skip
# How many of its first inputs are tensors of the network; all of those of another op.
_DATA = {"convolution": 1, "linear": 1, "matmul": 1, "batch_norm": 1, "quantize": 1, "dequantize": 1, "reshape": 1,
         "slice": 1, "clamp": 1}  # fmt: skip


def read(path: Path) -> list[Vertex]:
    """The vertices of a file, whose weights may lie in another file and are not read.

    Raises:
        UsageError: there is no such file, or it is no ONNX model.
        Unavailable: the package onnx is not installed.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise Unavailable(f"an ONNX file is read with the package onnx: {error}", fix=install("onnx")) from error
    try:
        model = onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", fix="the path of an ONNX file") from error
    except DecodeError as error:
        raise UsageError(f"{path} is no ONNX model: {error}", fix="the path of an ONNX file") from error
    if not model.graph.node:
        raise UsageError(f"{path} is no ONNX model: it has no nodes", fix="the path of an ONNX file")
    return of_model(model)


def of_model(model: onnx.ModelProto) -> list[Vertex]:
    """The vertices of a model; ``node`` is the NodeProto."""
    tensors: dict[str, Vertex] = {}
    constants: dict[str, Any] = {each.name: each for each in model.graph.initializer}
    vertices: list[Vertex] = []

    def add(vertex: Vertex, *results: str) -> None:
        vertices.append(vertex)
        tensors.update(dict.fromkeys(results, vertex))

    for name, value in constants.items():
        vertex = Vertex(name, "constant", node=value)
        vertex.shape = tuple(value.dims)
        add(vertex, name)
    for each in model.graph.input:
        if each.name not in constants:
            add(Vertex(each.name, "input"), each.name)
    for index, node in enumerate(model.graph.node):
        if node.op_type == "Constant":
            value = next((each.t for each in node.attribute if each.name == "value"), None)
            vertex = Vertex(node.output[0], "constant", node=value)
            vertex.shape = tuple(value.dims) if value is not None else ()
            constants[node.output[0]] = value
            add(vertex, node.output[0])
        else:
            add(_vertex(node, index, tensors, constants), *node.output)
    for each in model.graph.output:
        if each.name in tensors:
            vertex = Vertex(f"output {each.name}", "output")
            vertex.data.append(tensors[each.name])
            add(vertex)
    return link(vertices)


def _vertex(node: Any, index: int, tensors: dict[str, Vertex], constants: dict[str, Any]) -> Vertex:
    op = _OPS.get(node.op_type, node.op_type)
    vertex = Vertex(node.name or f"{node.op_type} {index}", op, node=node)
    attributes = {each.name: each for each in node.attribute}
    count = _DATA.get(op, len(node.input))
    vertex.data = [tensors[name] for name in node.input[:count] if name in tensors]
    if op in ("convolution", "linear", "matmul") and len(node.input) > 1:
        vertex.weight = tensors.get(node.input[1])
    vertex.transposed = node.op_type == "ConvTranspose"
    if node.op_type == "Gemm" and not ("transB" in attributes and attributes["transB"].i):
        vertex.op = "matmul"  # whose output channels are the last dimension of its weights
    if op in ("quantize", "dequantize"):
        vertex.scale = _scale(constants.get(node.input[1]))
        if len(vertex.scale) > 1:
            vertex.axis = attributes["axis"].i if "axis" in attributes else 1
    return vertex


def _scale(value: Any) -> tuple[float, ...]:
    """The numbers of a scale; NaN for one that is computed or lies in another file, which is like no other."""
    from onnx import numpy_helper

    if value is None or value.data_location == 1:
        return (float("nan"),)
    array = np.atleast_1d(numpy_helper.to_array(value)).astype(np.float64)
    return tuple(array.flatten().tolist())
