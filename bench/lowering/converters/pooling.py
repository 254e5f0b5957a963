"""Pooling over windows, and to a size."""

from __future__ import annotations

from typing import Any

from bench.lowering.calls import Tensor
from bench.lowering.registry import converter
from bench.lowering.sizes import Shape, Size, fixed
from bench.lowering.writer import Writer


@converter(
    "aten.max_pool2d.default", "aten.max_pool3d.default",
    "aten.max_pool2d_with_indices.default", "aten.max_pool3d_with_indices.default",  # for the values alone
    layers="IPoolingLayer MAX",
)  # fmt: skip
def max_pool(
    w: Writer, *, input: Tensor, kernel_size: list[int], stride: list[int], padding: list[int], dilation: list[int],
    ceil_mode: bool,
) -> Tensor:  # fmt: skip
    """The largest value of each window."""
    if any(n != 1 for n in dilation):
        raise w.refuse(f"max pooling with dilation {list(dilation)}, which TensorRT does not have")
    return _pool(w, "MAX", input, kernel_size, stride, padding, ceil_mode)


@converter("aten.avg_pool2d.default", "aten.avg_pool3d.default", layers="IPoolingLayer AVERAGE")
def avg_pool(
    w: Writer, *, input: Tensor, kernel_size: list[int], stride: list[int], padding: list[int], ceil_mode: bool,
    count_include_pad: bool, divisor_override: int | None,
) -> Tensor:  # fmt: skip
    """The mean of each window, with or without the padding."""
    if divisor_override is not None:
        raise w.refuse("average pooling with divisor_override, which TensorRT does not have")
    return _pool(w, "AVERAGE", input, kernel_size, stride, padding, ceil_mode, with_padding=count_include_pad)


@converter(
    "aten.adaptive_avg_pool2d.default", "aten._adaptive_avg_pool2d.default", layers="IReduceLayer AVG, IPoolingLayer"
)
def adaptive_avg_pool2d(w: Writer, *, input: Tensor, output_size: list[int]) -> Tensor:
    """The mean of windows of one size that cover the input; the size must divide the input's."""
    if all(size == 1 for size in output_size):
        axes = sum(1 << axis for axis in (input.rank - 2, input.rank - 1))
        return w.out(w.net.add_reduce(input, w.trt.ReduceOperation.AVG, axes, True))
    sizes = input.shape[-2:]
    if any(isinstance(size, Size) or size % out for size, out in zip(sizes, output_size, strict=True)):
        raise w.refuse(f"adaptive pooling of {sizes} to {list(output_size)}, whose windows are of several sizes")
    window = [size // out for size, out in zip(fixed(sizes), output_size, strict=True)]
    return _pool(w, "AVERAGE", input, window, window, [0, 0], False)


def _pool(
    w: Writer, kind: str, input: Tensor, window: list[int], stride: list[int], padding: list[int], ceil: bool, *,
    with_padding: bool = True,
) -> Tensor:  # fmt: skip
    dims = 3 if len(window) == 3 else 2
    result = w.result
    if input.rank == dims + 1:
        input = w.reshape(input, (1, *input.shape), "batch")
    size, step, pad = (_nd(values, dims) for values in (window, stride or window, padding))
    if kind == "AVERAGE" and not any(pad) and _covers(input.shape[-dims:], result.shape[-dims:], size):
        axes = sum(1 << axis for axis in range(input.rank - dims, input.rank))
        y = w.out(
            w.net.add_reduce(input, w.trt.ReduceOperation.AVG, axes, True), shape=(*input.shape[:-dims], *[1] * dims)
        )
        return w.reshape(y, result.shape)
    layer = w.net.add_pooling_nd(input, getattr(w.trt.PoolingType, kind), size)
    layer.stride_nd = step
    after = _after(w, input, result.shape, size, step, pad) if ceil else pad
    if not any(pad):
        with_padding = False  # what is rounded up counts nowhere in PyTorch
    if kind == "AVERAGE" and with_padding and after != pad:
        raise w.refuse("average pooling with ceil_mode and count_include_pad, which counts less than TensorRT does")
    if after != pad:
        layer.pre_padding, layer.post_padding = pad, after
    elif any(pad):
        layer.padding_nd = pad
    if kind == "AVERAGE" and (any(pad) or any(after)):
        layer.average_count_excludes_padding = not with_padding
    y = w.out(layer, shape=result.shape if result.rank == input.rank else (1, *result.shape))
    return w.reshape(y, result.shape)


def _covers(before: Shape, after: Shape, size: tuple[int, ...]) -> bool:
    """Whether one window has all values."""
    sizes = list(zip(before, size, strict=True))
    return all(n == 1 for n in after) and all(isinstance(m, int) and m <= n for m, n in sizes)


def _after(w: Writer, input: Tensor, result: Any, size: Any, step: Any, pad: Any) -> tuple[int, ...]:
    """The padding behind the input that gives PyTorch's rounded up sizes where TensorRT rounds down."""
    dims = len(size)
    after = []
    for before, out, n, s, p in zip(input.shape[-dims:], result[-dims:], size, step, pad, strict=True):
        if isinstance(before, Size) or isinstance(out, Size):
            raise w.refuse("pooling with ceil_mode of a size that is dynamic")
        after.append(max(p, (out - 1) * s + n - before - p))
    return tuple(after)


def _nd(values: list[int], dims: int) -> tuple[int, ...]:
    return tuple(values) * dims if len(values) == 1 else tuple(values)
