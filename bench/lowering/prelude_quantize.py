"""Quantize and dequantize layers as versions of TensorRT have them; programs that use these functions carry them."""

from __future__ import annotations

from typing import Any


def emit_quantize(p: Any, x: Any, scale: Any, axis: int | None, to: str = "int8", *, name: str) -> Any:
    """x as the type ``to``; 8.6 has no argument for it, and int8 alone."""
    if to != "int8" and not p.strongly_typed:
        raise ValueError(f"TensorRT 8 quantizes to int8 alone, and {name!r} to {to}")
    layer = p.net.add_quantize(x, scale, p.dtype(to)) if p.strongly_typed else p.net.add_quantize(x, scale)
    if axis is not None:
        layer.axis = axis
    return p.out(layer, name)


def emit_dequantize(p: Any, x: Any, scale: Any, axis: int | None, to: str = "float32", *, name: str) -> Any:
    """The quantized x as the type ``to``."""
    layer = p.net.add_dequantize(x, scale, p.dtype(to)) if p.strongly_typed else p.net.add_dequantize(x, scale)
    if axis is not None:
        layer.axis = axis
    return p.out(layer, name)
