"""Whether times still change or merely vary: a trend over the later part of a warm-up, told apart from noise."""

from __future__ import annotations

from statistics import median

from bench.stats import groups_of, mann_kendall
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
