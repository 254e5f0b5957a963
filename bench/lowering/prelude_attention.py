"""Positions and causal masks, as constants or from dynamic sizes; programs that use these functions carry them."""

from __future__ import annotations

from typing import Any

import numpy as np


def emit_positions(p: Any, size: Any, name: str) -> Any:
    """0, 1, 2, ... as int32 of one dimension; ``size`` is a number or an int32 tensor of one element."""
    if isinstance(size, int):
        return p.constant(np.arange(size, dtype=np.int32), name)
    layer = p.net.add_fill((1,), p.trt.FillOperation.LINSPACE)  # of float32, as 8.6 gives no other
    layer.set_input(0, size)
    layer.set_input(1, p.constant(np.array(0.0, np.float32), f"{name} start"))
    layer.set_input(2, p.constant(np.ones(1, np.float32), f"{name} step"))
    return p.cast(p.out(layer, name), "int32", f"{name} as int32")


def emit_causal_mask(p: Any, rows: Any, columns: Any, rank: int, name: str, diagonal: int = 0) -> Any:
    """Whether the column is at most ``diagonal`` after the row, bool; both are the last of ``rank`` dimensions."""
    if isinstance(rows, int) and isinstance(columns, int):
        mask = np.tril(np.ones((rows, columns), np.bool_), diagonal)
        return p.constant(mask.reshape((1,) * (rank - 2) + mask.shape), name)
    lead = (1,) * (rank - 2)
    row = p.reshape(emit_positions(p, rows, f"{name} rows"), (*lead, -1, 1), f"{name} row")
    column = p.reshape(emit_positions(p, columns, f"{name} columns"), (*lead, 1, -1), f"{name} column")
    if diagonal:
        number = p.scalar(diagonal, "int32", rank, f"{name} diagonal")
        row = p.out(p.net.add_elementwise(row, number, p.trt.ElementWiseOperation.SUM), f"{name} last")
    late = p.out(p.net.add_elementwise(column, row, p.trt.ElementWiseOperation.GREATER), f"{name} late")
    return p.out(p.net.add_unary(late, p.trt.UnaryOperation.NOT), name)
