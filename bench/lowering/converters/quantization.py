"""Quantization: the layers between which TensorRT computes in int8 or fp8."""

from __future__ import annotations

from bench.lowering.calls import Tensor
from bench.lowering.prelude_quantize import emit_dequantize, emit_quantize
from bench.lowering.registry import converter
from bench.lowering.writer import Writer


@converter("trtbench.quantize.default", layers="IQuantizeLayer")
def quantize(
    w: Writer, *, input: Tensor, scale: Tensor | float, axis: int | None = None, dtype: str = "int8"
) -> Tensor:
    """round(x / scale) as int8 or fp8, with one scale or one for each index of a dimension."""
    if dtype == "int8":
        return w.call(emit_quantize, w.cast(input, "float32"), _scale(w, scale, dtype), axis, dtype="int8")
    return w.call(emit_quantize, input, _scale(w, scale, dtype), axis, dtype, dtype=dtype)


@converter("trtbench.dequantize.default", layers="IDequantizeLayer")
def dequantize(
    w: Writer, *, input: Tensor, scale: Tensor | float, axis: int | None = None, dtype: str = "int8",
    result: str = "float32",
) -> Tensor:  # fmt: skip
    """x scale in floating point."""
    more = () if result == "float32" else (result,)
    return w.call(emit_dequantize, input, _scale(w, scale, dtype), axis, *more)


def _scale(w: Writer, scale: Tensor | float, dtype: str) -> Tensor:
    """The scale as a constant: one number without a dimension, or one dimension."""
    if dtype not in ("int8", "float8_e4m3fn"):
        raise w.refuse(f"quantization to {dtype}; there are int8 and float8_e4m3fn")
    if isinstance(scale, int | float):
        return w.scalar(float(scale), "float32", 0)
    if not scale.constant or scale.rank > 1:
        raise w.refuse("a scale that is computed, or has more than one dimension")
    return scale
