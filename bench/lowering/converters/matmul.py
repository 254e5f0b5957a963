"""Matrix products."""

from __future__ import annotations

from typing import Any

from bench.lowering.calls import Tensor
from bench.lowering.registry import converter, variant
from bench.lowering.writer import Writer


@converter("aten.linear.default", layers="IMatrixMultiplyLayer, IElementWiseLayer SUM")
def linear(w: Writer, *, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x weight^T + bias."""
    rank = max(input.rank, 2)
    x, kernel = w.broadcast(input, rank), w.broadcast(weight, rank)
    operation = w.trt.MatrixOperation
    layer = w.net.add_matrix_multiply(x, operation.NONE, kernel, operation.TRANSPOSE)
    shape = w.result.shape if input.rank == rank else (1, *w.result.shape)
    y = w.out(layer, "product" if bias is not None else "", shape=shape)
    if bias is not None:
        layer = w.net.add_elementwise(y, w.broadcast(bias, rank), w.trt.ElementWiseOperation.SUM)
        y = w.out(layer, shape=shape)
    return w.reshape(y, w.result.shape)


@converter("aten.matmul.default", layers="IMatrixMultiplyLayer")
def matmul(
    w: Writer, *, input: Tensor, other: Tensor, transpose_input: bool = False, transpose_other: bool = False
) -> Tensor:
    """The matrix product, its leading dimensions broadcast. ``transpose_*`` are set by the pass that folds permutes."""
    operation = w.trt.MatrixOperation
    first = operation.VECTOR if input.rank == 1 else operation.TRANSPOSE if transpose_input else operation.NONE
    second = operation.VECTOR if other.rank == 1 else operation.TRANSPOSE if transpose_other else operation.NONE
    lead = max(input.rank - min(input.rank, 2), other.rank - min(other.rank, 2))
    a = w.broadcast(input, lead + min(input.rank, 2))
    b = w.broadcast(other, lead + min(other.rank, 2))
    return w.out(w.net.add_matrix_multiply(a, first, b, second))


@variant("aten.mm.default", "aten.bmm.default", of="matmul")
def _mm(result: Any, *, input: Any, mat2: Any) -> dict[str, Any]:
    return {"input": input, "other": mat2}


@variant("aten.mv.default", of="matmul")
def _mv(result: Any, *, input: Any, vec: Any) -> dict[str, Any]:
    return {"input": input, "other": vec}


@converter("aten.addmm.default", layers="IMatrixMultiplyLayer, IElementWiseLayer SUM")
def addmm(w: Writer, *, input: Tensor, mat1: Tensor, mat2: Tensor, beta: float, alpha: float) -> Tensor:
    """beta input + alpha (mat1 mat2)."""
    rank = w.result.rank
    operation = w.trt.MatrixOperation
    layer = w.net.add_matrix_multiply(mat1, operation.NONE, mat2, operation.NONE)
    product = w.out(layer, "product")
    if alpha != 1:
        layer = w.net.add_elementwise(product, w.scalar(alpha, product.dtype, rank), w.trt.ElementWiseOperation.PROD)
        product = w.out(layer, "scaled")
    if beta == 0:
        return product
    offset = w.broadcast(w.cast(input, product.dtype), rank)
    if beta != 1:
        layer = w.net.add_elementwise(offset, w.scalar(beta, product.dtype, rank), w.trt.ElementWiseOperation.PROD)
        offset = w.out(layer, "offset", shape=offset.shape)
    return w.out(w.net.add_elementwise(product, offset, w.trt.ElementWiseOperation.SUM))


@variant("aten.baddbmm.default", of="addmm")
def _baddbmm(result: Any, *, input: Any, batch1: Any, batch2: Any, beta: float, alpha: float) -> dict[str, Any]:
    return {"input": input, "mat1": batch1, "mat2": batch2, "beta": beta, "alpha": alpha}


@converter("aten.softmax.int", "aten._softmax.default", layers="ISoftMaxLayer")
def softmax(w: Writer, *, input: Tensor, dim: int) -> Tensor:
    """exp(x) over its sum along one dimension."""
    return _softmax(w, input, dim)


@converter("aten.log_softmax.int", "aten._log_softmax.default", layers="ISoftMaxLayer, IUnaryLayer LOG")
def log_softmax(w: Writer, *, input: Tensor, dim: int) -> Tensor:
    """The logarithm of the softmax, as x - max - log(sum(exp(x - max)))."""
    x = w.cast(input, w.result.dtype)
    axes = 1 << (dim % input.rank)
    reduce, operation = w.trt.ReduceOperation, w.trt.ElementWiseOperation
    one = (*input.shape[: dim % input.rank], 1, *input.shape[dim % input.rank + 1 :])
    top = w.out(w.net.add_reduce(x, reduce.MAX, axes, True), "max", shape=one)
    shifted = w.out(w.net.add_elementwise(x, top, operation.SUB), "shifted")
    powers = w.out(w.net.add_unary(shifted, w.trt.UnaryOperation.EXP), "exp")
    total = w.out(w.net.add_reduce(powers, reduce.SUM, axes, True), "sum", shape=one)
    log = w.out(w.net.add_unary(total, w.trt.UnaryOperation.LOG), "log", shape=one)
    return w.out(w.net.add_elementwise(shifted, log, operation.SUB))


def _softmax(w: Writer, input: Tensor, dim: int) -> Tensor:
    layer = w.net.add_softmax(w.cast(input, w.result.dtype))
    layer.axes = 1 << (dim % input.rank)
    return w.out(layer)
