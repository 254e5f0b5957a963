"""Whether times still change or merely vary: a trend over the later part of a warm-up, told apart from noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from bench.units import NS_PER_S

# Samples are put together into slices of at least this time, so that fast calls need no more memory than slow ones.
_SLICE = NS_PER_S // 50
# Of the slices the first fifth does not count: what settles at once is no trend. The rest is put into so many groups.
_EARLY, _GROUPS, _FEWEST = 0.2, 12, 3
# So many standard deviations of what noise alone does are a trend: in doubt there is one, as one in three looks at
# noise says by chance, and the next look then decides.
_DEVIATIONS = 1.0


class Trend:
    """Takes samples as they come and says whether the later ones rise or fall."""

    def __init__(self) -> None:
        self._medians: list[float] = []
        self._slice: list[int] = []
        self._full = _SLICE

    def add(self, sample: int, now: int) -> None:
        """One sample (ns), taken ``now`` ns after the start."""
        self._slice.append(sample)
        if now >= self._full:
            self._medians.append(median(self._slice))
            self._slice.clear()
            self._full = now + _SLICE

    def is_there(self) -> bool:
        """Whether the medians of the later slices rise or fall; True where they are too few to tell."""
        later = self._medians[int(_EARLY * len(self._medians)) :]
        values = groups_of(later, _GROUPS)
        return len(values) < _FEWEST or abs(mann_kendall(values)) >= _DEVIATIONS


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
