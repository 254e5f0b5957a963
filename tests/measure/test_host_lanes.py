"""Several lanes on the host: threads, windows, and a lane that raises."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable

import numpy as np
import pytest

from bench.measure import host
from bench.measure.clock import FakeClock
from bench.model.suite import Policy
from tests.measure.host_kit import MS, POLICY, Lane, Prepared, case, measure, run


def test_one_lane_runs_in_the_callers_thread() -> None:
    clock = FakeClock()
    prepared = Prepared(clock)
    run(prepared, case(), POLICY, clock)
    assert prepared.made[0].threads == {threading.current_thread().name}


def test_each_of_several_lanes_runs_in_a_thread_of_its_own() -> None:
    clock = FakeClock()
    prepared = Prepared(clock)
    found = run(prepared, case(streams=3), Policy(boundaries=("throughput",)), clock)
    threads = [lane.threads - {threading.current_thread().name} for lane in prepared.made]
    assert [len(names) for names in threads] == [1, 1, 1]
    assert len(set().union(*threads)) == 3
    (throughput,) = found.measurements
    assert (throughput.lane_count, throughput.calls, throughput.window_ns) == (3, 3000, 1000 * MS)


def test_several_lanes_really_run_at_the_same_time() -> None:
    together = threading.Barrier(2)

    class Meeting(Lane):
        def call(self) -> None:
            together.wait(timeout=30)  # no lane can return before the other one has called
            super().call()

    clock = FakeClock()
    found = host.throughput([Meeting(clock), Meeting(clock)], clock, POLICY)
    assert found.calls == 2000


@pytest.mark.parametrize(("most", "stored"), [(100, 256), (300, 300)])
def test_every_call_counts_though_only_evenly_spaced_latencies_are_kept(most: int, stored: int) -> None:
    lane = Lane(clock := FakeClock(), lambda call: 1000 + call)
    found = host.throughput([lane], clock, Policy(throughput_ns=20 * MS, max_samples=most, warmup_calls=0))
    assert found.calls == lane.calls
    assert found.window_ns == clock.now()
    assert len(found.samples) == stored
    assert found.samples[0] == 1000
    gaps = np.diff(found.samples)
    assert gaps.min() >= 1
    assert gaps.max() - gaps.min() <= 1


def test_latencies_of_several_lanes_are_in_the_order_in_which_calls_ended() -> None:
    clock = FakeClock()
    slow, fast = Lane(clock, lambda _: 30 * MS), Lane(clock, lambda _: 20 * MS)
    policy = Policy(throughput_ns=60 * MS, warmup_calls=0, max_time_ns=60 * MS)
    found = host.throughput([slow, fast], clock, policy)
    assert [ns // MS for ns in found.samples] == [20, 30, 20, 30, 20]
    assert (found.calls, found.window_ns) == (5, 60 * MS)


def test_a_lane_makes_ten_calls_though_the_window_is_over() -> None:
    clock = FakeClock()
    slow, fast = Lane(clock, lambda _: 300 * MS), Lane(clock, lambda _: 20 * MS)
    found = host.throughput([slow, fast], clock, Policy(warmup_calls=0))
    assert (slow.calls, found.stop) == (10, "Window")
    assert fast.calls > 10


def test_the_window_of_a_lane_alone_ends_with_a_call() -> None:
    (found,) = measure(lambda _: 300 * MS, Policy(boundaries=("throughput",))).measurements
    assert (found.calls, found.window_ns, found.stop) == (4, 1200 * MS, "Window")


def test_a_very_slow_lane_ends_by_time() -> None:
    (found,) = measure(lambda _: 8000 * MS, Policy(boundaries=("throughput",))).measurements
    assert (found.calls, found.window_ns, found.stop) == (2, 16_000 * MS, "MaxTime")


class Breaks(Exception):
    pass


def breaking_at(call: int) -> Callable[[int], float]:
    def times(number: int) -> float:
        if number == call:
            raise Breaks(f"call {number}")
        return MS

    return times


@pytest.mark.parametrize("call", [0, 3, 500], ids=["first lead-in", "lead-in", "window"])
@pytest.mark.parametrize("others", [0, 1, 4])
def test_what_a_lane_raises_ends_the_others_and_is_raised_to_the_caller(call: int, others: int) -> None:
    clock, threads = FakeClock(), threading.active_count()
    policy = Policy(throughput_ns=1000 * MS)
    lanes = [Lane(clock, breaking_at(call))] + [Lane(clock) for _ in range(others)]
    with pytest.raises(Breaks, match=f"call {call}"):
        host.throughput(lanes, clock, policy)
    assert threading.active_count() == threads
    assert gc.isenabled()


def test_a_lane_that_never_fills_its_window_ends_when_another_one_breaks() -> None:
    clock = FakeClock()
    endless = Lane(clock, lambda _: 0)
    with pytest.raises(Breaks):
        host.throughput([endless, Lane(clock, breaking_at(100))], clock, POLICY)
