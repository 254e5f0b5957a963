"""Modules whose attributes are hard to save: aliases, subclasses, strides, state beside ``__dict__``."""

from __future__ import annotations

import enum
import functools
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import torch


class Mode(str, enum.Enum):  # noqa: UP042 - the older spelling is a kind of its own
    FAST = "fast"


class Name(enum.StrEnum):
    FIRST = "first"


class Level(enum.IntEnum):
    HIGH = 2


class Parts(enum.Flag):
    LEFT = enum.auto()
    RIGHT = enum.auto()


class Text(str):
    """Equal to everything."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = str.__hash__


class Items(list):
    pass


Pair = namedtuple("Pair", ["low", "high"])


class Holder(torch.nn.Module):
    """A layer, and whatever attributes it is given."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(8, 8)
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


class Buffers(Holder):
    """As Holder, with tensors as buffers."""

    def __init__(self, **buffers: torch.Tensor) -> None:
        super().__init__()
        for name, value in buffers.items():
            self.register_buffer(name, value)


def buffers(*values: torch.Tensor) -> torch.nn.Module:
    """A module with these values as its buffers b0, b1 and so on."""
    return Buffers(**{f"b{index}": value for index, value in enumerate(values)})


class Slots(Holder):
    __slots__ = ("factor",)


class Recurrent(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(
            kind(8, 8, batch_first=True, num_layers=2) for kind in (torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN)
        )
        self.order = range(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for index in self.order:
            x = self.layers[index](x)[0]
        return x


class Starred(torch.nn.Module):
    def forward(self, *xs: torch.Tensor) -> torch.Tensor:
        return xs[0]


class ByKeyword(torch.nn.Module):
    def forward(self, *, x: torch.Tensor) -> torch.Tensor:
        return x


class Masked(torch.nn.Module):
    """Takes any keyword beside its own."""

    def forward(self, x: torch.Tensor, mask: object = None, use_cache: bool = True, **more: object) -> torch.Tensor:
        return x


class ByPosition(torch.nn.Module):
    def forward(self, x: torch.Tensor, /) -> torch.Tensor:
        return x


class Bare(torch.nn.Module):
    pass


class Adder:
    """An object that can be called."""

    def __init__(self, by: float, weight: torch.Tensor | None = None) -> None:
        self.by = by
        self.weight = weight

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.by


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*values: Any, **keywords: Any) -> Any:
        return function(*values, **keywords)

    return wrapper


def positional(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*values: Any) -> Any:
        return function(*values)

    return wrapper


def times(by: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def inner(x: torch.Tensor) -> torch.Tensor:
        return x * by

    return inner


def plain(x: torch.Tensor) -> torch.Tensor:
    return x + 1


@logged
def decorated(x: torch.Tensor) -> torch.Tensor:
    return x + 2


@positional
def unnamed(x: torch.Tensor) -> torch.Tensor:
    return x + 2


tripled = times(3.0)


def masked(x: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return x * ids + mask.sum()
