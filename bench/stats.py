"""Statistics: sequences of numbers in, numbers out; None, never a guess, where a sequence is too short for a figure."""

from __future__ import annotations

import functools
import math
import operator
import statistics
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import NamedTuple

from bench.model.samples import SortedSamples

__all__ = [
    "P99_SAMPLES",
    "ROUNDING",
    "Drift",
    "Interval",
    "Spread",
    "deviation",
    "drift",
    "groups_of",
    "mann_kendall",
    "median",
    "median_interval",
    "median_intervals",
    "percentiles",
    "place",
    "process_interval",
    "process_spread",
    "quantile",
]

P99_SAMPLES = 662
# The least standard deviation of the logs of processes: times are rounded, to a tick of 32 ns or less of calls of 10 us
# or more.
ROUNDING = 1e-3 / math.sqrt(12)
# Series of one length: of fewer it does not pay to join the arrays, and so many stay in a core's cache.
_FEW, _TOGETHER = 4, 32
# A drift: of so many values, or medians of groups of them, a score of so many standard deviations of what order says by
# chance (seven values in order have 3.0), and a change that matters.
_TREND_LEAST, _TREND_GROUPS, _TREND_SCORE, _TREND_CHANGE = 7, 12, 2.7, 0.01


class Interval(NamedTuple):
    """A confidence interval and the estimate inside it, in the unit of the samples."""

    low: float
    centre: float
    high: float


class Spread(NamedTuple):
    """The lowest and the highest process median, the standard deviation of their logs, and as a fraction the usual
    half width of the 95 % interval that a process's own samples give its median.
    """

    low: float
    high: float
    sd: float
    within: float


class Drift(NamedTuple):
    """From what times went to what, medians of the first and the last third; ``score`` is Mann and Kendall's."""

    first: float
    last: float
    score: float


def _ranked(samples: Sequence[float]) -> Callable[[int], float]:
    """The order statistics by rank, from 0; the last is that of -1."""
    return samples.values.item if isinstance(samples, SortedSamples) else sorted(samples).__getitem__


def median(samples: Sequence[float]) -> float:
    """The median: the mean of the two in the middle of an even number. StatisticsError if empty."""
    if not isinstance(samples, SortedSamples):
        return statistics.median(samples)
    return float(_middle(samples.values.item, len(samples)))


def _middle(ranked: Callable[[int], float], n: int) -> float:
    """The median, given the order statistics by rank."""
    middle = ranked(n // 2)
    return middle if n % 2 else (ranked(n // 2 - 1) + middle) / 2


def _stdev(values: Sequence[float]) -> float:
    """The sample standard deviation of two or more finite floats, exact but for one rounding.

    As statistics.stdev, which does with fractions what whole numbers can: the denominators are powers of two.
    """
    ratios = [value.as_integer_ratio() for value in values]
    scale = max(denominator for _, denominator in ratios)
    whole = [numerator * (scale // denominator) for numerator, denominator in ratios]
    n, total = len(whole), sum(whole)
    return _root(n * sum(map(operator.mul, whole, whole)) - total * total, n * (n - 1) * scale * scale)


def _root(above: int, below: int) -> float:
    """The square root of a fraction, rounded once: of 53 bits and some, with a last one that stands for the rest."""
    if not above:
        return 0.0
    shift = (above.bit_length() - below.bit_length() - 109) // 2
    above, below = (above, below << 2 * shift) if shift >= 0 else (above << -2 * shift, below)
    root = math.isqrt(above // below)
    root |= root * root * below != above
    return float(root << shift) if shift >= 0 else root / (1 << -shift)


def quantile(samples: Sequence[float], q: float) -> float:
    """The ``q`` quantile, 0 <= q <= 1, linear between the two nearest order statistics.

    Definition 7 of Hyndman and Fan, "Sample quantiles in statistical packages", American Statistician 50 (1996) 361:
    position (n - 1) q counted from 0, as NumPy and pandas do. At q = 0.5 it is the median. ValueError if empty.
    """
    if not samples or not 0 <= q <= 1:
        raise ValueError("a quantile needs at least one sample and 0 <= q <= 1")
    return _between(_ranked(samples), *place(len(samples), q))


@functools.lru_cache(maxsize=4096)
def place(n: int, q: float) -> tuple[int, float, int]:
    """The two order statistics, from 0, between which the quantile of n samples lies, and how far from the first."""
    position = (n - 1) * q
    below = math.floor(position)
    return below, position - below, min(below + 1, n - 1)


def _between(ranked: Callable[[int], float], below: int, share: float, above: int) -> float:
    low = ranked(below)
    return float(low + share * (ranked(above) - low))


def percentiles(samples: Sequence[float]) -> dict[int, float]:
    """The 50th, 90th, 95th and, from P99_SAMPLES = 662 samples on, the 99th percentile; empty without samples.

    Why 662: the number of n independent samples above the true 99th percentile is Binomial(n, 0.01). The sample 99th
    percentile is an estimate, and not just the worst outlier, if at least two samples lie above the true one; 662 is
    the smallest n where that holds with 99 % confidence:
    P(at most one above) = 0.99^n + n 0.01 0.99^(n-1) <= 0.01. From the second largest order statistic as tolerance
    limit, Wilks, "Determination of sample sizes for setting tolerance limits", Annals of Mathematical Statistics 12
    (1941) 91. (A two-sided 95 % interval of order statistics exists from 368 samples on; its upper end is then the
    maximum.)
    """
    if not samples:
        return {}
    n, ranked = len(samples), _ranked(samples)
    percents = (50, 90, 95, 99) if n >= P99_SAMPLES else (50, 90, 95)
    return {percent: _between(ranked, *place(n, percent / 100)) for percent in percents}


def deviation(samples: Sequence[int]) -> float | None:
    """The sample standard deviation of integers, with n - 1; None for fewer than two."""
    n = len(samples)
    if n < 2:
        return None
    if isinstance(samples, SortedSamples):
        total, squares = samples.total, samples.squares
    else:
        total, squares = sum(samples), sum(map(operator.mul, samples, samples))
    return math.sqrt((n * squares - total * total) / (n * (n - 1)))  # integers: the difference is exact


def process_spread(processes: Sequence[Sequence[float]]) -> Spread | None:
    """How far the medians of ``processes``, each given by its samples, lie apart, and how exact each of them is.

    None for fewer than three processes, fewer than 6 samples in one, or a median that has no logarithm.
    """
    if len(processes) < 3:
        return None
    intervals = [median_interval(samples) for samples in processes]
    usable = [interval for interval in intervals if interval is not None and interval.centre > 0]
    if len(usable) < len(intervals):
        return None
    centres = [interval.centre for interval in usable]
    within = median([(interval.high - interval.low) / 2 / interval.centre for interval in usable])
    return Spread(min(centres), max(centres), _stdev([math.log(centre) for centre in centres]), within)


def median_interval(samples: Sequence[float], confidence: float = 0.95) -> Interval | None:
    """Distribution-free interval of the median between two order statistics, x(r) and x(n + 1 - r).

    r is the largest rank for which Binomial(n, 1/2) falls below r with probability <= (1 - confidence) / 2, so the
    coverage is at least ``confidence`` for independent samples of any distribution. David and Nagaraja, "Order
    Statistics", 3rd edition (2003), section 7.1. None where no rank is low enough: fewer than 6 samples at 95 %.
    """
    rank = _rank(len(samples), (1 - confidence) / 2)
    if not rank:
        return None
    ranked = _ranked(samples)
    return Interval(float(ranked(rank - 1)), float(_middle(ranked, len(samples))), float(ranked(-rank)))


def median_intervals(several: Sequence[SortedSamples], confidence: float = 0.95) -> list[Interval | None]:
    """``median_interval`` of each of ``several``: of many with the same length in a third of the time."""
    import numpy as np

    intervals: list[Interval | None] = [None] * len(several)
    alike: dict[int, list[int]] = {}
    for place, samples in enumerate(several):
        alike.setdefault(len(samples), []).append(place)
    for n, places in alike.items():
        rank = _rank(n, (1 - confidence) / 2)
        if not rank or len(places) < _FEW:
            for place in places:
                intervals[place] = median_interval(several[place], confidence)
            continue
        ranks = [rank - 1, (n - 1) // 2, n // 2, n - rank]
        for first in range(0, len(places), _TOGETHER):
            part = places[first : first + _TOGETHER]
            ascending = np.concatenate([several[place].values for place in part]).reshape(-1, n)
            for place, (low, below, above, high) in zip(part, ascending[:, ranks].tolist(), strict=True):
                intervals[place] = Interval(float(low), float(above if n % 2 else (below + above) / 2), float(high))
    return intervals


@functools.lru_cache(maxsize=4096)
def _rank(n: int, tail: float) -> int:
    """The largest r with P(Binomial(n, 1/2) < r) <= tail; 0 if there is none."""
    below, log_half = 0.0, n * math.log(0.5)
    for k in range(n):
        below += math.exp(math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) + log_half)
        if below > tail:
            return k
    return 0


def process_interval(medians: Sequence[float], confidence: float = 0.95) -> Interval | None:
    """Student's t interval over processes: of the logs of their medians, back on the scale of the medians.

    The centre is the geometric mean. The process is the unit: each value is the median (or the rate) of one fresh
    process. Their standard deviation is taken to be ROUNDING at least. Student, "The probable error of a mean",
    Biometrika 6 (1908) 1. None for fewer than two processes or a value that has no logarithm.
    """
    if len(medians) < 2 or min(medians) <= 0:
        return None
    logs = [math.log(value) for value in medians]
    centre, error = fmean(logs), max(_stdev(logs), ROUNDING) / math.sqrt(len(logs))
    half = critical(len(logs) - 1, confidence) * error
    return Interval(math.exp(centre - half), math.exp(centre), math.exp(centre + half))


@functools.lru_cache(maxsize=4096)
def critical(dof: float, confidence: float) -> float:
    """The two-sided critical value of Student's t; of a normal distribution with infinitely many degrees of freedom."""
    from scipy.special import ndtri, stdtrit

    return float(ndtri((1 + confidence) / 2) if math.isinf(dof) else stdtrit(dof, (1 + confidence) / 2))


def groups_of(values: Sequence[float], most: int) -> list[float]:
    """The medians of at most ``most`` groups of neighbours, of about the same size."""
    n, groups = len(values), min(len(values), most)
    return [median(values[group * n // groups : (group + 1) * n // groups]) for group in range(groups)]


def mann_kendall(values: Sequence[float]) -> float:
    """How much more often later values lie above earlier ones than below, in standard deviations of independent ones.

    Positive for values that rise, negative for those that fall; with continuity correction, 0 for fewer than two. Mann,
    "Nonparametric tests against trend", Econometrica 13 (1945) 245; Kendall, "Rank correlation methods" (1948).
    """
    n = len(values)
    score = sum((later > earlier) - (later < earlier) for i, later in enumerate(values) for earlier in values[:i])
    if not score:
        return 0.0
    return (score - math.copysign(1, score)) / math.sqrt(n * (n - 1) * (2 * n + 5) / 18)


def drift(times: Sequence[float]) -> Drift | None:
    """How times in the order taken rise or fall, if they do so by 1 % or more and not by chance.

    Mann and Kendall's test (mann_kendall) on the medians of 12 groups of neighbours, or on fewer times each for
    itself. None for fewer than seven.
    """
    if len(times) < _TREND_LEAST:
        return None
    score = mann_kendall(groups_of(times, _TREND_GROUPS))
    third = max(1, len(times) // 3)
    first, last = float(median(times[:third])), float(median(times[-third:]))
    if abs(score) < _TREND_SCORE or first <= 0 or last <= 0 or abs(math.log(last / first)) < math.log1p(_TREND_CHANGE):
        return None
    return Drift(first, last, score)
