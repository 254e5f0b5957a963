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

    ``of`` is what the pairs have in common: the second backend of a comparison along an axis, else empty.
    """

    of: str
    ratio: float
    low: float | None
    high: float | None
    pairs: int


def overall(verdicts: Sequence[Verdict], of: str = "") -> Overall | None:
    """The mean over these cases, not over cases as such: what the processes and sessions that measured them leave open.

    The error of a mean of independent logs is the root of the sum of their squared errors, divided by their number;
    its degrees of freedom are Satterthwaite's. What sessions differ by is shared by the cases of a session: it does not
    shrink with their number, as if every case had the largest. None for fewer than two ratios.
    """
    if len(verdicts) < 2:
        return None
    n, log = len(verdicts), fmean(math.log(each.ratio) for each in verdicts)
    known = [
        (each.error, each.dof, each.shared) for each in verdicts if each.error is not None and each.dof is not None
    ]
    if len(known) < n:
        return Overall(of=of, ratio=math.exp(log), low=None, high=None, pairs=n)
    shared = max(part for _, _, part in known)
    parts = [(max(error**2 - part**2, 0.0) / n**2, dof) for error, dof, part in known]
    variance = sum(part for part, _ in parts) + shared**2
    uncertain = sum(part**2 / dof for part, dof in parts)
    if shared:  # as uncertain as in the pair that has it
        uncertain += shared**4 / min(dof for _, dof, part in known if part == shared)
    half = stats.critical(variance**2 / uncertain if uncertain else math.inf, SHOWN) * math.sqrt(variance)
    return Overall(of=of, ratio=math.exp(log), low=math.exp(log - half), high=math.exp(log + half), pairs=n)
