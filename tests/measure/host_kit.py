"""Lanes that take simulated time, and a case measured on them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from bench.measure import host, result
from bench.measure.clock import FakeClock
from bench.model.suite import Case, Input, Policy

MS = 1_000_000
POLICY = Policy()


class Lane:
    """Advances the clock by ``times(call number)`` and remembers the threads that called."""

    stream: int | None = None

    def __init__(self, clock: FakeClock, times: Callable[[int], float] = lambda _: MS) -> None:
        self.clock = clock
        self.times = times
        self.calls = 0
        self.threads: set[str] = set()

    def call(self) -> None:
        self.clock.advance(round(self.times(self.calls)))
        self.calls += 1
        self.threads.add(threading.current_thread().name)


class Prepared:
    captures_graphs = False

    def __init__(self, clock: FakeClock, times: Callable[[int], float] = lambda _: MS, most: int = 99) -> None:
        self.made: list[Lane] = []
        self.max_lanes = most
        self._lane = lambda: Lane(clock, times)

    def lanes(self, count: int) -> Sequence[Lane]:
        self.made = [self._lane() for _ in range(min(count, self.max_lanes))]
        return self.made


def case(streams: int = 1, batch: int = 1) -> Case:
    inputs = {"x": Input(shape=("batch", 3))}
    return Case(model="m", factory="f:m", inputs=inputs, backend="b", symbols={"batch": batch}, streams=streams)


def run(
    prepared: Prepared, asked: Case, policy: Policy, clock: FakeClock, *phase: object, **more: bool
) -> result.CaseMeasurements:
    lanes = prepared.lanes(host.lanes_needed(asked, policy))
    return host.measure(lanes, asked, policy, clock, *phase, **more)


def measure(
    times: Callable[[int], float] = lambda _: MS,
    policy: Policy = POLICY,
    streams: int = 1,
    batch: int = 1,
    **more: bool,
) -> result.CaseMeasurements:
    clock = FakeClock()
    return run(Prepared(clock, times), case(streams, batch), policy, clock, **more)
