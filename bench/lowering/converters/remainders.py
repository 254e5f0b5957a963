"""Remainders of a division: of the quotient rounded down, or towards zero."""

from __future__ import annotations

from bench.lowering.calls import Tensor
from bench.lowering.converters.elementwise import Operand
from bench.lowering.registry import converter
from bench.lowering.writer import Writer


@converter(
    "aten.remainder.Tensor", "aten.remainder.Scalar", "aten.remainder.Scalar_Tensor",
    layers="IElementWiseLayer FLOOR_DIV, PROD, SUB",
)  # fmt: skip
def remainder(w: Writer, *, input: Operand, other: Operand) -> Tensor:
    """input - other floor(input / other); next to a multiple of ``other`` a float may round to either end."""
    dtype, (first, second) = _both(w, input, other)
    quotient = w.net.add_elementwise(first, second, w.trt.ElementWiseOperation.FLOOR_DIV)
    return _rest(w, first, second, w.out(quotient, "quotient", shape=w.result.shape or (1,), dtype=dtype))


@converter(
    "aten.fmod.Tensor", "aten.fmod.Scalar",
    layers="IElementWiseLayer DIV, PROD, SUB; of floats IUnaryLayer ABS, FLOOR, SIGN",
)  # fmt: skip
def fmod(w: Writer, *, input: Operand, other: Operand) -> Tensor:
    """input - other trunc(input / other); next to a multiple of ``other`` a float may round to either end."""
    dtype, (first, second) = _both(w, input, other)
    operation, unary = w.trt.ElementWiseOperation, w.trt.UnaryOperation
    quotient = w.out(
        w.net.add_elementwise(first, second, operation.DIV), "quotient", shape=w.result.shape or (1,), dtype=dtype
    )
    if dtype == "float32":  # of integers the layer's quotient is rounded towards zero already
        size = w.out(w.net.add_unary(quotient, unary.ABS), "size", shape=w.result.shape or (1,), dtype=dtype)
        whole = w.out(w.net.add_unary(size, unary.FLOOR), "whole", shape=w.result.shape or (1,), dtype=dtype)
        sign = w.out(w.net.add_unary(quotient, unary.SIGN), "sign", shape=w.result.shape or (1,), dtype=dtype)
        quotient = w.out(
            w.net.add_elementwise(whole, sign, operation.PROD), "truncated", shape=w.result.shape or (1,), dtype=dtype
        )
    return _rest(w, first, second, quotient)


def _both(w: Writer, input: Operand, other: Operand) -> tuple[str, list[Tensor]]:
    """The operands as integers or float32, of which half precision has too few digits, and of one dimension or more."""
    dtype = "float32" if w.result.dtype.startswith(("float", "bfloat")) else w.result.dtype
    return dtype, w.operands(input, other, dtype=dtype, rank=max(w.result.rank, 1))


def _rest(w: Writer, input: Tensor, other: Tensor, quotient: Tensor) -> Tensor:
    operation = w.trt.ElementWiseOperation
    whole = w.out(
        w.net.add_elementwise(quotient, other, operation.PROD),
        "multiple",
        shape=w.result.shape or (1,),
        dtype=quotient.dtype,
    )
    rest = w.out(
        w.net.add_elementwise(input, whole, operation.SUB), "rest", shape=w.result.shape or (1,), dtype=quotient.dtype
    )
    return w.cast(w.reshape(rest, w.result.shape), w.result.dtype)
