"""Where the time of a run goes: each moment of it is counted once, by what the workers do then."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from bench.analysis import times
from bench.measure.clock import HostClock
from bench.model.events import Ended, Event, Locked, Started, Step, Waiting
from bench.model.seam import Clock

OnEvent = Callable[[Event], None]
# A worker that is started ahead of its turn: what it costs is not of the turn that happens to be then.
PRELOAD = "preload"
_numbers = itertools.count(1)


@contextlib.contextmanager
def at_work(on_event: OnEvent, label: str, work: str) -> Iterator[int]:
    """The number of a worker, for the block in which it is at work; the events of its start and its end."""
    number = next(_numbers)
    on_event(Step(label=label, phase="start", worker=number, work=work))
    try:
        yield number
    finally:
        on_event(Ended(label=label, worker=number))


class _Activity(NamedTuple):
    """What one worker does now."""

    label: str
    work: str
    category: str
    timed: bool


class _Turn(NamedTuple):
    """The case that a card works on, and where its time went so far."""

    label: str
    ns: Counter[str]


class Timeline:
    """Takes in the events of a run, and splits its wall time since it was made into the categories of ``times``.

    While several workers are at work, each moment is split equally among them; while one is timed, it is that one's,
    and one that waits has a part of it only if all do. Without any worker it is ``start_up`` before the first case, and
    ``other`` after that, but ``imports`` while workers are started ahead of their turns. So the sums are the wall time,
    to the nanosecond, also of cards that are at work side by side. Threads may feed and read it.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._now = (clock or HostClock()).now
        self._last = self._now()
        self._lock = threading.Lock()
        self._workers: dict[int, _Activity] = {}
        self._totals: Counter[str] = Counter()
        self._turns: dict[tuple[str, str], _Turn] = {}  # by card ("" where there is one) and label
        self._idle = "start_up"
        self._imports = False  # workers import ahead of their turns; nothing is measured before all have
        self._waits = False
        self._over = False

    def before(self, on_event: OnEvent) -> OnEvent:
        """``on_event``, after each event has been taken in."""

        def take_and_pass_on(event: Event) -> None:
            self.take(event)
            on_event(event)

        return take_and_pass_on

    def take(self, event: Event) -> None:
        """Count the time until now, and note what changes."""
        with self._lock:
            self._count()
            match event:
                case Step(worker=0):
                    self._imports = self._imports or event.phase.startswith("prestart")
                case Step():
                    kind = times.category(event.work, event.phase)
                    self._workers[event.worker] = _Activity(event.label, event.work, kind, event.timed)
                    self._imports = self._imports and event.work != "measure"
                case Ended():
                    self._workers.pop(event.worker, None)
                case Waiting():
                    self._waits = True
                case Locked():
                    self._waits = False
                case Started():
                    labels = (event.label, *event.against, *event.beside)
                    self._turns = {key: turn for key, turn in self._turns.items() if key[0] != event.card}
                    self._turns |= {(event.card, label): _Turn(label, Counter()) for label in labels}
                    self._idle = "other"

    def end_turn(self, card: str = "", label: str = "") -> dict[str, int]:
        """End the turn of the case that was started last on ``card``, or of several the one with this ``label``: where
        its time went, nanoseconds by category.
        """
        with self._lock:
            self._count()
            key = next((key for key in self._turns if key[0] == card and label in ("", key[1])), None)
            turn = self._turns.pop(key) if key is not None else None
            return times.add([turn.ns if turn else {}])

    def end(self) -> dict[str, int]:
        """Where the time went until now, nanoseconds by category; what follows does not count."""
        with self._lock:
            self._count()
            self._over = True
            return times.add([self._totals])

    def _count(self) -> None:
        """Count the time since the last event."""
        if self._over:
            return
        now = self._now()
        passed, self._last = now - self._last, now
        shares = self._shares()
        each, over = divmod(passed, len(shares))
        for place, (kind, turn) in enumerate(shares):
            ns = each + (place < over)
            if not ns:
                continue
            self._totals[kind] += ns
            if turn is not None:
                turn.ns[kind] += ns

    def _shares(self) -> list[tuple[str, _Turn | None]]:
        """The categories that share this moment equally, and the turn that each is of."""
        active = [each for each in self._workers.values() if each.category != "waiting"]
        active = [each for each in active if each.timed] or active or list(self._workers.values())
        if active:
            turns = {turn.label: turn for turn in self._turns.values()}
            return [(each.category, None if each.work == PRELOAD else turns.get(each.label)) for each in active]
        if self._imports and not self._waits:
            return [("imports", None)]
        idle = "waiting" if self._waits else self._idle
        return [(idle, turn) for turn in self._turns.values()] or [(idle, None)]
