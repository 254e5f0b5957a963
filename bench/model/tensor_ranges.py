"""What a calibration observed of the tensors of a network."""

from __future__ import annotations

from typing import Literal

from bench.model.data import Data
from bench.model.run import Failure
from bench.model.suite import Case

# The file of a calibration: a ``NetworkRanges``.
SUMMARY = "summary.json"
BINS = 32
# Why a tensor has no scale; or that all of its values were one, which has one. Names of a format.
Problem = Literal["not finite", "zero", "no values", "constant"]


class TensorRange(Data, frozen=True, kw_only=True):
    """One tensor: its node in the graph, and the path of the module that it comes from.

    ``least`` and ``most`` are of its finite values, ``limit`` the largest magnitude that int8 stands for (each None
    where there is none), ``clipped`` the share of values beyond it. ``histogram`` counts magnitudes in ``BINS`` bins of
    one width from 0 to ``reach``; it is empty of observers that count none.
    """

    name: str
    module: str = ""
    least: float | None = None
    most: float | None = None
    limit: float | None = None
    clipped: float = 0.0
    histogram: tuple[int, ...] = ()
    reach: float = 0.0
    problem: Problem | None = None

    @property
    def has_scale(self) -> bool:
        """Whether it can be quantized."""
        return self.problem in (None, "constant")


class NetworkRanges(Data, frozen=True, kw_only=True):
    """The tensors in the order of the network; who observed them, by which ``observer``, on how many ``samples``, of
    which ``data`` (empty: drawn).
    """

    quantizer: str
    observer: str
    samples: int
    data: str = ""
    tensors: tuple[TensorRange, ...] = ()


class CaseRanges(Data, frozen=True, kw_only=True):
    """The ranges of a case's network, or why it has none."""

    case: Case
    ranges: NetworkRanges | None = None
    failure: Failure | None = None
