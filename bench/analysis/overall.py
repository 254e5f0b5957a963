"""The geometric mean of the ratios of a comparison, with its interval; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

import msgspec

from bench import stats
from bench.analysis.intervals import SHOWN, Part
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
    its degrees of freedom are Satterthwaite's. What was estimated for all cases together, as of builds, has its own
    once. What sessions differ by is shared by the cases of a session: it does not shrink with their number, as if every
    case had the largest. As the interval of each, that of the mean is the widest of several. None for fewer than two
    ratios.
    """
    if len(verdicts) < 2:
        return None
    log = fmean(math.log(each.ratio) for each in verdicts)
    half = None
    if all(each.parts for each in verdicts):
        half = max(_half(parts) for parts in zip(*(each.parts for each in verdicts), strict=True))
    return Overall(
        of=of,
        ratio=math.exp(log),
        low=None if half is None else math.exp(log - half),
        high=None if half is None else math.exp(log + half),
        pairs=len(verdicts),
        calibrated=sum(each.basis == "calibration" for each in verdicts),
    )


def _half(cases: Sequence[Sequence[Part]]) -> float:
    """Half of the interval of the mean by one estimate of the variance of each case."""
    variance = uncertain = 0.0
    together: dict[tuple[float, ...], list[Part]] = {}
    shared = Part(0.0, math.inf)
    for part in (part for parts in cases for part in parts):
        if part.shared:
            shared = max(shared, part)
        elif part.estimate:
            together.setdefault(part.estimate, []).append(part)
        else:
            variance += part.variance / len(cases) ** 2
            uncertain += (part.variance / len(cases) ** 2) ** 2 / part.dof
    for parts in together.values():
        of_all = sum(part.variance for part in parts) / len(cases) ** 2
        variance += of_all
        uncertain += of_all**2 / parts[0].dof
    variance += shared.variance
    uncertain += shared.variance**2 / shared.dof
    return stats.critical(variance**2 / uncertain if uncertain else math.inf, SHOWN) * math.sqrt(variance)
