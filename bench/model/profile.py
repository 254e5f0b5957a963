"""The layers of an engine: the data that a layers stage writes and ``trtbench layers`` prints."""

from __future__ import annotations

from typing import Any

from bench.model.data import Data

FILE = "layers.json"


class Tensor(Data, frozen=True, kw_only=True):
    """One input or output of a layer. ``format`` is the runtime's text, e.g. ``Row major linear FP16 format``."""

    name: str
    shape: tuple[int, ...] = ()
    dtype: str = ""
    format: str = ""


class Layer(Data, frozen=True, kw_only=True):
    """One layer of an engine, in the order in which it runs.

    ``ns`` holds one time for each profiled call, empty where the runtime gave none. ``kind`` is the runtime's layer
    type, ``tactic`` the kernel it chose, ``origin`` the nodes of the model that became this layer. ``reformat`` marks
    layers that only change a tensor's type or memory layout.
    """

    name: str
    kind: str = ""
    precision: str = ""
    tactic: str = ""
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    origin: tuple[str, ...] = ()
    reformat: bool = False
    ns: tuple[int, ...] = ()


class Layers(Data, frozen=True, kw_only=True):
    """All layers of one engine. ``runtime`` is e.g. ``TensorRT 8.6.1``; ``inspector`` is its own report, unchanged."""

    runtime: str
    layers: tuple[Layer, ...]
    calls: int = 0
    inspector: Any = None
