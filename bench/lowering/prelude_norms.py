"""Normalisation as versions of TensorRT compute it; programs that use these functions carry them."""

from __future__ import annotations

from typing import Any

import numpy as np


def emit_normalization(
    p: Any, x: Any, scale: Any, bias: Any, axes: int, epsilon: float, dtype: str, name: str, groups: int = 1,
    channels: int = 1,
) -> Any:  # fmt: skip
    """(x - mean) / sqrt(variance + epsilon) scale + bias over the bits of ``axes``, computed in float32.

    Before TensorRT 10 the layer does so whatever its inputs are; since then their type is what it computes in. Scale
    and bias have the rank of x, or are None. With groups they are one value a channel where TensorRT takes that (since
    10.15), else one a group, and those of the channels are applied after.
    """
    kind = "float32" if p.strongly_typed else dtype
    x = p.cast(x, kind, f"{name} input as {kind}")  # before 10 tensors within may say FLOAT where they are HALF
    scale = None if scale is None else p.cast(scale, kind, f"{name} scale")
    bias = None if bias is None else p.cast(bias, kind, f"{name} bias")
    by_group = groups > 1 and not hasattr(p.net, "add_normalization_v2")
    shape = (1, groups if by_group else channels, *(1,) * (len(x.shape) - 2))
    if not by_group and (scale is not None or bias is not None):
        shape = tuple((bias if scale is None else scale).shape)
    one = p.constant(np.full(shape, 1, kind), f"{name} one") if by_group or scale is None else scale
    zero = p.constant(np.full(shape, 0, kind), f"{name} zero") if by_group or bias is None else bias
    add = p.net.add_normalization_v2 if groups > 1 and not by_group else p.net.add_normalization
    layer = add(x, one, zero, axes)
    layer.epsilon = epsilon
    if groups > 1:
        layer.num_groups = groups
    y = p.out(layer, name)
    if by_group and scale is not None:
        y = p.out(p.net.add_elementwise(y, scale, p.trt.ElementWiseOperation.PROD), f"{name} scaled")
    if by_group and bias is not None:
        y = p.out(p.net.add_elementwise(y, bias, p.trt.ElementWiseOperation.SUM), f"{name} shifted")
    return p.cast(y, dtype, f"{name} as {dtype}")
