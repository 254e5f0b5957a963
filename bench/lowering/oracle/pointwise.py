"""Layers that compute each value by itself: activation, unary, elementwise, scale, select, cast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from bench.lowering.oracle.core import FLOATS, NAMES, NUMBERS, TYPES, Layer, weights, wide


class Activation(Layer):
    """f(x) as the documentation of ActivationType gives it; clipping is max(alpha, min(beta, x))."""

    interface = "IActivationLayer"
    settings = {"type": None, "alpha": None, "beta": None}

    # alpha, beta where the program sets none, as the builder reports them
    _DEFAULTS = {
        "LEAKY_RELU": (0.01, 0.0), "ELU": (1.0, 0.0), "SELU": (1.6732631921768188, 1.0507010221481323),
        "SOFTPLUS": (1.0, 1.0), "HARD_SIGMOID": (0.2, 0.5), "SCALED_TANH": (1.0, 1.0), "THRESHOLDED_RELU": (1.0, 0.0),
    }  # fmt: skip

    def _compute(self) -> list[torch.Tensor]:
        kind = self.member(self.type, "ActivationType")
        self.require_type(NUMBERS if kind == "RELU" else FLOATS, 0)
        x = self.value(0)
        settings: tuple[Any, ...] = self.alpha, self.beta
        if kind in self._DEFAULTS:
            settings = tuple(
                default if value is None else value
                for value, default in zip(settings, self._DEFAULTS[kind], strict=True)
            )
        if kind == "CLIP":
            self.require(None not in settings, "set alpha, the least value, and beta, the greatest")
        return [_ACTIVATIONS[kind](wide(x), *settings).to(x.dtype)]


_ACTIVATIONS: dict[str, Callable[[torch.Tensor, Any, Any], torch.Tensor]] = {
    "RELU": lambda x, _, __: x.clamp(min=0),
    "SIGMOID": lambda x, _, __: torch.sigmoid(x),
    "TANH": lambda x, _, __: torch.tanh(x),
    "LEAKY_RELU": lambda x, alpha, _: torch.where(x >= 0, x, alpha * x),
    "ELU": lambda x, alpha, _: torch.where(x >= 0, x, alpha * torch.expm1(x)),
    "SELU": lambda x, alpha, beta: torch.where(x > 0, beta * x, beta * (alpha * torch.expm1(x))),
    "SOFTSIGN": lambda x, _, __: x / (1 + x.abs()),
    "SOFTPLUS": lambda x, alpha, beta: alpha * torch.logaddexp(beta * x, torch.zeros_like(x)),
    "CLIP": lambda x, alpha, beta: x.clamp(max=beta).clamp(min=alpha),
    "HARD_SIGMOID": lambda x, alpha, beta: (alpha * x + beta).clamp(0, 1),
    "SCALED_TANH": lambda x, alpha, beta: alpha * torch.tanh(beta * x),
    "THRESHOLDED_RELU": lambda x, alpha, _: torch.where(x > alpha, x, torch.zeros_like(x)),
    "GELU_ERF": lambda x, _, __: 0.5 * x * (1 + torch.erf(0.5**0.5 * x)),
    "GELU_TANH": lambda x, _, __: 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (0.044715 * x**3 + x))),
}


class Unary(Layer):
    """One of the members of UnaryOperation; rounding is to the nearest even number."""

    interface = "IUnaryLayer"
    settings = {"op": None}

    def _compute(self) -> list[torch.Tensor]:
        op = self.member(self.op, "UnaryOperation")
        x = self.value(0)
        if op == "NOT":
            self.require_type({"BOOL"}, 0)
            return [~x]
        self.require_type(NUMBERS | {"INT8"} if op in ("ABS", "NEG", "SIGN") else FLOATS, 0)
        result = unary(op, wide(x))
        return [result if result.dtype == torch.bool else result.to(x.dtype)]


def unary(op: str, x: torch.Tensor) -> torch.Tensor:
    """All members but NOT: torch has most by the same name."""
    names = {"RECIP": "reciprocal"}
    result: torch.Tensor = getattr(torch, names.get(op, op.lower()))(x)
    return result


class ElementWise(Layer):
    """Two tensors of as many dimensions, where sizes of 1 are repeated.

    Of integers DIV truncates towards zero, FLOOR_DIV rounds down, and a negative POW is rounded towards zero.
    """

    interface = "IElementWiseLayer"
    settings = {"op": None}

    def _compute(self) -> list[torch.Tensor]:
        op = self.member(self.op, "ElementWiseOperation")
        if op in ("AND", "OR", "XOR"):
            self.require_type({"BOOL"}, 0, 1)
        else:
            self.require_type(NUMBERS | {"INT8"} | ({"BOOL"} if op == "EQUAL" else set()), 0, 1)
        a, b = self.value(0), self.value(1)
        require_broadcast(self, a, b)
        result = _OPERATIONS[op](wide(a), wide(b))
        return [result if result.dtype == torch.bool else result.to(a.dtype)]


def require_broadcast(layer: Layer, *values: torch.Tensor) -> None:
    """Refuse tensors whose ranks differ, or whose sizes differ where none is 1."""
    shapes = [tuple(value.shape) for value in values]
    text = " and ".join(map(str, shapes))
    layer.require(len({len(shape) for shape in shapes}) == 1, f"inputs of different ranks: {text}")
    for sizes in zip(*shapes, strict=True):
        layer.require(len(set(sizes) - {1}) <= 1, f"sizes that differ: {text}")


def _power(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.pow(a, b) if a.is_floating_point() else torch.pow(a.double(), b.double()).trunc().to(a.dtype)


_OPERATIONS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "SUM": torch.add,
    "PROD": torch.mul,
    "MAX": torch.maximum,
    "MIN": torch.minimum,
    "SUB": torch.sub,
    "DIV": lambda a, b: a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc"),
    "POW": _power,
    "FLOOR_DIV": lambda a, b: torch.div(a, b, rounding_mode="floor"),
    "AND": torch.logical_and,
    "OR": torch.logical_or,
    "XOR": torch.logical_xor,
    "EQUAL": torch.eq,
    "GREATER": torch.gt,
    "LESS": torch.lt,
}


class Scale(Layer):
    """(x scale + shift)^power, with one value of each, one a channel, or one an element."""

    interface = "IScaleLayer"
    settings = {"mode": None, "channel_axis": 1, "shift": None, "scale": None, "power": None}

    def _compute(self) -> list[torch.Tensor]:
        mode = self.member(self.mode, "ScaleMode")
        kind = self.require_type(FLOATS, 0)
        x = self.value(0)
        self.require(x.dim() >= 4, f"an input of {x.dim()} dimensions; it takes 4 or more")
        axis = self.channel_axis
        self.require(0 <= axis < x.dim(), f"channel_axis {axis} of {x.dim()} dimensions")
        shape = {"UNIFORM": (1,) * x.dim(), "ELEMENTWISE": tuple(x.shape)}.get(mode) or tuple(
            size if index == axis else 1 for index, size in enumerate(x.shape)
        )
        result = wide(x)
        for name in ("scale", "shift", "power"):
            values = weights(getattr(self, name))
            if values is None:
                continue
            self.require(NAMES[values.dtype] == kind, f"{name} of {NAMES[values.dtype]} for an input of {kind}")
            count = torch.Size(shape).numel()
            self.require(values.numel() == count, f"{name} has {values.numel()} values, the mode {mode} takes {count}")
            operand = wide(values).reshape(shape)
            result = {"scale": torch.mul, "shift": torch.add, "power": torch.pow}[name](result, operand)
        return [result.to(x.dtype)]


class Select(Layer):
    """The second input where the first is true, else the third."""

    interface = "ISelectLayer"

    def _compute(self) -> list[torch.Tensor]:
        self.require_type({"BOOL"}, 0)
        self.require_type(NUMBERS | {"BOOL", "INT8"}, 1, 2)
        values = self.value(0), self.value(1), self.value(2)
        require_broadcast(self, *values)
        return [torch.where(*values)]


class ParametricReLU(Layer):
    """x where it is not negative, else slope x; slopes have as many dimensions, those of size 1 are repeated."""

    interface = "IParametricReLULayer"

    def _compute(self) -> list[torch.Tensor]:
        self.require_type(FLOATS, 0, 1)
        x, slopes = self.value(0), self.value(1)
        require_broadcast(self, x, slopes)
        self.require(torch.broadcast_shapes(x.shape, slopes.shape) == x.shape, "slopes larger than the input")
        y = wide(x)
        return [torch.where(y >= 0, y, y * wide(slopes)).to(x.dtype)]


class Cast(Layer):
    """The same values as another type; to BOOL, whatever is not zero is true."""

    interface = "ICastLayer"
    settings = {"to_type": None}

    def _compute(self) -> list[torch.Tensor]:
        kind = self.member(self.to_type, "DataType")
        self.require(kind in TYPES, f"the oracle does not compute {kind}")
        return [self.value(0).to(TYPES[kind])]


class Identity(Layer):
    """The input."""

    interface = "IIdentityLayer"

    def _compute(self) -> list[torch.Tensor]:
        return [self.value(0)]
