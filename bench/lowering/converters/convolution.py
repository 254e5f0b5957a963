"""Convolutions, also transposed ones and those of one dimension."""

from __future__ import annotations

from typing import Any

from bench.lowering.calls import Spec, Tensor, Text
from bench.lowering.registry import converter, variant
from bench.lowering.sizes import fixed
from bench.lowering.writer import Writer


@converter("aten.convolution.default", layers="IConvolutionLayer, IDeconvolutionLayer")
def convolution(
    w: Writer, *, input: Tensor, weight: Tensor, bias: Tensor | None, stride: list[int], padding: list[int],
    dilation: list[int], transposed: bool, output_padding: list[int], groups: int,
) -> Tensor:  # fmt: skip
    """Convolution over 1, 2 or 3 dimensions, in groups or transposed; 1 dimension runs as 2, the first of size 1."""
    dims = input.rank - 2
    kind = "float32" if transposed and input.dtype == "bfloat16" else input.dtype  # deconvolutions take no bfloat16
    input = w.cast(input, kind)
    result = w.result
    flat = dims == 1
    if flat:
        input = w.reshape(input, (*input.shape[:2], 1, input.shape[2]), "rows")
    lead = 1 if flat else 0
    weight_shape = fixed(weight.shape)
    size = (1,) * lead + weight_shape[2:]
    kernel, offset = _weights(w, weight, bias, lead, kind)
    steps = _nd(dilation, dims, lead, 1)
    if transposed:
        # A dilation of a single value changes nothing, and TensorRT takes none beside a stride.
        steps = tuple(1 if n == 1 else step for n, step in zip(size, steps, strict=True))
        if max(stride) > 1 and max(steps) > 1:
            what = f"stride {list(stride)} and dilation {list(dilation)}"
            raise w.refuse(f"a transposed convolution with {what}: TensorRT takes only one of the two above 1")
    maps = weight_shape[1] * groups if transposed else weight_shape[0]
    add = w.net.add_deconvolution_nd if transposed else w.net.add_convolution_nd
    layer = add(input, maps, size, kernel, offset)
    _set(layer, "stride_nd", _nd(stride, dims, lead, 1), 1)
    pads = _nd(padding, dims, lead, 0)
    if transposed and any(output_padding):
        after = tuple(p - o for p, o in zip(pads, _nd(output_padding, dims, lead, 0), strict=True))
        if any(n < 0 for n in after):
            raise w.refuse(f"output_padding {list(output_padding)} is larger than padding {list(padding)}")
        layer.pre_padding, layer.post_padding = pads, after
    else:
        _set(layer, "padding_nd", pads, 0)
    _set(layer, "dilation_nd", steps, 1)
    if groups > 1:
        layer.num_groups = groups
    if weight.constant == "":
        layer.set_input(1, w.cast(weight, kind))
    if not flat:
        return w.cast(w.out(layer, dtype=kind), result.dtype)
    wide = w.out(layer, "row", shape=(*result.shape[:2], 1, result.shape[2]), dtype=kind)
    return w.cast(w.reshape(wide, result.shape, "flat"), result.dtype)


def _weights(w: Writer, weight: Tensor, bias: Tensor | None, lead: int, kind: str) -> tuple[Any, Any]:
    """The arguments kernel and bias, of the type ``kind``.

    A bias that is no constant is refused: it could only be added by a sum.
    """
    if bias is not None and not bias.constant:
        raise w.refuse("a convolution's bias is computed, and not a constant")
    if not weight.constant:
        if lead:
            raise w.refuse("the kernel of a convolution over one dimension is computed, and not a constant")
        return Text("trt.Weights()"), w.weight(bias, kind)
    return w.weight(weight, kind, "[:, :, None]" if lead else ""), w.weight(bias, kind)


def _nd(values: list[int], dims: int, lead: int, fill: int) -> tuple[int, ...]:
    """One value for each dimension, with those in front that are added here."""
    each = tuple(values) * dims if len(values) == 1 else tuple(values)
    return (fill,) * lead + each


def _set(layer: Any, name: str, values: tuple[int, ...], default: int) -> None:
    """Set a property that is not TensorRT's default."""
    if any(value != default for value in values):
        setattr(layer, name, values)


@variant("aten.conv1d.default", "aten.conv2d.default", "aten.conv3d.default", of="convolution")
def _plain(
    result: Spec, *, input: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> dict[str, Any]:
    zeros = [0] * (len(result.shape) - 2)
    return {
        "input": input, "weight": weight, "bias": bias, "stride": stride, "padding": padding, "dilation": dilation,
        "transposed": False, "output_padding": zeros, "groups": groups,
    }  # fmt: skip


@variant(
    "aten.conv_transpose1d.default", "aten.conv_transpose2d.input", "aten.conv_transpose3d.input", of="convolution"
)
def _transposed(
    result: Spec, *, input: Any, weight: Any, bias: Any, stride: Any, padding: Any, output_padding: Any, groups: int,
    dilation: Any,
) -> dict[str, Any]:  # fmt: skip
    return {
        "input": input, "weight": weight, "bias": bias, "stride": stride, "padding": padding, "dilation": dilation,
        "transposed": True, "output_padding": output_padding, "groups": groups,
    }  # fmt: skip


@converter("aten.batch_norm.default", layers="IElementWiseLayer")
def batch_norm(
    w: Writer, *, input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
    running_var: Tensor | None, training: bool, eps: float,
) -> Tensor:  # fmt: skip
    """Batch normalisation that no convolution takes: x scale + shift, both computed here."""
    if training or running_mean is None or running_var is None:
        raise w.refuse("batch normalisation by the batch's own mean; call eval() on the model")
    if not all(tensor is None or tensor.constant for tensor in (weight, bias, running_mean, running_var)):
        raise w.refuse("batch normalisation whose statistics are computed, and not constants")
    import numpy as np

    kind = w.value(running_mean).dtype
    scale = 1.0 / np.sqrt(w.value(running_var).astype("float32") + np.float32(eps))
    scale = scale * (1.0 if weight is None else w.value(weight).astype("float32"))
    shift = -w.value(running_mean).astype("float32") * scale
    shift = shift + (0.0 if bias is None else w.value(bias).astype("float32"))
    shape = (1, -1, *[1] * (input.rank - 2))
    operation = w.trt.ElementWiseOperation
    by = w.new_weight("scale", scale.astype(kind).reshape(shape), running_mean.dtype)
    scaled = w.out(w.net.add_elementwise(input, by, operation.PROD), "scaled")
    by = w.new_weight("shift", shift.astype(kind).reshape(shape), running_mean.dtype)
    return w.out(w.net.add_elementwise(scaled, by, operation.SUM))


@variant("aten._native_batch_norm_legit_no_training.default", of="batch_norm")
def _native_batch_norm(
    result: Any, *, input: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, momentum: float, eps: float
) -> dict[str, Any]:
    return {
        "input": input, "weight": weight, "bias": bias, "running_mean": running_mean, "running_var": running_var,
        "training": False, "momentum": momentum, "eps": eps, "cudnn_enabled": False,
    }  # fmt: skip
