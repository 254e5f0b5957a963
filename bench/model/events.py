"""Events that the runner reports while it works: plain data, for a screen or a log."""

from __future__ import annotations

from typing import Literal

from bench.model.data import Data
from bench.model.run import Record


class Event(Data, frozen=True, kw_only=True, tag_field="event", tag=str.lower):
    """Base of all events of the runner."""


class Waiting(Event, frozen=True, kw_only=True):
    """Another run holds the device."""

    device: str
    holder: str


class Locked(Event, frozen=True, kw_only=True):
    """The run holds the device from now on: a wait for it is over."""

    device: str


class Begin(Event, frozen=True, kw_only=True):
    """The run has its file: what follows is of it. ``total`` counts the processes of its plan."""

    run: str
    path: str
    cases: int
    total: int


class End(Event, frozen=True, kw_only=True):
    """The last event of a run: ``complete``, ``interrupted``, or ``failed``, where an error ended it.

    ``path`` is the file that has its ``records``, another than at the beginning if that one was lost. ``times`` says
    where the wall time went: nanoseconds by category, see ``bench.analysis.times``.
    """

    run: str
    path: str
    status: Literal["complete", "interrupted", "failed"]
    records: int
    times: dict[str, int] = {}


class Started(Event, frozen=True, kw_only=True):
    """A case (or a shared artifact) is being worked on; ``done`` of ``total`` measured processes are finished.

    ``card`` is that which works on it, where a run has several. In a duel it is the first side of a pair, ``against``
    has the labels of the others, and pairs are counted. ``beside`` has those measured in turn with it.
    """

    label: str
    done: int
    total: int
    replicate: int = 0
    card: str = ""
    against: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()


class Step(Event, frozen=True, kw_only=True):
    """A worker entered a phase, ``start`` the first; ``timed`` phases must not be disturbed.

    ``worker`` is its number, which no other worker of the run has, 0 for what the runner itself does. ``work`` is what
    it does: ``measure``, ``preflight``, ``preload``, or the stage that it makes, ``reference``, ``export``, ``build``.
    """

    label: str
    phase: str
    timed: bool = False
    worker: int = 0
    work: str = ""


class Ended(Event, frozen=True, kw_only=True):
    """The worker of that number has ended, or waits for its turn: it is not at work any more."""

    label: str
    worker: int


class Stored(Event, frozen=True, kw_only=True):
    """A record is on disk (written, flushed, fsynced)."""

    record: Record
    done: int
    total: int


class Compared(Event, frozen=True, kw_only=True):
    """Where a match of a duel stands after ``pair`` of at most ``pairs``: times of ``label`` / those of ``against``.

    ``kind`` is that of the verdict, or NONE, ``why`` says why a side is not judged; ``low`` to ``high`` is the repeated
    95 % interval of the ratio, None before the third pair. ``over``: no more pairs follow.
    """

    label: str
    against: str
    pair: int
    pairs: int
    kind: str
    ratio: float | None
    low: float | None
    high: float | None
    over: bool
    why: str = ""


class Note(Event, frozen=True, kw_only=True):
    """A message for the person watching, e.g. a corrupt artifact that is rebuilt."""

    text: str
