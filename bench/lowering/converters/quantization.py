"""Quantization: the layers between which TensorRT computes in int8."""

from __future__ import annotations

from bench.lowering.prelude_quantize import emit_dequantize, emit_quantize
from bench.lowering.registry import converter
from bench.lowering.writer import Tensor, Writer


@converter("trtbench.quantize.default", layers="IQuantizeLayer")
def quantize(
    w: Writer, *, input: Tensor, scale: Tensor | float, axis: int | None = None, dtype: str = "int8"
) -> Tensor:
    """round(x / scale) as int8, with one scale or one for each index of a dimension."""
    return w.call(emit_quantize, w.cast(input, "float32"), _scale(w, scale, dtype), axis, dtype="int8")


@converter("trtbench.dequantize.default", layers="IDequantizeLayer")
def dequantize(
    w: Writer, *, input: Tensor, scale: Tensor | float, axis: int | None = None, dtype: str = "int8"
) -> Tensor:
    """x scale in floating point."""
    return w.call(emit_dequantize, input, _scale(w, scale, dtype), axis)


def _scale(w: Writer, scale: Tensor | float, dtype: str) -> Tensor:
    """The scale as a constant: one number without a dimension, or one dimension."""
    if dtype != "int8":
        raise w.refuse(f"quantization to {dtype}; there is int8 alone")
    if isinstance(scale, int | float):
        return w.scalar(float(scale), "float32", 0)
    if not scale.constant or scale.rank > 1:
        raise w.refuse("a scale that is computed, or has more than one dimension")
    return scale
