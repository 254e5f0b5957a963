"""Statistics: sequences of numbers in, numbers out; None, never a guess, where a sequence is too short for a figure."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from statistics import fmean, median, stdev
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "BOOTSTRAP_SAMPLES",
    "P99_SAMPLES",
    "Interval",
    "Ratio",
    "Spread",
    "bootstrap_ratio",
    "deviation",
    "median",
    "median_interval",
    "percentiles",
    "process_interval",
    "process_spread",
    "quantile",
    "ratio_interval",
]

P99_SAMPLES = 662
_BOOTSTRAP_DRAWS = 2000
BOOTSTRAP_SAMPLES = 6


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


class Ratio(NamedTuple):
    """A confidence interval of a ratio; ``dof`` are the degrees of freedom of its t, None if it was bootstrapped."""

    low: float
    ratio: float
    high: float
    dof: float | None


def quantile(samples: Sequence[float], q: float) -> float:
    """The ``q`` quantile, 0 <= q <= 1, linear between the two nearest order statistics.

    Definition 7 of Hyndman and Fan, "Sample quantiles in statistical packages", American Statistician 50 (1996) 361:
    position (n - 1) q counted from 0, as NumPy and pandas do. At q = 0.5 it is the median. ValueError if empty.
    """
    if not samples or not 0 <= q <= 1:
        raise ValueError("a quantile needs at least one sample and 0 <= q <= 1")
    ascending = sorted(samples)
    position = (len(ascending) - 1) * q
    below = math.floor(position)
    above = min(below + 1, len(ascending) - 1)
    return float(ascending[below] + (position - below) * (ascending[above] - ascending[below]))


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
    percents = (50, 90, 95, 99) if len(samples) >= P99_SAMPLES else (50, 90, 95)
    return {percent: quantile(samples, percent / 100) for percent in percents}


def deviation(samples: Sequence[int]) -> float | None:
    """The sample standard deviation of integers, with n - 1; None for fewer than two."""
    n = len(samples)
    if n < 2:
        return None
    total = sum(samples)  # integers: the difference is exact
    return math.sqrt((n * sum(map(operator.mul, samples, samples)) - total * total) / (n * (n - 1)))


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
    within = median((interval.high - interval.low) / 2 / interval.centre for interval in usable)
    return Spread(min(centres), max(centres), stdev([math.log(centre) for centre in centres]), within)


def median_interval(samples: Sequence[float], confidence: float = 0.95) -> Interval | None:
    """Distribution-free interval of the median between two order statistics, x(r) and x(n + 1 - r).

    r is the largest rank for which Binomial(n, 1/2) falls below r with probability <= (1 - confidence) / 2, so the
    coverage is at least ``confidence`` for independent samples of any distribution. David and Nagaraja, "Order
    Statistics", 3rd edition (2003), section 7.1. None where no rank is low enough: fewer than 6 samples at 95 %.
    """
    rank = _rank(len(samples), (1 - confidence) / 2)
    if not rank:
        return None
    ascending = sorted(samples)
    return Interval(float(ascending[rank - 1]), float(median(ascending)), float(ascending[-rank]))


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
    process. Student, "The probable error of a mean", Biometrika 6 (1908) 1. None for fewer than two processes or a
    value that has no logarithm.
    """
    if len(medians) < 2 or min(medians) <= 0:
        return None
    logs = [math.log(value) for value in medians]
    centre, error = fmean(logs), stdev(logs) / math.sqrt(len(logs))
    half = _t(len(logs) - 1, confidence) * error
    return Interval(math.exp(centre - half), math.exp(centre), math.exp(centre + half))


def ratio_interval(a_medians: Sequence[float], b_medians: Sequence[float], confidence: float = 0.95) -> Ratio | None:
    """Interval of the ratio a / b of geometric means over processes: Welch's t on the logs of the process medians.

    Welch, "The generalization of Student's problem when several different population variances are involved",
    Biometrika 34 (1947) 28, with Satterthwaite's degrees of freedom. If ``b`` is the case and ``a`` its baseline, a
    ratio above 1 says that the case takes less time. None for fewer than two processes on a side or a value that has
    no logarithm.
    """
    if min(len(a_medians), len(b_medians)) < 2 or min(*a_medians, *b_medians) <= 0:
        return None
    logs = [[math.log(value) for value in medians] for medians in (a_medians, b_medians)]
    parts = [stdev(side) ** 2 / len(side) for side in logs]  # squared standard errors
    variance, spread = sum(parts), sum(part**2 / (len(side) - 1) for part, side in zip(parts, logs, strict=True))
    dof = variance**2 / spread if spread else float(len(logs[0]) + len(logs[1]) - 2)
    centre, half = fmean(logs[0]) - fmean(logs[1]), _t(dof, confidence) * math.sqrt(variance)
    return Ratio(math.exp(centre - half), math.exp(centre), math.exp(centre + half), dof)


def _t(dof: float, confidence: float) -> float:
    """The two-sided critical value of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(dof, (1 + confidence) / 2))


def bootstrap_ratio(a: Sequence[float], b: Sequence[float], confidence: float = 0.95, seed: int = 0) -> Ratio | None:
    """Percentile bootstrap interval of median(a) / median(b) from the samples of one process each.

    It knows nothing of what differs between processes and is therefore too narrow as evidence; it serves where there
    is one process only. Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13. The medians of
    resamples are drawn exactly, without resampling: the k-th smallest of n uniform picks is Beta(k, n + 1 - k)
    distributed. The same ``seed`` gives the same interval. None for fewer than 6 samples or a median of 0 on a side.
    """
    import numpy as np

    if min(len(a), len(b)) < BOOTSTRAP_SAMPLES:
        return None
    rng = np.random.default_rng(seed)
    tops, bottoms = (_resampled_medians(side, rng) for side in (a, b))
    if median(b) <= 0 or not bottoms.min() > 0:
        return None
    tail = (1 - confidence) / 2
    low, high = np.quantile(tops / bottoms, [tail, 1 - tail])
    return Ratio(float(low), float(median(a) / median(b)), float(high), None)


def _resampled_medians(samples: Sequence[float], rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Medians of resamples of ``samples``, shape (draws,)."""
    import numpy as np

    ascending, n = np.sort(np.asarray(samples, np.float64)), len(samples)
    middle = (n + 1) // 2
    u = rng.beta(middle, n + 1 - middle, _BOOTSTRAP_DRAWS)
    v = u
    if n % 2 == 0:  # the next order statistic, given u
        v = 1 - (1 - u) * rng.random(_BOOTSTRAP_DRAWS) ** (1 / (n - middle))
    picks = np.minimum((np.stack([u, v]) * n).astype(np.int64), n - 1)
    return np.asarray(ascending[picks].mean(axis=0), np.float64)
