"""Progress of a run: a live view for a terminal, plain lines for a log, JSON lines for programs."""

from __future__ import annotations

import abc
import contextlib
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

import msgspec

from bench.model import events
from bench.report import cells, escape
from bench.report.progress_words import NAMES, failure_of, indent, phase_of, process_name, standing

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live as RichLive


_TICK_S = 1.0
# Phases that may take minutes.
_LONG = ("prestart", "export", "compile", "build")
# What comes before the first case, where a reader of a log would see nothing for seconds.
_BEFORE = {"inspect": "counting the work of the models", "ceilings": "measuring the ceilings of this machine"}
_GETTING_READY = "getting ready"
# How often a log is told how far a phase is that takes so long.
_BEAT_S = 30.0


class View(contextlib.AbstractContextManager["View"]):
    """Base of all views: called with each event, used as a context manager."""

    @abc.abstractmethod
    def __call__(self, event: events.Event) -> None:
        """Show one event."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class Live(View):
    """What runs, done of total, elapsed, time left and the last result, redrawn in place.

    It draws when an event comes, and once a second while it waits: for a lock, an import, a compiler. From warm-up to
    the end of a measurement nothing is drawn but what an event tells, as a redraw could disturb the child that is
    timed; for the same reason a timed step is not drawn if the step before already announced it. Of several workers the
    one that took the last step is shown, and how many others are at work. Failures, notes and waiting are printed above
    and stay. ``now`` gives seconds.
    """

    def __init__(self, console: Console, now: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._now = now
        self._start = now()
        self._records = self._count = self._total = 0
        self._phase = self._last = ""
        self._running = _GETTING_READY
        self._duel = False
        self._workers: dict[int, bool] = {}  # whether each that is at work must not be disturbed
        self._live: RichLive | None = None
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._ticker = threading.Thread(target=self._tick_on, daemon=True)

    def __enter__(self) -> Live:
        from rich.live import Live as RichLive

        self._live = RichLive(console=self._console, auto_refresh=False, transient=True)
        self._live.__enter__()
        self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._live is not None:
            self._ticker.join()
            self._live.__exit__(kind, error, trace)
            self._live = None

    def __call__(self, event: events.Event) -> None:
        """Take the event in and redraw, except for a timed step that the warm-up has announced."""
        with self._lock:
            after_warmup = self._phase == "warmup"
            self._take(event)
            if isinstance(event, events.Step | events.Ended) and self._timed and not self._workers.get(event.worker):
                return  # another worker's, while one is timed
            if isinstance(event, events.Step) and event.timed and after_warmup:
                return
            if self._live is not None:
                self._live.update(self.draw(), refresh=True)

    @property
    def _timed(self) -> bool:
        return any(self._workers.values())

    def tick(self) -> None:
        """Redraw the time that has passed, unless a child is warmed up or timed."""
        with self._lock:
            if self._live is not None and not self._timed:
                self._live.update(self.draw(), refresh=True)

    def _tick_on(self) -> None:
        while not self._ended.wait(_TICK_S):
            self.tick()

    def draw(self) -> RenderableType:
        """The three lines."""
        from rich.text import Text

        width = self._console.width
        others = len(self._workers) - 1
        running = f"{self._running}; {cells.count(others, 'other')} at work" if others > 0 else self._running
        lines = [self._summary(), f"now   {running}", f"last  {self._last}" if self._last else ""]
        lines = [escape.line(line, width + 1) for line in lines]
        visible = [line if len(line) <= width else line[: width - 1].rstrip(" ,;") + "…" for line in lines if line]
        return Text("\n".join(visible), no_wrap=True)

    def _summary(self) -> str:
        seconds = self._now() - self._start
        if not self._total:  # no case has begun: what several of them need is made ahead
            return f"before the first case, {cells.duration(seconds)}"
        text = f"{self._count}/{self._total} done, {cells.duration(seconds)}"
        if self._records and self._total > self._count:
            remaining = seconds / self._records * (self._total - self._count)
            text += f", about {cells.duration(remaining)} left"
        return text

    def _take(self, event: events.Event) -> None:
        if self._duel and isinstance(event, events.Stored | events.Compared):
            self._take_pair(event)
            return
        match event:
            case events.Started():
                self._count, self._total, self._phase = event.done, event.total, ""
                self._workers.pop(0, None)
                self._duel = bool(event.against)
                self._running = process_name(event.label, event.replicate)
            case events.Step():
                self._phase = event.phase
                self._workers[event.worker] = event.timed or event.phase == "warmup"
                if event.worker:
                    self._workers.pop(0, None)
                self._running = f"{event.label}: {phase_of(event)}"
            case events.Ended():
                self._workers.pop(event.worker, None)
            case events.Stored():
                self._records += 1
                self._count, self._total, self._phase = event.done, event.total, ""
                self._workers.pop(0, None)
                self._last = f"{process_name(event.record.label, event.record.replicate)}  {cells.result(event.record)}"
                if event.record.failure:
                    self._print(failure_of(event.record))
            case events.Waiting():
                self._workers.pop(0, None)
                self._running = f"waiting for {event.device}, held by {event.holder}"
            case events.Locked():
                self._running = _GETTING_READY
            case events.Note():
                self._print(event.text)

    def _take_pair(self, event: events.Stored | events.Compared) -> None:
        """Of a duel only where each match stands is shown, and what failed."""
        if isinstance(event, events.Stored):
            if event.record.failure:
                self._print(failure_of(event.record))
            return
        self._records += 1
        self._count, self._total, self._phase = event.pair, event.pairs, ""
        self._last = standing(event)
        if event.over:
            self._print(self._last)

    def _print(self, text: str) -> None:
        self._console.print(indent(text), markup=False, highlight=False, soft_wrap=True)


class Plain(View):
    """A line when a case starts and its result on the same line, for logs and CI.

    Of the steps only those are written that may take minutes, as they begin: ``... export, compile, latency 1 ms``.
    Those of other workers have lines of their own before the first case, and are not written after that. Of cases that
    several cards work on at once there is a line when each has ended; of a duel there is one per pair and match. What a
    long phase tells of itself is added every half a minute: ``C++ runner (3 of 9 steps, 42 s)``. ``now`` gives
    seconds. A line that ends early ends in a step, and not in a comma.
    """

    def __init__(self, stream: TextIO, now: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._now = now
        self._beat = now()
        self._open = ""
        self._label = ""  # of the case that was started last
        self._phase = ""
        self._stepped = False  # whether the open line has a step, which a comma follows before more
        self._duel = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def __call__(self, event: events.Event) -> None:
        """Write the event, flushed."""
        match event:
            case events.Started() if event.against:
                self._duel, self._label = True, event.label
            case events.Compared():
                self._line(f"[{event.pair}/{event.pairs}] {standing(event)}")
            case events.Stored() if self._duel:
                if event.record.failure:
                    self._line(failure_of(event.record))
            case events.Started() if event.card:  # of several at once: a line when it has ended
                self._label = event.label
            case events.Started():
                self._close()
                self._open = process_name(event.label, event.replicate)
                self._label, self._phase = event.label, ""
                self._stepped = False
                self._write(f"[{min(event.done + 1, event.total)}/{event.total}] {escape.line(self._open)} ...")
            case events.Step():
                self._step(event)
            case events.Stored():
                self._show_record(event)
            case events.Waiting():
                self._line(f"waiting for {event.device}, held by {event.holder}")
            case events.Note():
                self._line(event.text)

    def _step(self, event: events.Step) -> None:
        phase, _, far = event.phase.partition(":")
        if event.work == "preflight" and phase in _BEFORE and not self._open and self._phase != phase:
            self._phase = phase
            self._line(_BEFORE[phase])
        if phase not in _LONG:
            return
        name = NAMES.get(event.work, phase)
        ahead = not self._label
        if not ahead and not (self._open and event.label == self._label):
            return
        step = f"{event.label}: {name}" if ahead else name
        if step != self._phase:
            self._phase, self._beat = step, self._now()
        elif far and self._now() - self._beat >= _BEAT_S:
            self._beat = self._now()
            step = f"{step} ({far.strip()})" if ahead else f"({far.strip()})"
        else:
            return
        if ahead:
            self._line(step)
        elif step.startswith("("):  # how far it is belongs to the step before
            self._write(f" {step}")
        else:
            self._write(f"{',' if self._stepped else ''} {step}")
            self._stepped = True

    def _show_record(self, event: events.Stored) -> None:
        name = process_name(event.record.label, event.record.replicate)
        if self._open == name:
            self._write(", " if self._stepped else " ")
            self._open = ""
        else:
            self._close()
            self._write(f"[{event.done}/{event.total}] {escape.line(name)} ... ")
        self._write(f"{indent(cells.result(event.record))}\n")
        if event.record.failure and event.record.failure.hint:
            self._write(f"    try: {indent(event.record.failure.hint)}\n")

    def _line(self, text: str) -> None:
        self._close()
        self._write(f"{indent(text)}\n")

    def _close(self) -> None:
        if self._open:
            self._open = ""
            self._write("\n")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


class Json(View):
    """One event per line, as events.Event encodes it (key ``event`` is its kind), flushed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: events.Event) -> None:
        """Write the event."""
        self._stream.write(escape.in_json(msgspec.json.encode(event).decode()) + "\n")
        self._stream.flush()


class GuardedView(View):
    """A view whose reader may close its end, as ``head`` does: the run continues without it.

    ``guard`` makes a context for each writing of ``view``.
    """

    def __init__(self, view: View, guard: Callable[[], contextlib.AbstractContextManager[None]]) -> None:
        self._view = view
        self._guard = guard

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._guard():
            self._view.__exit__(kind, error, trace)

    def __call__(self, event: events.Event) -> None:
        """Show the event if somebody still reads."""
        with self._guard():
            self._view(event)
