"""The boundaries on the host, ``latency`` and ``throughput``, and which of them a case is measured at."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import msgspec
import numpy as np

from bench.errors import Unsupported
from bench.measure import pace, result, stop
from bench.measure.clock import Usage
from bench.measure.loop import Take, evenly, frozen, quiet, sample, warm_up
from bench.measure.nvtx import each, range_
from bench.measure.together import Others, Start
from bench.model.lanes import Lane, RemoteLane
from bench.model.run import Measurement, Warning
from bench.model.seam import Clock
from bench.model.suite import BOUNDARIES, Boundary, Case, Policy

HOST: tuple[Boundary, ...] = ("latency", "throughput")
# A lane makes at least as many calls in the window: several end up to one call apart, an error of at most a tenth; of
# one alone the window ends with a call.
_LANE_CALLS, _ALONE_CALLS = 10, 3

# Per lane the time of its start and of each call's end: nanoseconds, shape (1 + calls,).
Stamps = np.ndarray[Any, np.dtype[np.int64]]
Phase = Callable[[str], AbstractContextManager[Any]]
# Opens the processes of the other lanes, which end with the block.
Beside = Callable[[], AbstractContextManager[Others]] | None


def lanes_needed(case: Case, policy: Policy) -> int:
    """How many lanes of this process a case is measured with on a CPU: one thread each in ``throughput``."""
    return case.streams_per_process if "throughput" in (policy.boundaries or HOST) else 1


@frozen()
def measure(
    lanes: Sequence[Lane],
    case: Case,
    policy: Policy,
    clock: Clock,
    phase: Phase = range_,
    *,
    ranged: bool = False,
    pacing: pace.Pace = pace.ALONE,
    beside: Beside = None,
    simulated: bool = False,
) -> result.CaseMeasurements:
    """Warm up and measure a case's lanes at the boundaries of ``policy`` that their device has.

    Where the runtime is ``simulated`` that is each one which the policy names: those of a GPU are times of a call too.

    ``phase`` is entered for ``warmup`` and ``measure``; ``ranged`` puts an NVTX range around every call, for profiled
    runs; ``pacing`` says when samples are taken; ``beside`` opens the other lanes' processes, for ``throughput`` alone,
    where lanes are processes. Unsupported if no boundary asked for exists here, or if the lanes run
    on a GPU.
    """
    has = BOUNDARIES if simulated else HOST
    boundaries = [boundary for boundary in has if boundary in (policy.boundaries or HOST)]
    if not boundaries:
        names = ", ".join(policy.boundaries)
        raise Unsupported(f"a CPU has no boundary {names}", fix="boundaries: [latency, throughput]")
    if any(lane.stream is not None for lane in lanes):
        raise Unsupported("the host's clock cannot time a lane that runs on a GPU stream", fix="device: cpu")
    return measure_host(
        lanes, case, policy, clock, phase, wanted=boundaries, ranged=ranged, pacing=pacing, beside=beside
    )


def measure_host(
    lanes: Sequence[Lane],
    case: Case,
    policy: Policy,
    clock: Clock,
    phase: Phase = range_,
    *,
    wanted: Sequence[Boundary] = HOST,
    ranged: bool = False,
    pacing: pace.Pace = pace.ALONE,
    beside: Beside = None,
) -> result.CaseMeasurements:
    """``wanted`` boundaries of lanes whose calls are finished on return."""
    measurements: list[Measurement] = []
    warnings: list[Warning] = []
    take = latency(lanes[0], clock, ranged=ranged, ahead=pacing is pace.ALONE)
    with phase("warmup"):
        warm = warm_up(take, policy, clock)
    if not warm.steady:
        warnings.append(result.not_steady(warm))
    with phase("measure"):
        for boundary in wanted:
            if boundary == "throughput":  # the last one
                continue
            rule = pacing.rule(policy, clock)
            usage = _usage_of(lanes[0], clock)
            before = usage() if usage else None
            samples, blocks = sample(take, rule), pace.blocks_of(rule)
            after = usage() if usage else None
            measured = Measurement(
                boundary=boundary, samples=samples, batch=case.batch, stop=rule.reason, blocks=blocks
            )
            measurements.append(_with_usage(measured, before, after))
            warnings += [*result.imprecise(measurements[-1], policy), *result.drifts(measurements[-1])]
        if "throughput" in wanted:
            pacing.wait()
            with ExitStack() as stack:
                others = stack.enter_context(beside()) if beside else None
                measured = throughput(lanes, clock, policy, case.batch, ranged=ranged, others=others)
            if case.lanes == "processes" and beside is None:  # simulated, where no process is started
                measured = msgspec.structs.replace(measured, processes=measured.lane_count)
            measurements.append(measured)
            if measured.lane_count < case.streams:
                warnings.append(result.fewer_lanes(measured.lane_count, case.streams))
    return result.CaseMeasurements(measurements=tuple(measurements), warnings=tuple(warnings))


def _with_usage(measured: Measurement, before: Usage | None, after: Usage | None) -> Measurement:
    """With what the process has used meanwhile, where the clock tells."""
    if before is None or after is None:
        return measured
    cpu_ns, preemptions = after.cpu_ns - before.cpu_ns, after.preemptions - before.preemptions
    return msgspec.structs.replace(measured, cpu_ns=cpu_ns, preemptions=preemptions)


def _usage_of(lane: Lane, clock: Clock) -> Callable[[], Usage] | None:
    """What tells the use of the process that runs ``lane``; a simulated clock has none."""
    if isinstance(lane, RemoteLane):
        return lambda: Usage(*lane.usage())
    usage: Callable[[], Usage] | None = getattr(clock, "usage", None)
    return usage


def latency(lane: Lane, clock: Clock, *, ranged: bool = False, ahead: bool = True) -> Take:
    """Samples of ``latency`` on a CPU: the host's clock around one call, ns. ``ahead`` is for ``RemoteLane``."""
    if isinstance(lane, RemoteLane):
        return lane.timed(ahead=ahead)
    call, now = each(lane.call, "call") if ranged else lane.call, clock.now

    def take() -> int:
        start = now()
        call()
        return now() - start

    return take


def throughput(
    lanes: Sequence[Lane],
    clock: Clock,
    policy: Policy,
    batch: int = 1,
    *,
    ranged: bool = False,
    others: Others | None = None,
) -> Measurement:
    """Closed loop with a thread per lane, each calling back to back; one lane runs in the caller's thread.

    Each thread first calls its lane ``warmup_calls`` times or for ``warmup_ns``, whichever ends first; then all start
    together. A lane ends after ``throughput_ns`` and 10 calls, or 3 where it is alone (``Window``), or after
    ``max_time_ns`` (``MaxTime``).
    All calls count: ``calls`` over ``window_ns``, from the first start to the last end. Of their latencies the
    samples are at most 256 (``max_samples``, if that is more), evenly spaced in the order in which the calls ended.
    What a lane raises ends the other lanes and is raised here. With ``others`` one lane is this process's, and each of
    them has another.
    """
    with quiet():
        if others is None:
            stamps = _closed_loops(lanes, clock, policy, ranged)
        else:
            others.lead_in(policy)
            stamps = [loop_beside(lanes[0], clock, policy, others), *(share["stamps"] for share in others.shares())]
    ends = np.concatenate([lane[1:] for lane in stamps])
    latencies = np.concatenate([np.diff(lane) for lane in stamps])[np.argsort(ends, kind="stable")]
    least = _least_calls(stamps)
    in_time = all(lane[-1] - lane[0] >= policy.throughput_ns and len(lane) > least for lane in stamps)
    return Measurement(
        boundary="throughput",
        samples=evenly(latencies.tolist(), result.most_calls(policy)),
        batch=batch,
        stop=result.WINDOW if in_time else stop.MAX_TIME,
        calls=len(latencies),
        window_ns=int(max(lane[-1] for lane in stamps) - min(lane[0] for lane in stamps)),
        lane_count=len(stamps),
        threads=len(stamps),
        processes=1 if others is None else len(stamps),
    )


def loop_beside(lane: Lane, clock: Clock, policy: Policy, start: Start) -> Stamps:
    """The closed loop of a process whose lane is one of several: calls that do not count, the common start, and calls
    until the window is full.
    """
    _lead_in(lane.call, policy, clock)
    start.gather()
    start.begin()
    return _closed_loop(lane.call, policy, clock, (), _LANE_CALLS)


def _least_calls(lanes: Sequence[object]) -> int:
    return _LANE_CALLS if len(lanes) > 1 else _ALONE_CALLS


def _closed_loops(lanes: Sequence[Lane], clock: Clock, policy: Policy, ranged: bool) -> list[Stamps]:
    """The stamps of each lane, of at least one call; what a lane raises is raised here once all have ended."""
    if isinstance(lanes[0], RemoteLane):
        return lanes[0].closed_loops(len(lanes), policy, _least_calls(lanes))
    failed: list[BaseException] = []
    together = threading.Barrier(len(lanes))

    def drive(lane: Lane) -> Stamps:
        try:
            call = each(lane.call, "call") if ranged else lane.call
            _lead_in(call, policy, clock)
            together.wait()
            return _closed_loop(call, policy, clock, failed, _least_calls(lanes))
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failed.append(error)
            together.abort()
            return np.empty(0, np.int64)

    if len(lanes) == 1:
        results = [drive(lanes[0])]
    else:
        with ThreadPoolExecutor(len(lanes)) as threads:
            results = list(threads.map(drive, lanes))
    if failed:  # the first one: the others' is that the barrier is broken
        raise failed[0]
    return results


def _lead_in(call: Callable[[], object], policy: Policy, clock: Clock) -> None:
    """Calls that are not counted: a runtime may set up things per thread and per lane."""
    start = clock.now()
    for _ in range(policy.warmup_calls):
        call()
        if clock.now() - start >= policy.warmup_ns:
            break


def _closed_loop(
    call: Callable[[], object], policy: Policy, clock: Clock, failed: Sequence[object], least: int
) -> Stamps:
    """Call back to back, ``least`` calls at least, until the window is full or another lane has failed."""
    now = clock.now
    stamps = array("q", [now()])
    full, last = stamps[0] + policy.throughput_ns, stamps[0] + policy.max_time_ns
    while not failed:
        call()
        end = now()
        stamps.append(end)
        if (end >= full and len(stamps) > least) or end >= last:
            break
    return np.frombuffer(stamps, np.int64)
