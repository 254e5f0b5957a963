"""How large a difference the verdict finds with so many processes, and how many it needs; pure."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

from bench.analysis.verdict import DIFFERENT, LEAST, POWER, verdict

if TYPE_CHECKING:
    import numpy as np

# More processes than this are no advice, and an effect of this size needs no statistics.
MOST, LARGEST = 1000, 1.0
_GRID = 48
# As good as infinitely many degrees of freedom.
_KNOWN = 1e9
# Up to so many processes a side the rule is asked whether it can call any difference.
_FEW = 8


def power(effect: float, process_sd: float, session_sd: float, replicates: int) -> float:
    """The probability that a side which takes ``1 + effect`` times as long is called SLOWER.

    Logs of process medians are normal with the standard deviation ``process_sd`` on both sides, those of sittings with
    ``session_sd``, which the verdict is given too. The probability is that of the rule given the two spreads that it
    sees, averaged over their distribution (each chi-squared with ``replicates`` - 1 degrees of freedom) on a grid of
    equally likely values. ValueError for fewer than 2 replicates.
    """
    if replicates < 2:
        raise ValueError("one process does not show how processes differ")
    from scipy.special import ndtr

    if replicates <= _FEW and not _is_possible(effect, replicates):
        return 0.0
    limit, error = _limits(process_sd, session_sd, replicates)
    if error == 0:
        return float(math.log1p(effect) >= math.log1p(LEAST))
    import numpy as np

    needed = np.maximum(limit, math.log1p(LEAST))
    return float(ndtr((math.log1p(effect) - needed) / error).mean())


@functools.lru_cache(maxsize=4096)
def _is_possible(effect: float, replicates: int) -> bool:
    """Whether the rule calls an effect a difference where processes hardly differ: of few it may ask for more."""
    a = [1 + 1e-6 * n for n in range(replicates)]
    return verdict(a, [(1 + effect) * time for time in a]).kind == "SLOWER"


def _limits(process_sd: float, session_sd: float, replicates: int) -> tuple[np.ndarray[Any, Any], float]:
    """Half of the interval of the rule for each pair of spreads on the grid, which sessions only widen, and the true
    standard error.
    """
    import numpy as np
    from scipy.special import stdtrit

    freedom, between = replicates - 1, 2 * session_sd**2
    a, b = (variances * process_sd**2 / replicates for variances in _grid(freedom))
    halves = []
    for seen in (a + b, a + b + between):
        with np.errstate(invalid="ignore", divide="ignore"):  # of no spread at all there is nothing to be unsure of
            dof = np.nan_to_num(freedom * seen**2 / (a**2 + b**2), nan=np.inf, posinf=np.inf)
        halves.append(stdtrit(np.minimum(dof, _KNOWN), (1 + DIFFERENT) / 2) * np.sqrt(seen))
    return np.maximum(*halves), math.sqrt(2 * process_sd**2 / replicates + between)


@functools.lru_cache(maxsize=256)
def _grid(freedom: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Pairs of equally likely sample variances, whose true one is 1, of so many degrees of freedom each."""
    import numpy as np
    from scipy.special import chdtri

    tails = (np.arange(_GRID) + 0.5) / _GRID
    variances = chdtri(freedom, tails) / freedom
    a, b = np.meshgrid(variances, variances)
    return a, b


def smallest_effect(process_sd: float, session_sd: float, replicates: int) -> float | None:
    """The smallest effect that is found with a probability of 0.9; None if that of 100 % is not."""
    if power(LARGEST, process_sd, session_sd, replicates) < POWER:
        return None
    low, high = 0.0, LARGEST
    while high - low > 1e-5:
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle, process_sd, session_sd, replicates) >= POWER else (middle, high)
    return high


def replicates_needed(effect: float, process_sd: float, session_sd: float) -> int | None:
    """Processes a side with which ``effect`` is found with a probability of 0.9; None where no number is enough."""
    if power(effect, process_sd, session_sd, MOST) < POWER:
        return None
    low, high = 1, MOST
    while low + 1 < high:  # more processes find what fewer do
        middle = (low + high) // 2
        low, high = (low, middle) if power(effect, process_sd, session_sd, middle) >= POWER else (middle, high)
    return high
