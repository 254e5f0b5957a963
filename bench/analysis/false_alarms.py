"""How often identical code is called different, over random sides of the same processes; pure."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence

from bench.analysis.variance import CONFIDENCE, Sittings
from bench.analysis.verdict import verdict
from bench.model.calibration import Alarms


def alarms(
    sides: Sequence[tuple[Sequence[float], Sequence[float]]], pairs: int, replicates: int, session_sd: float = 0.0
) -> Alarms:
    """How many of these pairs of sides (times of processes of identical code) the verdict calls different."""
    kinds = [verdict(a, b, session_sd=session_sd).kind for a, b in sides]
    number = sum(kind in ("FASTER", "SLOWER") for kind in kinds)
    low, high = rate_interval(number / len(sides), pairs)
    return Alarms(replicates=replicates, splits=len(sides), alarms=number, pairs=pairs, low=low, high=high)


def rate_interval(rate: float, number: float) -> tuple[float, float]:
    """The 95 % interval of Clopper and Pearson (Biometrika 26 (1934) 404) of a ``rate`` seen in ``number`` trials."""
    from scipy.special import betaincinv

    tail, seen = (1 - CONFIDENCE) / 2, rate * number
    low = float(betaincinv(seen, number - seen + 1, tail)) if seen > 0 else 0.0
    high = float(betaincinv(seen + 1, number - seen, 1 - tail)) if seen < number else 1.0
    return low, high


def within_sittings(
    sittings: Sittings, replicates: int, splits: int, rng: random.Random
) -> tuple[list[tuple[list[float], list[float]]], int, int]:
    """Pairs of sides from one sitting each, how many are disjoint, and the processes a side: those asked for, or as
    many as the largest sitting has for both.
    """
    size = min(replicates, max(map(len, sittings)) // 2)
    large = [sitting for sitting in sittings if len(sitting) >= 2 * size]
    sides = []
    for _ in range(splits if size > 1 else 0):
        chosen = rng.sample([math.exp(each.log) for each in rng.choice(large)], 2 * size)
        sides.append((chosen[:size], chosen[size:]))
    return sides, sum(len(sitting) // (2 * size) for sitting in large) if size > 1 else 0, size


def across_sittings(
    sittings: Sittings, replicates: int, splits: int, rng: random.Random
) -> tuple[list[tuple[list[float], list[float]]], int, int]:
    """As ``within_sittings``, of two sittings each; a sitting is one trial however many processes it has."""
    sizes = sorted(map(len, sittings), reverse=True)
    size = min(replicates, sizes[1]) if len(sizes) > 1 else 0
    large = [sitting for sitting in sittings if len(sitting) >= size]
    sides = []
    for _ in range(splits if size > 1 else 0):
        a, b = ([math.exp(each.log) for each in rng.sample(side, size)] for side in rng.sample(large, 2))
        sides.append((a, b))
    return sides, len(large) // 2, size


def total(several: Iterable[Alarms | None]) -> Alarms | None:
    """The alarms of several cases as those of one; None if no case has any."""
    every = [each for each in several if each]
    if not every:
        return None
    splits, number, pairs = (sum(getattr(each, name) for each in every) for name in ("splits", "alarms", "pairs"))
    low, high = rate_interval(number / splits, pairs)
    fewest = min(each.replicates for each in every)
    return Alarms(replicates=fewest, splits=splits, alarms=number, pairs=pairs, low=low, high=high)
