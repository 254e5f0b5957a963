"""Closed loops of several processes: the order of lead-in, common start and end, and the whole made of all shares."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
import pytest

from bench.measure import host
from bench.measure.clock import FakeClock
from bench.measure.cuda import CudaClock
from bench.measure.gpu import lanes_needed, measure
from bench.measure.together import Share, wait_until
from bench.model.suite import Case, Input, Policy

from .simulated import SimulatedGpu, SimulatedLane

MS = 1_000_000
CASE = Case(
    model="m", factory="f:m", inputs={"x": Input(shape=(1,))}, backend="b", streams=2, lanes="processes", l2="warm"
)
POLICY = Policy(boundaries=("throughput",), throughput_ns=20 * MS, warmup_ns=4 * MS, warmup_calls=2)


class Other:
    """One other process, whose share is given; notes the order in which it is spoken to, and the calls until then."""

    count = 1

    def __init__(self, share: Share, lane: object) -> None:
        self.log: list[str] = []
        self._share = share
        self._lane = lane

    def lead_in(self, policy: Policy) -> None:
        self.log.append(f"lead in for {policy.throughput_ns}")

    def gather(self) -> None:
        self.log.append("gather")

    def begin(self) -> None:
        self.log.append("begin")

    def shares(self) -> Sequence[Share]:
        self.log.append("shares")
        return [self._share]

    @contextlib.contextmanager
    def __call__(self) -> Iterator[Other]:
        self.log.append("start")
        yield self
        self.log.append("end")


class Lane:
    stream: int | None = None

    def __init__(self, clock: FakeClock, ns: int) -> None:
        self.clock = clock
        self.ns = ns

    def call(self) -> None:
        self.clock.advance(self.ns)


ORDER = ["start", "lead in for 20000000", "gather", "begin", "shares", "end"]


def test_on_a_cpu_calls_of_all_processes_count_from_the_first_start_to_the_last_end() -> None:
    clock = FakeClock()
    lane = Lane(clock, 2 * MS)
    start = 1000 * MS
    other = Other({"stamps": np.arange(start, start + 31 * MS, MS)}, lane)
    clock.advance(start - clock.now() - 3 * 2 * MS - 2 * 2 * MS)  # where warm-up and lead-in end as the other begins
    found = host.measure([lane], CASE, POLICY, clock, beside=other)
    (loop,) = found.measurements
    assert other.log == ORDER
    assert (loop.lane_count, loop.threads, loop.processes) == (2, 2, 2)
    assert loop.calls == 10 + 30
    assert sorted(set(loop.samples)) == [MS, 2 * MS]
    assert loop.window_ns >= 30 * MS
    assert not [warning for warning in found.warnings if warning.kind == "FewerLanes"]


def test_on_a_gpu_the_starts_are_set_against_each_other_by_the_hosts_clock(gpu: SimulatedGpu) -> None:
    lanes = [SimulatedLane(gpu, kernel_ns=200_000) for _ in range(lanes_needed(CASE, POLICY))]
    assert len(lanes) == 2, "of the two streams one is this process's, two deep"
    parts = {name: np.full(4, 7, np.int64) for name in ("total", "enqueue", "h2d", "compute", "d2h")}
    late = 50 * MS
    other = Other({"begun": np.array([0]), "ends": np.array([1, 2, 3, late]), **parts}, None)
    with contextlib.closing(CudaClock(gpu, gpu.gate)) as clock:
        (loop,) = measure(lanes, CASE, POLICY, clock, gpu.host, beside=other).measurements
    assert other.log == ORDER
    assert (loop.lane_count, loop.depth, loop.threads, loop.processes) == (2, 2, 2, 2)
    own = loop.calls - 4
    assert own > 50
    assert loop.totals["enqueue"] > 4 * 7
    assert loop.samples[:3] == (7, 7, 7), "those that ended before this process began come first"
    assert loop.window_ns >= late


def test_energy_is_of_all_processes_which_are_started_once(gpu: SimulatedGpu) -> None:
    lanes = [SimulatedLane(gpu, kernel_ns=200_000) for _ in range(2)]
    parts = {name: np.full(9, 7, np.int64) for name in ("ends", "total", "enqueue", "h2d", "compute", "d2h")}
    other = Other({"begun": np.array([0]), **parts}, None)
    policy = msgspec.structs.replace(POLICY, energy_ns=30 * MS)
    with contextlib.closing(CudaClock(gpu, gpu.gate)) as clock:
        facts = measure(lanes, CASE, policy, clock, gpu.host, beside=other).facts
    assert other.log == [*ORDER[:-1], "lead in for 30000000", "gather", "begin", "shares", "end"]
    assert facts is not None
    assert (facts.saturated_inferences or 0) > 9


def test_processes_end_where_the_loop_raises() -> None:
    clock = FakeClock()
    lane = Lane(clock, MS)
    other = Other({}, lane)

    class Breaks(Other):
        @contextlib.contextmanager
        def __call__(self) -> Iterator[Other]:
            try:
                yield self
            finally:
                self.log.append("end")

        def gather(self) -> None:
            raise RuntimeError("the other has ended")

    other = Breaks({}, lane)
    with pytest.raises(RuntimeError, match="has ended"):
        host.measure([lane], CASE, POLICY, clock, beside=other)
    assert other.log[-1] == "end"


def test_a_common_start_is_never_early() -> None:
    at = time.monotonic_ns() + MS
    wait_until(at)
    assert time.monotonic_ns() >= at
    wait_until(0)
