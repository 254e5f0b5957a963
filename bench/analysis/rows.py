"""The rows of a run's tables: one per case, its processes pooled, every figure computed from raw samples on read."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from bench import stats
from bench.analysis.distinct import distinct
from bench.analysis.host_cost import PythonShare, shares
from bench.analysis.host_noise import warnings_of
from bench.analysis.pool import Pool, Score, gather, gather_one
from bench.analysis.speed import (
    CONFIDENCE,
    Speed,
    baseline_of,
    baselines_of,
    check_baseline,
    is_baseline,
    is_distinct,
    size,
    speeds_of,
)
from bench.analysis.unsteady import unsteady
from bench.model.run import Failure, Record, Run, Warning
from bench.model.samples import SortedSamples
from bench.model.suite import Boundary, Case, named
from bench.model.telemetry import Telemetry

# The boundary that speed, rank and speed of light are read from: the first one that a model's baseline has.
PRIMARY: tuple[Boundary, ...] = ("gpu", "latency", "gpu_unheld")
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


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One case. Times are nanoseconds per call, ``rate`` is inferences per second, ``memory`` bytes.

    ``setting`` holds what the label says beyond model, backend, precision and symbols (``graph``, ``streams=2``).
    ``processes`` counts those with measurements, of ``builds`` independent builds, ``failed`` those that ended in a
    failure, ``failure`` is the first.
    ``ranked`` is False for a case that is inaccurate, failed, unmeasured or changes from call to call; ``fastest``
    marks the lowest primary time among two or more ranked cases of the same model and sizes. ``tied`` are those that
    cannot be told from it, as the interval of the ratio contains 1, and it itself if there is one. ``light`` is the
    achieved fraction of speed of light, ``energy`` joules of the whole card per inference in a saturated loop.
    ``cards`` are the ids of those that measured, where a run has several. ``cpu`` is the CPU time of a call of
    ``latency``, nanoseconds of all threads together, where it was read: what others take from the cores is not in it.
    ``python_share`` is that of a case that a C++ program runs too.
    ``phases`` are in the order in which they happen. ``fairness`` has for each key the distinct values of the
    processes, ``telemetry`` that of each process, by replicate.
    """

    case: str
    label: str
    model: str
    backend: str
    precision: str
    symbols: dict[str, int]
    setting: str
    processes: int
    builds: int
    failed: int
    primary: Boundary | None
    times: dict[Boundary, Figure]
    rate: Figure | None
    speed: Speed | None
    score: Score | None
    memory: int | None
    memory_of: Literal["gpu", "host", ""]
    light: float | None
    energy: float | None
    ranked: bool
    fastest: bool
    tied: bool
    phases: tuple[PhaseTime, ...]
    fairness: dict[str, tuple[Any, ...]]
    telemetry: dict[int, Telemetry]
    warnings: tuple[Warning, ...]
    failure: Failure | None
    cards: tuple[str, ...] = ()
    cpu: Figure | None = None
    python_share: PythonShare | None = None


def rows(
    run: Run, baseline: str = "", pools: Sequence[Pool] | None = None, *, distributions: bool = True
) -> tuple[Row, ...]:
    """One row per case of the plan, in its order; a case without a record yet has neither times nor failure.

    ``baseline`` is a backend as labels show it (``inductor[mode=max-autotune]``) or its plain name, with the toolchain
    (``eager@default``) or the precision (``eager/fp32``) if one is to serve all; by default the run's own, else
    ``eager``. ``pools`` are those of gather(), for who has them. Without ``distributions`` figures have no
    percentiles, minimum and deviation. UsageError if a baseline is given that the run lacks.
    """
    check_baseline(run.header.cases, baseline)
    pools = gather(run) if pools is None else pools
    SortedSamples.read_all(series for pool in pools for of in SHOWN for series in pool.samples.get(of, ()))
    label = baseline_label(run, baseline)
    primaries = {model: _primary(members, label) for model, members in _by_model(pools).items()}
    speeds = _speeds(pools, primaries, label)
    table = [
        _row(pool, primaries[pool.case.model], times, speeds.get(pool.case.id))
        for pool, times in zip(pools, _times(pools, distributions), strict=True)
    ]
    for first, ties in _leaders(pools, table):
        table[first] = msgspec.structs.replace(table[first], fastest=True, tied=bool(ties))
        for place in ties:
            table[place] = msgspec.structs.replace(table[place], tied=True)
    if of_python := shares(pools):
        table = [msgspec.structs.replace(row, python_share=of_python.get(row.case)) for row in table]
    return tuple(table)


def _speeds(pools: Sequence[Pool], primaries: Mapping[str, Boundary | None], baseline: str) -> dict[str, Speed | None]:
    """By case (id) the speed of those that are ranked and have a baseline."""
    bases = baselines_of(pools, baseline)
    pairs = [
        (pool, base, primary)
        for pool in pools
        if (primary := primaries[pool.case.model]) and _ranks(pool, primary) and (base := baseline_of(pool, bases))
    ]
    speeds = speeds_of(pairs, baseline)
    return {pool.case.id: speed for (pool, _, _), speed in zip(pairs, speeds, strict=True)}


def _leaders(pools: Sequence[Pool], table: Sequence[Row]) -> list[tuple[int, list[int]]]:
    """The index of the fastest row of each model and size, and those of the rows that it cannot be told from."""
    ranked: dict[tuple[object, ...], list[int]] = {}
    for index, (pool, row) in enumerate(zip(pools, table, strict=True)):
        if row.ranked:
            ranked.setdefault(size(pool.case), []).append(index)
    leaders = []
    for indices in ranked.values():
        if len(indices) < 2:
            continue
        first = min(indices, key=lambda index: _primary_time(table[index]))
        primary = table[first].primary
        assert primary is not None  # of what ranks
        leaders.append((first, [n for n in indices if n != first and not is_distinct(pools[n], pools[first], primary)]))
    return leaders


def models(table: Iterable[Row]) -> dict[str, list[Row]]:
    """The rows of each model in the order in which models first appear; equal sizes side by side, smallest first."""
    groups: dict[str, list[Row]] = {}
    for row in table:
        groups.setdefault(row.model, []).append(row)
    return {model: sorted(members, key=lambda row: tuple(row.symbols.values())) for model, members in groups.items()}


def baseline_label(run: Run, baseline: str = "") -> str:
    """The baseline that rows() sets the cases of ``run`` against, whether the run has it or not."""
    return baseline or run.header.baseline or "eager"


def has_replicates(table: Iterable[Row]) -> bool:
    """Whether a case was measured in more than one process, so that figures of only one are less than the others."""
    return any(row.processes > 1 for row in table)


def against(table: Iterable[Row]) -> str:
    """The backend, with its options, that the first speed of ``table`` is told against, and its precision if the
    baseline names one; empty without a speed.
    """
    speeds = [row.speed for row in table if row.speed]
    return "/".join(filter(None, (speeds[0].backend, speeds[0].precision))) if speeds else ""


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


def summarise(record: Record) -> tuple[dict[Boundary, Figure], Figure | None, Score | None]:
    """One process alone: its times by boundary, its inferences per second, its accuracy."""
    pool = gather_one(Case(model="", factory="", inputs={}, backend=""), [record])
    return _times([pool])[0], _rate(pool), pool.score


def row_of(pool: Pool, primary: Boundary | None) -> Row:
    """The row of one case alone: ranked if it is sound and has the boundary ``primary``, without speed or a leader."""
    return _row(pool, primary, _times([pool])[0], None)


# ------------------------------------------------------------------------------------------------ figures of a row


def _row(pool: Pool, primary: Boundary | None, times: dict[Boundary, Figure], speed: Speed | None) -> Row:
    case = pool.case
    memory, memory_of = _memory(pool)
    return Row(
        case=case.id,
        label=case.label,
        model=case.model,
        backend=named(case.backend, case.options),
        precision=case.precision,
        symbols=dict(case.symbols),
        setting=_setting(case),
        processes=sum(bool(record.measurements) for record in pool.records),
        builds=len({record.build for record in pool.records if record.measurements}),
        failed=len(pool.failures),
        primary=primary,
        times=times,
        rate=_rate(pool),
        speed=speed,
        score=pool.score,
        memory=memory,
        memory_of=memory_of,
        light=_light(pool, primary),
        energy=_energy(pool),
        ranked=_ranks(pool, primary),
        fastest=False,
        tied=False,
        phases=_phases(pool),
        fairness=_fairness(pool),
        telemetry={record.replicate: record.telemetry for record in pool.records},
        cards=tuple(sorted({record.card for record in pool.records if record.card})),
        warnings=(
            *distinct(warning for record in pool.records for warning in warnings_of(record)),
            *unsteady(pool, primary),
        ),
        failure=pool.failures[0] if pool.failures else None,
        cpu=_cpu(pool),
    )


def _ranks(pool: Pool, primary: Boundary | None) -> bool:
    return pool.sound and primary in pool.samples


def _times(pools: Sequence[Pool], distributions: bool = True) -> list[dict[Boundary, Figure]]:
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
    samples = SortedSamples.joined(processes)
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


def _rate(pool: Pool) -> Figure | None:
    if len(pool.rates) > 1:
        return _over_processes(list(pool.rates))
    return Figure(value=pool.rates[0], low=None, high=None, processes=1) if pool.rates else None


def _cpu(pool: Pool) -> Figure | None:
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


def _light(pool: Pool, primary: Boundary | None) -> float | None:
    works = [record.work for record in pool.records if record.work is not None]
    fractions = [work.fraction[primary] for work in works if primary in work.fraction] if primary else []
    return statistics.median(fractions) if fractions else None


def _energy(pool: Pool) -> float | None:
    joules = [record.telemetry.inference_j for record in pool.records if record.telemetry.inference_j is not None]
    return float(statistics.median(joules)) if joules else None


def _memory(pool: Pool) -> tuple[int | None, Literal["gpu", "host", ""]]:
    """The highest peak of all processes: of the GPU where the telemetry has it, else of resident host memory."""
    gpu, rss = 0, 0
    for record in pool.records:
        if of_gpu := record.telemetry.gpu:
            gpu = max(gpu, int(of_gpu.gpu_memory_bytes or 0))
        if host := record.telemetry.host:
            rss = max(rss, int(host.peak_rss_bytes or 0))
    return (gpu, "gpu") if gpu else (rss, "host") if rss else (None, "")


def _phases(pool: Pool) -> tuple[PhaseTime, ...]:
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


def _fairness(pool: Pool) -> dict[str, tuple[Any, ...]]:
    """Every fairness key with the values that processes have, each once."""
    seen: dict[str, dict[bytes, Any]] = {}
    for record in pool.records:
        for key, value in record.fairness.items():
            seen.setdefault(key, {}).setdefault(msgspec.json.encode(value, order="sorted"), value)
    return {key: tuple(values.values()) for key, values in seen.items()}


def _setting(case: Case) -> str:
    """What the label says after model, backend, precision and symbols; the ranges of dynamic symbols first."""
    spans = [f"{name} in {span.min}..{span.max}" for name, span in case.dynamic.items()]
    return " ".join(spans + case.settings)


def _by_model(pools: Iterable[Pool]) -> dict[str, list[Pool]]:
    groups: dict[str, list[Pool]] = {}
    for pool in pools:
        groups.setdefault(pool.case.model, []).append(pool)
    return groups


def _primary(pools: Sequence[Pool], baseline: str) -> Boundary | None:
    """The first of PRIMARY that a baseline of the model has, else that any of its cases has."""
    for members in ([pool for pool in pools if pool.sound and is_baseline(pool.case, baseline)], pools):
        for boundary in PRIMARY:
            if any(boundary in pool.samples for pool in members):
                return boundary
    return None


def _primary_time(row: Row) -> float:
    return row.times[row.primary].value if row.primary in row.times else math.inf
