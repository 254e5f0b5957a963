"""The loop: calls that warm up, and samples with the garbage collector out of the way. The same for every clock."""

from __future__ import annotations

import contextlib
import gc
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import TypeVar

import msgspec

from bench.measure.stop import StopRule
from bench.model.seam import Clock
from bench.model.suite import Policy

# Takes one sample and returns its nanoseconds.
Take = Callable[[], int]
T = TypeVar("T")

WINDOWS = 3
AGREEMENT = 0.01
_LONGEST_WINDOW = 256


class WarmUp(msgspec.Struct, frozen=True, kw_only=True):
    """``calls`` in ``ns``; ``spread`` is by how much the medians of the last windows differ, 0.01 is 1 %."""

    calls: int
    ns: int
    steady: bool
    spread: float


def warm_up(take: Take, policy: Policy, clock: Clock) -> WarmUp:
    """Take samples and throw them away until they are steady.

    At least ``warmup_calls`` and ``warmup_ns``, then until the medians of three windows in a row agree within 1 %, at
    most ``warmup_limit_ns``. A window is a fifth of the calls so far (1 to 256): the windows lie in the later calls,
    and grow, so that noise averages out and what still drifts does not. A slow model has windows of one call, and
    the limit ends it after three calls if these take that long: 3 calls of 5 s, not 30.
    """
    recent: deque[int] = deque(maxlen=WINDOWS * _LONGEST_WINDOW)
    start, calls, check = clock.now(), 0, max(WINDOWS, policy.warmup_calls)
    while True:
        recent.append(take())
        calls += 1
        ns = clock.now() - start
        over = ns >= policy.warmup_limit_ns and calls >= WINDOWS
        if not over and (calls < check or ns < policy.warmup_ns):
            continue
        window = min(_LONGEST_WINDOW, max(1, calls // 5))
        spread = _spread(list(recent)[-WINDOWS * window :], window)
        if over or spread <= AGREEMENT:
            return WarmUp(calls=calls, ns=ns, steady=spread <= AGREEMENT, spread=spread)
        check = calls + window


def sample(take: Take, stop: StopRule) -> tuple[int, ...]:
    """Samples in nanoseconds, in the order taken and none dropped, until ``stop`` has a reason.

    Its time begins with the first: collecting garbage may take longer than all of them.
    """
    with quiet():
        stop.begin()
        while not stop.reason:
            stop.add(take())
    return tuple(stop.samples)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Collect garbage, then switch the collector off for the block, whatever the block raises."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def evenly(values: Sequence[T], limit: int) -> tuple[T, ...]:
    """At most ``limit`` of ``values``, evenly spaced from the first on and in their order."""
    count = min(len(values), max(1, limit))
    return tuple(values[index * len(values) // count] for index in range(count))


def _spread(recent: Sequence[int], window: int) -> float:
    medians = [median(recent[first : first + window]) for first in range(0, len(recent), window)]
    if min(medians) == max(medians):
        return 0.0
    return max(medians) / min(medians) - 1 if min(medians) > 0 else float("inf")
