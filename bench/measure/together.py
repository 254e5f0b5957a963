"""Closed loops of several processes that start together: how one waits for the others, and what each measured."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from bench.model.suite import Policy
from bench.tensors import Array

# What one process measured, int64 ns by name. On a CPU ``stamps``: the start of the loop and the end of each call on
# CLOCK_MONOTONIC, which all processes of a machine read alike. On a GPU ``begun``, the start on that clock, and of each
# call ``ends``, its end on the GPU since then, and its parts.
Share = Mapping[str, Array]


class Start(Protocol):
    """The common start, as one of the processes sees it."""

    def gather(self) -> None:
        """Wait until every process has made the calls that do not count."""
        ...

    def begin(self) -> None:
        """Return at the time at which all begin."""
        ...


class Others(Start, Protocol):
    """The other processes, as the one that started them sees them: each has a model and lanes of its own.

    What fails in one of them is raised here.
    """

    @property
    def count(self) -> int:
        """How many there are."""
        ...

    def lead_in(self, policy: Policy) -> None:
        """Have each make its calls that do not count, then wait for the start, and call for the window of ``policy``;
        does not wait for that.
        """
        ...

    def shares(self) -> Sequence[Share]:
        """Wait for the end of all loops; what each of the others measured."""
        ...


def wait_until(start_ns: int) -> None:
    """Return at a time of CLOCK_MONOTONIC, or at once if it is over.

    Waits actively: a process that sleeps wakes up late, and finds cold caches.
    """
    while time.monotonic_ns() < start_ns:
        pass


class Alone:
    """The start of a process without others."""

    def gather(self) -> None:
        """Nobody is waited for."""

    def begin(self) -> None:
        """It begins at once."""


ALONE = Alone()
