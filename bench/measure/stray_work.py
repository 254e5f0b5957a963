"""Whether a call's work lies between the events on its stream: calls back to back, and what other streams do meanwhile.

Work on other streams escapes the events where nothing waits for it, and where it does not wait for the held stream.
"""

from __future__ import annotations

import contextlib
from statistics import median
from typing import NamedTuple

from bench.measure import gpu_samples
from bench.measure.cuda import CudaClock
from bench.model.seam import Clock, Lane
from bench.units import NS_PER_S, format_time

# Calls back to back: rounds of so many, or of fewer that take a tenth of a second, until a second has passed.
_ROUNDS, _BACK_TO_BACK, _ROUND = 5, 20, NS_PER_S // 10
# What a synchronisation may take, beside twice that of a quiet device, before more is asked; and how often it is asked.
_LEFT, _QUIET, _TRIES = 10_000, 5, 2
# A longer hold: by so much of a call and so many ns; and by what, beside 3 % of a call, it may shorten the call.
_LONGER, _LONGER_BY, _SHORTER, _SHORTER_BY = 0.25, 50_000, 0.03, 5_000
# Pairs of calls with a hold as it is and a longer one: at most, and for how long.
_PAIRS, _COMPARING = 10, NS_PER_S // 5


class Round(NamedTuple):
    """Calls back to back, in ns: issuing all, from one to the next, and what the device took after their stream."""

    calls: int
    issued: int
    period: float
    left: int


class Escapes:
    """One lane's calls as the device and the host see them, whatever the events on its stream say."""

    def __init__(self, lane: Lane, clock: CudaClock, host: Clock) -> None:
        self.rounds: list[Round] = []
        self._lane = lane
        self._clock = clock
        self._driver = clock.driver
        self._host = host
        self._stream = gpu_samples.stream_of(lane)
        self._start, self._end = clock.event(), clock.event()

    def back_to_back(self) -> float:
        """What a call takes when the next one is issued at once, copies left out: ns, the median of a few rounds."""
        start, calls = self._host.now(), 1
        while len(self.rounds) < _ROUNDS and (not self.rounds or self._host.now() - start < NS_PER_S):
            self.rounds.append(self._round(calls))
            calls = max(1, min(_BACK_TO_BACK, int(_ROUND / max(self.rounds[-1].period, 1))))
        self.rounds = self.rounds[1:] or self.rounds  # the first one is of one call
        return self._period()

    def _period(self) -> float:
        return median(taken.period for taken in self.rounds)

    def left(self, *, hold: bool) -> int:
        """How long (ns) the device works on after the stream's end, 0 for not at all: no event comes after such work.

        What calls back to back leave adds up, however full the launch queue is. What is done before the host has issued
        the rest shows where the stream is held, which HoldBroken may end.
        """
        return self._left(self._round(1, hold=True) if hold else self.rounds[-1], hold=hold)

    def _left(self, first: Round, *, hold: bool) -> int:
        """The same of ``first``, a round that is made again.

        A long synchronisation may be the host's, or its price where memory is given back in it. It is the device's work
        if it is short once that time has passed by itself, each time that both are tried, each first in turn. Noise of
        the host only lengthens it, so the least of a few counts.
        """
        quiet = min(self._synchronised() for _ in range(_QUIET))
        least = first.left

        def works_on() -> bool:
            nonlocal least
            least = min(least, self._round(first.calls, hold=hold).left)
            return least > 2 * quiet + _LEFT

        def ends() -> bool:
            return any(self._round(first.calls, hold=hold, idle=2 * least).left <= least / 2 for _ in range(_TRIES))

        if least <= 2 * quiet + _LEFT:
            return 0
        tried = (works_on, ends, ends, works_on) * _TRIES
        return least if all(seen() for seen in tried) else 0

    def _round(self, calls: int, *, hold: bool = False, idle: int = 0) -> Round:
        """``calls`` back to back, held or not, and what the device still does ``idle`` ns later."""
        began = self._host.now()
        with self._clock.held(self._stream) if hold else contextlib.nullcontext():
            for _ in range(calls):
                self._lane.call()
            issued = self._host.now()
            self._driver.record(self._end, self._stream)
        self._clock.wait(self._end)
        ended = self._host.now()
        self._idle(idle)
        left = self._synchronised()
        return Round(calls, issued - began, (ended - began) / calls, left)

    def _synchronised(self) -> int:
        start = self._host.now()
        self._driver.synchronize()
        return self._host.now() - start

    def _idle(self, ns: int) -> None:
        """Let the device go on for ``ns``."""
        until = self._host.now() + ns
        while self._host.now() < until:
            self._driver.done(self._end)

    def ran_ahead(self, on_gpu: float) -> str:
        """Why ``on_gpu`` (ns, held) cannot be all of a call's work, empty if it can: streams that do not wait for the
        held one at first run before it is let go. HoldBroken from a call that waits for the GPU.

        Calls back to back then take longer than either host or GPU needs; the host's part is of the same calls, as it
        may differ twofold from one second to the next. Or a longer hold shortens the call. What is over before the host
        has issued the rest shows in neither.
        """
        if all(
            taken.period > 1.25 * max(on_gpu, (taken.issued + on_gpu) / taken.calls) + 20_000 for taken in self.rounds
        ):
            seen = f"calls back to back take {format_time(self._period())}, the held stream {format_time(on_gpu)}"
        elif shorter := self._shortened(on_gpu):
            seen = f"held for longer, a call takes {format_time(shorter)} less"
        else:
            return ""
        return f"{seen}: work on other streams runs before the stream is let go"

    def _shortened(self, on_gpu: float) -> int:
        """By how much (ns) a longer hold shortens a call, 0 if it does not; calls of over 0.04 s are not looked at.

        In pairs, and each first every other time: the clock may change. Three of four must say so.
        """
        longer = int(_LONGER * on_gpu) + _LONGER_BY
        shorter: list[int] = []
        start = self._host.now()
        if 4 * (self._period() + longer) > _COMPARING:
            return 0
        while len(shorter) < _PAIRS and self._host.now() - start < _COMPARING:
            first, second, third, fourth = (self._held(idle) for idle in (0, longer, longer, 0))
            shorter += [first - second, fourth - third]
        surely = sorted(shorter)[len(shorter) // 4]
        return surely if surely > _SHORTER * on_gpu + _SHORTER_BY else 0

    def _held(self, idle: int) -> int:
        """One call between events on the stream, held for ``idle`` ns more than the host needs."""
        with self._clock.held(self._stream):
            self._driver.record(self._start, self._stream)
            self._lane.call()
            self._driver.record(self._end, self._stream)
            self._idle(idle)
        self._clock.wait(self._end)
        return self._clock.elapsed(self._start, self._end)
