"""Observers: what of a tensor's values over many inputs becomes the limit of int8.

Ranges are symmetric, so observers look at magnitudes. Histograms have as many bins as TensorRT's entropy calibrator.
"""

from __future__ import annotations

import abc
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bench.errors import Unsupported
from bench.lowering.quantize.scales import Range
from bench.model.tensor_ranges import Problem

if TYPE_CHECKING:
    import torch

Name = Literal["minmax", "moving_average", "percentile", "entropy"]
BINS = 2048
_LEVELS = 128  # magnitudes of symmetric int8
_STEP = 8  # bins between the limits that are tried: 0.4 % of the largest value
MOST_CLIPPED = 0.01  # of the values, by a limit that the divergence chooses
_SHOWN = 5  # modules that an error names beside the first
_FIX = "inputs as the model will get them: data"
_MOMENTUM = 0.01  # as torch.ao's MovingAverageMinMaxObserver
Array = np.ndarray[Any, np.dtype[Any]]


# Why a tensor has no scale.
_REASONS: dict[Problem, str] = {
    "not finite": "an activation that is NaN or infinite in calibration",
    "zero": "an activation that is zero for all inputs of the calibration has no scale",
    "no values": "an activation without values in calibration has no scale",
}


class Observer(abc.ABC):
    """Sees one tensor for each input, and then says what its limit is."""

    name: str

    def __init__(self, where: str) -> None:
        self.where = where
        self.least, self.most = np.inf, -np.inf
        self._finite = True

    def see(self, value: torch.Tensor) -> None:
        """One more tensor. Of values that are not finite it is only kept that there were some."""
        import torch

        if not value.numel():
            return
        least, most = (float(each) for each in value.aminmax())
        if not (np.isfinite(least) and np.isfinite(most)):
            self._finite = False
            if (value := value[torch.isfinite(value)]).numel():
                self.see(value)
            return
        self.least, self.most = min(self.least, least), max(self.most, most)
        self._see(value, max(-least, most))

    @property
    def problem(self) -> Problem | None:
        """Why there is no scale; ``constant`` for a tensor of one value, which has one."""
        if not self._finite:
            return "not finite"
        if self.least > self.most:
            return "no values"
        if self.least == self.most:
            return "constant" if self.most else "zero"
        return None

    @abc.abstractmethod
    def _see(self, value: torch.Tensor, largest: float) -> None: ...

    @abc.abstractmethod
    def _limit(self) -> float: ...

    def clipped(self, limit: float) -> float:
        """The share of values beyond ``limit``."""
        return 0.0

    def range(self) -> Range:
        """The range. Unsupported for a tensor that has no scale: always zero, without values, or not finite."""
        if (problem := self.problem) in _REASONS:
            raise no_scale(self.where, problem)
        limit = self._limit()
        return Range(
            limits=(limit,), method=self.name, least=float(self.least), most=float(self.most),
            clipped=self.clipped(limit), module=self.where,
        )  # fmt: skip


def no_scale(where: str, problem: Problem, others: Sequence[str] = (), suite: str = "") -> Unsupported:
    """The error for a tensor of the module ``where`` that cannot be quantized, and further modules that have such. Its
    advice has the command that lists what was observed of ``suite``, if that is given.
    """
    shown = ", ".join(others[:_SHOWN]) + (f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else "")
    also = f"; so have {shown}" if others else ""
    lists = f"; trtbench quantize {shlex.quote(suite)} --ranges lists what was observed" if suite else ""
    return Unsupported(f"{where}: {_REASONS[problem]}{also}", fix=_FIX + lists)


class MinMax(Observer):
    """The largest magnitude seen."""

    name = "minmax"

    def _see(self, value: torch.Tensor, largest: float) -> None:
        pass

    def _limit(self) -> float:
        return max(-self.least, self.most)


class MovingAverage(Observer):
    """The largest magnitude of each input, averaged: each further input counts a hundredth."""

    name = "moving_average"

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self._average: float | None = None

    def _see(self, value: torch.Tensor, largest: float) -> None:
        self._average = largest if self._average is None else self._average + _MOMENTUM * (largest - self._average)

    def _limit(self) -> float:
        return self._average or 0.0


class Histogram(Observer):
    """Counts magnitudes in bins of one width, which doubles as often as larger values come."""

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self.counts: Array = np.zeros(BINS, np.int64)
        self.width = 0.0

    def _see(self, value: torch.Tensor, largest: float) -> None:
        import torch

        if largest == 0:
            self.counts[0] += value.numel()
            return
        if self.width == 0:
            self.width = largest / BINS
        while largest > self.width * BINS:
            self.counts = np.concatenate([self.counts.reshape(-1, 2).sum(1), np.zeros(BINS // 2, np.int64)])
            self.width *= 2
        counts = torch.histc(value.abs().float(), BINS, 0, self.width * BINS)
        self.counts += counts.numpy().astype(np.int64)

    def clipped(self, limit: float) -> float:
        """The share of counts in bins that lie beyond ``limit``."""
        first = int(np.ceil(limit / self.width)) if self.width else BINS
        return float(self.counts[first:].sum() / max(self.counts.sum(), 1))


class Percentile(Histogram):
    """The magnitude that 99.99 % of the values keep to."""

    name = "percentile"
    share = 0.9999

    def _limit(self) -> float:
        if not self.width:
            return 0.0
        total = self.counts.cumsum()
        return float((np.searchsorted(total, self.share * total[-1]) + 1) * self.width)


class Entropy(Histogram):
    """The limit at which the values, rounded to 128 levels, lose least: the smallest Kullback-Leibler divergence of the
    rounded from the clipped distribution.

    The search of TensorRT's entropy calibrator as its authors describe it (S. Migacz, 8-bit Inference with TensorRT,
    GTC 2017): for each number of bins from 128 on (here every eighth), what lies beyond is added to the last one.
    Limits that clip more than MOST_CLIPPED of the values are left out: the divergence does not see how far those move,
    and is 0 where all values but those of one bin are clipped.
    """

    name = "entropy"

    def _limit(self) -> float:
        if not self.width:
            return 0.0
        counts = self.counts.astype(np.float64)
        counts[0] = counts[1]  # zeros are exact at any scale, and would outweigh the rest
        last = int(np.nonzero(self.counts)[0][-1]) + 1
        inside = counts.cumsum()
        least = int(np.searchsorted(inside, (1 - MOST_CLIPPED) * inside[-1])) + 1
        whole = max(last, _LEVELS)
        candidates = [*(bins for bins in range(_LEVELS, whole, _STEP) if bins >= least), whole]
        best = min(candidates, key=lambda bins: (divergence(counts, bins), bins))
        return float(min(best, last) * self.width) if last >= _LEVELS else last * self.width


def divergence(counts: Array, bins: int, levels: int = _LEVELS) -> float:
    """The Kullback-Leibler divergence in nats of the first ``bins`` counts, with all others added to the last of them,
    from the same merged into ``levels`` groups and spread again over the bins that have any.
    """
    inside = counts[:bins]
    clipped = inside.copy()
    clipped[-1] += counts[bins:].sum()
    if not clipped.sum() or not inside.sum():
        return np.inf
    group = np.arange(bins) * levels // bins
    filled = inside > 0
    sums = np.bincount(group, inside, levels)
    sizes = np.bincount(group, filled, levels)
    spread = np.where(filled, sums[group] / np.maximum(sizes[group], 1), 0.0)
    p, q = clipped / clipped.sum(), spread / spread.sum()
    positive = p > 0
    if (q[positive] == 0).any():
        q = np.where(positive & (q == 0), 1e-12, q)
    return float((p[positive] * np.log(p[positive] / q[positive])).sum())


OBSERVERS: dict[str, type[Observer]] = {each.name: each for each in (MinMax, MovingAverage, Percentile, Entropy)}
