"""Normalisation by layer, group, instance, and by root mean square."""

from __future__ import annotations

from typing import Any

from bench.lowering import prelude_norms
from bench.lowering.calls import Tensor
from bench.lowering.registry import converter, variant
from bench.lowering.writer import Writer


@converter("aten.layer_norm.default", layers="INormalizationLayer")
def layer_norm(
    w: Writer, *, input: Tensor, normalized_shape: list[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """Mean 0 and variance 1 over the last dimensions, then scale and bias; in float32."""
    axes = sum(1 << axis for axis in range(input.rank - len(normalized_shape), input.rank))
    scale, shift = (None if each is None else w.broadcast(each, input.rank) for each in (weight, bias))
    return w.call(prelude_norms.emit_normalization, input, scale, shift, axes, eps, input.dtype)


@variant("aten.native_layer_norm.default", of="layer_norm")
def _native_layer_norm(result: Any, **kwargs: Any) -> dict[str, Any]:
    return kwargs


@converter("aten.group_norm.default", layers="INormalizationLayer; before 10.15 IElementWiseLayer for scale and bias")
def group_norm(
    w: Writer, *, input: Tensor, num_groups: int, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """Mean 0 and variance 1 over the channels of a group and all places, then scale and bias; in float32."""
    # With groups TensorRT 8.6 takes two spatial dimensions and more.
    missing = max(0, (4 if num_groups > 1 else 3) - input.rank)
    x = w.reshape(input, (*input.shape, *(1,) * missing), "place")
    axes = sum(1 << axis for axis in range(2, x.rank)) | (2 if num_groups == 1 else 0)
    scale, shift = (_by_channel(w, each, x.rank) for each in (weight, bias))
    more: dict[str, Any] = {}
    if num_groups > 1:
        if not isinstance(input.shape[1], int):
            raise w.refuse("group norm of a dynamic number of channels")
        more = {"groups": num_groups, "channels": input.shape[1]}
    y = w.call(prelude_norms.emit_normalization, x, scale, shift, axes, eps, input.dtype, shape=x.shape, **more)
    return w.reshape(y, w.result.shape, "")


@variant("aten.native_group_norm.default", of="group_norm")
def _native_group_norm(
    result: Any, *, input: Any, weight: Any, bias: Any, group: int, eps: float, **_: Any
) -> dict[str, Any]:
    return {"input": input, "num_groups": group, "weight": weight, "bias": bias, "eps": eps}


@converter("aten.instance_norm.default", layers="INormalizationLayer")
def instance_norm(
    w: Writer, *, input: Tensor, weight: Tensor | None, bias: Tensor | None, use_input_stats: bool, eps: float
) -> Tensor:
    """Mean 0 and variance 1 of each channel over all places, then scale and bias; in float32."""
    if not use_input_stats:
        raise w.refuse("instance norm by running statistics; batch norm computes the same")
    axes = sum(1 << axis for axis in range(2, input.rank))
    scale, shift = (_by_channel(w, each, input.rank) for each in (weight, bias))
    return w.call(prelude_norms.emit_normalization, input, scale, shift, axes, eps, input.dtype)


def _by_channel(w: Writer, value: Tensor | None, rank: int) -> Tensor | None:
    """One value a channel, the second of ``rank`` dimensions."""
    return None if value is None else w.reshape(value, (1, *value.shape, *(1,) * (rank - 2)), "channels")


@converter("aten.rms_norm.default", layers="IElementWiseLayer, IReduceLayer AVG, IUnaryLayer SQRT")
def rms_norm(
    w: Writer, *, input: Tensor, normalized_shape: list[int], weight: Tensor | None, eps: float | None
) -> Tensor:
    """x over the root of the mean square of the last dimensions, then scale; in float32."""
    axes = range(input.rank - len(normalized_shape), input.rank)
    operation = w.trt.ElementWiseOperation
    epsilon = {"float32": 1.1920929e-07, "float16": 0.0009765625, "bfloat16": 0.0078125}[input.dtype]
    x = w.cast(input, "float32")
    kind, shape = "float32", tuple(1 if axis in axes else size for axis, size in enumerate(input.shape))
    square = w.out(w.net.add_elementwise(x, x, operation.PROD), "square", dtype=kind)
    layer = w.net.add_reduce(square, w.trt.ReduceOperation.AVG, sum(1 << axis for axis in axes), True)
    mean = w.out(layer, "mean", shape=shape, dtype=kind)
    number = w.scalar(epsilon if eps is None else eps, kind, input.rank)
    total = w.out(w.net.add_elementwise(mean, number, operation.SUM), "sum", shape=shape, dtype=kind)
    root = w.out(w.net.add_unary(total, w.trt.UnaryOperation.SQRT), "root", shape=shape, dtype=kind)
    y = w.out(w.net.add_elementwise(x, root, operation.DIV), "quotient" if weight is not None else "", dtype=kind)
    if weight is not None:
        scale = w.broadcast(w.cast(weight, kind), input.rank)
        y = w.out(w.net.add_elementwise(y, scale, operation.PROD), dtype=kind)
    return w.cast(y, w.result.dtype)
