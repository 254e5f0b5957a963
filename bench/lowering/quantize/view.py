"""A quantized network as the placement rules see it, the same for an FX graph and for an ONNX file."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

# Layers with weights, which run in int8 where input and weights are quantized.
WEIGHTED = frozenset({"convolution", "linear", "matmul"})
# Functions of one value that TensorRT fuses into the convolution before them.
ACTIVATIONS = frozenset(
    {"relu", "clamp", "sigmoid", "tanh", "leaky_relu", "elu", "silu", "hardsigmoid", "hardswish"}
)  # fmt: skip
# What only selects or moves values, so that quantizing before or after it gives the same.
COMMUTING = frozenset({"max_pool", "reshape", "permute", "slice", "select", "flip"})
_NEAR = 1e-5  # scales as near as this, relatively, are one: float32 in files, Python's floats in graphs


class Vertex:
    """One op: ``data`` are its operands, ``weight`` the other one of a layer with weights; ``users`` read its result.

    ``op`` is the name of a normalised op, or ``input``, ``constant``, ``output``. Of Q and DQ, ``scale`` has one number
    or one for each index of ``axis``. ``shape`` is that of a constant, ``rank`` the number of dimensions of what a
    layer with weights reads, None where it is not known. ``node`` is what the vertex stands for.
    """

    def __init__(self, name: str, op: str, module: str = "", node: Any = None) -> None:
        self.name = name
        self.op = op
        self.module = module
        self.node = node
        self.index = 0
        self.data: list[Vertex] = []
        self.weight: Vertex | None = None
        self.users: list[Vertex] = []
        self.scale: tuple[float, ...] = ()
        self.axis: int | None = None
        self.transposed = False
        self.shape: tuple[int, ...] = ()
        self.rank: int | None = None

    def __repr__(self) -> str:
        return f"Vertex({self.name!r}, {self.op!r})"

    @property
    def label(self) -> str:
        """The module, or where there is none the node's own name."""
        return self.module or self.name

    @property
    def operands(self) -> list[Vertex]:
        """All that it reads of the network."""
        return [*self.data, *([self.weight] if self.weight is not None else [])]


class Pair(NamedTuple):
    """A DQ that reads a Q, and the tensor before both. ``q`` is the DQ itself where a stored constant is int8."""

    q: Vertex
    dq: Vertex
    source: Vertex


def modules_of(path: str) -> list[str]:
    """``a.b.c``: ``a``, ``a.b``, ``a.b.c``."""
    return list(itertools.accumulate(path.split("."), lambda above, name: f"{above}.{name}"))


def link(vertices: Sequence[Vertex]) -> list[Vertex]:
    """The vertices in order, with their places and the users of each."""
    for index, vertex in enumerate(vertices):
        vertex.index = index
        for operand in vertex.operands:
            operand.users.append(vertex)
    return list(vertices)


def pair_of(vertex: Vertex | None) -> Pair | None:
    """The pair that ends with ``vertex``; None if it is no DQ."""
    if vertex is None or vertex.op != "dequantize":
        return None
    before = vertex.data[0]
    if before.op == "quantize":
        return Pair(before, vertex, before.data[0])
    return Pair(vertex, vertex, before) if before.op == "constant" else None


def source_of(vertex: Vertex) -> Vertex:
    """The tensor before a pair; ``vertex`` itself if it is no DQ."""
    pair = pair_of(vertex)
    return vertex if pair is None else pair.source


def has_weights(vertex: Vertex) -> bool:
    """Whether it is a layer with constant weights."""
    return vertex.op in WEIGHTED and vertex.weight is not None and source_of(vertex.weight).op == "constant"


def is_quantized(vertex: Vertex) -> bool:
    """Whether it is a layer with constant weights whose input and weights are quantized."""
    return has_weights(vertex) and pair_of(vertex.data[0]) is not None and pair_of(vertex.weight) is not None


def channel_axis(vertex: Vertex) -> int:
    """The dimension of a layer's weights that counts its output channels (of one group, if it is transposed)."""
    if vertex.op == "matmul":
        assert vertex.weight is not None
        return len(source_of(vertex.weight).shape) - (2 if vertex.transposed else 1)
    return 1 if vertex.transposed else 0


def quantizers(source: Vertex) -> list[Vertex]:
    """The Q that read a tensor."""
    return [user for user in source.users if user.op == "quantize"]


def same(first: Sequence[float], second: Sequence[float]) -> bool:
    """Whether two scales are equal, but for rounding."""
    return len(first) == len(second) and all(
        math.isclose(a, b, rel_tol=_NEAR) for a, b in zip(first, second, strict=True)
    )


def after_activation(vertex: Vertex) -> Vertex:
    """The activation that alone reads a tensor; the tensor itself if there is none."""
    if len(vertex.users) == 1 and vertex.users[0].op in ACTIVATIONS:
        return vertex.users[0]
    return vertex


def pairs(vertices: Sequence[Vertex]) -> Iterator[Pair]:
    """All pairs."""
    for vertex in vertices:
        if (pair := pair_of(vertex)) is not None:
            yield pair
