"""Comparisons, and logic on their results."""

from __future__ import annotations

from bench.lowering.calls import Tensor
from bench.lowering.converters.elementwise import Operand, binary, unary
from bench.lowering.registry import converter
from bench.lowering.writer import Writer


def compare(w: Writer, operation: str, input: Tensor, other: Operand, *, negate: bool = False) -> Tensor:
    """A comparison in the wider type of the two; ``negate`` gives its opposite."""
    both = [input.dtype, other.dtype if isinstance(other, Tensor) else _type_of(other, input.dtype)]
    dtype = max(both, key=_WIDTHS.index)
    if dtype == "bool":
        dtype = "int32"
    result = binary(w, operation, input, other, dtype=dtype, suffix="opposite" if negate else "")
    return w.out(w.net.add_unary(result, w.trt.UnaryOperation.NOT)) if negate else result


_WIDTHS = ("bool", "uint8", "int32", "float16", "bfloat16", "float32")


def _type_of(number: float, beside: str) -> str:
    """A number's type beside a tensor: it widens integers to floats, and no float."""
    return "float32" if isinstance(number, float) and beside in _WIDTHS[:3] else beside


@converter("aten.eq.Tensor", "aten.eq.Scalar", layers="IElementWiseLayer EQUAL")
def eq(w: Writer, *, input: Tensor, other: Operand) -> Tensor:
    """input == other."""
    return compare(w, "EQUAL", input, other)


@converter("aten.ne.Tensor", "aten.ne.Scalar", layers="IElementWiseLayer EQUAL, IUnaryLayer NOT")
def ne(w: Writer, *, input: Tensor, other: Operand) -> Tensor:
    """input != other."""
    return compare(w, "EQUAL", input, other, negate=True)


@converter("aten.gt.Tensor", "aten.gt.Scalar", layers="IElementWiseLayer GREATER")
def gt(w: Writer, *, input: Tensor, other: Operand) -> Tensor:
    """input > other."""
    return compare(w, "GREATER", input, other)


@converter("aten.lt.Tensor", "aten.lt.Scalar", layers="IElementWiseLayer LESS")
def lt(w: Writer, *, input: Tensor, other: Operand) -> Tensor:
    """input < other."""
    return compare(w, "LESS", input, other)


@converter("aten.ge.Tensor", "aten.ge.Scalar", layers="IElementWiseLayer LESS, IUnaryLayer NOT")
def ge(w: Writer, *, input: Tensor, other: Operand) -> Tensor:
    """input >= other; true where one of them is NaN, which no layer compares."""
    return compare(w, "LESS", input, other, negate=True)


@converter("aten.le.Tensor", "aten.le.Scalar", layers="IElementWiseLayer GREATER, IUnaryLayer NOT")
def le(w: Writer, *, input: Tensor, other: Operand) -> Tensor:
    """input <= other; true where one of them is NaN, which no layer compares."""
    return compare(w, "GREATER", input, other, negate=True)


@converter("aten.logical_and.default", "aten.bitwise_and.Tensor", layers="IElementWiseLayer AND")
def logical_and(w: Writer, *, input: Tensor, other: Tensor) -> Tensor:
    """Both; of bool only."""
    return _logical(w, "AND", input, other)


@converter("aten.logical_or.default", "aten.bitwise_or.Tensor", layers="IElementWiseLayer OR")
def logical_or(w: Writer, *, input: Tensor, other: Tensor) -> Tensor:
    """Either; of bool only."""
    return _logical(w, "OR", input, other)


@converter("aten.logical_xor.default", "aten.bitwise_xor.Tensor", layers="IElementWiseLayer XOR")
def logical_xor(w: Writer, *, input: Tensor, other: Tensor) -> Tensor:
    """One of the two and not the other; of bool only."""
    return _logical(w, "XOR", input, other)


@converter("aten.logical_not.default", "aten.bitwise_not.default", layers="IUnaryLayer NOT")
def logical_not(w: Writer, *, input: Tensor) -> Tensor:
    """The opposite; of bool only."""
    if w.result.dtype != "bool":
        raise w.refuse("bitwise not of integers")
    return unary(w, "NOT", input)


def _logical(w: Writer, operation: str, input: Tensor, other: Tensor) -> Tensor:
    if w.result.dtype != "bool":
        raise w.refuse("bitwise operations on integers")
    return binary(w, operation, input, other)
