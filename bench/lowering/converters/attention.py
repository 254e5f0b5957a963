"""Scaled dot product attention."""

from __future__ import annotations

import math

from bench.lowering import prelude_attention
from bench.lowering.calls import Tensor
from bench.lowering.registry import converter
from bench.lowering.sizes import Shape, Size
from bench.lowering.writer import Writer

# What a masked score is: so low that its share of the softmax is 0, and finite, so that no row becomes NaN.
_MASKED = {"float16": -65504.0, "bfloat16": -3.3e38, "float32": -3.4e38}


@converter(
    "aten.scaled_dot_product_attention.default",
    layers="IMatrixMultiplyLayer, ISoftMaxLayer, IElementWiseLayer, ISelectLayer",
)
def scaled_dot_product_attention(
    w: Writer, *, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None, dropout_p: float,
    is_causal: bool, scale: float | None, enable_gqa: bool,
) -> Tensor:  # fmt: skip
    """softmax(scale query key^T + mask) value; a mask of bool says where to attend."""
    if dropout_p:
        raise w.refuse(f"attention with dropout {dropout_p}; call eval() first")
    shape = w.result.shape
    rank = query.rank
    if enable_gqa and query.shape[-3] != key.shape[-3]:
        return _grouped(w, query, key, value, attn_mask, is_causal, scale)
    query, key, value = (w.broadcast(each, rank) for each in (query, key, value))
    y = _attend(w, query, key, value, attn_mask, is_causal, scale, shape)
    return w.reshape(y, shape)


def _grouped(
    w: Writer, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool, scale: float | None
) -> Tensor:
    """Several heads of the query to one of the key: they become a dimension of their own, which the key repeats."""
    heads, groups = query.shape[-3], key.shape[-3]
    if not isinstance(heads, int) or not isinstance(groups, int) or query.rank != 4:
        raise w.refuse("attention of groups of heads whose number is dynamic")
    first = query.shape[0]
    split = (first, groups, heads // groups, *query.shape[2:])
    query = w.reshape(query, split, "query")
    key, value = (w.reshape(each, (first, groups, 1, *each.shape[2:]), "group") for each in (key, value))
    if mask is not None and mask.rank == 4:
        own = mask.shape[1] != 1
        parts = (groups, heads // groups) if own else (1, 1)
        mask = w.reshape(mask, (mask.shape[0], *parts, *mask.shape[2:]), "mask")
    y = _attend(w, query, key, value, mask, causal, scale, (*split[:-1], value.shape[-1]))
    return w.reshape(y, w.result.shape, "")


def _attend(
    w: Writer, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool, scale: float | None,
    shape: Shape,
) -> Tensor:  # fmt: skip
    matrix, operation, rank = w.trt.MatrixOperation, w.trt.ElementWiseOperation, query.rank
    factor = w.scalar(_scale(w, query) if scale is None else scale, query.dtype, rank)
    scaled = w.out(w.net.add_elementwise(query, factor, operation.PROD), "query", shape=query.shape)
    scores: Shape = (*shape[:-1], key.shape[-2])
    x = w.out(w.net.add_matrix_multiply(scaled, matrix.NONE, key, matrix.TRANSPOSE), "scores", shape=scores)
    if causal:
        rows, columns = (_size(w, size) for size in scores[-2:])
        seen = w.call(
            prelude_attention.emit_causal_mask, rows, columns, rank, suffix="causal",
            shape=(*(1,) * (rank - 2), *scores[-2:]), dtype="bool",
        )  # fmt: skip
        x = _masked(w, x, seen, scores)
    elif mask is not None and mask.dtype == "bool":
        x = _masked(w, x, w.broadcast(mask, rank), scores)
    elif mask is not None:
        added = w.broadcast(w.cast(mask, query.dtype), rank)
        x = w.out(w.net.add_elementwise(x, added, operation.SUM), "masked", shape=scores)
    layer = w.net.add_softmax(x)
    layer.axes = 1 << (rank - 1)
    weights = w.out(layer, "softmax", shape=scores)
    return w.out(w.net.add_matrix_multiply(weights, matrix.NONE, value, matrix.NONE), shape=shape)


def _masked(w: Writer, scores: Tensor, seen: Tensor, shape: Shape) -> Tensor:
    low = w.scalar(_MASKED[scores.dtype], scores.dtype, scores.rank)
    return w.out(w.net.add_select(seen, scores, low), "masked", shape=shape)


def _size(w: Writer, size: int | Size) -> int | Tensor:
    return size if isinstance(size, int) else w.size(size)


def _scale(w: Writer, query: Tensor) -> float:
    width = query.shape[-1]
    if not isinstance(width, int):
        raise w.refuse("attention over a dynamic width without a scale")
    return 1 / math.sqrt(width)
