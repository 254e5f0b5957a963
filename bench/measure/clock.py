"""The host's clock, and a simulated one for rehearsals and tests."""

from __future__ import annotations

import resource
import threading
import time
from typing import NamedTuple


class Usage(NamedTuple):
    """Nanoseconds of CPU time, and how often a thread was taken off its core (preemptions)."""

    cpu_ns: int
    preemptions: int


class HostClock:
    """The monotonic clock of the host with the highest resolution, ``time.perf_counter_ns``."""

    name = "host"
    now = staticmethod(time.perf_counter_ns)

    @staticmethod
    def usage() -> Usage:
        """Of this process so far, all threads together; takes a microsecond, so it is asked for around a series."""
        return Usage(time.process_time_ns(), resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw)


class FakeClock(threading.local):
    """Time that passes only by ``advance``; each thread has its own, from 0, as lanes do that run in parallel."""

    name = "fake"

    def __init__(self) -> None:
        self._now = 0

    def now(self) -> int:
        """Nanoseconds advanced so far in this thread."""
        return self._now

    def advance(self, ns: int) -> None:
        """Let ``ns`` nanoseconds pass. ValueError for negative ones."""
        if ns < 0:
            raise ValueError(f"time cannot go back by {-ns} ns")
        self._now += ns
