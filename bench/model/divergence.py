"""Where a network leaves the reference: the tensors of a graph, one run of it with some as outputs, and the result."""

from __future__ import annotations

from typing import Literal

from bench.model.data import Data
from bench.model.run import Failure
from bench.model.suite import Case

# Files of the artifacts: of the values that should be ``GRAPH`` and ``VALUES``, of a run ``RUN`` and ``VALUES``, in
# which the names of tensors that are outputs only there begin with ``MARK``.
GRAPH, RUN, VALUES = "graph.json", "run.json", "values.safetensors"
MARK = "mark."
# What runs the network: the torch interpreter of network programs, or an engine of the case's backend.
On = Literal["oracle", "engine"]
# What a layer computes wrongly may come from; ``fusion`` is a difference that is gone once its tensor is an output.
CauseKind = Literal[
    "reference",
    "NaN constant",
    "weight overflow",
    "overflow",
    "underflow",
    "precision fallback",
    "cancellation",
    "rounding",
    "outputs",
    "lowering",
    "fusion",
    "layer",
]


class Node(Data, frozen=True, kw_only=True):
    """A tensor of the graph: ``name`` is that of the layer which computes it, ``op`` what computes it there.

    ``module`` is the path of the module, ``kind`` its class, ``inputs`` the nodes that it reads, ``weights`` the
    weights. ``dtype`` is its type in the network as written, ``terms`` how many numbers the layer adds up for each
    value.
    """

    name: str
    op: str
    module: str = ""
    kind: str = ""
    inputs: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    dtype: str = "float32"
    terms: int = 1


class Graph(Data, frozen=True, kw_only=True):
    """The tensors of a graph in the order in which they are computed, and the node of each output of the model.

    ``infinite`` are weights that are no finite numbers at the precision of the network.
    """

    nodes: tuple[Node, ...]
    outputs: dict[str, str]
    infinite: tuple[str, ...] = ()


class MarkedRun(Data, frozen=True, kw_only=True):
    """What one run of a network with marked tensors was: its runtime, the type that each tensor has in the network,
    and which of those asked for it does not have. ``nan_constants`` are weights and constants of a program that have
    NaN.
    """

    runtime: str
    types: dict[str, str] = {}
    absent: tuple[str, ...] = ()
    nan_constants: tuple[str, ...] = ()


class Side(Data, frozen=True, kw_only=True):
    """The values of a tensor: the least and the largest finite ones, and how many are NaN, infinite, or zero.

    ``low`` and ``high`` are None if no value is finite.
    """

    low: float | None
    high: float | None
    nan: int = 0
    infinite: int = 0
    zeros: int = 0
    size: int = 0

    @property
    def largest(self) -> float:
        """The largest finite magnitude; 0 if there is none."""
        return max(abs(self.low or 0.0), abs(self.high or 0.0))


class Check(Data, frozen=True, kw_only=True):
    """One tensor against the reference: whether it keeps the limits, and why not. ``dtype`` is its type there.

    ``rel_l2`` and ``cosine`` are None where a value is not finite. ``underflows`` counts the values that are zero here,
    and in the reference too small for float16 but not zero; ``apart`` those that are NaN or infinite in only one of the
    two, or infinite with other signs.
    """

    node: Node
    ok: bool
    reference: Side
    network: Side
    dtype: str
    rel_l2: float | None = None
    cosine: float | None = None
    why: str = ""
    underflows: int = 0
    apart: int = 0


class Cause(Data, frozen=True, kw_only=True):
    """What a difference probably comes from, the figures that say so, and what to try."""

    kind: CauseKind
    what: str
    fix: str = ""


class Divergence(Data, frozen=True, kw_only=True):
    """The first tensor of a case's network that leaves the limits, though what its layer reads keeps them.

    ``first`` is None if all outputs keep them. ``inputs`` are the checks of what that layer reads, ``outputs`` those of
    the model's outputs. ``networks`` counts the networks that were built and run, ``tensors`` the tensors that can be
    compared. ``runtime`` is what ran them.
    """

    case: Case
    runtime: str = ""
    tensors: int = 0
    networks: int = 0
    outputs: tuple[Check, ...] = ()
    first: Check | None = None
    inputs: tuple[Check, ...] = ()
    cause: Cause | None = None
    failure: Failure | None = None
