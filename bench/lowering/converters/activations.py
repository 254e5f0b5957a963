"""Activation functions beyond those that are one member of ActivationType without arguments."""

from __future__ import annotations

import math
from typing import Any

from bench.lowering import prelude_pointwise
from bench.lowering.calls import Tensor
from bench.lowering.converters.elementwise import activation, binary
from bench.lowering.registry import converter, variant
from bench.lowering.writer import Writer


@converter("aten.gelu.default", layers="IActivationLayer GELU_ERF, GELU_TANH; 8.6: IUnaryLayer ERF, IElementWiseLayer")
def gelu(w: Writer, *, input: Tensor, approximate: str) -> Tensor:
    """x times the normal distribution up to x, exactly or by tanh."""
    return w.call(prelude_pointwise.emit_gelu, input, approximate, input.dtype)


@converter("aten.silu.default", layers="IActivationLayer SIGMOID, IElementWiseLayer PROD")
def silu(w: Writer, *, input: Tensor) -> Tensor:
    """x sigmoid(x)."""
    gate = w.out(w.net.add_activation(input, w.trt.ActivationType.SIGMOID), "sigmoid")
    return binary(w, "PROD", input, gate)


@converter("aten.hardsigmoid.default", layers="IActivationLayer HARD_SIGMOID")
def hardsigmoid(w: Writer, *, input: Tensor) -> Tensor:
    """x / 6 + 1 / 2 between 0 and 1."""
    return activation(w, "HARD_SIGMOID", input, alpha=1 / 6, beta=0.5)


@converter("aten.hardswish.default", layers="IActivationLayer HARD_SIGMOID, IElementWiseLayer PROD")
def hardswish(w: Writer, *, input: Tensor) -> Tensor:
    """x hardsigmoid(x)."""
    layer = w.net.add_activation(input, w.trt.ActivationType.HARD_SIGMOID)
    layer.alpha, layer.beta = 1 / 6, 0.5
    return binary(w, "PROD", input, w.out(layer, "gate"))


@converter("aten.leaky_relu.default", layers="IActivationLayer LEAKY_RELU")
def leaky_relu(w: Writer, *, input: Tensor, negative_slope: float) -> Tensor:
    """x, or ``negative_slope`` x where x is negative."""
    return activation(w, "LEAKY_RELU", input, alpha=negative_slope)


@converter("aten.elu.default", layers="IActivationLayer ELU, SELU")
def elu(w: Writer, *, input: Tensor, alpha: float, scale: float, input_scale: float) -> Tensor:
    """x where x is positive, else alpha (exp(x) - 1); both times ``scale``."""
    if input_scale != 1:
        raise w.refuse(f"elu with input_scale {input_scale}")
    if scale == 1:
        return activation(w, "ELU", input, alpha=alpha)
    return activation(w, "SELU", input, alpha=alpha, beta=scale)


@variant("aten.selu.default", of="elu")
def _selu(result: Any, *, input: Any) -> dict[str, Any]:
    return {"input": input, "alpha": 1.6732632423543772, "scale": 1.0507009873554805, "input_scale": 1}


@variant("aten.celu.default", of="elu")
def _celu(result: Any, *, input: Any, alpha: float) -> dict[str, Any]:
    return {"input": input, "alpha": alpha, "scale": 1, "input_scale": 1 / alpha}


@converter("aten.softplus.default", layers="IActivationLayer SOFTPLUS, ISelectLayer")
def softplus(w: Writer, *, input: Tensor, beta: float, threshold: float) -> Tensor:
    """log(exp(beta x) + 1) / beta; x where beta x is above ``threshold``, at which the power could overflow."""
    curve = _softplus(w, input, beta)
    return _linear_above(w, input, curve, threshold / beta, "")


@converter("aten.mish.default", layers="IActivationLayer SOFTPLUS, TANH, ISelectLayer, IElementWiseLayer PROD")
def mish(w: Writer, *, input: Tensor) -> Tensor:
    """x tanh(softplus(x))."""
    curve = _linear_above(w, input, _softplus(w, input, 1.0), 20.0, "linear")
    return binary(w, "PROD", input, w.out(w.net.add_activation(curve, w.trt.ActivationType.TANH), "tanh"))


def _softplus(w: Writer, input: Tensor, beta: float) -> Tensor:
    layer = w.net.add_activation(input, w.trt.ActivationType.SOFTPLUS)
    layer.alpha, layer.beta = 1 / beta, float(beta)
    return w.out(layer, "softplus")


def _linear_above(w: Writer, input: Tensor, curve: Tensor, limit: float, suffix: str) -> Tensor:
    bound = w.scalar(min(limit, _largest(input.dtype)), input.dtype, input.rank)
    above = w.out(w.net.add_elementwise(input, bound, w.trt.ElementWiseOperation.GREATER), "above", dtype="bool")
    return w.out(w.net.add_select(above, input, curve), suffix)


def _largest(dtype: str) -> float:
    return 65504.0 if dtype == "float16" else 3e38


@converter("aten.prelu.default", layers="IParametricReLULayer")
def prelu(w: Writer, *, input: Tensor, weight: Tensor) -> Tensor:
    """x, or x times the slope of its channel where x is negative."""
    tail = (1,) * max(input.rank - 2, 0)
    shape = (1, *weight.shape, *tail) if input.rank > 1 else weight.shape
    return w.out(w.net.add_parametric_relu(input, w.reshape(weight, shape, "slopes")))


@converter("aten.threshold.default", layers="IElementWiseLayer GREATER, ISelectLayer")
def threshold(w: Writer, *, input: Tensor, threshold: float, value: float) -> Tensor:
    """x where x is above ``threshold``, else ``value``."""
    bound, other = (w.scalar(number, input.dtype, input.rank) for number in (threshold, value))
    above = w.out(w.net.add_elementwise(input, bound, w.trt.ElementWiseOperation.GREATER), "above", dtype="bool")
    return w.out(w.net.add_select(above, input, other))


@converter("aten.isnan.default", layers="IUnaryLayer ISNAN; 8.6: IElementWiseLayer EQUAL, IUnaryLayer NOT")
def isnan(w: Writer, *, input: Tensor) -> Tensor:
    """Whether a value is no number."""
    return w.call(prelude_pointwise.emit_is_nan, input)


@converter("aten.isinf.default", layers="IUnaryLayer ISINF")
def isinf(w: Writer, *, input: Tensor) -> Tensor:
    """Whether a value is infinite."""
    return w.out(w.net.add_unary(input, w.trt.UnaryOperation.ISINF))


@converter("aten.log2.default", layers="IUnaryLayer LOG, IElementWiseLayer PROD")
def log2(w: Writer, *, input: Tensor) -> Tensor:
    """The logarithm to base 2."""
    return _scaled_log(w, input, 1 / math.log(2))


@converter("aten.log10.default", layers="IUnaryLayer LOG, IElementWiseLayer PROD")
def log10(w: Writer, *, input: Tensor) -> Tensor:
    """The logarithm to base 10."""
    return _scaled_log(w, input, 1 / math.log(10))


def _scaled_log(w: Writer, input: Tensor, factor: float) -> Tensor:
    x = w.cast(input, w.result.dtype)
    return binary(w, "PROD", w.out(w.net.add_unary(x, w.trt.UnaryOperation.LOG), "log"), factor)
