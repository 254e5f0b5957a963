"""Sizes that are not known until the engine runs: expressions over the dynamic dimensions of the inputs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class Size:
    """A size by its expression (of sympy, as torch.export has it); two are equal if their expressions are."""

    def __init__(self, expression: Any) -> None:
        self.expression = expression

    def __repr__(self) -> str:
        return str(self.expression)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Size) and bool(self.expression == other.expression)

    def __hash__(self) -> int:
        return hash(self.expression)


Shape = tuple["int | Size", ...]


def size_of(value: Any) -> int | Size:
    """A Python integer or a SymInt of torch as a number, or as a Size where it is not a constant."""
    if isinstance(value, int):
        return value
    expression = value.node.expr
    return int(expression) if expression.is_number else Size(expression)


def shape_of(values: Iterable[Any]) -> Shape:
    """The sizes of a tensor's dimensions."""
    return tuple(size_of(value) for value in values)


def static(shape: Iterable[int | Size]) -> tuple[int, ...]:
    """``shape`` with -1 for each dimension that is not known."""
    return tuple(size if isinstance(size, int) else -1 for size in shape)


def fixed(shape: Iterable[int | Size]) -> tuple[int, ...]:
    """``shape`` as numbers. ValueError if a size is dynamic; those of weights never are."""
    numbers = tuple(shape)
    if any(isinstance(size, Size) for size in numbers):
        raise ValueError(f"a size of {numbers} is dynamic")
    return tuple(size for size in numbers if isinstance(size, int))
