"""One value of several: sums, means, extremes, variances, norms."""

from __future__ import annotations

import math
from typing import Any

from bench.lowering.calls import Spec, Tensor
from bench.lowering.registry import converter, variant
from bench.lowering.sizes import Shape, Size
from bench.lowering.writer import Writer

Dims = list[int] | int | None


def reduce_dims(w: Writer, operation: str, input: Tensor, dims: Dims, keepdim: bool, suffix: str = "") -> Tensor:
    """One reduction layer over ``dims``, or over all dimensions where there are none."""
    axes = axes_of(input, dims)
    if not axes:
        return input
    shape = shape_without(input, axes, keepdim)
    layer = w.net.add_reduce(input, getattr(w.trt.ReduceOperation, operation), sum(1 << axis for axis in axes), keepdim)
    return w.out(layer, suffix, shape=shape, dtype=input.dtype)


def axes_of(input: Tensor, dims: Dims) -> list[int]:
    """The dimensions as numbers from 0 on; all where there are none."""
    each = [dims] if isinstance(dims, int) else dims or range(input.rank)
    return sorted({dim % input.rank for dim in each}) if input.rank else []


def shape_without(input: Tensor, axes: list[int], keepdim: bool) -> Shape:
    """The shape after a reduction."""
    sizes = [1 if axis in axes else size for axis, size in enumerate(input.shape) if keepdim or axis not in axes]
    return tuple(sizes)


@converter("aten.sum.dim_IntList", layers="IReduceLayer SUM")
def sum_(w: Writer, *, input: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    """The sum over dimensions."""
    return reduce_dims(w, "SUM", w.cast(input, w.result.dtype), dim, keepdim)


@variant("aten.sum.default", of="sum")
def _sum(result: Any, *, input: Any, dtype: Any) -> dict[str, Any]:
    return {"input": input, "dim": None, "keepdim": False, "dtype": dtype}


@converter("aten.mean.dim", layers="IReduceLayer AVG")
def mean(w: Writer, *, input: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    """The mean over dimensions."""
    return reduce_dims(w, "AVG", w.cast(input, w.result.dtype), dim, keepdim)


@variant("aten.mean.default", of="mean")
def _mean(result: Any, *, input: Any, dtype: Any) -> dict[str, Any]:
    return {"input": input, "dim": None, "keepdim": False, "dtype": dtype}


@converter("aten.amax.default", layers="IReduceLayer MAX")
def amax(w: Writer, *, input: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    """The largest value over dimensions."""
    return reduce_dims(w, "MAX", input, dim, keepdim)


@converter("aten.amin.default", layers="IReduceLayer MIN")
def amin(w: Writer, *, input: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    """The smallest value over dimensions."""
    return reduce_dims(w, "MIN", input, dim, keepdim)


@variant("aten.max.default", of="amax")
def _max(result: Any, *, input: Any) -> dict[str, Any]:
    return {"input": input, "dim": [], "keepdim": False}


@variant("aten.min.default", of="amin")
def _min(result: Any, *, input: Any) -> dict[str, Any]:
    return {"input": input, "dim": [], "keepdim": False}


@converter("aten.prod.dim_int", layers="IReduceLayer PROD")
def prod(w: Writer, *, input: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    """The product over a dimension."""
    return reduce_dims(w, "PROD", w.cast(input, w.result.dtype), dim, keepdim)


@converter("aten.any.dims", layers="ICastLayer, IReduceLayer MAX")
def any_(w: Writer, *, input: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    """Whether any value over dimensions is not zero."""
    return _logical(w, "MAX", input, dim, keepdim)


@converter("aten.all.dims", layers="ICastLayer, IReduceLayer MIN")
def all_(w: Writer, *, input: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    """Whether all values over dimensions are not zero."""
    return _logical(w, "MIN", input, dim, keepdim)


def _logical(w: Writer, operation: str, input: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    number = w.cast(w.cast(input, "bool"), "int32")
    return w.cast(reduce_dims(w, operation, number, dim, keepdim, "count"), "bool")


@variant("aten.any.dim", of="any")
@variant("aten.all.dim", of="all")
def _dim(result: Any, *, input: Any, dim: int, keepdim: bool) -> dict[str, Any]:
    return {"input": input, "dim": [dim], "keepdim": keepdim}


@variant("aten.any.default", of="any")
@variant("aten.all.default", of="all")
def _whole(result: Any, *, input: Any) -> dict[str, Any]:
    return {"input": input, "dim": None, "keepdim": False}


@converter("aten.var.correction", layers="IReduceLayer AVG, IElementWiseLayer")
def var(w: Writer, *, input: Tensor, dim: Dims, correction: float | None, keepdim: bool) -> Tensor:
    """The variance over dimensions, by default the sum of squares over one less than there are values."""
    return _variance(w, input, dim, correction, keepdim)


@converter("aten.std.correction", layers="IReduceLayer AVG, IElementWiseLayer, IUnaryLayer SQRT")
def std(w: Writer, *, input: Tensor, dim: Dims, correction: float | None, keepdim: bool) -> Tensor:
    """The root of the variance."""
    square = _variance(w, input, dim, correction, keepdim, "variance")
    if square.rank:
        return w.out(w.net.add_unary(square, w.trt.UnaryOperation.SQRT))
    root = w.net.add_unary(w.reshape(square, (1,)), w.trt.UnaryOperation.SQRT)
    return w.reshape(w.out(root, "value", shape=(1,)), ())


@converter("aten.var_mean.correction", layers="IReduceLayer AVG, IElementWiseLayer")
def var_mean(w: Writer, *, input: Tensor, dim: Dims, correction: float | None, keepdim: bool) -> list[Tensor]:
    """The variance and the mean over dimensions."""
    return [_variance(w, input, dim, correction, keepdim, "variance"), reduce_dims(w, "AVG", input, dim, keepdim)]


def _variance(w: Writer, input: Tensor, dim: Dims, correction: float | None, keepdim: bool, suffix: str = "") -> Tensor:
    axes = axes_of(input, dim)
    sizes = [size for axis, size in enumerate(input.shape) if axis in axes]
    less = 1.0 if correction is None else float(correction)
    if less and not all(isinstance(size, int) for size in sizes):
        raise w.refuse("an unbiased variance over a dynamic size; pass correction=0")
    average = reduce_dims(w, "AVG", input, axes, True, "mean")
    operation = w.trt.ElementWiseOperation
    centred = w.out(w.net.add_elementwise(input, average, operation.SUB), "centred", shape=input.shape)
    square = w.out(w.net.add_elementwise(centred, centred, operation.PROD), "square", shape=input.shape)
    if not less:
        return reduce_dims(w, "AVG", square, axes, keepdim, suffix)
    count = math.prod(size for size in sizes if isinstance(size, int))
    value = reduce_dims(w, "AVG", square, axes, keepdim, "mean square")
    factor = count / (count - less) if count > less else math.nan
    if not value.rank:
        value = w.reshape(value, (1,))
    number = w.scalar(factor, value.dtype, value.rank)
    value = w.out(w.net.add_elementwise(value, number, operation.PROD), suffix, shape=value.shape)
    return w.reshape(value, shape_without(input, axes, keepdim))


@converter("aten.linalg_vector_norm.default", layers="IReduceLayer, IElementWiseLayer PROD, IUnaryLayer")
def linalg_vector_norm(w: Writer, *, input: Tensor, ord: float, dim: Dims, keepdim: bool) -> Tensor:
    """The sum of absolute values (ord 1), the root of the sum of squares (2), or the largest absolute value (inf)."""
    if ord not in (1, 2, math.inf):
        raise w.refuse(f"a norm of order {ord}; 1, 2 and inf convert")
    x = w.cast(input, w.result.dtype)
    if ord == 2:
        square = w.out(w.net.add_elementwise(x, x, w.trt.ElementWiseOperation.PROD), "square", shape=x.shape)
        total = reduce_dims(w, "SUM", square, dim, True, "sum")
        root = w.out(w.net.add_unary(total, w.trt.UnaryOperation.SQRT), "root", shape=total.shape)
        return w.reshape(root, w.result.shape, "")
    size = w.out(w.net.add_unary(x, w.trt.UnaryOperation.ABS), "abs", shape=x.shape)
    return reduce_dims(w, "SUM" if ord == 1 else "MAX", size, dim, keepdim)


@converter("aten.logsumexp.default", layers="IReduceLayer MAX, SUM, IElementWiseLayer, IUnaryLayer EXP, LOG")
def logsumexp(w: Writer, *, input: Tensor, dim: list[int], keepdim: bool) -> Tensor:
    """log(sum(exp(x))), as max + log(sum(exp(x - max)))."""
    top = reduce_dims(w, "MAX", input, dim, True, "max")
    operation = w.trt.ElementWiseOperation
    shifted = w.out(w.net.add_elementwise(input, top, operation.SUB), "shifted", shape=input.shape)
    powers = w.out(w.net.add_unary(shifted, w.trt.UnaryOperation.EXP), "exp", shape=input.shape)
    total = reduce_dims(w, "SUM", powers, dim, True, "sum")
    log = w.out(w.net.add_unary(total, w.trt.UnaryOperation.LOG), "log", shape=total.shape)
    return w.reshape(
        w.out(w.net.add_elementwise(log, top, operation.SUM), "total", shape=total.shape), w.result.shape, ""
    )


@converter("aten.argmax.default", layers="ITopKLayer MAX")
def argmax(w: Writer, *, input: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    """The index of the largest value."""
    return _extreme(w, "MAX", input, dim)[1]


@converter("aten.argmin.default", layers="ITopKLayer MIN")
def argmin(w: Writer, *, input: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    """The index of the smallest value."""
    return _extreme(w, "MIN", input, dim)[1]


@converter("aten.max.dim", layers="ITopKLayer MAX")
def max_(w: Writer, *, input: Tensor, dim: int, keepdim: bool) -> list[Tensor]:
    """The largest value of a dimension, and its index."""
    return _extreme(w, "MAX", input, dim)


@converter("aten.min.dim", layers="ITopKLayer MIN")
def min_(w: Writer, *, input: Tensor, dim: int, keepdim: bool) -> list[Tensor]:
    """The smallest value of a dimension, and its index."""
    return _extreme(w, "MIN", input, dim)


def _extreme(w: Writer, operation: str, input: Tensor, dim: int | None) -> list[Tensor]:
    """The first of the sorted values and its index, in the shape of the node's result."""
    shape = w.result[0].shape if isinstance(w.result, list) else w.result.shape
    x = input
    if dim is None:
        count = math.prod(size for size in input.shape if isinstance(size, int))
        if any(isinstance(size, Size) for size in input.shape):
            raise w.refuse("the index of an extreme of all values where a size is dynamic; pass dim")
        x, dim = w.reshape(input, (count,), "flat"), 0
    values, indices = topk_of(w, operation, x, 1, dim % max(x.rank, 1))
    return [w.reshape(values, shape, "value"), w.reshape(indices, shape, "index")]


def topk_of(w: Writer, operation: str, input: Tensor, k: int, axis: int) -> tuple[Tensor, Tensor]:
    """The k largest or smallest values along an axis, sorted, and their indices."""
    x = input if input.rank > 1 else w.reshape(input, (*input.shape, *(1,) * (2 - input.rank)), "column")
    if axis < x.rank - 4:
        raise w.refuse(f"the largest values along dimension {axis} of {x.rank}; TensorRT takes the last four")
    kind = x.dtype if x.dtype not in ("bool", "uint8") else "int32"
    layer = w.net.add_topk(w.cast(x, kind), getattr(w.trt.TopKOperation, operation), k, 1 << axis)
    shape = (*x.shape[:axis], k, *x.shape[axis + 1 :])
    values, indices = w.outs(layer, [Spec(shape, kind), Spec(shape, "int32")])
    return w.cast(values, input.dtype), indices


@variant("aten.var.dim", of="var")
@variant("aten.std.dim", of="std")
def _by_dim(result: Any, *, input: Any, dim: Any, unbiased: bool, keepdim: bool) -> dict[str, Any]:
    return {"input": input, "dim": dim, "correction": int(unbiased), "keepdim": keepdim}


@variant("aten.var.default", of="var")
@variant("aten.std.default", of="std")
def _of_all(result: Any, *, input: Any, unbiased: bool) -> dict[str, Any]:
    return {"input": input, "dim": None, "correction": int(unbiased), "keepdim": False}
