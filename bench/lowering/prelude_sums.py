"""Cumulative sums, a layer since TensorRT 10.8 and a product with a triangle before; programs that use it carry it."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.lowering.prelude_attention import emit_causal_mask


def emit_cumulative_sum(p: Any, x: Any, axis: int, size: Any, dtype: str, name: str) -> Any:
    """The sums of all values up to each one; ``size`` of the axis is a number or an int32 tensor of one element."""
    if hasattr(p.net, "add_cumulative"):
        place = p.constant(np.array(axis, np.int32), f"{name} axis")
        return p.out(p.net.add_cumulative(x, place, p.trt.CumulativeOperation.SUM, False, False), name)
    rank = len(x.shape)
    order = [each for each in range(rank) if each != axis] + [axis]
    layer = p.net.add_shuffle(p.cast(x, "float32", f"{name} input as float32"))
    layer.first_transpose = order
    if rank == 1:
        layer.reshape_dims = (1, -1)
    rows = p.out(layer, f"{name} rows")
    mask = p.cast(emit_causal_mask(p, size, size, max(rank, 2), f"{name} triangle"), "float32", f"{name} ones")
    matrix = p.trt.MatrixOperation
    sums = p.out(p.net.add_matrix_multiply(rows, matrix.NONE, mask, matrix.TRANSPOSE), f"{name} sums")
    layer = p.net.add_shuffle(sums)
    if rank == 1:
        layer.reshape_dims = (-1,)
    else:
        layer.first_transpose = [order.index(each) for each in range(rank)]
    return p.cast(p.out(layer, name), dtype, f"{name} as {dtype}")
