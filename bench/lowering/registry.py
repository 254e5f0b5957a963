"""The table of ops that can be lowered: each has one converter, and the operators of ATen that it stands for."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])
# kwargs of an operator (and what it returns) -> kwargs of the op; see ``variant``.
Rewrite = Callable[..., dict[str, Any]]

_CONVERTERS: dict[str, Op] = {}
_ATEN: dict[str, tuple[str, Rewrite | None]] = {}


class Op(NamedTuple):
    """One op: ``aten`` is the operator that computes it in PyTorch, ``layers`` names what TensorRT computes it by."""

    name: str
    aten: str
    layers: str
    convert: Callable[..., Any]

    @property
    def signature(self) -> str:
        """``relu(input)``: the op and its arguments, all by keyword."""
        parameters = list(inspect.signature(self.convert).parameters)[1:]
        return f"{self.name}({', '.join(parameters)})"

    @property
    def about(self) -> str:
        """The first line of the converter's docstring."""
        return (inspect.getdoc(self.convert) or "").partition("\n")[0]


def converter(aten: str, *more: str, layers: str = "") -> Callable[[Function], Function]:
    """Register the converter of an op, which has the function's name.

    ``aten`` is the overload that computes it (``aten.relu.default``): its arguments, all by keyword and ``self`` called
    ``input``, are those of the function after the writer. ``more`` are overloads with the same arguments. ``layers``
    names the layers of TensorRT that the function writes.
    """

    def register(function: Function) -> Function:
        op = Op(function.__name__.rstrip("_"), aten, layers, function)
        if op.name in _CONVERTERS:
            raise ValueError(f"two converters for {op.name}")
        _CONVERTERS[op.name] = op
        for name in (aten, *more):
            _stands_for(name, op.name, None)
        return function

    return register


def variant(*aten: str, of: str) -> Callable[[Rewrite], Rewrite]:
    """Register operators that are another form of the op ``of``.

    The function gets the node's result (see ``writer.Tensor``) and the operator's arguments by keyword, and returns
    those of the op. A list of results where the operator has several.
    """

    def register(function: Rewrite) -> Rewrite:
        for name in aten:
            _stands_for(name, of, function)
        return function

    return register


def ops() -> Mapping[str, Op]:
    """All ops by name."""
    _import_all()
    return _CONVERTERS


def aten_names() -> Mapping[str, tuple[str, Rewrite | None]]:
    """The operators that need no decomposition: the op that each stands for, and how its arguments become that op's."""
    _import_all()
    return _ATEN


def _stands_for(aten: str, op: str, rewrite: Rewrite | None) -> None:
    if aten in _ATEN:
        raise ValueError(f"{aten} stands for {_ATEN[aten][0]} already")
    _ATEN[aten] = (op, rewrite)


@functools.cache
def _import_all() -> None:
    package = importlib.import_module("bench.lowering.converters")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    if unknown := sorted(op for op, _ in _ATEN.values() if op not in _CONVERTERS):
        raise ValueError(f"variants of ops that have no converter: {', '.join(unknown)}")
