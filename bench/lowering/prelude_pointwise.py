"""Functions of single values that versions of TensorRT compute by other layers; programs that use them carry them."""

from __future__ import annotations

from typing import Any


def emit_elementwise(p: Any, a: Any, b: Any, operation: str, name: str) -> Any:
    """One elementwise layer."""
    return p.out(p.net.add_elementwise(a, b, getattr(p.trt.ElementWiseOperation, operation)), name)


def emit_gelu(p: Any, x: Any, approximate: str, dtype: str, name: str) -> Any:
    """x times the normal distribution up to x, exactly or by tanh: a layer since TensorRT 10, several before."""
    kind = "GELU_TANH" if approximate == "tanh" else "GELU_ERF"
    if hasattr(p.trt.ActivationType, kind):
        return p.out(p.net.add_activation(x, getattr(p.trt.ActivationType, kind)), name)
    rank = len(x.shape)
    numbers = {each: p.scalar(each, dtype, rank, f"{name} {each}") for each in (0.5, 1.0)}
    if approximate == "tanh":
        square = emit_elementwise(p, x, x, "PROD", f"{name} square")
        factor = p.scalar(0.044715 * 0.7978845608028654, dtype, rank, f"{name} factor")
        inner = emit_elementwise(p, square, factor, "PROD", f"{name} scaled square")
        slope = p.scalar(0.7978845608028654, dtype, rank, f"{name} slope")  # sqrt(2 / pi)
        inner = emit_elementwise(p, inner, slope, "SUM", f"{name} slope at x")
        inner = emit_elementwise(p, inner, x, "PROD", f"{name} argument")
        curve = p.out(p.net.add_activation(inner, p.trt.ActivationType.TANH), f"{name} tanh")
    else:
        root = p.scalar(0.7071067811865476, dtype, rank, f"{name} root")  # sqrt(1 / 2)
        inner = emit_elementwise(p, x, root, "PROD", f"{name} argument")
        curve = p.out(p.net.add_unary(inner, p.trt.UnaryOperation.ERF), f"{name} erf")
    curve = emit_elementwise(
        p, emit_elementwise(p, curve, numbers[1.0], "SUM", f"{name} sum"), numbers[0.5], "PROD", f"{name} half"
    )
    return emit_elementwise(p, x, curve, "PROD", name)


def emit_is_nan(p: Any, x: Any, name: str) -> Any:
    """Whether a value is no number: a layer since TensorRT 10.1; before, x == x is false for those alone."""
    if hasattr(p.trt.UnaryOperation, "ISNAN"):
        return p.out(p.net.add_unary(x, p.trt.UnaryOperation.ISNAN), name)
    equal = emit_elementwise(p, x, x, "EQUAL", f"{name} equal")
    return p.out(p.net.add_unary(equal, p.trt.UnaryOperation.NOT), name)
