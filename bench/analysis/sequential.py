"""A rule that looks at pairs of processes after each of them, and stops without losing its false-alarm rate; pure.

The rule spends the probability of a false alarm over the looks (Lan and DeMets, "Discrete sequential boundaries for
clinical trials", Biometrika 70 (1983) 659), in equal parts: after k of at most K pairs alpha k / K is spent (Kim and
DeMets, "Design and analysis of group sequential tests based on the type I error spending rate function", Biometrika 74
(1987) 149, rho = 1). Equal parts, because both ends matter: each pair costs the start of two processes, so that a large
difference should end after few of them, which O'Brien and Fleming's boundary, that spends next to nothing at first,
does not let it; and a small one should not need many more than a test that looks once, as with Pocock's boundary. The
largest number of pairs is fixed before the first; to end earlier, for want of time, is no look and costs nothing.

The standard deviation of pairs is not known. The boundaries are those of sums of normal numbers with a known one, and
each look's two-sided level is used with Student's t of one degree of freedom less than there are pairs (the
"significance level approach": Jennison and Turnbull, "Group Sequential Methods with Applications to Clinical Trials",
2000). That is an approximation, which with few pairs rejects in up to 1.25 times as many duels as it should; so four
fifths of the probability are spent. tests/analysis/test_sequential.py simulates what comes out. Without a difference
the two processes of a pair are exchangeable, so that the log ratio is symmetric however skewed times are.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Literal, NamedTuple

from bench import stats
from bench.analysis.intervals import SHOWN
from bench.analysis.verdict import ALIKE, DIFFERENT, LEAST, SAME
from bench.model.data import Data
from bench.model.run import FEWEST_PAIRS, MOST_PAIRS

# The pairs of the first look.
FIRST = FEWEST_PAIRS
# Pairs that a duel has at most unless it is told otherwise: +5 % with a spread of pairs of 5 % is decided within them.
USUAL = 25
MOST = MOST_PAIRS
_ADVICE = 10_000
# The part of the probability that is spent: the rest covers that the standard deviation is estimated.
_SPENT = 0.8

Kind = Literal["FASTER", "SLOWER", "SAME", "INCONCLUSIVE"]


class Standing(Data, frozen=True, kw_only=True):
    """What ``pairs`` say: ``ratio`` is the geometric mean of their ratios, ``low`` to ``high`` its repeated 95 %
    interval: it covers the true one at all looks of 95 of 100 duels. None where there are too few pairs.

    ``sd`` is the standard deviation of the log ratios. ``needed`` are about how many pairs would decide if ratio and
    spread stay as they are; None where it is decided, where none would, or where there are too few to tell.
    """

    kind: Kind
    ratio: float | None
    low: float | None
    high: float | None
    pairs: int
    sd: float | None = None
    needed: int | None = None

    @property
    def is_decided(self) -> bool:
        """Whether more pairs are of no use."""
        return self.kind != "INCONCLUSIVE"


def judge(logs: Sequence[float], most: int) -> Standing:
    """What ``logs`` say, the log ratio of each pair in their order, of at most ``most``; as of the first decision.

    FASTER or SLOWER if the repeated 99 % interval excludes 1 and the ratio differs from 1 by 1 % or more; SAME if the
    repeated 90 % interval lies within 2 % (two one-sided tests at 5 %); else INCONCLUSIVE.

    ValueError for a ``most`` out of range, or for a log that is no finite number.
    """
    if not FIRST <= most <= MOST:
        raise ValueError(f"a duel has {FIRST} to {MOST} pairs at most, not {most}")
    if wrong := [log for log in logs if not math.isfinite(log)]:
        raise ValueError(f"a pair has the log ratio {wrong[0]}, which is no number")
    if not logs:
        return Standing(kind="INCONCLUSIVE", ratio=None, low=None, high=None, pairs=0)
    standing = Standing(kind="INCONCLUSIVE", ratio=math.exp(fmean(logs)), low=None, high=None, pairs=len(logs))
    for look in range(FIRST, min(len(logs), most) + 1):
        standing = _look(logs[:look], most)
        if standing.is_decided:
            break
    return standing


def levels(alpha: float, most: int) -> tuple[float, ...]:
    """The two-sided level of each look, after FIRST to ``most`` pairs: together they reject in at most ``alpha`` of the
    duels without a difference.
    """
    return _levels(round(alpha * _SPENT, 9), most)


# ------------------------------------------------------------------------------------------------------------------


class _Mean(NamedTuple):
    """The mean of ``n`` logs, and its standard error."""

    log: float
    error: float
    n: int

    def half(self, confidence: float, most: int, at: int | None = None) -> float:
        """Half of the repeated interval at the look after ``at`` pairs, by default these."""
        level = levels(1 - confidence, most)[(at or self.n) - FIRST]
        return stats.critical(self.n - 1, 1 - level) * self.error


def _look(logs: Sequence[float], most: int) -> Standing:
    n, centre = len(logs), fmean(logs)
    sd = max(math.sqrt(sum((log - centre) ** 2 for log in logs) / (n - 1)), stats.ROUNDING)
    mean = _Mean(centre, sd / math.sqrt(n), n)
    kind, shown = _kind(mean, most), mean.half(SHOWN, most)
    return Standing(
        kind=kind,
        ratio=math.exp(centre),
        low=math.exp(centre - shown),
        high=math.exp(centre + shown),
        pairs=n,
        sd=sd,
        needed=_needed(centre, sd, n, most) if kind == "INCONCLUSIVE" else None,
    )


def _kind(mean: _Mean, most: int, at: int | None = None) -> Kind:
    if abs(mean.log) > mean.half(DIFFERENT, most, at) and abs(math.expm1(mean.log)) >= LEAST:
        return "FASTER" if mean.log < 0 else "SLOWER"
    half = mean.half(SAME, most, at)
    if math.exp(mean.log - half) >= 1 - ALIKE and math.exp(mean.log + half) <= 1 + ALIKE:
        return "SAME"
    return "INCONCLUSIVE"


def _needed(log: float, sd: float, n: int, most: int) -> int | None:
    """About how many pairs decide: with the level of the last look, which changes little with their number."""

    def decides(pairs: int) -> bool:
        return _kind(_Mean(log, sd / math.sqrt(pairs), pairs), most, at=min(pairs, most)) != "INCONCLUSIVE"

    if not decides(_ADVICE):
        return None
    low, high = n, _ADVICE
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return high


@functools.lru_cache(maxsize=64)
def _levels(alpha: float, most: int) -> tuple[float, ...]:
    from scipy.special import ndtr

    return tuple(float(2 * ndtr(-bound / math.sqrt(look))) for look, bound in _bounds(alpha, most))


def _bounds(alpha: float, most: int) -> Iterator[tuple[int, float]]:
    """The pairs of each look, and the bound of the sum of as many standard normal numbers.

    The density of sums that have stayed within the bounds so far is carried from look to look at Gauss-Legendre nodes
    (Armitage, McPherson and Rowe, "Repeated significance tests on accumulating data", J. R. Stat. Soc. A 132 (1969)
    235).
    """
    import numpy as np
    from scipy.special import ndtr

    rule = np.polynomial.legendre.leggauss(8)
    nodes, mass, steps, spent = np.zeros(1), np.ones(1), FIRST, 0.0
    for look in range(FIRST, most + 1):
        spread = math.sqrt(steps)
        spend, spent = alpha * look / most - spent, alpha * look / most
        low, high = 0.0, 10 * math.sqrt(look)
        while high - low > 1e-9 * high:
            bound = (low + high) / 2
            crossing = float(mass @ (ndtr((nodes - bound) / spread) + ndtr((-nodes - bound) / spread)))
            low, high = (bound, high) if crossing > spend else (low, bound)
        yield look, high
        panels, half = math.ceil(high), high / math.ceil(high)  # each of at most two standard deviations of a step
        grid = (half * (np.arange(1 - panels, panels, 2)[:, None] + rule[0])).ravel()
        weights = np.tile(half * rule[1], panels)
        kernel = np.exp(-((grid[:, None] - nodes) ** 2) / (2 * steps)) / math.sqrt(2 * math.pi * steps)
        nodes, mass, steps = grid, weights * (kernel @ mass), 1
