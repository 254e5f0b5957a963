"""The rows of a run's tables: one per case, its processes pooled, every figure computed from raw samples on read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from bench.analysis import figures
from bench.analysis.distinct import distinct
from bench.analysis.figures import SHOWN, Figure, PhaseTime
from bench.analysis.graph_twins import with_graph_twins
from bench.analysis.host_cost import PythonShare, shares
from bench.analysis.host_noise import warnings_of
from bench.analysis.pool import Pool, Score, gather, gather_one
from bench.analysis.speed import (
    Speed,
    baseline_of,
    baselines_of,
    check_baseline,
    is_baseline,
    is_distinct,
    size,
    speed_of,
)
from bench.analysis.unsteady import unsteady
from bench.model.run import Failure, Record, Run, Warning
from bench.model.samples import SortedSamples
from bench.model.suite import Boundary, Case, named
from bench.model.telemetry import Telemetry

# The boundary that speed, rank and speed of light are read from: the first one that a model's baseline has.
PRIMARY: tuple[Boundary, ...] = ("gpu", "latency", "gpu_unheld")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One case. Times are nanoseconds per call, ``rate`` is inferences per second, ``memory`` bytes.

    ``setting`` holds what the label says beyond model, backend, precision and symbols (``graph``, ``streams=2``).
    ``processes`` counts those with measurements, of ``builds`` independent builds, ``failed`` those that ended in a
    failure, ``records`` all that have ended, and ``failure`` is the first that tells of the case, else the first.
    ``ranked`` is False for a case that is inaccurate, failed, unmeasured, changes from call to call, returns nothing to
    compare or has a reference that does not depend on the inputs; ``fastest`` marks the lowest primary time among two
    or more ranked cases of the same model and sizes. ``tied`` are those that cannot be told from it, as the interval of
    the ratio contains 1, and it itself if there is one; neither is of a duel, whose pairs say which side is faster.
    ``light`` is the fraction of speed of light that the primary time of a ranked case reaches, ``energy`` joules of the
    whole card per inference in a saturated loop.
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
    records: int = 0

    @property
    def all_failed(self) -> bool:
        """Whether every process so far ended in a failure, be it after a measurement: its figures are of no case."""
        return self.failure is not None and self.failed >= self.records


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
        for pool, times in zip(pools, figures.times(pools, distributions), strict=True)
    ]
    # Of a duel its verdicts say which side is faster, by a rule that an interval of 95 % does not follow.
    for first, ties in [] if run.header.duel else _leaders(pools, table):
        table[first] = msgspec.structs.replace(table[first], fastest=True, tied=bool(ties))
        for place in ties:
            table[place] = msgspec.structs.replace(table[place], tied=True)
    if of_python := shares(pools):
        table = [msgspec.structs.replace(row, python_share=of_python.get(row.case)) for row in table]
    return tuple(with_graph_twins(table, (pool.case for pool in pools)))


def _speeds(pools: Sequence[Pool], primaries: Mapping[str, Boundary | None], baseline: str) -> dict[str, Speed | None]:
    """By case (id) the speed of those that are ranked and have a baseline."""
    bases = baselines_of(pools, baseline)
    pairs = [
        (pool, base, primary)
        for pool in pools
        if (primary := primaries[pool.case.model]) and _ranks(pool, primary) and (base := baseline_of(pool, bases))
    ]
    return {pool.case.id: speed_of(pool, base, primary, baseline) for pool, base, primary in pairs}


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


def without_void_figures(row: Row) -> Row:
    """The row as one without any measurement if all of its processes failed, some of them after they were measured: a
    table has the failure in place of figures that look like a result. What is inaccurate besides stays.
    """
    if not row.all_failed:
        return row
    nothing: dict[str, Any] = dict.fromkeys(("rate", "speed", "memory", "light", "energy", "python_share", "cpu"))
    score = None if row.score and row.score.ok else row.score
    return msgspec.structs.replace(row, processes=0, times={}, memory_of="", score=score, **nothing)


def leads(row: Row) -> bool:
    """Whether a row may be marked as the fastest: it has the lowest time, and not of one process alone."""
    return row.fastest and row.primary in row.times and row.times[row.primary].processes > 1


def has_replicates(table: Iterable[Row]) -> bool:
    """Whether a case was measured in more than one process, so that figures of only one are less than the others."""
    return any(row.processes > 1 for row in table)


def against(table: Iterable[Row]) -> str:
    """The backend, with its options, that the first speed of ``table`` is told against, and its precision if the
    baseline names one; empty without a speed.
    """
    speeds = [row.speed for row in table if row.speed]
    return "/".join(filter(None, (speeds[0].backend, speeds[0].precision))) if speeds else ""


def summarise(record: Record) -> tuple[dict[Boundary, Figure], Figure | None, Score | None]:
    """One process alone: its times by boundary, its inferences per second, its accuracy."""
    pool = gather_one(Case(model="", factory="", inputs={}, backend=""), [record])
    return figures.times([pool])[0], figures.rate(pool), pool.score


def row_of(pool: Pool, primary: Boundary | None) -> Row:
    """The row of one case alone: ranked if it is sound and has the boundary ``primary``, without speed or a leader."""
    return _row(pool, primary, figures.times([pool])[0], None)


# ------------------------------------------------------------------------------------------------ figures of a row


def _row(pool: Pool, primary: Boundary | None, times: dict[Boundary, Figure], speed: Speed | None) -> Row:
    case = pool.case
    memory, memory_of = figures.memory(pool)
    return Row(
        case=case.id,
        label=case.label,
        model=case.model,
        backend=named(case.backend, case.options),
        precision=case.precision,
        symbols=dict(case.symbols),
        setting=figures.setting(case),
        processes=sum(bool(record.measurements) for record in pool.records),
        builds=len({record.build for record in pool.records if record.measurements}),
        failed=len(pool.failures),
        primary=primary,
        times=times,
        rate=figures.rate(pool),
        speed=speed,
        score=pool.score,
        memory=memory,
        memory_of=memory_of,
        light=figures.light(pool, primary, times.get(primary) if primary else None),
        energy=figures.energy(pool),
        ranked=_ranks(pool, primary),
        fastest=False,
        tied=False,
        phases=figures.phases(pool),
        fairness=figures.fairness(pool),
        telemetry={record.replicate: record.telemetry for record in pool.records},
        cards=tuple(sorted({record.card for record in pool.records if record.card})),
        warnings=(
            *distinct(warning for record in pool.records for warning in warnings_of(record)),
            *unsteady(pool, primary),
        ),
        failure=next((each for each in pool.failures if each.is_final), next(iter(pool.failures), None)),
        cpu=figures.cpu(pool),
        records=len(pool.records),
    )


def _ranks(pool: Pool, primary: Boundary | None) -> bool:
    return pool.sound and primary in pool.samples


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
