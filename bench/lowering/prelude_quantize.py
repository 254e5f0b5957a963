"""Quantize and dequantize layers as versions of TensorRT have them; programs that use these functions carry them."""

from __future__ import annotations

from typing import Any


def emit_quantize(p: Any, x: Any, scale: Any, axis: int | None, name: str) -> Any:
    """int8 of x; 8.6 has no argument for the type, which is always that."""
    layer = p.net.add_quantize(x, scale, p.dtype("int8")) if p.strongly_typed else p.net.add_quantize(x, scale)
    if axis is not None:
        layer.axis = axis
    return p.out(layer, name)


def emit_dequantize(p: Any, x: Any, scale: Any, axis: int | None, name: str) -> Any:
    """float32 of the int8 x."""
    layer = p.net.add_dequantize(x, scale, p.dtype("float32")) if p.strongly_typed else p.net.add_dequantize(x, scale)
    if axis is not None:
        layer.axis = axis
    return p.out(layer, name)
