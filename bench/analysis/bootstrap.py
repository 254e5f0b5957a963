"""A percentile bootstrap of the ratio of two medians, by ranks: series of one length have the same draws."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from bench import stats
from bench.model.samples import SortedSamples
from bench.stats import Ratio

if TYPE_CHECKING:
    import numpy as np

# Samples that each side needs.
LEAST = 6
_DRAWS = 2000
# Ranks of many samples are compared by so many bins of them.
_BINS = 128
# Pairs of equal lengths: of fewer it does not pay to select draws, and so many have their arrays in a core's cache.
_FEW, _TOGETHER = 4, 32


def bootstrap_ratio(a: Sequence[float], b: Sequence[float], confidence: float = 0.95, seed: int = 0) -> Ratio | None:
    """Percentile bootstrap interval of median(a) / median(b) from the samples of one process each.

    It knows nothing of what differs between processes and is therefore too narrow as evidence; it serves where there
    is one process only. Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13. The medians of
    resamples are drawn exactly, without resampling: the k-th smallest of n uniform picks is Beta(k, n + 1 - k)
    distributed. The same ``seed`` gives the same interval. None for fewer than 6 samples or a median of 0 on a side.
    """
    if min(len(a), len(b)) < LEAST:
        return None
    tail, centre = (1 - confidence) / 2, stats.median(b)
    tops, bottoms = map(_sums, map(_ascending, (a, b)), _picks(len(a), len(b), seed))
    if centre <= 0 or not bottoms.min() > 0:
        return None
    ratios = tops / bottoms
    low, high = (float(_quantile(ratios, q)) for q in (tail, 1 - tail))
    return Ratio(low, float(stats.median(a) / centre), high, None)


def bootstrap_ratios(
    pairs: Sequence[tuple[SortedSamples, SortedSamples]], confidence: float = 0.95, seed: int = 0
) -> list[Ratio | None]:
    """``bootstrap_ratio`` of each of the ``pairs``, to the last bit: many of equal lengths take a tenth of the time."""
    ratios: list[Ratio | None] = [None] * len(pairs)
    alike: dict[tuple[int, int], list[int]] = {}
    for place, (a, b) in enumerate(pairs):
        alike.setdefault((len(a), len(b)), []).append(place)
    for (n, m), places in alike.items():
        if len(places) < _FEW or min(n, m) < LEAST:
            continue
        together = [place for place in places if pairs[place][0][0] >= 0 and pairs[place][1][0] > 0]
        outer = _outer(n, m, (1 - confidence) / 2, seed)
        for first in range(0, len(together), _TOGETHER):
            part = together[first : first + _TOGETHER]
            for place, ratio in zip(part, _ratios([pairs[place] for place in part], outer), strict=True):
                ratios[place] = ratio
    return [
        bootstrap_ratio(a, b, confidence, seed) if ratio is None else ratio
        for (a, b), ratio in zip(pairs, ratios, strict=True)
    ]


def is_not_above(a: SortedSamples, b: SortedSamples, confidence: float = 0.95, seed: int = 0) -> bool:
    """True only if the interval of ``bootstrap_ratio`` does not lie above 1, from one value of each side; False does
    not say that it does.

    The ranks from which the medians of resamples are computed do not depend on the values. So it is known of two order
    statistics, one of ``a`` and one of ``b``, that more resamples than the lower tail has are at or below the one and
    at or above the other: if these are in order, the ratio of each of them is at most 1.
    """
    ranks = _ranks_between(len(a), len(b), confidence, seed) if min(len(a), len(b)) >= LEAST else None
    return ranks is not None and a[ranks[0]] <= b[ranks[1]]


@functools.lru_cache(maxsize=128)
def _ranks_between(n: int, m: int, confidence: float, seed: int) -> tuple[int, int] | None:
    """The rank, from 0, that a quarter of the first medians do not exceed, and the one that a quarter of the second
    ones reach; None if no more draws than the lower tail has do both.
    """
    import numpy as np

    (_, most), (least, _) = _picks(n, m, seed)
    first, second = (int(np.quantile(ranks, q, method="nearest")) for ranks, q in ((most, 0.25), (least, 0.75)))
    both = np.count_nonzero((most <= first) & (least >= second))
    return (first, second) if both > stats.place(_DRAWS, (1 - confidence) / 2)[2] else None


def _quantile(ratios: np.ndarray[Any, np.dtype[np.float64]], q: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The ``q`` quantile along the last axis of the ratios of all draws, given all or those at its end, to the last bit
    as np.quantile has it, in a tenth of its time; the ratios lose their order.
    """
    import numpy as np

    below, share, above = stats.place(_DRAWS, q)
    if q < 0.5:
        ratios.partition(above)
        a, b = np.maximum.reduce(ratios[..., : below + 1], axis=-1), ratios[..., above]
    else:
        left_out = _DRAWS - ratios.shape[-1]
        ratios.partition(below - left_out)
        a, b = ratios[..., below - left_out], np.minimum.reduce(ratios[..., above - left_out :], axis=-1)
    quantiles: np.ndarray[Any, np.dtype[np.float64]] = (
        b - (b - a) * (1 - share) if share >= 0.5 else a + (b - a) * share
    )
    return quantiles


# -------------------------------------------------------------------------------------------------------------- draws


@functools.lru_cache(maxsize=128)
def _picks(n: int, m: int, seed: int) -> tuple[np.ndarray[Any, np.dtype[np.int64]], ...]:
    """Of resamples of ``n`` and of ``m`` samples the two ranks, from 0, between which their medians lie, shapes (2,
    draws): they depend on nothing else.
    """
    import numpy as np

    first, state = _first_picks(n, seed)
    generator = np.random.PCG64(0)
    generator.state = state
    return first, _drawn(np.random.Generator(generator), m)


@functools.lru_cache(maxsize=128)
def _first_picks(n: int, seed: int) -> tuple[np.ndarray[Any, np.dtype[np.int64]], Any]:
    """Those of the first series, and the generator's state behind them: what follows depends on the second one too."""
    import numpy as np

    rng = np.random.Generator(np.random.PCG64(seed))  # as default_rng, whatever a later NumPy takes for that
    return _drawn(rng, n), rng.bit_generator.state


def _drawn(rng: np.random.Generator, size: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    import numpy as np

    middle = (size + 1) // 2
    u = rng.beta(middle, size + 1 - middle, _DRAWS)
    v = u
    if size % 2 == 0:  # the next order statistic, given u
        v = 1 - (1 - u) * rng.random(_DRAWS) ** (1 / (size - middle))
    return np.minimum((np.stack([u, v]) * size).astype(np.int64), size - 1)


class _Outer(NamedTuple):
    """The draws whose ratio may be in a ``tail`` of all, or at its end: their ranks, as _picks has them; the first
    ``low`` of them are of the lower tail, the others of the upper one.
    """

    picks: tuple[np.ndarray[Any, np.dtype[np.int64]], ...]
    low: int
    tail: float


def _outer(n: int, m: int, tail: float, seed: int) -> _Outer:
    """About a quarter of the draws. Of series without negative values, and with none of 0 in the second one, the ranks
    alone say that the ratio of the others is neither one of the least nor of the greatest.
    """
    import numpy as np

    tops, bottoms = _picks(n, m, seed)
    low = _lowest(tops, -bottoms[::-1], stats.place(_DRAWS, tail)[2] + 1)
    high = _lowest(-tops[::-1], bottoms, _DRAWS - stats.place(_DRAWS, 1 - tail)[0])
    draws = np.concatenate([low, high])
    return _Outer((tops[:, draws], bottoms[:, draws]), len(low), tail)


def _lowest(
    x: np.ndarray[Any, np.dtype[np.int64]], y: np.ndarray[Any, np.dtype[np.int64]], count: int
) -> np.ndarray[Any, np.dtype[np.intp]]:
    """The draws that do not surely have ``count`` others below them; the ``count`` lowest are among them.

    ``x`` and ``y``, shapes (2, draws), are the ends of what each draw spans in two ranks with which its ratio rises. A
    draw surely lies below another one if it ends before the other begins in x, and not after that in y.
    """
    import numpy as np

    (x_begins, x_ends), (y_begins, y_ends) = _binned(x), _binned(y)
    shape = int(x_ends.max()) + 2, int(y_ends.max()) + 1
    counts = np.bincount((x_ends + 1) * shape[1] + y_ends, minlength=shape[0] * shape[1]).reshape(shape)
    # [i, j] are the draws that end before i in x, and at j or before in y.
    lower = counts.cumsum(0).cumsum(1)[x_begins, y_begins]
    return np.flatnonzero(lower < count)


def _binned(ends: np.ndarray[Any, np.dtype[np.int64]]) -> tuple[np.ndarray[Any, np.dtype[np.int64]], ...]:
    """Where what spans ``ends`` begins and ends in bins of ranks: the first rounded down, the second up."""
    begins, ends = ends - ends.min()
    width = int(ends.max()) // _BINS + 1
    return begins // width, -(-ends // width)


# ------------------------------------------------------------------------------------------------------------- ratios


def _ratios(pairs: Sequence[tuple[SortedSamples, SortedSamples]], outer: _Outer) -> list[Ratio]:
    """Those of several pairs of the lengths that ``outer`` is for."""
    firsts = {id(a): a for a, _ in pairs}  # which are often one: the baseline of a table
    tops = _sums(_stacked([*firsts.values()]), outer.picks[0])
    places = {key: place for place, key in enumerate(firsts)}
    bottoms = _sums(_stacked([b for _, b in pairs]), outer.picks[1])
    ratios = tops[[places[id(a)] for a, _ in pairs]] / bottoms
    low = _quantile(ratios[:, : outer.low], outer.tail).tolist()
    high = _quantile(ratios[:, outer.low :], 1 - outer.tail).tolist()
    centres = [float(stats.median(a) / stats.median(b)) for a, b in pairs]
    return [Ratio(*three, None) for three in zip(low, centres, high, strict=True)]


def _stacked(several: Sequence[SortedSamples]) -> np.ndarray[Any, np.dtype[Any]]:
    """As numpy.stack, which takes longer for many short arrays."""
    import numpy as np

    return np.concatenate([samples.values for samples in several]).reshape(len(several), -1)


def _ascending(samples: Sequence[float]) -> np.ndarray[Any, np.dtype[Any]]:
    import numpy as np

    return samples.values if isinstance(samples, SortedSamples) else np.sort(np.asarray(samples, np.float64))


def _sums(
    ascending: np.ndarray[Any, np.dtype[Any]], picks: np.ndarray[Any, np.dtype[np.int64]]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Twice the medians of resamples of series, shape (..., draws), as a ratio of two is that of the medians, exactly;
    a series is the last axis of ``ascending``.
    """
    picked = ascending.take(picks, axis=-1, mode="clip").astype("float64")  # clip, which no rank needs, is quicker
    sums: np.ndarray[Any, np.dtype[np.float64]] = picked[..., 0, :] + picked[..., 1, :]
    return sums
