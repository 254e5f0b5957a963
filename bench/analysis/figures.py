"""The figures of one case in a table: times, rate, memory, phases and more, each over its processes; pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from bench import stats
from bench.analysis.pool import Pool
from bench.analysis.speed import CONFIDENCE
from bench.model.samples import SortedSamples
from bench.model.suite import Boundary, Case

# The order of columns; throughput is shown as a rate instead.
SHOWN: tuple[Boundary, ...] = ("gpu", "gpu_unheld", "latency", "enqueue", "h2d", "compute", "d2h")


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A number with its 95 % interval; ``low`` and ``high`` are None where there is too little to tell.

    Over two or more ``processes`` the interval is of the process medians, in one process of its own samples.
    ``percentiles`` are those of stats.percentiles over the samples of all processes, by their number; ``minimum``, the
    standard deviation ``sd`` and the number of ``samples`` are of the same. A rate has none of these.
    """

    value: float
    low: float | None
    high: float | None
    processes: int
    percentiles: dict[int, float] = {}
    minimum: float | None = None
    sd: float | None = None
    samples: int = 0


class PhaseTime(msgspec.Struct, frozen=True, kw_only=True):
    """Median nanoseconds of one phase over the processes in which it was cold, and in which it was warm."""

    name: str
    cold_ns: float | None
    warm_ns: float | None


def times(pools: Sequence[Pool], distributions: bool = True) -> list[dict[Boundary, Figure]]:
    """Of each of ``pools`` its times by boundary."""
    every = [{of: pool.samples[of] for of in SHOWN if of in pool.samples} for pool in pools]
    alone = [processes[0] for of_pool in every for processes in of_pool.values() if len(processes) == 1]
    intervals = iter(stats.median_intervals(alone, CONFIDENCE))
    return [{of: _time(processes, intervals, distributions) for of, processes in each.items()} for each in every]


def _time(
    processes: tuple[SortedSamples, ...], intervals: Iterator[stats.Interval | None], distributions: bool
) -> Figure:
    """``intervals`` are those of the processes that are alone, in their order."""
    if len(processes) > 1:
        low, centre, high = _over([float(stats.median(series)) for series in processes])
    elif interval := next(intervals):
        low, centre, high = interval
    else:
        low, centre, high = None, stats.median(processes[0]), None
    if not distributions:
        return Figure(
            value=float(centre), low=low, high=high, processes=len(processes), samples=sum(map(len, processes))
        )
    samples = SortedSamples.join(processes)
    return Figure(
        value=float(centre),
        low=low,
        high=high,
        processes=len(processes),
        percentiles=stats.percentiles(samples),
        minimum=float(samples[0]),
        sd=stats.deviation(samples),
        samples=len(samples),
    )


def rate(pool: Pool) -> Figure | None:
    """Inferences per second; None without a loop of throughput."""
    if len(pool.rates) > 1:
        return _over_processes(list(pool.rates))
    return Figure(value=pool.rates[0], low=None, high=None, processes=1) if pool.rates else None


def cpu(pool: Pool) -> Figure | None:
    """CPU nanoseconds of a call of ``latency``, of all threads together; None where it was not read."""
    spent = [
        m.cpu_ns / len(m.samples)
        for record in pool.records
        for m in record.measurements
        if m.boundary == "latency" and m.cpu_ns and m.samples
    ]
    if len(spent) > 1:
        return _over_processes(spent)
    return Figure(value=spent[0], low=None, high=None, processes=1) if spent else None


def _over_processes(medians: list[float]) -> Figure:
    low, centre, high = _over(medians)
    return Figure(value=centre, low=low, high=high, processes=len(medians))


def _over(medians: list[float]) -> tuple[float | None, float, float | None]:
    interval = stats.process_interval(medians, CONFIDENCE)
    return interval or (None, statistics.median(medians), None)


def light(pool: Pool, boundary: Boundary | None, time: Figure | None) -> float | None:
    """The fraction of speed of light that a call reaches which takes ``time`` at ``boundary``: what it would take at
    the machine's ceiling, over that. Each process recorded the fraction of its own median. None where the pool is not
    sound: its calls may do other work than the one that was counted.
    """
    if time is None or not time.value or not pool.sound:
        return None
    at_ceiling = [
        record.work.fraction[boundary] * statistics.median(measurement.samples)
        for record in pool.records
        for measurement in record.measurements
        if measurement.boundary == boundary and measurement.samples
        if record.work is not None and boundary in record.work.fraction
    ]
    return statistics.median(at_ceiling) / time.value if at_ceiling else None


def energy(pool: Pool) -> float | None:
    """Joules of the whole card per inference, the median of the processes."""
    joules = [record.telemetry.inference_j for record in pool.records if record.telemetry.inference_j is not None]
    return float(statistics.median(joules)) if joules else None


def memory(pool: Pool) -> tuple[int | None, Literal["gpu", "host", ""]]:
    """The highest peak of all processes: of the GPU where the telemetry has it, else of resident host memory."""
    gpu, rss = 0, 0
    for record in pool.records:
        if of_gpu := record.telemetry.gpu:
            gpu = max(gpu, int(of_gpu.gpu_memory_bytes or 0))
        if host := record.telemetry.host:
            rss = max(rss, int(host.peak_rss_bytes or 0))
    return (gpu, "gpu") if gpu else (rss, "host") if rss else (None, "")


def phases(pool: Pool) -> tuple[PhaseTime, ...]:
    """The steps before and after the measurement, in the order in which they happen; cold and warm apart."""
    spent: dict[str, dict[bool, list[int]]] = {}
    for record in pool.records:
        totals: dict[tuple[str, bool], int] = {}
        for phase in record.phases:
            if phase.beside:  # no time of its own
                continue
            totals[phase.name, phase.cold] = totals.get((phase.name, phase.cold), 0) + phase.ns
        for (name, cold), ns in totals.items():
            spent.setdefault(name, {}).setdefault(cold, []).append(ns)
    order = _order_of({tuple([phase.name for phase in record.phases]): None for record in pool.records})
    return tuple(
        [
            PhaseTime(name=name, cold_ns=_median(spent[name].get(True)), warm_ns=_median(spent[name].get(False)))
            for name in order
            if name in spent
        ]
    )


def _median(times: list[int] | None) -> float | None:
    if not times:
        return None
    return float(times[0] if len(times) == 1 else statistics.median(times))


def _order_of(sequences: Mapping[tuple[str, ...], object]) -> Sequence[str]:
    """As in_order, of different sequences; of one, which most cases have, it is that one."""
    one, *others = sequences or [()]
    return in_order([one, *others]) if others else tuple(dict.fromkeys(one))


def fairness(pool: Pool) -> dict[str, tuple[Any, ...]]:
    """Every fairness key with the values that processes have, each once."""
    seen: dict[str, dict[bytes, Any]] = {}
    for record in pool.records:
        for key, value in record.fairness.items():
            seen.setdefault(key, {}).setdefault(msgspec.json.encode(value, order="sorted"), value)
    return {key: tuple(values.values()) for key, values in seen.items()}


def setting(case: Case) -> str:
    """What the label says after model, backend, precision and symbols; the ranges of dynamic symbols first."""
    spans = [f"{name} in {span.min}..{span.max}" for name, span in case.dynamic.items()]
    return " ".join(spans + case.settings)


def in_order(sequences: Iterable[Sequence[str]]) -> list[str]:
    """The names of all ``sequences``, each once: a name that the sequences before it lack comes behind the one that it
    follows in its own, or before the next one known. Where two sequences contradict each other the first one holds.
    """
    order: list[str] = []
    for sequence in sequences:
        names = list(dict.fromkeys(sequence))
        for index, name in enumerate(names):
            if name in order:
                continue
            if index:  # the name before it is known by now
                place = order.index(names[index - 1]) + 1
            else:
                place = min((order.index(known) for known in names if known in order), default=len(order))
            order.insert(place, name)
    return order
