"""Whether times are of two states: of one process, or of several; sequences in, numbers out; pure."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from bench import stats
from bench.model.samples import SortedSamples

if TYPE_CHECKING:
    import numpy as np

# States that are less than this apart do not matter.
LEAST = 0.01
# Samples of a process: so many are needed; each state has a tenth of them; and the states are so many standard
# deviations of one of them apart, or more where samples are few. docs/statistics.md has how often that is wrong.
_SAMPLES, _MANY_SAMPLES, _SHARE = 50, 200, 0.1
_APART, _APART_FEW = 5.0, 6.0
# Medians of processes: so many are needed, two in each state, and between the states is a gap of so many times what
# the wider of them spans. Normal ones have that in 0.2 % of draws of 7, exponential ones in 1.6 %.
_PROCESSES, _ALONE, _GAP = 7, 2, 3.0


class States(NamedTuple):
    """The medians of two states, in the unit of the times, and which part of the times is in the upper one."""

    low: float
    high: float
    share: float


def two_states(samples: Sequence[float]) -> States | None:
    """The states of the samples of one process, if they have two: times of one kind of call at two levels.

    The logs are cut in two where the squares within the parts are least (the natural break of Fisher, "On grouping for
    maximum homogeneity", Journal of the American Statistical Association 53 (1958) 789). Of the parts the medians and
    quartiles count, so that outliers do not. None for fewer than 50 samples or a time that has no logarithm.
    """
    import numpy as np

    n = len(samples)
    if n < _SAMPLES:
        return None
    times = samples.values if isinstance(samples, SortedSamples) else np.sort(np.asarray(samples, np.float64))
    if times[0] <= 0 or not _may_have_two(times):
        return None
    times = times.astype(np.float64)
    logs = np.log(times)
    cut = _cut(logs, max(1, math.ceil(_SHARE * n)))
    gap = _rank(logs, cut, n) - _rank(logs, 0, cut)
    steps = np.diff(times)
    tick = float(steps[steps > 0].min() / times[cut]) if steps.any() else 0.0
    spread = math.sqrt(sum(max(_normal_sd(part), tick) ** 2 for part in (logs[:cut], logs[cut:])) / 2)
    if gap < math.log1p(LEAST) or gap < (_APART if n >= _MANY_SAMPLES else _APART_FEW) * spread:
        return None
    return States(_rank(times, 0, cut), _rank(times, cut, n), (n - cut) / n)


def _may_have_two(ascending: np.ndarray[Any, np.dtype[Any]]) -> bool:
    """Whether a twentieth of the times has a seventh of the range of nine tenths of them: so much has the gap of two
    states at least, and of most others, for which nothing else need be computed, none.
    """
    ranked = ascending.take(_twentieths(len(ascending))).tolist()
    widest = max(map(operator.sub, ranked[2:-1], ranked[1:-2]))
    return bool(widest >= 0.14 * (ranked[-1] - ranked[0]) and ranked[-1] >= (1 + LEAST) * ranked[0])


@functools.lru_cache(maxsize=1024)
def _twentieths(n: int) -> np.ndarray[Any, np.dtype[np.intp]]:
    """The ranks, from 0, of all twentieths of n times."""
    import numpy as np

    return n * np.arange(1, 20) // 20


def two_states_of_processes(medians: Sequence[float]) -> States | None:
    """The states of the medians of processes, if each process is in one of two. None for fewer than seven."""
    n = len(medians)
    if n < _PROCESSES or min(medians) <= 0 or max(medians) < (1 + LEAST) * min(medians):
        return None
    times = sorted(medians)
    logs = [math.log(time) for time in times]
    # Of parts that far apart the natural break is the widest gap.
    gap, cut = max((logs[k] - logs[k - 1], k) for k in range(_ALONE, n - _ALONE + 1))
    if gap < math.log1p(LEAST) or gap < _GAP * max(logs[cut - 1] - logs[0], logs[-1] - logs[cut]):
        return None
    return States(stats.median(times[:cut]), stats.median(times[cut:]), (n - cut) / n)


def _cut(logs: np.ndarray[Any, np.dtype[np.float64]], least: int) -> int:
    """How many of the ascending ``logs`` are in the lower part; each part has at least so many."""
    import numpy as np

    n, sums = len(logs), np.cumsum(logs - logs.mean())
    below = np.arange(least, n - least + 1)
    # The squares between two parts whose sums are s and -s.
    return int(below[np.argmax(sums[below - 1] ** 2 * (1 / below + 1 / (n - below)))])


def _rank(ascending: np.ndarray[Any, np.dtype[np.float64]], first: int, end: int) -> float:
    """The median of a part."""
    middle = first + end
    return float((ascending[(middle - 1) // 2] + ascending[middle // 2]) / 2)


def _normal_sd(ascending: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    """The standard deviation of a normal distribution with these quartiles."""
    n = len(ascending)
    return float(ascending[3 * n // 4] - ascending[n // 4]) / 1.349
