"""What a reader of several runs asks first: which runtime is fastest where, by how much, and what stands out; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from bench.analysis.leaders import Leader, leaders, primary_time
from bench.analysis.pool import Pool
from bench.analysis.rows import Row
from bench.analysis.speed import size
from bench.model.data import Data
from bench.model.run import Environment, Run

FindingKind = Literal["gain", "host_bound", "fast_inaccurate"]


class Machine(Data, frozen=True, kw_only=True):
    """A device as its name, and ``differs``, which tells it from other machines of that name: ``driver 580.95``."""

    device: str
    arch: str
    kind: str
    differs: str = ""


class Highlight(Data, frozen=True, kw_only=True):
    """Something that stands out. ``count`` cases of ``of`` have it, ``case`` of ``run`` has most of it.

    ``gain``: the leader with the largest speed against its baseline, the lower bound of its interval decides; ``value``
    is the speed. ``host_bound``: cases whose host takes longer to issue a call than the GPU to run it; ``value`` is the
    ratio of these times. It leaves out cases that are not sound: their times say nothing.
    ``fast_inaccurate``: cases whose outputs are wrong and that are faster than the leader, ``other``; ``value`` is the
    leader's time over theirs. It leaves out cases with another flaw, of which times say nothing, and sizes where
    nothing but engines of optimization level 0 ranked: those are not built to be fast.
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


def findings(
    runs: Sequence[Run], tables: Sequence[Sequence[Row]], pools: Sequence[Sequence[Pool]], chosen: Sequence[Leader]
) -> list[Highlight]:
    """The largest gain of the ``chosen`` leaders, the host-bound cases and the fast inaccurate ones of all runs.

    ``tables`` are the rows() of the runs, ``pools`` their cases as gathered.
    """
    rows = {(run.header.run, row.case): row for run, table in zip(runs, tables, strict=True) for row in table}
    sound = {(run.header.run, pool.case.id) for run, of in zip(runs, pools, strict=True) for pool in of if pool.sound}
    return [
        _gain(rows, chosen),
        _host_bound({key: row for key, row in rows.items() if key in sound}),
        _fast_inaccurate(runs, tables, pools),
    ]


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


def _fast_inaccurate(
    runs: Sequence[Run], tables: Sequence[Sequence[Row]], pools: Sequence[Sequence[Pool]]
) -> Highlight:
    fast, checked = [], 0
    for run, table, of_run in zip(runs, tables, pools, strict=True):
        sizes = {case.id: size(case) for case in run.header.cases}
        first = {sizes[leader.case]: leader for leader in leaders(run, table, of_run)}
        of = {row.case: row for row in table}
        flaws = {pool.case.id: pool.flaw for pool in of_run}
        for row in table:
            leader, flaw = first.get(sizes[row.case]), flaws[row.case]
            is_wrong = flaw is not None and flaw.kind == "inaccurate"
            if row.score is None or (flaw and not is_wrong) or (leader and leader.level_zero == "all"):
                continue
            checked += 1
            if not is_wrong or leader is None or row.primary not in row.times:
                continue
            if (value := primary_time(of[leader.case]) / row.times[row.primary].value) > 1:
                fast.append((value, run.header.run, row.case, leader.case))
    if not fast:
        return Highlight(kind="fast_inaccurate", count=0, of=checked)
    value, name, case, other = max(fast)
    return Highlight(kind="fast_inaccurate", count=len(fast), of=checked, run=name, case=case, other=other, value=value)
