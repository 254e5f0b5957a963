"""What measuring a case gives: measurements, facts and warnings, whatever the clock."""

from __future__ import annotations

import math
from statistics import median
from typing import Any

import msgspec

from bench.measure import stop
from bench.measure.loop import WarmUp
from bench.model.run import Measurement, Warning
from bench.model.suite import Policy
from bench.stats import median_interval
from bench.units import NS_PER_S, format_time

# The reason why a throughput loop ended: its window is full. The other one is MaxTime.
WINDOW = "Window"
# A tenth is what host times differ by from one second to the next on a quiet machine.
_OVERLAPPED = 1.1


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What measuring one prepared case gave; the phases ``warmup`` and ``measure`` went to the ``phase`` argument."""

    measurements: tuple[Measurement, ...]
    warnings: tuple[Warning, ...] = ()
    facts: dict[str, Any] = {}
    spans: dict[str, tuple[int, int]] = {}


def not_steady(warmed: WarmUp) -> Warning:
    """The warning that the warm-up ended before its windows agreed."""
    return Warning(
        kind="NotSteady",
        message=f"after {warmed.calls} warm-up calls in {format_time(warmed.ns)} the medians of three windows still "
        f"differed by {warmed.spread:.1%}",
        hint="close other programs, fix the CPU's frequency, or set a longer warmup_limit",
    )


def imprecise(measured: Measurement, policy: Policy) -> list[Warning]:
    """A warning if sampling ended with the interval of the median wider than asked for."""
    width = stop.half_width(median_interval(measured.samples))
    if measured.stop not in (stop.PLATEAU, stop.MAX_TIME) or width <= policy.target_ci:
        return []
    known = f"known to ±{width:.1%}" if width < math.inf else "not known to any interval"
    what = f"the median of {measured.boundary} is {known} from {len(measured.samples)} samples"
    if measured.stop == stop.PLATEAU:
        message = f"{what}, and more samples did not narrow it: the time drifts or jumps"
        return [Warning(kind=stop.PLATEAU, message=message, hint="close other programs, or fix the CPU's frequency")]
    message = f"{what} when {format_time(policy.max_time_ns)} were over"
    hints = ["a longer max_time"]
    if policy.max_time_ns <= NS_PER_S:
        hints.append("no --quick, which allows 1 s")
    if measured.batch > 1:
        hints.append("a smaller batch")
    return [Warning(kind=stop.MAX_TIME, message=message, hint=", or ".join(hints))]


def drifted(enqueue: Measurement, latency: Measurement) -> list[Warning]:
    """A warning if issuing a call took longer than requests that contain it: the two intervals lie apart."""
    alone, whole = median_interval(enqueue.samples), median_interval(latency.samples)
    if alone is None or whole is None or alone.low <= whole.high:
        return []
    message = (
        f"issuing a call took {format_time(alone.centre)}, and a whole request, measured seconds later, "
        f"{format_time(whole.centre)}: the host's speed changed between them"
    )
    return [Warning(kind="HostDrift", message=message, hint="cuda_graph: on, close other programs, more processes")]


def no_overlap(throughput: Measurement, latency: Measurement) -> list[Warning]:
    """A warning if calls in flight together take more time each than one request alone."""
    if not throughput.calls or throughput.lanes * throughput.depth == 1:  # one at a time
        return []
    each, alone = throughput.window_ns / throughput.calls, median(latency.samples)
    if each <= _OVERLAPPED * alone:
        return []
    message = (
        f"with calls in flight together each takes {format_time(each)}, a request alone {format_time(alone)}: nothing "
        "is won by overlapping"
    )
    return [Warning(kind="NoOverlap", message=message, hint="cuda_graph: on, if the host is the limit")]


def no_room(given: int, asked: int) -> Warning:
    """The warning that memory had room for fewer lanes than a rate is measured with."""
    message = f"memory had room for {given} of {asked} lanes: less than elsewhere overlaps in throughput"
    return Warning(kind="FewerLanes", message=message, hint="a smaller batch, or fewer streams")


def fewer_lanes(given: int, asked: int) -> Warning:
    """The warning that a backend gave fewer lanes than the case asks for."""
    lanes = f"{given} lane{'s' * (given != 1)}"
    message = f"throughput is of {lanes}, not of the {asked} streams asked for: the backend gives no more"
    return Warning(kind="FewerLanes", message=message, hint=f"streams: {given}")
