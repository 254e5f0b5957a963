"""What plots set side by side: fronts, steps of size, start-ups, rooflines, machines, toolchains, runs; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

from bench.analysis import compare, differences, history, sides
from bench.analysis.differences import Difference
from bench.analysis.figures import Figure, PhaseTime
from bench.analysis.pool import Pool
from bench.analysis.rows import Row, baseline_label
from bench.analysis.speed import Speed, baseline_of, baselines_of, speed_of
from bench.errors import UsageError
from bench.model.data import Data
from bench.model.run import Environment, Run
from bench.model.suite import Case
from bench.units import NS_PER_S

# The steps of a start, in the order in which a user waits for them, and the phases that each consists of.
STEPS: dict[str, tuple[str, ...]] = {
    "export": ("export",),
    "compile or build": ("compile", "build"),
    "import": ("import",),
    "load": ("load", "deserialize"),
    "first call": ("first_call",),
}


class Step(Data, frozen=True, kw_only=True):
    """One of STEPS in nanoseconds; ``warm`` if it was only ever seen with what an earlier run had left in a cache."""

    name: str
    ns: float
    warm: bool


class Start(Data, frozen=True, kw_only=True):
    """From nothing to the first answer. ``beside`` names the steps that have no time of their own, as they were made
    beside other work: the ``total_ns`` is without them.
    """

    steps: tuple[Step, ...]
    total_ns: float
    beside: tuple[str, ...]


class Roof(Data, frozen=True, kw_only=True):
    """One case under its machine's roofline: ``intensity`` in FLOP per byte, ``achieved`` and the ``roof`` at that
    intensity in FLOP/s.
    """

    intensity: float
    achieved: float
    roof: float


class Scale(Data, frozen=True, kw_only=True):
    """A case among those that differ from it in the batch alone: inferences per second, and ``gain``, that over the
    rate of the smallest batch. ``key`` is the same for all of them.
    """

    key: int
    rate: Figure
    gain: float


class Ratio(Data, frozen=True, kw_only=True):
    """One question (a label) on two machines, or in two toolchains: time of ``base`` over time of ``case``, above 1 the
    latter is faster. ``low`` to ``high`` is the 95 % interval over processes, None with one on a side.
    """

    run: str
    case: str
    base_run: str
    base: str
    ratio: float
    low: float | None
    high: float | None
    verdict: str
    boundary: str


def unsound_speeds(run: Run, table: Sequence[Row], pools: Sequence[Pool], baseline: str = "") -> dict[str, Speed]:
    """The speeds that rows(), which is ``table``, withholds as outputs are wrong, by id of the case: to be shown with a
    mark. A case with another flaw has none. ``pools`` and ``baseline`` as for rows().
    """
    label = baseline_label(run, baseline)
    bases = baselines_of(pools, label)
    speeds = {}
    for row, pool in zip(table, pools, strict=True):
        base, flaw = baseline_of(pool, bases), pool.flaw
        if flaw is None or flaw.kind != "inaccurate":
            continue
        if base is None or row.primary is None or row.primary not in pool.samples:
            continue
        speed = speed_of(pool, base, row.primary, label)
        if speed and speed.ratio is not None:
            speeds[row.case] = speed
    return speeds


def front(table: Sequence[Row], cases: Mapping[str, Case]) -> set[str]:
    """The ids of the ranked cases than which, of the same model, none has both a lower latency and a higher rate.

    Batches compete with each other, as they are what is traded; other sizes are other questions.
    """
    groups: dict[tuple[object, ...], list[tuple[float, float, str]]] = {}
    for row in table:
        if row.ranked and row.rate and "latency" in row.times:
            key = _but_batch(cases[row.case])
            groups.setdefault(key, []).append((row.times["latency"].value, -row.rate.value, row.case))
    best = set()
    for members in groups.values():
        highest = 0.0
        for _, rate, case in sorted(members):
            if -rate > highest:
                highest = -rate
                best.add(case)
    return best


def scales(table: Sequence[Row], cases: Mapping[str, Case]) -> dict[str, Scale]:
    """The cases that were ranked at two or more batches, by id.

    Rates are those of the saturated loop where all of a group have it, else batches over times per call.
    """
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in table:
        case = cases[row.case]
        if row.ranked and "batch" in case.symbols:
            what = row.backend, row.precision, row.setting, case.toolchain, case.cuda_graph, case.streams, case.lanes
            groups.setdefault((*_but_batch(case), *what), []).append(row)
    found: dict[str, Scale] = {}
    for key, members in enumerate(groups.values()):
        ordered = sorted(members, key=lambda row: cases[row.case].batch)
        if len({cases[row.case].batch for row in ordered}) < 2:
            continue
        looped = all(row.rate for row in ordered)
        rates = [row.rate if looped and row.rate else _per_second(row, cases[row.case].batch) for row in ordered]
        for row, rate in zip(ordered, rates, strict=True):
            found[row.case] = Scale(key=key, rate=rate, gain=rate.value / rates[0].value)
    return found


def start(row: Row, pool: Pool) -> Start | None:
    """The start of a case; None if none of its steps has a time."""
    times = {phase.name: phase for phase in row.phases}
    beside = {phase.name for record in pool.records for phase in record.phases if phase.beside} - {*times}
    steps = [step for name, phases in STEPS.items() if (step := _step(name, [times[p] for p in phases if p in times]))]
    if not steps:
        return None
    missing = tuple(name for name, phases in STEPS.items() if beside & {*phases})
    return Start(steps=tuple(steps), total_ns=sum(step.ns for step in steps), beside=missing)


def roof(row: Row, pool: Pool, ceilings: Mapping[str, float]) -> Roof | None:
    """Where a case stands under the roofline of its precision; None where that, or its work, is not known."""
    work = next((record.work for record in pool.records if record.work), None)
    rate, bandwidth = ceilings.get(row.precision), ceilings.get("copy")
    if not (work and work.flops and work.bytes and rate and bandwidth and row.light):
        return None
    intensity = work.flops / work.bytes
    above = min(rate, intensity * bandwidth)
    return Roof(intensity=intensity, achieved=row.light * above, roof=above)


def of_machines(runs: Sequence[Run], places: Sequence[int]) -> list[Ratio]:
    """Each question that two machines have sound times of: every machine against that of those with more cases with
    which it shares the most.

    ``places`` are those of the runs' machines. The runs of a machine are pooled; what differs between sessions is in
    the ratio and not in its interval. Duels are left out, as by `compare`.
    """
    of: dict[int, list[Run]] = {}
    for run, place in zip(runs, places, strict=True):
        if run.header.duel is None:
            of.setdefault(place, []).append(run)
    case_ids = {place: {case.id for run in several for case in run.header.cases} for place, several in of.items()}
    order = sorted(of, key=lambda place: -len(case_ids[place]))
    ratios = []
    for index, place in enumerate(order[1:], 1):
        base = max(order[:index], key=lambda other: len(case_ids[other] & case_ids[place]))
        if case_ids[base] & case_ids[place]:
            ratios += _ratios(of[base], of[place], axis="")
    return ratios


def of_toolchains(run: Run) -> list[Ratio]:
    """Each question that a run has in several toolchains: all against the first. Of a duel its verdicts say it."""
    if run.header.duel is not None or len({case.toolchain for case in run.header.cases}) < 2:
        return []
    return _ratios([run], (), axis="toolchain")


class Part(NamedTuple):
    """The (run, case) of a history by one definition of boundaries, from old to new; ``redefined`` is in what that
    differs from the definition of the part before.
    """

    points: list[tuple[str, str]]
    redefined: tuple[Difference, ...]


def of_runs(runs: Sequence[Run], tables: Sequence[Sequence[Row]], places: Sequence[int]) -> list[list[Part]]:
    """The cases that were ranked in two or more runs of one machine at one boundary, in parts by its definition.

    What makes a step of such a history is for analysis.history to say, and which runs are points of one.
    """
    groups: dict[tuple[object, ...], list[_Moment]] = {}
    for run, table, place in zip(runs, tables, places, strict=True):
        cases = {case.id: case for case in run.header.cases}
        for row in table if history.is_point(run.header) else ():
            if row.ranked and (here := sides.environment_of(run.header, cases[row.case])):
                moments = groups.setdefault((place, row.case, row.primary), [])
                moments.append(_Moment(run.header.created, run.header.run, row.case, here))
    return [_parts(moments) for moments in groups.values() if len(moments) > 1]


# ------------------------------------------------------------------------------------------------------------------


class _Moment(NamedTuple):
    created: str
    run: str
    case: str
    here: Environment


def _parts(moments: Sequence[_Moment]) -> list[Part]:
    ordered = sorted(moments, key=lambda each: (each.created, each.run))
    groups = differences.by_definition(ordered, lambda each: each.here)
    changes = [differences.redefinitions(before[-1].here, group[0].here) for before, group in pairwise(groups)]
    return [
        Part([(each.run, each.case) for each in group], tuple(redefined))
        for group, redefined in zip(groups, [[], *changes], strict=True)
    ]


def _but_batch(case: Case) -> tuple[object, ...]:
    others = tuple(sorted((name, size) for name, size in case.symbols.items() if name != "batch"))
    return case.model, others, case.l2, case.transfers


def _per_second(row: Row, batch: int) -> Figure:
    assert row.primary is not None  # of what ranks
    time = row.times[row.primary]
    value, low, high = (bound and batch / bound * NS_PER_S for bound in (time.value, time.high, time.low))
    assert value is not None
    return Figure(value=value, low=low, high=high, processes=time.processes)


def _step(name: str, phases: Sequence[PhaseTime]) -> Step | None:
    spent = [phase.warm_ns if phase.cold_ns is None else phase.cold_ns for phase in phases]
    if not any(spent):
        return None
    return Step(name=name, ns=sum(ns or 0.0 for ns in spent), warm=all(phase.cold_ns is None for phase in phases))


def _ratios(a: Sequence[Run], b: Sequence[Run], axis: Literal["", "toolchain"]) -> list[Ratio]:
    try:
        pairs = compare.compare(a, b, across=differences.DIMENSIONS, axis=axis).pairs
    except UsageError:  # nothing has a partner, or several would be one
        return []
    latest = [{case.id: run.header.run for run in _by_time(side) for case in run.header.cases} for side in (a, b or a)]
    ratios = []
    for pair in pairs:
        if (decided := pair.verdict) is None or pair.boundary is None:
            continue
        low, high = (bound and 1 / bound for bound in (decided.high, decided.low))
        ratios.append(
            Ratio(
                run=latest[1][pair.b.case],
                case=pair.b.case,
                base_run=latest[0][pair.a.case],
                base=pair.a.case,
                ratio=1 / decided.ratio,
                low=low,
                high=high,
                verdict=decided.kind,
                boundary=pair.boundary,
            )
        )
    return ratios


def _by_time(runs: Iterable[Run]) -> list[Run]:
    return sorted(runs, key=lambda run: run.header.created)
