"""What a lane's call takes more than the runtime's own call within it, both issued in turn."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from bench.model.seam import Clock
from bench.stats import median_interval
from bench.units import NS_PER_S

# A call that takes longer is not compared: six pairs of it would take a second.
COMPARABLE = NS_PER_S // 12
_COMPARING = NS_PER_S // 4
_PAIRS = 50
_ADDED_WITHIN = 1_000
# As few samples have a 95 % interval of their median.
_FEWEST = 6


def compare(whole: Callable[[], int], bare: Callable[[], int], clock: Clock) -> dict[str, float]:
    """The facts ``enqueue_bare_ns``, ``enqueue_added_ns`` and its 95 % interval, ``enqueue_added_low_ns`` to
    ``enqueue_added_high_ns``; of two functions that time a call in ns, ``whole`` the lane's and ``bare`` the runtime's.

    Calls are timed until what is added is known to ±1 us, or a quarter of a second has passed. In turn, and each first
    every other time: the host's speed differs by more from one second to the next.
    """
    differences: list[int] = []
    alone: list[int] = []
    start = clock.now()
    while True:
        first, second, third, fourth = whole(), bare(), bare(), whole()
        differences += [first - second, fourth - third]
        alone += [second, third]
        over = clock.now() - start >= _COMPARING and len(differences) >= _FEWEST
        if over or len(differences) % _PAIRS == 0:
            interval = median_interval(differences)
            if over or (interval is not None and interval.high - interval.low <= 2 * _ADDED_WITHIN):
                break
    if interval is None:
        return {}
    return {
        "enqueue_bare_ns": median(alone),
        "enqueue_added_ns": interval.centre,
        "enqueue_added_low_ns": interval.low,
        "enqueue_added_high_ns": interval.high,
    }
