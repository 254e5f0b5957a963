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
from bench.measure.trend import Trend
from bench.model.seam import Clock
from bench.model.suite import Policy
from bench.units import NS_PER_S

# Takes one sample and returns its nanoseconds.
Take = Callable[[], int]
T = TypeVar("T")

WINDOWS = 3
AGREEMENT = 0.01
_LONGEST_WINDOW = 256
# Windows that differ without a trend end the warm-up from here on.
NOISE_KNOWN = NS_PER_S


class WarmUp(msgspec.Struct, frozen=True, kw_only=True):
    """``calls`` in ``ns``; ``spread`` is by how much the medians of the last windows differ, 0.01 is 1 %.

    ``noisy`` says that it ended, not ``steady``, because they differed without a trend.
    """

    calls: int
    ns: int
    steady: bool
    spread: float
    noisy: bool = False


def warm_up(take: Take, policy: Policy, clock: Clock) -> WarmUp:
    """Take samples and throw them away until they are steady, or until it is known that waiting does not help.

    At least ``warmup_calls`` and ``warmup_ns``, then until the medians of three windows in a row agree within 1 %; from
    a second on also until they differ, but neither rise nor fall: then they are noisy and not warming up. At most
    ``warmup_limit_ns``. A window is a fifth of the calls so far (1 to 256): the windows lie in the later calls,
    and grow, so that noise averages out and what still drifts does not. A slow model has windows of one call, and
    the limit ends it after three calls if these take that long: 3 calls of 5 s, not 30.
    """
    recent: deque[int] = deque(maxlen=WINDOWS * _LONGEST_WINDOW)
    trend = Trend()
    start, calls, check = clock.now(), 0, max(WINDOWS, policy.warmup_calls)
    while True:
        recent.append(take())
        calls += 1
        ns = clock.now() - start
        trend.add(recent[-1], ns)
        over = ns >= policy.warmup_limit_ns and calls >= WINDOWS
        if not over and (calls < check or ns < policy.warmup_ns):
            continue
        window = min(_LONGEST_WINDOW, max(1, calls // 5))
        spread = _spread(list(recent)[-WINDOWS * window :], window)
        steady = spread <= AGREEMENT
        noisy = not (steady or over) and ns >= NOISE_KNOWN and not trend.is_there()
        if steady or noisy or over:
            return WarmUp(calls=calls, ns=ns, steady=steady, spread=spread, noisy=noisy)
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
def frozen() -> Iterator[None]:
    """Collect garbage, and leave what remains out of the collections of the block, one before each series of samples.

    What a runtime imports is half a million objects, which each of them would look at: 0.25 s with PyTorch. Where a
    process has frozen what it had before, everything stays so.
    """
    before = gc.get_freeze_count()
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        if not before:
            gc.unfreeze()


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
