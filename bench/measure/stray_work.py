"""Whether a call's work lies between the events on its stream: calls back to back, and what other streams do meanwhile.

Work on other streams escapes the events where nothing waits for it, and where it does not wait for the held stream.
"""

from __future__ import annotations

import contextlib
from statistics import median
from typing import Any, NamedTuple

from bench.measure.cuda import CudaClock
from bench.measure.gpu_transfer import stream_of
from bench.model.lanes import Lane, RemoteLane
from bench.model.seam import Clock
from bench.units import NS_PER_S

# Calls back to back: rounds of 20, or of as many as take a tenth of a second, until a second has passed.
_ROUNDS, _BACK_TO_BACK, _ROUND = 5, 20, NS_PER_S // 10
# What a synchronisation may take (ns), beside twice that of a quiet device, before it is checked; and how often.
_TOLERANCE, _QUIET, _TRIES = 10_000, 5, 2
# A longer hold: by this fraction of a call and these ns; and by what, beside 3 % of a call, it may shorten the call.
_LONGER, _LONGER_BY, _SHORTER, _SHORTER_BY = 0.25, 50_000, 0.03, 5_000
# Pairs of calls with a hold as it is and a longer one: at most, and for how long.
_PAIRS, _COMPARING = 10, NS_PER_S // 5


class Round(NamedTuple):
    """Calls back to back, in ns: ``issue`` is the host's time for all of them, ``period`` the time from one to the
    next, ``remaining`` what the device still worked after their stream's end.
    """

    calls: int
    issue: int
    period: float
    remaining: int


class Escapes:
    """One lane's calls as the device and the host see them, whatever the events on its stream say."""

    def __init__(self, lane: Lane, clock: CudaClock, host_clock: Clock) -> None:
        self.rounds: list[Round] = []
        self._lane = lane
        self._remote = lane if isinstance(lane, RemoteLane) else None
        self._clock = clock
        self._driver = clock.driver
        self._host_clock = host_clock
        self._stream = stream_of(lane)
        self._start, self._end = clock.event(), clock.event()

    def back_to_back(self) -> float:
        """What a call takes when the next one is issued at once, copies left out: ns, the median of a few rounds."""
        start, calls = self._host_clock.now(), 1
        while len(self.rounds) < _ROUNDS and (not self.rounds or self._host_clock.now() - start < NS_PER_S):
            self.rounds.append(self._round(calls))
            calls = max(1, min(_BACK_TO_BACK, int(_ROUND / max(self.rounds[-1].period, 1))))
        self.rounds = self.rounds[1:] or self.rounds  # the first one is of one call
        return self._period()

    def _period(self) -> float:
        return median(round_.period for round_ in self.rounds)

    def remaining_work(self, *, hold: bool) -> int:
        """How long (ns) the device works on after the stream's end, 0 for not at all: no event comes after such work.

        The remaining work of calls back to back adds up, however full the launch queue is. Work that ends before the
        host has issued the rest shows only where the stream is held; that may raise HoldBroken.
        """
        return self._confirm(self._round(1, hold=True) if hold else self.rounds[-1], hold=hold)

    def _confirm(self, first: Round, *, hold: bool) -> int:
        """The same for ``first``, a round that is repeated.

        A long synchronisation may be the host's own time, e.g. where it releases memory. It is the device's work if the
        synchronisation is short after the device had that time, whenever both are tried, in either order. Noise of the
        host only lengthens it, so the shortest of a few counts.
        """
        quiet = min(self._synchronise() for _ in range(_QUIET))
        least = first.remaining

        def works_on() -> bool:
            nonlocal least
            least = min(least, self._round(first.calls, hold=hold).remaining)
            return least > 2 * quiet + _TOLERANCE

        def ends() -> bool:
            rounds = (self._round(first.calls, hold=hold, idle=2 * least) for _ in range(_TRIES))
            return any(round_.remaining <= least / 2 for round_ in rounds)

        if least <= 2 * quiet + _TOLERANCE:
            return 0
        checks = (works_on, ends, ends, works_on) * _TRIES
        return least if all(check() for check in checks) else 0

    def _round(self, calls: int, *, hold: bool = False, idle: int = 0) -> Round:
        """``calls`` back to back, held or not, and what the device still does ``idle`` ns later."""
        start = self._host_clock.now()
        with self._clock.hold(self._stream) if hold else contextlib.nullcontext():
            self._issue(calls)
            issue_end = self._host_clock.now()
            self._driver.record(self._end, self._stream)
        self._clock.wait(self._end)
        end = self._host_clock.now()
        self._idle(idle)
        remaining = self._synchronise()
        return Round(calls, issue_end - start, (end - start) / calls, remaining)

    def _issue(self, calls: int) -> None:
        if self._remote is not None:
            self._remote.calls(calls)
            return
        for _ in range(calls):
            self._lane.call()

    def _synchronise(self) -> int:
        start = self._host_clock.now()
        self._driver.synchronize()
        return self._host_clock.now() - start

    def _idle(self, ns: int) -> None:
        """Leave the device to its work for ``ns``."""
        until = self._host_clock.now() + ns
        while self._host_clock.now() < until:
            self._driver.is_done(self._end)

    def ran_ahead(self, on_gpu: float) -> dict[str, Any]:
        """Why ``on_gpu`` (ns, held) cannot be all of a call's work, empty if it can: streams that do not wait for the
        held one run before it is released. HoldBroken from a call that waits for the GPU.

        Calls back to back then take longer than either host or GPU needs; the host's time is that of the same calls, as
        it may differ twofold from one second to the next. Or a longer hold shortens the call. Work that ends before the
        host has issued the rest shows in neither.
        """
        if all(each.period > 1.25 * max(on_gpu, (each.issue + on_gpu) / each.calls) + 20_000 for each in self.rounds):
            figures = {"period_ns": self._period(), "gpu_ns": on_gpu}
        elif shorter := self._shortening(on_gpu):
            figures = {"shorter_ns": shorter}
        else:
            return {}
        return {"cause": "runs_ahead", **figures}

    def _shortening(self, on_gpu: float) -> int:
        """By how much (ns) a longer hold shortens a call, 0 if it does not; calls of over 0.04 s are not examined.

        In pairs of alternating order, as the GPU's clock may change. Three of four must agree.
        """
        longer = int(_LONGER * on_gpu) + _LONGER_BY
        shorter: list[int] = []
        start = self._host_clock.now()
        if 4 * (self._period() + longer) > _COMPARING:
            return 0
        while len(shorter) < _PAIRS and self._host_clock.now() - start < _COMPARING:
            first, second, third, fourth = (self._time_held(idle) for idle in (0, longer, longer, 0))
            shorter += [first - second, fourth - third]
        surely = sorted(shorter)[len(shorter) // 4]
        return surely if surely > _SHORTER * on_gpu + _SHORTER_BY else 0

    def _time_held(self, idle: int) -> int:
        """One call between events on the stream, held for ``idle`` ns more than the host needs."""
        with self._clock.hold(self._stream):
            self._driver.record(self._start, self._stream)
            self._lane.call()
            self._driver.record(self._end, self._stream)
            self._idle(idle)
        self._clock.wait(self._end)
        return self._clock.elapsed(self._start, self._end)
