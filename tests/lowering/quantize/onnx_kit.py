"""A small ONNX file with Q/DQ, as a quantizer outside of trtbench may write one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Writer:
    """Nodes and constants of a graph whose input is ``x``, float32 [1, 4, 8, 8]."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, value: Any) -> str:
        """An initializer; its name."""
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, kind: str, *inputs: str, name: str, **attributes: Any) -> str:
        """A node; the name of its result."""
        self.nodes.append(helper.make_node(kind, list(inputs), [f"{name}_out"], name=name, **attributes))
        return f"{name}_out"

    def pair(self, tensor: str, name: str, scale: Any, **attributes: Any) -> str:
        """QuantizeLinear and DequantizeLinear of a tensor; the name of the result."""
        step = self.constant(f"{name}_scale", np.asarray(scale, "float32"))
        zero = self.constant(f"{name}_zero", np.zeros_like(np.asarray(scale), "int8"))
        quantized = self.node("QuantizeLinear", tensor, step, zero, name=f"{name}_q", **attributes)
        return self.node("DequantizeLinear", quantized, step, zero, name=f"{name}_dq", **attributes)

    def conv(self, x: str, name: str, *, channels: bool = True, stored: bool = False, kind: str = "Conv") -> str:
        """A convolution of 4 channels with quantized weights: with a scale a channel, or ``stored`` as int8."""
        axis = 1 if kind == "ConvTranspose" else 0
        scale = np.full(4, 0.01, "float32") if channels else 0.01
        if stored:
            weight = self.constant(f"{name}_w", np.ones((4, 4, 1, 1), "int8"))
            step = self.constant(f"{name}_ws", np.asarray(scale, "float32"))
            weight = self.node("DequantizeLinear", weight, step, name=f"{name}_wdq", axis=axis)
        else:
            weight = self.constant(f"{name}_w", np.ones((4, 4, 1, 1), "float32"))
            weight = self.pair(weight, f"{name}_w", scale, axis=axis)
        return self.node(kind, x, weight, name=name)

    def write(self, path: Path, result: str) -> Path:
        """The file, checked by onnx."""
        shape = [1, 4, 8, 8]
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(result, TensorProto.FLOAT, ["n", "c", "h", "w"])],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        onnx.save(model, str(path))
        return path


def residual(path: Path, *, mended: bool) -> Path:
    """A block whose convolution is added to what the block reads. ``mended``, or with Q/DQ between both and a coarse
    scale of the first weights.
    """
    w = Writer()
    x = w.pair("x", "x", 0.02)
    x = w.node("Relu", w.conv(x, "stem", channels=mended, stored=True), name="relu")
    x = w.pair(x, "relu", 0.03)
    y = w.conv(x, "block")
    if not mended:
        y = w.pair(y, "block", 0.05)
    y = w.node("Relu", w.node("Add", y, x, name="add"), name="relu2")
    return w.write(path, w.conv(w.pair(y, "sum", 0.06), "head"))


def upsampling(path: Path) -> Path:
    """A quantized transposed convolution, its batch normalisation and a pool whose scales differ."""
    w = Writer()
    y = w.conv(w.pair("x", "x", 0.02), "up", kind="ConvTranspose")
    statistics = [w.constant(f"bn_{index}", np.ones(4, "float32")) for index in range(4)]
    y = w.node("Relu", w.node("BatchNormalization", y, *statistics, name="bn"), name="relu")
    y = w.node("MaxPool", w.pair(y, "relu", 0.03), name="pool", kernel_shape=[2, 2])
    return w.write(path, w.conv(w.pair(y, "pool", 0.02), "head"))


def concat(path: Path) -> Path:
    """Two convolutions side by side, one of which has no pair before the concatenation."""
    w = Writer()
    x = w.pair("x", "x", 0.02)
    y = w.node("Concat", w.pair(w.conv(x, "left"), "left", 0.03), w.conv(x, "right"), name="cat", axis=1)
    return w.write(path, w.node("Relu", y, name="relu"))
