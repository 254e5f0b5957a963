"""What a reader of several runs asks first: which runtime is fastest where, by how much, and what stands out; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from bench.analysis.pool import Pool
from bench.analysis.rows import Row
from bench.analysis.speed import Speed, size, speed_of
from bench.model.data import Data
from bench.model.run import Environment, Run

# From how many processes of a case on its ratios have intervals.
_SEVERAL = 2
# A run with more than this share of the cases and backends of the broadest one compares about as much.
_BROAD = 0.5

FindingKind = Literal["gain", "host_bound", "fast_inaccurate"]
LevelZero = Literal["", "first", "all"]
_LEVEL = "optimization_level"


class Machine(Data, frozen=True, kw_only=True):
    """A device as its name, and ``differs``, which tells it from other machines of that name: ``driver 580.95``."""

    device: str
    arch: str
    kind: str
    differs: str = ""


class Leader(Data, frozen=True, kw_only=True):
    """The fastest sound case (its id) of one model and size in one run; ``machine`` is the place of its machine.

    ``ties`` are the others that it cannot be told from. ``runner_up`` is the fastest that it can be told from, and
    ``margin`` the time of that over its own: above 1. ``rivals`` is how many cases ranked there, of so many
    ``backends``, ``elsewhere`` how many other runs of the same machine rank the same model and size. ``replicated``: it
    and another of them were measured in two processes or more, so that their ratio has an interval. ``has_baseline``:
    the run measured its baseline there, which may be the case itself. ``level_zero``: it is an engine of optimization
    level 0, which is built to be ready soon and not to be fast, and none of a higher level ranked there (``first``), or
    nothing but such engines did (``all``).
    """

    run: str
    case: str
    machine: int
    ties: tuple[str, ...]
    runner_up: str
    margin: Speed | None
    rivals: int
    backends: int
    elsewhere: int = 0
    replicated: bool = False
    has_baseline: bool = False
    level_zero: LevelZero = ""


class Highlight(Data, frozen=True, kw_only=True):
    """Something that stands out. ``count`` cases of ``of`` have it, ``case`` of ``run`` has most of it.

    ``gain``: the leader with the largest speed against its baseline, the lower bound of its interval decides;
    ``value`` is the speed. ``host_bound``: cases whose host takes longer to issue a call than the GPU to run it;
    ``value`` is the ratio of these times. ``fast_inaccurate``: cases whose outputs are wrong and that are faster than
    the leader, ``other``; ``value`` is the leader's time over theirs.
    """

    kind: FindingKind
    count: int
    of: int
    run: str = ""
    case: str = ""
    other: str = ""
    value: float | None = None


def machines(runs: Sequence[Run]) -> tuple[list[Machine], list[int]]:
    """The machines that the runs were made on, and the place of each run's.

    Machines of one name are two if their memory, driver, limits or host differ; libraries and toolchains do not count.
    """
    keys: dict[tuple[object, ...], int] = {}
    environments: list[Environment | None] = []
    places = []
    for run in runs:
        here = run.header.environments.get("default") or next(iter(run.header.environments.values()), None)
        key = _machine_key(here)
        if key not in keys:
            keys[key] = len(keys)
            environments.append(here)
        places.append(keys[key])
    named: dict[tuple[str, str], list[int]] = {}
    for place, here in enumerate(environments):
        named.setdefault((here.device, here.arch) if here else ("", ""), []).append(place)
    differences = {place: text for same in named.values() for place, text in _differences(same, environments).items()}
    return [
        Machine(
            device=here.device if here else "unknown machine",
            arch=here.arch if here else "",
            kind=here.kind if here else "",
            differs=differences.get(place, ""),
        )
        for place, here in enumerate(environments)
    ], places


def _machine_key(here: Environment | None) -> tuple[object, ...]:
    if here is None:
        return ()
    return here.device, here.arch, here.gib, here.driver, tuple(sorted(here.limits.items())), here.host


def _differences(same: Sequence[int], environments: Sequence[Environment | None]) -> dict[int, str]:
    """What tells machines of one name apart, by place; the first fact that does, else their number."""
    here = [(place, environment) for place in same if (environment := environments[place]) is not None]
    if len(here) < 2:
        return {}
    facts = [
        [f"driver {e.driver}" for _, e in here],
        [f"{e.gib} GiB" for _, e in here],
        [", ".join(f"{name} {value}" for name, value in _unequal(e, [o for _, o in here])) for _, e in here],
        [f"host {e.host[:6]}" for _, e in here],
    ]
    texts = next((fact for fact in facts if len(set(fact)) == len(fact)), None)
    texts = texts or [", ".join(parts) for parts in zip(*facts, strict=True)]
    return {place: text for (place, _), text in zip(here, texts, strict=True)}


def _unequal(environment: Environment, others: Sequence[Environment]) -> list[tuple[str, str]]:
    """The limits in which the environments are not all alike."""
    return [
        (name, value)
        for name, value in environment.limits.items()
        if len({other.limits.get(name) for other in others}) > 1
    ]


def leaders(run: Run, table: Sequence[Row], pools: Sequence[Pool], machine: int = 0) -> list[Leader]:
    """The fastest sound case of each model and size of a run, in their order; ``table`` are the rows() and ``pools``
    the cases as gathered.
    """
    of = {pool.case.id: pool for pool in pools}
    return [_leader(run.header.run, members, of, machine) for members in _ranked(table, of).values()]


def _ranked(table: Iterable[Row], pools: Mapping[str, Pool]) -> dict[tuple[object, ...], list[Row]]:
    """The ranked rows of each model and size, the fastest first."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in table:
        if row.ranked:
            groups.setdefault(size(pools[row.case].case), []).append(row)
    return {key: sorted(members, key=_primary_time) for key, members in groups.items()}


def _primary_time(row: Row) -> float:
    assert row.primary is not None  # of what ranks
    return row.times[row.primary].value


def _leader(run: str, members: Sequence[Row], pools: Mapping[str, Pool], machine: int) -> Leader:
    first = members[0]
    ties = [row.case for row in members[1:] if row.tied]
    second = next((row for row in members[1:] if not row.tied), None)
    margin = None
    if second and first.primary:
        margin = speed_of(pools[first.case], pools[second.case], first.primary, "")
    return Leader(
        run=run,
        case=first.case,
        machine=machine,
        ties=tuple(ties),
        runner_up=second.case if second else "",
        margin=margin,
        rivals=len(members),
        backends=len({pools[row.case].case.backend for row in members}),
        replicated=first.processes >= _SEVERAL and any(row.processes >= _SEVERAL for row in members[1:]),
        has_baseline=first.speed is not None,
        level_zero=_level_zero(members, pools),
    )


def _level_zero(members: Sequence[Row], pools: Mapping[str, Pool]) -> LevelZero:
    """What Leader says of the levels of engines among these cases, the fastest first."""
    levels = [_levels(row, pools[row.case]) for row in members]
    if all(0 in own for own in levels):
        return "all"
    return "first" if 0 in levels[0] and not any(max(own, default=0) > 0 for own in levels) else ""


def _levels(row: Row, pool: Pool) -> set[int]:
    """The optimization levels of a case's engines, as their builder told them and the suite asks; none of others."""
    values = (*row.fairness.get(_LEVEL, ()), pool.case.options.get(_LEVEL))
    return {value for value in values if isinstance(value, int) and not isinstance(value, bool)}


def best(
    runs: Sequence[Run], tables: Sequence[Sequence[Row]], pools: Sequence[Sequence[Pool]], places: Sequence[int]
) -> list[Leader]:
    """One leader for each machine, model and size: that of the run which ``_choose`` takes. Of a run whose engines are
    all of optimization level 0 only where there is no other.

    ``tables`` are the rows() of the runs, ``pools`` their cases as gathered, ``places`` those of their machines().
    Times of different runs are not ranked against each other: what differs between sessions would be in the difference.
    """
    candidates: dict[tuple[object, ...], list[Leader]] = {}
    for run, table, of, place in zip(runs, tables, pools, places, strict=True):
        cases = {case.id: case for case in run.header.cases}
        for leader in leaders(run, table, of, place):
            candidates.setdefault((place, size(cases[leader.case])), []).append(leader)
    created = {run.header.run: run.header.created for run in runs}
    chosen = []
    for several in candidates.values():
        top = _choose(several, created)
        fields = {name: getattr(top, name) for name in top.__struct_fields__}
        chosen.append(Leader(**(fields | {"elsewhere": len(several) - 1})))
    return chosen


def _choose(several: Sequence[Leader], created: Mapping[str, str]) -> Leader:
    """Of the runs that are broad the latest, those with a baseline first, then ``replicated`` ones.

    Broad ones rank more than half as many cases, and backends, as any. A run of fewer cases with intervals so takes the
    place of one without, but not one that sets a backend against itself, nor one that lacks what its cases are to beat.
    ``created`` has the time of each run. Those that a level-0 engine leads, for lack of better ones, come after all
    that compare backends, and those of level-0 engines alone last.
    """
    compared = [leader for leader in several if not leader.level_zero and leader.backends > 1]
    several = compared or [leader for leader in several if leader.level_zero != "all"] or several
    cases, backends = (_BROAD * max(getattr(leader, name) for leader in several) for name in ("rivals", "backends"))
    broad = [leader for leader in several if leader.rivals > cases and leader.backends > backends] or several
    return max(broad, key=lambda leader: (leader.has_baseline, leader.replicated, created[leader.run], leader.rivals))


def findings(runs: Sequence[Run], tables: Sequence[Sequence[Row]], chosen: Sequence[Leader]) -> list[Highlight]:
    """The largest gain of the ``chosen`` leaders, the host-bound cases and the fast inaccurate ones of all runs."""
    rows = {(run.header.run, row.case): row for run, table in zip(runs, tables, strict=True) for row in table}
    return [_gain(rows, chosen), _host_bound(rows), _fast_inaccurate(runs, tables)]


def _gain(rows: Mapping[tuple[str, str], Row], chosen: Sequence[Leader]) -> Highlight:
    gains = []
    for leader in chosen:
        speed = rows[leader.run, leader.case].speed
        if speed and speed.ratio is not None and speed.low is not None and speed.low > 1:
            gains.append((speed.low, speed.ratio, leader))
    if not gains:
        return Highlight(kind="gain", count=0, of=len(chosen))
    _, ratio, leader = max(gains, key=lambda gain: gain[:2])
    return Highlight(kind="gain", count=len(gains), of=len(chosen), run=leader.run, case=leader.case, value=ratio)


def _host_bound(rows: Mapping[tuple[str, str], Row]) -> Highlight:
    """By the figures of the warning, as only it knows which times were set against each other."""
    on_gpu = [row for row in rows.values() if "gpu" in row.times or "gpu_unheld" in row.times]
    shares = []
    for (run, case), row in rows.items():
        figures = [w.figures for w in row.warnings if w.kind == "HostBound"]
        ratios = [f["enqueue_ns"] / f["gpu_ns"] for f in figures if f.get("gpu_ns") and f.get("enqueue_ns")]
        if figures:
            shares.append((max(ratios, default=0.0), run, case))
    if not shares:
        return Highlight(kind="host_bound", count=0, of=len(on_gpu))
    value, run, case = max(shares)
    return Highlight(kind="host_bound", count=len(shares), of=len(on_gpu), run=run, case=case, value=value or None)


def _fast_inaccurate(runs: Sequence[Run], tables: Sequence[Sequence[Row]]) -> Highlight:
    fast, checked = [], 0
    for run, table in zip(runs, tables, strict=True):
        cases = {case.id: case for case in run.header.cases}
        leader: dict[tuple[object, ...], Row] = {}
        for row in table:
            of = size(cases[row.case])
            if row.ranked and (of not in leader or _primary_time(row) < _primary_time(leader[of])):
                leader[of] = row
        for row in table:
            checked += row.score is not None and row.score.accurate is not None
            best_row = leader.get(size(cases[row.case]))
            if row.score is None or row.score.ok or best_row is None or row.primary not in row.times:
                continue
            if (value := _primary_time(best_row) / row.times[row.primary].value) > 1:
                fast.append((value, run.header.run, row.case, best_row.case))
    if not fast:
        return Highlight(kind="fast_inaccurate", count=0, of=checked)
    value, name, case, other = max(fast)
    return Highlight(kind="fast_inaccurate", count=len(fast), of=checked, run=name, case=case, other=other, value=value)
