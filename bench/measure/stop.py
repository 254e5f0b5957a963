"""The stop rule: when there are enough samples, and why no more were taken."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.model.seam import Clock
from bench.model.suite import Policy
from bench.stats import Interval, groups_of, mann_kendall, median_interval
from bench.units import NS_PER_S

TARGET_REACHED = "TargetReached"
PLATEAU = "Plateau"
ENOUGH = "Enough"
MAX_SAMPLES = "MaxSamples"
MAX_TIME = "MaxTime"

# What one process is given for a boundary once it has min_samples: its noise lasts longer, and processes differ.
ENOUGH_NS = NS_PER_S
# Fewer samples in a row are of one moment: a host stays faster or slower for many of them.
_FIRST = 30
# Samples between two checks of the interval; and how much the samples grow between two checks for a plateau.
_EVERY = 16
_GROWTH = 1.5
# By how much the interval must have grown: by less it does so by chance, as there are few samples.
_WIDER = 1.2
# A trend over tenths of the samples, in standard deviations of what independent samples do.
_TENTHS, _DRIFT = 10, 2.2


class StopRule:
    """Takes samples one by one; ``reason`` is empty while more are needed.

    ``TargetReached``: both ends of the 95 % interval of the median lie within ``target_ci`` of the median. Checked
    after 30 samples, or ``min_samples`` if that is more, and every 16 from there; and at the end of those that have
    ``min_samples``.

    ``Plateau``: more samples do not help. Checkpoints lie at the first of those checks and then at 1.5 times the
    samples of the checkpoint before (30, 45, 67, 100). Independent noise would narrow the interval by 18 % from one to
    the next; it has stopped falling when at two checkpoints in a row the interval is wider by a fifth than at the one
    before those two. So it is where one of the next two reasons ends samples that drift. (Of independent samples about
    3 % of runs end so by chance, of those that drift by thrice their noise nearly all.)

    ``Enough``: ``min_samples``, and a second since ``start``: more time is better spent on another process.

    ``MaxSamples`` and ``MaxTime``: ``max_samples`` samples, or ``max_time_ns`` on ``clock`` since ``start``, which is
    the time of ``begin`` (before that of the construction), with however few samples there are by then. The first
    sample is always taken.
    """

    def __init__(self, policy: Policy, clock: Clock) -> None:
        self.samples: list[int] = []
        self.reason = ""
        self._policy = policy
        self._now = clock.now
        self.start = clock.now()
        self._look = max(1, policy.min_samples, min(_FIRST, policy.max_samples))
        self._checkpoint = self._look
        self._widths: list[float] = []

    def begin(self) -> None:
        """Time counts from now on."""
        self.start = self._now()

    def add(self, ns: int) -> None:
        """Take one sample and decide."""
        self.samples.append(ns)
        n = len(self.samples)
        limit = MAX_SAMPLES if n >= self._policy.max_samples else self._over(n, self._now() - self.start)
        if limit or n >= self._look:
            self.reason = self._judge(n) or (
                PLATEAU if limit in (ENOUGH, MAX_SAMPLES) and drifts(self.samples) else limit
            )

    def _over(self, n: int, ns: int) -> str:
        """Why ``ns`` are enough time for ``n`` samples, empty if they are not."""
        if n >= self._policy.min_samples and ns >= ENOUGH_NS:
            return ENOUGH
        return MAX_TIME if ns >= self._policy.max_time_ns else ""

    def _judge(self, n: int) -> str:
        """The interval's verdict on ``n`` samples, empty to continue."""
        if n < self._policy.min_samples:
            return ""
        self._look = n + _EVERY
        width = half_width(median_interval(self.samples))
        if width <= self._policy.target_ci:
            return TARGET_REACHED
        if n >= self._checkpoint and width < math.inf:  # a handful of samples has no interval yet
            self._checkpoint = int(n * _GROWTH)
            self._widths.append(width)
        self._look = max(n + 1, min(self._look, self._checkpoint))
        before = self._widths[-3:]
        return PLATEAU if len(before) == 3 and min(before[1:]) >= _WIDER * before[0] else ""


def half_width(interval: Interval | None) -> float:
    """The distance from the centre to the farther end as a fraction of the centre; infinite without an interval."""
    if interval is None:
        return math.inf
    distance = max(interval.high - interval.centre, interval.centre - interval.low)
    if not distance:
        return 0.0
    return distance / interval.centre if interval.centre else math.inf


def drifts(samples: Sequence[float]) -> bool:
    """Whether the medians of the tenths of ``samples`` rise or fall, by more than one in 60 series does by chance."""
    return len(samples) >= _TENTHS and abs(mann_kendall(groups_of(samples, _TENTHS))) > _DRIFT
