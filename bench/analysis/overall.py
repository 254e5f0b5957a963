"""The geometric mean of the ratios of a comparison, with its interval; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

import msgspec

from bench import stats
from bench.analysis.intervals import SHOWN
from bench.analysis.verdict import Verdict


class Overall(msgspec.Struct, frozen=True, kw_only=True):
    """The geometric mean ``ratio`` of the ratios of so many ``pairs``, and its 95 % interval; None without one.

    ``calibrated`` are those whose interval is by a calibrated spread, as a side has one process. ``of`` is what the
    pairs have in common: the second backend of a comparison along an axis, else empty.
    """

    of: str
    ratio: float
    low: float | None
    high: float | None
    pairs: int
    calibrated: int = 0


def overall(verdicts: Sequence[Verdict], of: str = "") -> Overall | None:
    """The mean over these cases, not over cases as such: what the processes and sessions that measured them leave open.

    The error of a mean of independent logs is the root of the sum of their squared errors, divided by their number;
    its degrees of freedom are Satterthwaite's. What sessions differ by is shared by the cases of a session: it does not
    shrink with their number, as if every case had the largest. As the interval of each, that of the mean is the widest
    of several: with what sessions add, without it, and by the estimates that make the intervals of the cases. None for
    fewer than two ratios.
    """
    if len(verdicts) < 2:
        return None
    log = fmean(math.log(each.ratio) for each in verdicts)
    half = None
    if all(each.errors for each in verdicts):
        half = max(_half(errors) for errors in zip(*(each.errors for each in verdicts), strict=True))
    return Overall(
        of=of,
        ratio=math.exp(log),
        low=None if half is None else math.exp(log - half),
        high=None if half is None else math.exp(log + half),
        pairs=len(verdicts),
        calibrated=sum(each.basis == "calibration" for each in verdicts),
    )


def _half(errors: Sequence[tuple[float, float, float]]) -> float:
    """Half of the interval of the mean by one estimate: of each case its error, the degrees of freedom of that, and the
    part that sessions have.
    """
    shared = max(part for _, _, part in errors)
    parts = [(max(error**2 - part**2, 0.0) / len(errors) ** 2, dof) for error, dof, part in errors]
    variance = sum(part for part, _ in parts) + shared**2
    uncertain = sum(part**2 / dof for part, dof in parts)
    if shared:  # as uncertain as in the pair that has it
        uncertain += shared**4 / min(dof for _, dof, part in errors if part == shared)
    return stats.critical(variance**2 / uncertain if uncertain else math.inf, SHOWN) * math.sqrt(variance)
