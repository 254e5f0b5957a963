"""Boundaries on lanes that take simulated time."""

from __future__ import annotations

import contextlib
import gc
import math
import threading
from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np
import pytest

from bench.errors import Unsupported
from bench.measure import host, result
from bench.measure.clock import FakeClock, HostClock
from bench.measure.loop import WarmUp
from bench.model.run import Warning
from bench.model.suite import DEFAULT_POLICY, Case, Input, Policy
from bench.report.warnings import describe

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


def test_latency_and_throughput_are_measured_unless_told_otherwise() -> None:
    latency, throughput = measure(batch=8).measurements
    assert (latency.boundary, set(latency.samples), latency.stop) == ("latency", {MS}, "TargetReached")
    assert (latency.batch, throughput.batch) == (8, 8)
    assert (throughput.boundary, throughput.calls, throughput.window_ns) == ("throughput", 1000, 1000 * MS)
    assert (throughput.lane_count, throughput.depth, throughput.stop) == (1, 1, "Window")


def test_only_what_is_asked_for_is_measured() -> None:
    for asked in ("latency", "throughput"):
        found = measure(policy=Policy(boundaries=(asked,))).measurements
        assert [m.boundary for m in found] == [asked]


def test_a_gpus_boundaries_are_passed_over_on_a_cpu() -> None:
    found = measure(policy=Policy(boundaries=("gpu", "enqueue", "latency"))).measurements
    assert [m.boundary for m in found] == ["latency"]


def test_asking_only_for_a_gpus_boundaries_is_unsupported_on_a_cpu() -> None:
    with pytest.raises(Unsupported, match="no boundary gpu, enqueue"):
        measure(policy=Policy(boundaries=("gpu", "enqueue")))


def test_a_rehearsal_has_every_boundary_of_its_suite() -> None:
    for named in (("gpu", "enqueue"), ("gpu", "gpu_unheld", "latency", "throughput")):
        found = measure(policy=Policy(boundaries=named), simulated=True).measurements
        assert tuple(m.boundary for m in found) == named
        assert all(m.samples for m in found)
    assert [m.boundary for m in measure(simulated=True).measurements] == ["latency", "throughput"]


def test_a_lane_with_a_stream_is_not_timed_by_the_hosts_clock() -> None:
    class OnGpu(Prepared):
        def lanes(self, count: int) -> Sequence[Lane]:
            for lane in super().lanes(count):
                lane.stream = 7
            return self.made

    clock = FakeClock()
    prepared = OnGpu(clock)
    with pytest.raises(Unsupported, match="GPU stream"):
        run(prepared, case(), POLICY, clock)
    assert prepared.made[0].calls == 0


def test_the_phases_are_entered_in_order_and_hold_the_calls() -> None:
    clock, log = FakeClock(), []
    prepared = Prepared(clock)

    @contextlib.contextmanager
    def phase(name: str) -> Iterator[None]:
        log.append((name, prepared.made[0].calls))
        yield
        log.append((f"end of {name}", prepared.made[0].calls))

    run(prepared, case(), POLICY, clock, phase)
    assert [name for name, _ in log] == ["warmup", "end of warmup", "measure", "end of measure"]
    calls = [count for _, count in log]
    assert calls == [0, 200, 200, 200 + 50 + 10 + 1000]  # warm-up, latency, lead-in, window


def test_the_same_simulated_case_gives_the_same_samples() -> None:
    def times(call: int) -> float:
        return MS * (1 + (call * 37 % 101) / 1000)

    assert measure(times) == measure(times)


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


def test_drift_warns_that_the_case_is_not_steady_and_that_sampling_did_not_help() -> None:
    found = measure(lambda call: MS * 1.001**call, Policy(boundaries=("latency",)))
    kinds = {warning.kind: warning for warning in found.warnings}
    assert set(kinds) == {"NotSteady", "Plateau", "Drift"}
    drift = kinds["Drift"].figures
    assert (drift["level"], drift["boundary"]) == ("samples", "latency")
    assert drift["last_ns"] > 1.02 * drift["first_ns"]
    assert kinds["NotSteady"].figures["spread"] > 0
    assert "medians of three windows" in describe(kinds["NotSteady"]).text
    assert kinds["Plateau"].figures["boundary"] == "latency"
    assert all(describe(warning).hint for warning in found.warnings)


def test_a_warm_up_with_a_median_of_zero_is_a_warning_that_a_file_can_hold() -> None:
    warning = result.not_steady(WarmUp(calls=9, ns=MS, steady=False, spread=math.inf))
    assert msgspec.json.decode(msgspec.json.encode(warning), type=Warning) == warning
    assert describe(warning).text == (
        "after 9 warm-up calls in 1.00 ms the medians of three windows still differed, and one of them was 0"
    )


def test_too_little_time_warns_with_what_is_known() -> None:
    few = measure(lambda _: 5000 * MS, Policy(boundaries=("latency",)))
    assert [warning.kind for warning in few.warnings] == ["MaxTime"]
    figures = {"boundary": "latency", "half_width": None, "samples": 3, "max_time_ns": 15_000 * MS, "batch": 1}
    assert few.warnings[0].figures == figures
    assert "not known to any interval from 3 samples when 15.0 s were over" in describe(few.warnings[0]).text
    some = measure(jitter(400 * MS), Policy(boundaries=("latency",)))
    assert some.warnings[-1].kind == "MaxTime"
    assert some.warnings[-1].figures["half_width"] > 0
    assert "known to ±" in describe(some.warnings[-1]).text


def jitter(ns: int, sd: float = 0.1) -> Callable[[int], float]:
    """Calls of ``ns`` with log-normal noise."""
    rng = np.random.default_rng(1)
    return lambda _: ns * np.exp(rng.normal(0, sd))


def test_noise_is_no_warm_up_and_a_second_of_it_is_enough() -> None:
    found = measure(jitter(30 * MS), DEFAULT_POLICY)
    assert [warning.kind for warning in found.warnings] == ["Noisy", "Imprecise"]
    noisy, imprecise = found.warnings
    assert 1000 * MS <= noisy.figures["ns"] < 2000 * MS
    latency = found.measurements[0]
    assert (latency.stop, 1000 * MS <= sum(latency.samples) < 1100 * MS) == ("Enough", True)
    assert imprecise.figures["half_width"] > 0.02
    assert measure(jitter(30 * MS, 0.01), DEFAULT_POLICY).warnings == ()


def test_what_was_there_before_is_looked_at_by_one_collection_of_garbage_and_not_by_one_for_each_boundary(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gc.unfreeze()  # as a worker is that was started in its turn
    collect, before = gc.collect, [object()]
    looked_at = []

    def counted() -> int:
        looked_at.append(any(value is before for value in gc.get_objects()))
        return collect()

    with monkeypatch.context() as patch:
        patch.setattr(gc, "collect", counted)
        measure(lambda _: MS, POLICY)
    assert looked_at == [True, False, False]
    assert gc.get_freeze_count() == 0
    gc.freeze()
    measure(lambda _: MS, POLICY)
    assert gc.get_freeze_count() > 0  # what a worker froze ahead of its turn stays so


@pytest.mark.parametrize("batch", [1, 8])
def test_a_smaller_batch_is_advised_where_there_is_one(batch: int) -> None:
    found = measure(lambda _: 5000 * MS, Policy(boundaries=("latency",)), batch=batch)
    assert ("smaller batch" in describe(found.warnings[-1]).hint) == (batch > 1)


def test_a_steady_precise_case_has_no_warning() -> None:
    assert measure().warnings == ()


def test_fewer_lanes_than_streams_are_told() -> None:
    clock = FakeClock()
    found = run(Prepared(clock, most=1), case(streams=4), POLICY, clock)
    assert found.measurements[-1].lane_count == 1
    (fewer,) = found.warnings
    assert (fewer.kind, fewer.figures) == ("FewerLanes", {"cause": "backend", "lanes": 1, "requested": 4})
    assert describe(fewer).hint == "streams: 1"


def test_profiled_runs_have_a_range_around_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    @contextlib.contextmanager
    def range_(name: str) -> Iterator[None]:
        seen.append(name)
        yield

    monkeypatch.setattr("bench.measure.nvtx.range_", range_)
    clock = FakeClock()
    lane = Lane(clock)
    assert host.latency(lane, clock)() == MS
    assert seen == []
    assert host.latency(lane, clock, ranged=True)() == MS
    host.throughput([lane], clock, Policy(throughput_ns=20 * MS, warmup_calls=0), ranged=True)
    assert seen == ["call"] * 21


def test_latency_on_the_hosts_clock_is_of_the_call() -> None:
    class Idle(Lane):
        def call(self) -> None:
            self.calls += 1

    lane = Idle(FakeClock())
    samples = [host.latency(lane, HostClock())() for _ in range(5)]
    assert lane.calls == 5
    assert all(ns > 0 for ns in samples)


def test_the_host_clock_reads_cpu_time_around_the_samples_and_a_simulated_one_does_not() -> None:
    lane = Lane(FakeClock(), lambda n: sum(range(1000)))  # which takes real time too
    found = host.measure([lane], case(), Policy(boundaries=("latency",), warmup_ns=0), HostClock())
    (measured,) = found.measurements
    assert measured.cpu_ns is not None
    assert measured.preemptions is not None
    assert 0 < measured.cpu_ns <= 2 * sum(measured.samples) + 10**9
    (simulated,) = measure(lambda call: MS, Policy(boundaries=("latency",))).measurements
    assert (simulated.cpu_ns, simulated.preemptions) == (None, None)
