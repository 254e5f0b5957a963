"""One case on a GPU: warm-up, every boundary asked for, held or not and why, and what a reader must be warned of."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from statistics import median
from typing import Any, NamedTuple

import msgspec

from bench.errors import Unsupported
from bench.measure import bare_calls, cuda, gpu_loop, gpu_samples, gpu_warm_up, pace, result
from bench.measure.cold_l2 import cold
from bench.measure.cuda import CudaClock, HoldBroken
from bench.measure.gpu_samples import NullLane
from bench.measure.host import Beside, Phase
from bench.measure.loop import frozen, sample
from bench.measure.nvtx import range_
from bench.measure.stray_work import Escapes
from bench.measure.together import Others
from bench.model.lanes import HasBareCall, Lane
from bench.model.run import Measurement, Warning
from bench.model.seam import Clock
from bench.model.suite import Boundary, Case, Policy
from bench.model.telemetry import ClockFigures
from bench.units import format_time

DEFAULT: tuple[Boundary, ...] = ("gpu", "enqueue", "latency", "throughput")
DEPTH = 2
_FLOOR_CALLS = 20
_OVERLAP = "with l2: cold the L2 cache is flushed before each call, which cannot be where calls overlap"
# Why a stream is not held, beside what the driver says.
_WAITS = {"cause": "waits"}
_CAUSES = {cuda.BLOCKING: "launch_blocking", cuda.SERIAL_LAUNCHES: "profiler"}


def lanes_needed(case: Case, policy: Policy) -> int:
    """How many lanes of this process: two for each of its streams in ``throughput``, so that copies overlap the calls
    (depth 2).
    """
    return case.streams_per_process * DEPTH if case.l2 != "cold" and _loops(policy) else 1


def _loops(policy: Policy) -> tuple[str, ...]:
    """What is asked for that comes from a loop of overlapping calls."""
    loops = {"throughput": "throughput" in (policy.boundaries or DEFAULT), "energy": policy.energy_ns > 0}
    return tuple(name for name in loops if loops[name])


@frozen()
def measure(
    lanes: Sequence[Lane],
    case: Case,
    policy: Policy,
    clock: CudaClock,
    host_clock: Clock,
    phase: Phase = range_,
    *,
    captured: bool = False,
    pacing: pace.Pace = pace.ALONE,
    beside: Beside = None,
) -> result.CaseMeasurements:
    """Warm up and measure the lanes of a case at the boundaries of ``policy``; ``captured``: calls replay CUDA graphs;
    ``pacing`` says when samples are taken; ``beside`` opens the other lanes' processes, for loops alone.

    Unsupported if a call leaves work on other streams that its own does not wait for.

    ``facts`` are ``gpu_floor_ns`` (held, a call that does nothing), ``gpu_period_ns`` (calls back to back),
    ``enqueue_bare_ns`` (the runtime's own call, where the lane is ``HasBareCall``), ``enqueue_added_ns`` (what the
    lane's call takes more, both issued in turn) and its 95 % interval, ``enqueue_added_low_ns`` to
    ``enqueue_added_high_ns``,
    ``throughput_of_bound`` (the rate as a fraction of one call per longest part of ``latency``: 1 where copies hide
    behind the calls), and with ``energy_ns`` what ran in the saturated loop: ``saturated_inferences`` and
    ``saturated_ns``.

    With ``l2: cold`` the L2 is filled with other data before each sample of ``gpu``, ``gpu_unheld`` and ``latency``;
    ``throughput`` and energy are left out with the warning ``NotCold``. Unsupported if no other boundary is asked for.
    """
    boundaries, loops = policy.boundaries or DEFAULT, _loops(policy)
    captured = captured or case.cuda_graph
    measuring = _Measuring(lanes, case, policy, clock, host_clock, captured=captured, pacing=pacing, beside=beside)
    if case.l2 == "cold" and loops:
        if set(boundaries) == {"throughput"}:
            raise Unsupported(_OVERLAP, fix="l2: warm, or other boundaries, e.g. [gpu, latency]")
        measuring.warnings.append(Warning(kind="NotCold", figures={"left_out": list(loops)}))
        loops = ()
    with phase("warmup"):
        measuring.warm_up("gpu" in boundaries)
    with measuring.stack:
        with phase("measure"):
            measuring.at(boundaries, loops)
        measuring.compare()
        if "energy" in loops:
            measuring.saturate(phase("saturate"))
    return result.CaseMeasurements(
        measurements=tuple(measuring.measurements),
        warnings=tuple(measuring.warnings),
        facts=ClockFigures(**measuring.facts),
        spans=measuring.spans,
    )


def _refusal(clock: CudaClock) -> dict[str, Any]:
    """Why streams cannot be held here, empty if they can."""
    reason = clock.can_hold()
    return {"cause": _CAUSES.get(reason, "driver"), "reason": reason} if reason else {}


class _Series(NamedTuple):
    """Samples in ns, why no more were taken, and the host's time from before the first until after the last. Of those
    taken in ``blocks`` their sizes, and the places of the calls between them that are no samples.
    """

    samples: tuple[int, ...]
    reason: str
    span: tuple[int, int]
    blocks: tuple[int, ...] = ()
    lead_in: frozenset[int] = frozenset()


class _Measuring:
    """One case being measured: what has been taken so far."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        case: Case,
        policy: Policy,
        clock: CudaClock,
        host_clock: Clock,
        *,
        captured: bool,
        pacing: pace.Pace,
        beside: Beside,
    ) -> None:
        self.pacing = pacing
        self.stack = contextlib.ExitStack()
        self.beside = beside
        self.others: Others | None = None
        self.lanes = lanes
        self.case = case
        self.policy = policy
        self.clock = clock
        self.host_clock = host_clock
        self.captured = captured
        self.measurements: list[Measurement] = []
        self.warnings: list[Warning] = []
        self.facts: dict[str, float] = {}
        self.spans: dict[str, tuple[int, int]] = {}
        self.medians: dict[str, float] = {}
        self.escapes = Escapes(lanes[0], clock, host_clock)
        self.broken = False
        self._ahead = pacing is pace.ALONE

    def at(self, boundaries: Sequence[Boundary], loops: Sequence[str]) -> None:
        """All that is asked for, but for the saturated loop."""
        self.back_to_back()
        if "enqueue" in boundaries or "gpu" in boundaries:
            self.enqueue()
        if "gpu" in boundaries:
            self.held()
        if "gpu_unheld" in boundaries and "gpu_unheld" not in self.medians:
            self.unheld()
        if "latency" in boundaries:
            self.latency()
        if "throughput" in loops:
            self.throughput()

    def take(self, boundary: Boundary, take: gpu_samples.Take) -> Measurement:
        """One series of samples under the stop rule."""
        return self._keep(boundary, self._sampled(take))

    def _sampled(self, take: gpu_samples.Take) -> _Series:
        rule = self.pacing.rule(self.policy, self.host_clock)
        before = self.host_clock.now()
        samples = sample(take, rule)
        blocks = pace.blocks_of(rule)
        span = before if blocks else rule.start, self.host_clock.now()
        return _Series(samples, rule.reason, span, blocks, pace.lead_in_of(rule))

    def _keep(self, boundary: Boundary, series: _Series) -> Measurement:
        measurement = Measurement(
            boundary=boundary,
            samples=series.samples,
            batch=self.case.batch,
            stop=series.reason,
            blocks=series.blocks,
        )
        self.measurements.append(measurement)
        self.medians[boundary] = median(series.samples)
        self.spans[boundary] = series.span
        if boundary in ("gpu", "gpu_unheld", "latency"):
            self.warnings += [*result.imprecise(measurement, self.policy), *result.drifts(measurement)]
        return measurement

    def warm_up(self, held: bool) -> None:
        """Calls until they are steady, ``held`` where ``gpu`` is measured; a warning where they did not become so."""
        warm, self.broken = gpu_warm_up.run(self.lanes[0], self.clock, self.host_clock, self.policy, held=held)
        if not warm.steady:
            self.warnings.append(result.not_steady(warm))

    def enqueue(self) -> None:
        """``enqueue``, and what the runtime's own call takes where the lane tells of it."""
        lane = self.lanes[0]
        measured = self.take("enqueue", gpu_samples.enqueue(lane, self.clock, self.host_clock, ahead=self._ahead))
        start, end = self.spans["enqueue"]
        if isinstance(lane, HasBareCall) and end - start < bare_calls.COMPARABLE * len(measured.samples):
            whole, bare = (
                gpu_samples.enqueue(lane, self.clock, self.host_clock, call) for call in (None, lane.bare_call())
            )
            self.facts |= bare_calls.compare(whole, bare, self.host_clock)

    def held(self) -> None:
        """``gpu``, or ``gpu_unheld`` with the warning that says why."""
        lane = self.lanes[0]
        why: dict[str, Any] = dict(_WAITS) if self.broken else _refusal(self.clock)
        with cold(lane, self.clock, self.case) as before:
            if not why:
                try:
                    why = self.clock.twice(lambda: self._held(before))
                except HoldBroken:
                    why = dict(_WAITS)
            if why:
                self.warnings.append(Warning(kind="Unheld", figures=why))
                self.take("gpu_unheld", gpu_samples.gpu(lane, self.clock, hold=False, before=before))
        on_gpu = self.medians.get("gpu", 0)
        if 0 < on_gpu < self.medians["enqueue"]:
            figures = {"enqueue_ns": self.medians["enqueue"], "gpu_ns": on_gpu, "graph": self.captured}
            self.warnings.append(Warning(kind="HostBound", figures=figures))

    def _held(self, before: gpu_samples.Before) -> dict[str, Any]:
        """Take ``gpu`` and its floor; figures that say why the samples do not cover all of a call's work, if so."""
        lane = self.lanes[0]
        floor = gpu_samples.gpu(NullLane(lane.stream), self.clock, hold=True)
        self.facts["gpu_floor_ns"] = median(floor() for _ in range(_FLOOR_CALLS))
        series = self._sampled(gpu_samples.gpu(lane, self.clock, hold=True, before=before))
        why = self.escapes.ran_ahead(median(series.samples))
        if not why:
            self._keep("gpu", series)
        return why

    def unheld(self) -> None:
        """``gpu_unheld``, because it was asked for."""
        with cold(self.lanes[0], self.clock, self.case) as before:
            self.take("gpu_unheld", gpu_samples.gpu(self.lanes[0], self.clock, hold=False, before=before))

    def back_to_back(self) -> None:
        """The fact ``gpu_period_ns``; Unsupported if the device works on when the lane's stream has ended."""
        self.facts["gpu_period_ns"] = round(self.escapes.back_to_back())
        remaining = self.escapes.remaining_work(hold=False)
        if not remaining and not self.broken and not self.clock.can_hold():
            try:
                remaining = self.clock.twice(lambda: self.escapes.remaining_work(hold=True))
            except HoldBroken:
                self.broken = True
        if remaining:
            raise Unsupported(
                f"the GPU works on for {format_time(remaining)} after the call's stream has ended: work on other "
                "streams is not waited for, so no event can time it and the outputs may be incomplete",
                fix="let the call's stream wait at the end for each other one that it uses: in PyTorch "
                "torch.cuda.current_stream().wait_stream(side)",
            )

    def latency(self) -> None:
        """``latency`` and its parts."""
        lane, transfers = self.lanes[0], self.case.transfers
        with (
            cold(lane, self.clock, self.case) as before,
            gpu_samples.latency(
                lane, self.clock, self.host_clock, transfers=transfers, before=before, ahead=self._ahead
            ) as (take, parts),
        ):
            whole = self._sampled(take)
        self._keep("latency", whole)
        for name, samples in parts.items():  # taken with it, sample by sample: so throttling marks them too
            samples = [ns for place, ns in enumerate(samples) if place not in whole.lead_in]
            self._keep(name, whole._replace(samples=tuple(samples)))
        moving = self.medians["h2d"] + self.medians["d2h"]
        if self.case.transfers and moving > self.medians["compute"]:
            figures = {"copies_ns": moving, "compute_ns": self.medians["compute"]}
            self.warnings.append(Warning(kind="TransferBound", figures=figures))

    def throughput(self) -> None:
        """``throughput`` over all lanes, two in flight per stream where the backend gives that many."""
        self.pacing.wait()
        measured = self._loop(self.policy, self._spanned("throughput"))
        self.measurements.append(measured)
        if "compute" in self.medians:
            longest = max(self.medians[part] for part in ("h2d", "compute", "d2h"))
            self.facts["throughput_of_bound"] = measured.calls * longest / measured.window_ns
        lanes = measured.lane_count * measured.depth
        if lanes < self.case.streams:
            self.warnings.append(result.fewer_lanes(lanes, self.case.streams))

    @contextlib.contextmanager
    def _spanned(self, boundary: Boundary) -> Iterator[None]:
        """The block is what is timed of ``boundary``, which telemetry is told."""
        start = self.host_clock.now()
        yield
        self.spans[boundary] = (start, self.host_clock.now())

    def compare(self) -> None:
        """Warn of boundaries that do not fit each other: the host may have been slower at one of them."""
        by_boundary = {m.boundary: m for m in self.measurements}
        if "latency" in by_boundary and "enqueue" in by_boundary:
            self.warnings += result.drifted(by_boundary["enqueue"], by_boundary["latency"])
        if "latency" in by_boundary and "throughput" in by_boundary:
            self.warnings += result.no_overlap(by_boundary["throughput"], by_boundary["latency"])

    def saturate(self, counted: AbstractContextManager[Any]) -> None:
        """The same loop for ``energy_ns``: the parent reads the card's energy counter around what is ``counted``."""
        measured = self._loop(msgspec.structs.replace(self.policy, throughput_ns=self.policy.energy_ns), counted)
        self.facts |= {"saturated_inferences": measured.calls * self.case.batch, "saturated_ns": measured.window_ns}

    def _loop(self, policy: Policy, during_window: AbstractContextManager[Any] = gpu_loop.NOTHING) -> Measurement:
        if self.beside is not None and self.others is None:
            self.others = self.stack.enter_context(self.beside())
        streams = self.case.streams_per_process
        depth = DEPTH if len(self.lanes) >= DEPTH * streams else 1
        lanes = self.lanes[: streams * depth]
        transfers, batch = self.case.transfers, self.case.batch
        return gpu_loop.throughput(
            lanes,
            self.clock,
            self.host_clock,
            policy,
            batch=batch,
            depth=depth,
            transfers=transfers,
            during_window=during_window,
            others=self.others,
        )
