"""Network programs: the ops that they can be written of, and what was written."""

from __future__ import annotations

from bench.model.data import Data
from bench.model.run import Failure, Warning
from bench.model.suite import Case


class SupportedOp(Data, frozen=True, kw_only=True):
    """An op that has a converter: its signature, the operators of PyTorch that become it, and what TensorRT computes
    it by.
    """

    name: str
    signature: str
    operators: tuple[str, ...]
    layers: str
    about: str


class NetworkProgram(Data, frozen=True, kw_only=True):
    """The program of a case: the folder that it lies in and what to know of it, or why there is none."""

    case: Case
    folder: str = ""
    warnings: tuple[Warning, ...] = ()
    failure: Failure | None = None
