"""The distribution of samples in a few numbers, small enough for a page and enough to see two modes; pure."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

from bench.model.samples import SortedSamples

MOST_QUANTILES = 64


def quantiles(samples: Sequence[int], most: int = MOST_QUANTILES) -> tuple[int, ...]:
    """At most ``most`` (2 or more) of the samples in ascending order, evenly spaced by rank, the lowest and the highest
    among them; all of them where there are no more.
    """
    ascending = samples if isinstance(samples, SortedSamples) else SortedSamples(samples)
    n = len(ascending)
    if n <= most:
        return tuple(ascending)
    values = ascending.values
    return tuple(values[list(_ranks(n, most))].tolist())


@functools.lru_cache(maxsize=512)
def _ranks(n: int, most: int) -> tuple[int, ...]:
    return tuple(math.floor(k * (n - 1) / (most - 1) + 0.5) for k in range(most))
