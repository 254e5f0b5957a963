"""Modules and functions that tests save as data and restore."""

from __future__ import annotations

import enum
from collections import OrderedDict

import torch


class Plain(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(8, 3)
        self.act = torch.nn.functional.gelu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.linear(x))


class Tied(torch.nn.Module):
    """One weight under two names, one module under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(8, 8)
        self.second = torch.nn.Linear(8, 8)
        self.second.weight = self.first.weight
        self.alias = self.first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.alias(x))


class Mode(enum.Enum):
    SUM = "sum"
    PRODUCT = "product"


class Settings:
    def __init__(self) -> None:
        self.scale = 2.0
        self.names = ("a", "b")


class Slotted:
    __slots__ = ("value",)


class Odd(torch.nn.Module):
    """Attributes of every kind that can be written down."""

    def __init__(self) -> None:
        super().__init__()
        self.mode = Mode.PRODUCT
        self.settings = Settings()
        self.limits = {"low": float("-inf"), 3: [1, None, True]}
        self.order = OrderedDict(z=1, a=2)
        self.dtype = torch.float32
        self.size = torch.Size([4, 8])
        self.part = slice(0, 8, None)
        self.tags = {"x", "y"}
        self.layers = torch.nn.ModuleList([torch.nn.Conv1d(1, 2, 3, padding=1), torch.nn.BatchNorm1d(2)]).eval()
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x[:, self.part].to(self.dtype).unsqueeze(1)
        for layer in self.layers:
            y = layer(y)
        return y * self.settings.scale if self.mode is Mode.PRODUCT else y


class Kinds(torch.nn.Module):
    """Tensors of dtypes that a safetensors file from NumPy has and has not, parameters, buffers and plain ones."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow = torch.nn.Parameter(torch.randn(8).bfloat16(), requires_grad=False)
        self.register_buffer("wave", torch.randn(8, dtype=torch.complex64))
        self.register_buffer("wide", torch.randn(8, dtype=torch.float64), persistent=False)
        self.steps = torch.arange(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.narrow.float() + self.wave.real + self.wave.imag + self.wide.float() + self.steps


def doubled(x: torch.Tensor) -> torch.Tensor:
    return 2 * x


def scaled(x: torch.Tensor, by: float) -> torch.Tensor:
    return x * by
