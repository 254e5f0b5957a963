"""How rare a difference is among all ways to deal the same processes to two sides; pure."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

# Up to so many deals each of them is looked at (8 and 8 processes: 12,870), beyond that so many drawn ones; of hundreds
# of processes fewer, as a table of all draws is kept.
_MOST, _MOST_PLACES = 20_000, 1_000_000


def number(a: int, b: int) -> int:
    """How many ways there are to deal ``a + b`` processes to sides of ``a`` and ``b``."""
    return math.comb(a + b, a)


def rarity(a: Sequence[float], b: Sequence[float]) -> float:
    """The fraction of deals whose means lie at least as far apart as those of ``a`` and ``b``; the deal itself counts.

    A permutation test, exact for processes that are alike whatever their distribution: Fisher, "The Design of
    Experiments" (1935), section 21; Pitman, "Significance tests which may be applied to samples from any populations",
    Supplement to the Journal of the Royal Statistical Society 4 (1937) 119. Beyond 20,000 deals it is of seeded draws
    and the deal itself, as Phipson and Smyth, "Permutation p-values should never be zero", Statistical Applications in
    Genetics and Molecular Biology 9 (2010) 39.
    """
    import numpy as np

    whole = np.array([*a, *b], np.float64)
    whole -= whole.mean()
    # Of centred values the difference of the means is the first side's sum times a constant.
    sums = np.abs(_deals(len(a), len(b)) @ whole)
    least = abs(float(whole[: len(a)].sum())) * (1 - 1e-9) - 1e-12
    count, deals = int((sums >= least).sum()), len(sums)
    return count / deals if number(len(a), len(b)) <= _MOST else (count + 1) / (deals + 1)


@functools.lru_cache(maxsize=4)
def _deals(a: int, b: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Which processes the first side has, 1 or 0, shape (deals, a + b)."""
    import numpy as np

    if number(a, b) > _MOST:
        first = np.zeros((max(1000, min(_MOST, _MOST_PLACES // (a + b))), a + b))
        first[:, :a] = 1
        return np.random.default_rng(0).permuted(first, axis=1)
    places = np.array(list(itertools.combinations(range(a + b), a)))
    first = np.zeros((len(places), a + b))
    np.put_along_axis(first, places, 1, axis=1)
    return first
