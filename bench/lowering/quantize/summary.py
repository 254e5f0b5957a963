"""What a calibration observed, for people: ranges, small histograms, and which tensors cannot be quantized."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from bench.lowering.quantize.observers import Histogram, Observer, no_scale
from bench.lowering.quantize.scales import Range
from bench.model.tensor_ranges import BINS, TensorRange


def of(name: str, observer: Observer, kept: Range | None) -> TensorRange:
    """What ``observer`` has seen of the tensor of the node ``name``, and what is ``kept`` of it."""
    about = TensorRange(
        name=name, module=observer.where, least=_finite(observer.least), most=_finite(observer.most),
        problem=observer.problem,
    )  # fmt: skip
    if kept is not None:
        about = msgspec.structs.replace(about, limit=kept.limits[0], clipped=kept.clipped)
    if isinstance(observer, Histogram) and observer.width:
        counts, width = coarse(observer.counts)
        about = msgspec.structs.replace(about, histogram=counts, reach=width * observer.width * BINS)
    return about


def coarse(counts: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> tuple[tuple[int, ...], int]:
    """Counts in ``BINS`` bins that end with the last one that has any, and how many of the given bins make one."""
    last = int(np.flatnonzero(counts)[-1]) + 1
    width = -(-last // BINS)
    padded = np.zeros(BINS * width, np.int64)
    padded[:last] = counts[:last]
    return tuple(padded.reshape(BINS, width).sum(1).tolist()), width


def check(tensors: Sequence[TensorRange], suite: str = "") -> None:
    """Unsupported if one has no scale: why the first of them has none, and the modules of the others. ``suite`` is the
    file whose tensors the command of the error lists; none for what it does not list.
    """
    without = [each for each in tensors if not each.has_scale]
    if without and (problem := without[0].problem):
        first, *others = dict.fromkeys(each.module for each in without)
        raise no_scale(first, problem, others, suite)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
