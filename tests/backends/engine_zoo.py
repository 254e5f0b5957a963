"""Models of test_tensorrt_gpu.py, and networks that compute the same. Imported where there is no torch, too."""

from __future__ import annotations

from typing import Any

import numpy as np


def branches() -> Any:
    """Four convolutions of one input, which can run side by side: [batch, 32, 32, 32] in, [batch, 128, 32, 32] out."""
    import torch

    class Branches(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convs = torch.nn.ModuleList(torch.nn.Conv2d(32, 32, size, padding=size // 2) for size in (1, 3, 5, 7))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([conv(x).relu() for conv in self.convs], 1)

    return Branches()


def branches_by_hand(network: Any, inputs: Any, weights: Any, trt: Any) -> dict[str, Any]:
    """``branches`` in TensorRT's layers."""
    made = []
    for index, size in enumerate((1, 3, 5, 7)):
        kernel, bias = (weights[f"convs.{index}.{name}"] for name in ("weight", "bias"))
        layer = network.add_convolution_nd(inputs["x"], 32, (size, size), kernel, bias)
        layer.padding_nd = (size // 2, size // 2)
        made.append(network.add_activation(layer.get_output(0), trt.ActivationType.RELU).get_output(0))
    return {"output": network.add_concatenation(made).get_output(0)}


def gelu() -> Any:
    """GELU by its tanh approximation."""
    import torch

    return torch.nn.GELU(approximate="tanh")


def gelu_by_plugin(network: Any, inputs: Any, weights: Any, trt: Any) -> dict[str, Any]:
    """``gelu`` as TensorRT's own plugin of that name."""
    creator = trt.get_plugin_registry().get_plugin_creator("CustomGeluPluginDynamic", "1")
    half = np.array([1], np.int32)  # type_id: the number of DataType.HALF
    fields = trt.PluginFieldCollection([trt.PluginField("type_id", half, trt.PluginFieldType.INT32)])
    layer = network.add_plugin_v2([inputs["input"]], creator.create_plugin("gelu", fields))
    return {"output": layer.get_output(0)}


def determinant() -> Any:
    """An operator that ONNX has and TensorRT's parser has not."""
    import torch

    class Determinant(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.det(x)

    return Determinant()


def tokens() -> Any:
    """A language model in small: ids [batch, seq] in, ``states`` [batch, seq, 64] and ``pooled`` [batch, 64] out."""
    import torch

    class Tokens(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(100, 64)
            self.norm = torch.nn.LayerNorm(64)
            self.pooler = torch.nn.Linear(64, 64)

        def forward(self, ids: torch.Tensor) -> dict[str, torch.Tensor]:
            states = self.norm(self.embedding(ids))
            return {"states": states, "pooled": self.pooler(states[:, 0]).tanh()}

    return Tokens()
