"""What converters work with: tensors, and calls of the network and its layers, which are recorded as source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from bench.lowering.sizes import Shape

_DTYPES = {"int64": "int32", "float64": "float32"}


def inner_dtype(name: str) -> str:
    """The type within a network of what is ``name`` in the model: int64 is int32, float64 float32."""
    return _DTYPES.get(name, name)


class Spec(NamedTuple):
    """What a node returns: sizes, and its type within the network."""

    shape: Shape
    dtype: str

    @property
    def rank(self) -> int:
        """The number of dimensions."""
        return len(self.shape)


class Text(str):
    """A piece of source; an attribute of it is another."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Text:
        if name.startswith("__"):
            raise AttributeError(name)
        return Text(f"{self}.{name}")


class Tensor:
    """A tensor of the network: ``name`` is its variable, ``constant`` its key among the weights where it is one."""

    def __init__(self, name: str, shape: Shape, dtype: str, constant: str = "") -> None:
        self.name = name
        self.shape = shape
        self.dtype = dtype
        self.constant = constant

    def __repr__(self) -> str:
        return f"Tensor({self.name or self.constant!r}, {self.shape}, {self.dtype})"

    @property
    def rank(self) -> int:
        """The number of dimensions."""
        return len(self.shape)


class HasSource(Protocol):
    """Writes arguments of calls."""

    def source(self, value: Any) -> str:
        """The source of an argument."""

    def arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        """The source of a call's arguments."""


class Layer:
    """A call of the network that adds a layer, and what is set on the layer before its outputs are taken."""

    call: str
    settings: list[tuple[str, str]]
    inputs: list[str]
    _writer: HasSource

    def __init__(self, writer: HasSource, call: str) -> None:
        object.__setattr__(self, "_writer", writer)
        object.__setattr__(self, "call", call)
        object.__setattr__(self, "settings", [])
        object.__setattr__(self, "inputs", [])

    def __setattr__(self, name: str, value: Any) -> None:
        self.settings.append((name, self._writer.source(value)))

    def set_input(self, index: int, tensor: Tensor | Text) -> None:
        """Give the layer another input."""
        self.inputs.append(f"layer.set_input({index}, {self._writer.source(tensor)})")


class Network:
    """Records calls of an INetworkDefinition."""

    def __init__(self, writer: HasSource) -> None:
        self._writer = writer

    def __getattr__(self, name: str) -> Callable[..., Layer]:
        if not name.startswith("add_"):
            raise AttributeError(name)

        def add(*args: Any, **kwargs: Any) -> Layer:
            return Layer(self._writer, f"net.{name}({self._writer.arguments(args, kwargs)})")

        return add


def output_name(layer: str, index: int) -> str:
    """What an output of a layer is called: ``conv1``, but ``topk[1]``."""
    return f"{layer}[{index}]" if index else layer


def reshape_dims(before: Shape, after: Shape) -> tuple[int, ...] | None:
    """``after`` as numbers for a shuffle: 0 keeps the size of that dimension, one -1 stands for what remains.

    None if more than one size is neither.
    """
    dims: list[int] = []
    for axis, size in enumerate(after):
        if isinstance(size, int):
            dims.append(size)
        elif axis < len(before) and before[axis] == size:
            dims.append(0)
        else:
            dims.append(-1)
    return tuple(dims) if dims.count(-1) <= 1 and 0 not in after else None
