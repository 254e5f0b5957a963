"""The result of measuring a case: measurements, facts and warnings, whatever the clock."""

from __future__ import annotations

import math
from statistics import median

import msgspec

from bench.measure import stop
from bench.measure.loop import WarmUp
from bench.model.run import Measurement, Warning
from bench.model.suite import Policy
from bench.model.telemetry import ClockFigures
from bench.stats import drift, median_interval

# The reason why a throughput loop ended: its window is full. The other one is MaxTime.
WINDOW = "Window"
# As many of its calls are stored, beside the sums over all.
_CALLS = 256
# An interval that is wider (half of it, as a fraction) hides differences that a verdict is about.
_COARSE = 0.02
# A tenth is what host times differ by from one second to the next on a quiet machine.
_OVERLAPPED = 1.1
# A drift of samples is told of so many and by so much: noise of a host lasts for many calls, and moves times by less.
_DRIFT_SAMPLES, _DRIFT_CHANGE = 48, 0.02


class CaseMeasurements(msgspec.Struct, frozen=True, kw_only=True):
    """The result of measuring one prepared case; its phases went to the argument ``phase``."""

    measurements: tuple[Measurement, ...]
    warnings: tuple[Warning, ...] = ()
    facts: ClockFigures | None = None
    spans: dict[str, tuple[int, int]] = {}


def not_steady(warm: WarmUp) -> Warning:
    """The warning that the warm-up ended before its windows agreed: they drifted to the end, or were noisy."""
    spread = warm.spread if math.isfinite(warm.spread) else None
    return Warning(
        kind="Noisy" if warm.noisy else "NotSteady", figures={"calls": warm.calls, "ns": warm.ns, "spread": spread}
    )


def imprecise(measurement: Measurement, policy: Policy) -> list[Warning]:
    """A warning if sampling ended with the interval of the median wider than requested, or than ±2 % where the second
    of one process was over.
    """
    width = stop.half_width(median_interval(measurement.samples))
    enough = measurement.stop == stop.ENOUGH
    limit = max(policy.target_ci, _COARSE) if enough else policy.target_ci
    if measurement.stop not in (stop.PLATEAU, stop.ENOUGH, stop.MAX_TIME) or width <= limit:
        return []
    figures = {
        "boundary": measurement.boundary,
        "half_width": width if width < math.inf else None,
        "samples": len(measurement.samples),
    }
    if measurement.stop == stop.MAX_TIME:
        figures |= {"max_time_ns": policy.max_time_ns, "batch": measurement.batch, "quick": policy.quick}
    return [Warning(kind="Imprecise" if enough else measurement.stop, figures=figures)]


def drifts(measurement: Measurement) -> list[Warning]:
    """A warning if the samples rise or fall from the first to the last, by 2 % or more."""
    change = drift(measurement.samples) if len(measurement.samples) >= _DRIFT_SAMPLES else None
    if change is None or abs(math.log(change.last / change.first)) < math.log1p(_DRIFT_CHANGE):
        return []
    figures = {"level": "samples", "boundary": measurement.boundary, "first_ns": change.first, "last_ns": change.last}
    return [Warning(kind="Drift", figures=figures)]


def most_calls(policy: Policy) -> int:
    """How many calls of a throughput loop are stored one by one."""
    return max(_CALLS, policy.max_samples)


def drifted(enqueue: Measurement, latency: Measurement) -> list[Warning]:
    """A warning if issuing a call took longer than requests that contain it: the two intervals lie apart."""
    issue, request = median_interval(enqueue.samples), median_interval(latency.samples)
    if issue is None or request is None or issue.low <= request.high:
        return []
    return [Warning(kind="HostDrift", figures={"enqueue_ns": issue.centre, "latency_ns": request.centre})]


def no_overlap(throughput: Measurement, latency: Measurement) -> list[Warning]:
    """A warning if calls in flight together take more time each than one request alone."""
    if not throughput.calls or throughput.lane_count * throughput.depth == 1:  # one at a time
        return []
    each, alone = throughput.window_ns / throughput.calls, median(latency.samples)
    if each <= _OVERLAPPED * alone:
        return []
    return [Warning(kind="NoOverlap", figures={"in_flight_ns": each, "alone_ns": alone})]


def no_room(lanes: int, requested: int) -> Warning:
    """The warning that memory had room for fewer lanes than a rate is measured with."""
    return Warning(kind="FewerLanes", figures={"cause": "memory", "lanes": lanes, "requested": requested})


def fewer_lanes(lanes: int, requested: int) -> Warning:
    """The warning that a backend has fewer lanes than the case requests."""
    return Warning(kind="FewerLanes", figures={"cause": "backend", "lanes": lanes, "requested": requested})
