"""Networks filled by hand, which the suites here name as ``network: networks.py:function``: TensorRT's own layers.

A function gets the empty network, the inputs already added (ITensors by name), the model's weights (NumPy arrays by
their names in its state dict) and the module ``tensorrt``; it returns the outputs, ITensors by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def resnet(network: Any, inputs: Mapping[str, Any], weights: Mapping[str, Array], trt: Any) -> dict[str, Any]:
    """Any of torchvision's ResNets (18 to 152): ``x`` [batch, 3, H, W] in, ``output`` [batch, classes] out.

    Batch normalisation is folded into the convolution before it, so that a block is convolutions, one sum and ReLUs:
    what the ONNX route leaves to the parser and the builder.
    """

    def folded(conv: str, norm: str) -> tuple[Array, Array]:
        """w' = w g / sqrt(v + e), b' = b - m g / sqrt(v + e): with e = 1e-5, in float32."""
        wide = {name: weights[f"{norm}.{name}"].astype(np.float32) for name in _NORM}
        gain = wide["weight"] / np.sqrt(wide["running_var"] + np.float32(1e-5))
        kernel = weights[f"{conv}.weight"]
        bias = wide["bias"] - wide["running_mean"] * gain
        scaled = kernel.astype(np.float32) * gain[:, None, None, None]
        return np.ascontiguousarray(scaled.astype(kernel.dtype)), bias.astype(kernel.dtype)

    def convolution(x: Any, conv: str, norm: str, stride: int = 1) -> Any:
        kernel, bias = folded(conv, norm)
        size = kernel.shape[2]
        layer = network.add_convolution_nd(x, kernel.shape[0], (size, size), kernel, bias)
        layer.stride_nd, layer.padding_nd, layer.name = (stride, stride), (size // 2, size // 2), conv
        return layer.get_output(0)

    def relu(x: Any) -> Any:
        return network.add_activation(x, trt.ActivationType.RELU).get_output(0)

    def block(x: Any, name: str, stride: int) -> Any:
        """Two 3x3 convolutions, or 1x1, 3x3, 1x1 with the stride in the 3x3 one; the shortcut may change the shape."""
        deep = f"{name}.conv3.weight" in weights
        y = relu(convolution(x, f"{name}.conv1", f"{name}.bn1", 1 if deep else stride))
        y = convolution(y, f"{name}.conv2", f"{name}.bn2", stride if deep else 1)
        if deep:
            y = convolution(relu(y), f"{name}.conv3", f"{name}.bn3")
        if f"{name}.downsample.0.weight" in weights:
            x = convolution(x, f"{name}.downsample.0", f"{name}.downsample.1", stride)
        return relu(network.add_elementwise(x, y, trt.ElementWiseOperation.SUM).get_output(0))

    x = relu(convolution(inputs["x"], "conv1", "bn1", 2))
    pool = network.add_pooling_nd(x, trt.PoolingType.MAX, (3, 3))
    pool.stride_nd, pool.padding_nd = (2, 2), (1, 1)
    x = pool.get_output(0)
    for stage in range(1, 5):
        names = sorted({_block_of(name) for name in weights if name.startswith(f"layer{stage}.")}, key=_number)
        for index, name in enumerate(names):
            x = block(x, name, 2 if stage > 1 and index == 0 else 1)
    x = network.add_reduce(x, trt.ReduceOperation.AVG, 1 << 2 | 1 << 3, True).get_output(0)
    # A 1x1 convolution is the classifier's matrix product, whatever the batch.
    kernel = np.ascontiguousarray(weights["fc.weight"][:, :, None, None])
    x = network.add_convolution_nd(x, kernel.shape[0], (1, 1), kernel, weights["fc.bias"]).get_output(0)
    flat = network.add_shuffle(x)
    flat.reshape_dims = (0, kernel.shape[0])  # 0 keeps the batch
    return {"output": flat.get_output(0)}


_NORM = ("weight", "bias", "running_mean", "running_var")


def _block_of(name: str) -> str:
    return ".".join(name.split(".")[:2])


def _number(block: str) -> int:
    return int(block.partition(".")[2])
