"""Arithmetic, functions of single values, and types."""

from __future__ import annotations

from typing import Any

from bench.lowering.calls import Tensor
from bench.lowering.registry import converter, variant
from bench.lowering.sizes import Size
from bench.lowering.writer import Writer

Operand = Tensor | float


def binary(
    w: Writer, operation: str, input: Operand | Size, other: Operand | Size, *, dtype: str = "", suffix: str = ""
) -> Tensor:
    """One elementwise layer on operands of one type, by default the result's, and the result's rank."""
    input, other = (w.reshape(w.size(each), ()) if isinstance(each, Size) else each for each in (input, other))
    rank = max(value.rank for value in (input, other, w.result) if not isinstance(value, int | float))
    first, second = w.operands(input, other, dtype=dtype or w.result.dtype, rank=rank)
    layer = w.net.add_elementwise(first, second, getattr(w.trt.ElementWiseOperation, operation))
    return w.out(layer, suffix)


def unary(w: Writer, operation: str, input: Tensor, *, dtype: str = "") -> Tensor:
    """One unary layer on the result's type; of a scalar through a dimension of size 1, as TensorRT asks for one."""
    x = w.cast(input, dtype or w.result.dtype)
    if input.rank:
        return w.out(w.net.add_unary(x, getattr(w.trt.UnaryOperation, operation)))
    y = w.out(w.net.add_unary(w.reshape(x, (1,)), getattr(w.trt.UnaryOperation, operation)), "value", shape=(1,))
    return w.reshape(y, ())


def activation(w: Writer, kind: str, input: Tensor, *, alpha: float | None = None, beta: float | None = None) -> Tensor:
    """One activation layer on the result's type."""
    layer = w.net.add_activation(w.cast(input, w.result.dtype), getattr(w.trt.ActivationType, kind))
    if alpha is not None:
        layer.alpha = float(alpha)
    if beta is not None:
        layer.beta = float(beta)
    return w.out(layer)


# ---------------------------------------------------------------------------------------------------------- arithmetic


@converter("aten.add.Tensor", "aten.add.Scalar", layers="IElementWiseLayer SUM")
def add(w: Writer, *, input: Operand, other: Operand, alpha: float) -> Tensor:
    """input + alpha other; of bool the logical or."""
    if w.result.dtype == "bool":
        return binary(w, "OR", input, other)
    return binary(w, "SUM", input, _scaled(w, other, alpha))


@converter("aten.sub.Tensor", "aten.sub.Scalar", layers="IElementWiseLayer SUB")
def sub(w: Writer, *, input: Operand, other: Operand, alpha: float) -> Tensor:
    """input - alpha other."""
    return binary(w, "SUB", input, _scaled(w, other, alpha))


@variant("aten.rsub.Scalar", "aten.rsub.Tensor", of="sub")
def _rsub(result: Any, *, input: Any, other: Any, alpha: float) -> dict[str, Any]:
    if alpha != 1:
        raise ValueError("rsub with a factor")
    return {"input": other, "other": input, "alpha": 1}


def _scaled(w: Writer, other: Operand, alpha: float) -> Operand:
    if alpha == 1:
        return other
    if isinstance(other, int | float):
        return alpha * other
    factor = w.scalar(alpha, w.result.dtype, other.rank)
    layer = w.net.add_elementwise(w.cast(other, w.result.dtype), factor, w.trt.ElementWiseOperation.PROD)
    return w.out(layer, "scaled", shape=other.shape)


@converter("aten.mul.Tensor", "aten.mul.Scalar", layers="IElementWiseLayer PROD")
def mul(w: Writer, *, input: Operand, other: Operand) -> Tensor:
    """input other; of bool the logical and."""
    return binary(w, "AND" if w.result.dtype == "bool" else "PROD", input, other)


@converter("aten.div.Tensor", "aten.div.Scalar", layers="IElementWiseLayer DIV")
def div(w: Writer, *, input: Operand, other: Operand) -> Tensor:
    """input / other, of integers too as floats."""
    return binary(w, "DIV", input, other)


@converter("aten.floor_divide.default", "aten.floor_divide.Scalar", layers="IElementWiseLayer FLOOR_DIV")
def floor_divide(w: Writer, *, input: Operand, other: Operand) -> Tensor:
    """The quotient rounded down."""
    return binary(w, "FLOOR_DIV", input, other)


@converter("aten.pow.Tensor_Scalar", layers="IElementWiseLayer POW, PROD for the square, IUnaryLayer SQRT")
def pow(w: Writer, *, input: Tensor, exponent: float) -> Tensor:
    """A power; the square as a product, which is exact, the root as one."""
    if exponent == 2:
        return binary(w, "PROD", input, input)
    if exponent == 0.5:
        return unary(w, "SQRT", input)
    return binary(w, "POW", input, exponent)


@converter("aten.pow.Tensor_Tensor", layers="IElementWiseLayer POW")
def pow_tensor(w: Writer, *, input: Tensor, exponent: Tensor) -> Tensor:
    """A power whose exponent is a tensor."""
    return binary(w, "POW", input, exponent)


@converter("aten.maximum.default", layers="IElementWiseLayer MAX")
def maximum(w: Writer, *, input: Tensor, other: Tensor) -> Tensor:
    """The larger of two values."""
    return binary(w, "MAX", input, other)


@converter("aten.minimum.default", layers="IElementWiseLayer MIN")
def minimum(w: Writer, *, input: Tensor, other: Tensor) -> Tensor:
    """The smaller of two values."""
    return binary(w, "MIN", input, other)


@converter("aten.clamp.default", layers="IElementWiseLayer MAX, MIN; of floats IActivationLayer CLIP")
def clamp(w: Writer, *, input: Tensor, min: float | None, max: float | None) -> Tensor:
    """Values between ``min`` and ``max``; either may be absent."""
    x = input
    if min is not None and max is not None and w.result.dtype.startswith(("float", "bfloat")):
        return activation(w, "CLIP", input, alpha=min, beta=max)
    if min is not None:
        x = binary(w, "MAX", x, min, suffix="low" if max is not None else "")
    return binary(w, "MIN", x, max) if max is not None else x


@converter("aten.clamp.Tensor", layers="IElementWiseLayer MAX, MIN")
def clamp_tensor(w: Writer, *, input: Tensor, min: Tensor | None, max: Tensor | None) -> Tensor:
    """Values between those of ``min`` and of ``max``; either may be absent."""
    x = input if min is None else binary(w, "MAX", input, min, suffix="low" if max is not None else "")
    return x if max is None else binary(w, "MIN", x, max)


@variant("aten.clamp_min.default", of="clamp")
def _clamp_min(result: Any, *, input: Any, min: Any) -> dict[str, Any]:
    return {"input": input, "min": min, "max": None}


@variant("aten.clamp_max.default", of="clamp")
def _clamp_max(result: Any, *, input: Any, max: Any) -> dict[str, Any]:
    return {"input": input, "min": None, "max": max}


@variant("aten.hardtanh.default", of="clamp")
def _hardtanh(result: Any, *, input: Any, min_val: Any, max_val: Any) -> dict[str, Any]:
    return {"input": input, "min": min_val, "max": max_val}


@variant("aten.relu6.default", of="clamp")
def _relu6(result: Any, *, input: Any) -> dict[str, Any]:
    return {"input": input, "min": 0.0, "max": 6.0}


# ----------------------------------------------------------------------------------------------------- single values


@converter("aten.relu.default", layers="IActivationLayer RELU")
def relu(w: Writer, *, input: Tensor) -> Tensor:
    """max(x, 0)."""
    return activation(w, "RELU", input)


@converter("aten.sigmoid.default", layers="IActivationLayer SIGMOID")
def sigmoid(w: Writer, *, input: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return activation(w, "SIGMOID", input)


@converter("aten.tanh.default", layers="IActivationLayer TANH")
def tanh(w: Writer, *, input: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return activation(w, "TANH", input)


def _unary_converter(name: str, aten: str, operation: str, about: str) -> None:
    def convert(w: Writer, *, input: Tensor) -> Tensor:
        return unary(w, operation, input)

    convert.__name__, convert.__doc__ = name, about
    converter(aten, layers=f"IUnaryLayer {operation}")(convert)


for _name, _operation, _about in (
    ("exp", "EXP", "e to the power x."),
    ("log", "LOG", "The natural logarithm."),
    ("sqrt", "SQRT", "The square root."),
    ("reciprocal", "RECIP", "1 / x."),
    ("abs", "ABS", "The absolute value."),
    ("neg", "NEG", "-x."),
    ("sin", "SIN", "The sine."),
    ("cos", "COS", "The cosine."),
    ("tan", "TAN", "The tangent."),
    ("asin", "ASIN", "The inverse of the sine."),
    ("acos", "ACOS", "The inverse of the cosine."),
    ("atan", "ATAN", "The inverse of the tangent."),
    ("sinh", "SINH", "The hyperbolic sine."),
    ("cosh", "COSH", "The hyperbolic cosine."),
    ("erf", "ERF", "The error function."),
    ("floor", "FLOOR", "Rounded down."),
    ("ceil", "CEIL", "Rounded up."),
    ("round", "ROUND", "Rounded to the nearest integer, halves to an even one."),
    ("sign", "SIGN", "-1, 0 or 1."),
):
    _unary_converter(_name, f"aten.{_name}.default", _operation, _about)


@converter("aten.trunc.default", layers="IUnaryLayer ABS, FLOOR, SIGN, IElementWiseLayer PROD")
def trunc(w: Writer, *, input: Tensor) -> Tensor:
    """Rounded towards zero."""
    x = input if input.rank else w.reshape(input, (1,))
    operation = w.trt.UnaryOperation
    size = w.out(w.net.add_unary(x, operation.ABS), "size", shape=x.shape)
    whole = w.out(w.net.add_unary(size, operation.FLOOR), "whole", shape=x.shape)
    sign = w.out(w.net.add_unary(x, operation.SIGN), "sign", shape=x.shape)
    layer = w.net.add_elementwise(whole, sign, w.trt.ElementWiseOperation.PROD)
    return w.reshape(w.out(layer, shape=x.shape), input.shape)


@converter("aten.log1p.default", layers="IElementWiseLayer SUM, IUnaryLayer LOG")
def log1p(w: Writer, *, input: Tensor) -> Tensor:
    """log(1 + x), where 1 + x is rounded."""
    return unary(w, "LOG", binary(w, "SUM", input, 1.0, suffix="sum"))


@converter("aten.expm1.default", layers="IUnaryLayer EXP, IElementWiseLayer SUB")
def expm1(w: Writer, *, input: Tensor) -> Tensor:
    """exp(x) - 1, where exp(x) is rounded."""
    return binary(w, "SUB", unary(w, "EXP", input), 1.0)


@converter("aten.rsqrt.default", layers="IUnaryLayer SQRT, RECIP")
def rsqrt(w: Writer, *, input: Tensor) -> Tensor:
    """1 / sqrt(x)."""
    x = w.cast(input, w.result.dtype)
    root = w.out(w.net.add_unary(x, w.trt.UnaryOperation.SQRT), "root")
    return w.out(w.net.add_unary(root, w.trt.UnaryOperation.RECIP))


# ---------------------------------------------------------------------------------------------------------------- types


@converter("aten._to_copy.default", layers="ICastLayer")
def to(w: Writer, *, input: Tensor, dtype: str | None) -> Tensor:
    """Another type. Floats become integers by rounding towards zero."""
    return w.cast(input, w.result.dtype)


@variant("aten.to.dtype", "aten.to.dtype_layout", "aten.to.device", "aten.type_as.default", of="to")
def _to(result: Any, *, input: Any, dtype: Any = None, **rest: Any) -> dict[str, Any]:
    if dtype is None and "other" in rest:
        dtype = rest["other"].meta["val"].dtype
    return {"input": input, "dtype": dtype}


@converter(
    "aten.clone.default", "aten.alias.default", "aten.detach.default", "aten.contiguous.default",
    "aten.lift_fresh_copy.default", "aten.detach_.default",
)  # fmt: skip
def identity(w: Writer, *, input: Tensor) -> Tensor:
    """The same tensor: a copy is none in a network."""
    return input


@variant("aten.dropout.default", "aten.feature_dropout.default", of="identity")
def _dropout(result: Any, *, input: Any, p: float, train: bool) -> dict[str, Any]:
    if train:
        raise ValueError("dropout in training mode")
    return {"input": input}
