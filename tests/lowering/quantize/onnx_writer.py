"""Writes quantized graphs of the tests' few ops as ONNX files, for other readers of Q/DQ than the lowering's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from bench.lowering import normalise
from bench.lowering.passes import edit

Graph = torch.fx.GraphModule


def _conv(a: dict[str, Any]) -> tuple[str, list[Any], dict[str, Any]]:
    inputs = [a["input"], a["weight"], *([a["bias"]] if a["bias"] is not None else [])]
    rest: dict[str, Any] = {"strides": a["stride"], "pads": [*a["padding"]] * 2, "group": a["groups"]}
    return "ConvTranspose" if a["transposed"] else "Conv", inputs, rest


def _batch_norm(a: dict[str, Any]) -> tuple[str, list[Any], dict[str, Any]]:
    names = ("input", "weight", "bias", "running_mean", "running_var")
    return "BatchNormalization", [a[name] for name in names], {"epsilon": a["eps"]}


def _max_pool(a: dict[str, Any]) -> tuple[str, list[Any], dict[str, Any]]:
    rest = {"kernel_shape": a["kernel_size"], "strides": a["stride"], "pads": [*a["padding"]] * 2}
    return "MaxPool", [a["input"]], rest


_OPS: dict[str, Callable[[dict[str, Any]], tuple[str, list[Any], dict[str, Any]]]] = {
    "convolution": _conv,
    "batch_norm": _batch_norm,
    "max_pool": _max_pool,
    "relu": lambda a: ("Relu", [a["input"]], {}),
    "add": lambda a: ("Add", [a["input"], a["other"]], {}),
    "mul": lambda a: ("Mul", [a["input"], a["other"]], {}),
    "cat": lambda a: ("Concat", list(a["tensors"]), {"axis": a["dim"]}),
}


def write(graph: Graph, path: Path) -> Path:
    """The ONNX file of a graph, opset 17, with the names of its nodes; the input is ``x``, the output ``y``."""
    constants: dict[str, Any] = {}
    nodes: list[Any] = []

    def constant(name: str, value: Any) -> str:
        constants[name] = numpy_helper.from_array(np.asarray(value), name)
        return name

    def tensor(value: Any, name: str) -> str:
        if not isinstance(value, torch.fx.Node):
            return constant(name, np.asarray(value, "float32"))
        held = edit.tensor_of(graph, value)
        if held is not None:
            return constant(str(value.target), held.numpy())
        return "x" if value.op == "placeholder" else value.name

    for node in graph.graph.nodes:
        op = normalise.op_name(node)
        if op in ("quantize", "dequantize"):
            scale = tensor(node.kwargs["scale"], f"{node.name}_scale")
            zero = constant(f"{scale}_zero", np.zeros(tuple(constants[scale].dims), "int8"))
            axis = {} if node.kwargs["axis"] is None else {"axis": node.kwargs["axis"]}
            kind = "QuantizeLinear" if op == "quantize" else "DequantizeLinear"
            inputs = [tensor(node.kwargs["input"], node.name), scale, zero]
            nodes.append(helper.make_node(kind, inputs, [node.name], name=node.name, **axis))
        elif op:
            kind, values, rest = _OPS[op](dict(node.kwargs))
            inputs = [tensor(value, f"{node.name}_{index}") for index, value in enumerate(values)]
            nodes.append(helper.make_node(kind, inputs, [node.name], name=node.name, **rest))
    (returned,) = next(node for node in graph.graph.nodes if node.op == "output").args[0]
    nodes.append(helper.make_node("Identity", [returned.name], ["y"], name="result"))
    example = next(node for node in graph.graph.nodes if node.op == "placeholder").meta["val"]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, list(value.shape))
        for name, value in (("x", example), ("y", returned.meta["val"]))
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "net", ends[:1], ends[1:], list(constants.values())),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path
