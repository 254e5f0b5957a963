"""Tiny models that exporters and compilers take wrongly, or not at all: ``exports_zoo.py:function``."""

from __future__ import annotations

from typing import Any

import torch


class Awkward(torch.nn.Module):
    """Names of operators for inputs, outputs and buffers; other names that no file format likes; and as outputs an
    input, a weight, and one tensor twice.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(8, 8)
        self.mean = torch.full((8,), 5.0)
        self.register_buffer("softmax", torch.ones(8))

    def forward(self, linear: torch.Tensor, relu: torch.Tensor, add: torch.Tensor) -> dict[str, Any]:
        y = torch.relu(self.layer(linear - self.mean)) + relu
        return {
            "softmax": torch.flip(torch.softmax(y, 0), (1,)),
            "linear": y * 2,
            "relu": y.mean(-1) * 3,
            "mean": y - self.softmax,
            "1": y + 4,
            "a/b.c": y + 5,
            "größe": y + 6,
            "input_0": y + 7,
            "output_1": y + 8,
            "model.layer.weight": y + 9,
            "same": linear,
            "again": linear,
            "weight": self.layer.weight,
            "first": y,
            "second": y,
        }


class Heads(torch.nn.Module):
    """A tuple of a tensor, a list with the input in it, and a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = torch.nn.Linear(8, 4), torch.nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor], torch.Tensor]:
        return self.a(x), [self.b(x), x], self.a.weight


class Rows(torch.nn.Module):
    """Goes through the rows in Python: right at any size, and unrolled by whoever traces it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([self.layer(row) for row in x])


class ListOfRows(torch.nn.Module):
    """Has as many outputs as there are rows."""

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [row * 2 for row in x]


class Table(torch.nn.Module):
    """Takes four rows only."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.randn(4, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.table


class ByRows(torch.nn.Module):
    """Computes something else for more than four rows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 if x.shape[0] <= 4 else x - 3


class Sum(torch.nn.Module):
    """Takes two inputs of one size."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x + y


class Noise(torch.nn.Module):
    """Returns other values in every call, at any size."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.rand_like(x) - 0.5


class Early(torch.nn.Module):
    """Leaves early by its values, as Python decides; a tracer warns of it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.rest = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        if y.abs().max() > 0.01:
            return y
        return self.rest(y)


class Plain(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = torch.nn.Linear(8, 16), torch.nn.Linear(16, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.b(torch.relu(self.a(x))))


class Disabled(Plain):
    @torch._dynamo.disable
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x)


class Around(torch.nn.Module):
    """Calls another module."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) + 1


class Returns(torch.nn.Module):
    """Computes nothing."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class Square(torch.autograd.Function):
    """A function with a gradient of its own."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x * x

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient


class Squares(Plain):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Square.apply(super().forward(x))


def awkward() -> torch.nn.Module:
    return Awkward()


def heads() -> torch.nn.Module:
    return Heads()


def rows() -> torch.nn.Module:
    return Rows()


def list_of_rows() -> torch.nn.Module:
    return ListOfRows()


def table() -> torch.nn.Module:
    return Table()


def by_rows() -> torch.nn.Module:
    return ByRows()


def total() -> torch.nn.Module:
    return Sum()


def noise() -> torch.nn.Module:
    return Noise()


def early() -> torch.nn.Module:
    return Early()


def disabled() -> torch.nn.Module:
    return Disabled()


def scripted() -> torch.nn.Module:
    return torch.jit.script(Plain())


def traced() -> torch.nn.Module:
    return torch.jit.trace(Plain().eval(), torch.randn(2, 8))


def scripted_part() -> torch.nn.Module:
    return Around(torch.jit.script(Plain()))


def disabled_part() -> torch.nn.Module:
    return Around(Disabled())


def returns() -> torch.nn.Module:
    return Returns()


def squares() -> torch.nn.Module:
    return Squares()
