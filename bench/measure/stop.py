"""The stop rule: when there are enough samples, and why no more were taken."""

from __future__ import annotations

import math

from bench.model.seam import Clock
from bench.model.suite import Policy
from bench.stats import Interval, median_interval

TARGET_REACHED = "TargetReached"
PLATEAU = "Plateau"
MAX_SAMPLES = "MaxSamples"
MAX_TIME = "MaxTime"

# Samples between two checks of the interval; and how much the samples grow between two checks for a plateau.
_EVERY = 16
_GROWTH = 1.5


class StopRule:
    """Takes samples one by one; ``reason`` is empty while more are needed.

    ``TargetReached``: at least ``min_samples``, and both ends of the 95 % interval of the median lie within
    ``target_ci`` of the median. Checked after ``min_samples`` and every 16 samples from there, and at the end.

    ``Plateau``: more samples do not help. Checkpoints lie at ``min_samples`` and then at 1.5 times the samples of the
    checkpoint before (50, 75, 112, 168, 252). Independent noise would narrow the interval by 18 % from one to the
    next; it has stopped falling when at two checkpoints in a row the interval is no narrower than at the one before
    those two. (Of independent samples about 5 % of runs end so by chance, of drifting ones about 9 in 10.)

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
        self._look = max(1, policy.min_samples)
        self._checkpoint = self._look
        self._widths: list[float] = []

    def begin(self) -> None:
        """Time counts from now on."""
        self.start = self._now()

    def add(self, ns: int) -> None:
        """Take one sample and decide."""
        self.samples.append(ns)
        n = len(self.samples)
        over = self._now() - self.start >= self._policy.max_time_ns
        limit = MAX_SAMPLES if n >= self._policy.max_samples else MAX_TIME if over else ""
        if limit or n >= self._look:
            self.reason = self._judge(n) or limit

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
        return PLATEAU if len(before) == 3 and min(before[1:]) >= before[0] else ""


def half_width(interval: Interval | None) -> float:
    """The distance from the centre to the farther end as a fraction of the centre; infinite without an interval."""
    if interval is None:
        return math.inf
    distance = max(interval.high - interval.centre, interval.centre - interval.low)
    if not distance:
        return 0.0
    return distance / interval.centre if interval.centre else math.inf
