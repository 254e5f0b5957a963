"""Boundaries on lanes that take simulated time."""

from __future__ import annotations

import contextlib
import gc
import math
from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np
import pytest

from bench.errors import Unsupported
from bench.measure import host, result
from bench.measure.clock import FakeClock, HostClock
from bench.measure.loop import WarmUp
from bench.model.run import Warning
from bench.model.suite import DEFAULT_POLICY, Policy
from bench.report.warnings import describe
from tests.measure.host_kit import MS, POLICY, Lane, Prepared, case, measure, run


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
    figures = {
        "boundary": "latency",
        "half_width": None,
        "samples": 3,
        "max_time_ns": 15_000 * MS,
        "batch": 1,
        "quick": False,
    }
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
