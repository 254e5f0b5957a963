"""How identical code differs on one machine, by runs of the same cases: the levels of each case and of all; pure."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

import msgspec

from bench.analysis import false_alarms, sides
from bench.analysis.flaws import UNMEASURED
from bench.analysis.pool import Pool, gather
from bench.analysis.power import replicates_needed, smallest_effect
from bench.analysis.variance import (
    Process,
    Sittings,
    build_component,
    cells,
    process_component,
    relative_session_sd,
    session_component,
    session_sd_of,
)
from bench.model.calibration import Component, Level, Need
from bench.model.run import Run
from bench.model.suite import Boundary

# What `compare` compares, and the host's part beside it.
BOUNDARIES: tuple[Boundary, ...] = ("gpu", "gpu_unheld", "latency", "throughput", "enqueue")
EFFECTS = (0.01, 0.02, 0.03, 0.05)
# Fewer processes in a sitting than this give no spread worth a number: sd from 3 has a 95 % interval of 0.5 to 6 of it.
LEAST_PROCESSES = 3
_SPLITS, _SPLITS_IN_ALL = 500, 10_000


def levels(runs: Sequence[Run], replicates: int, seed: int = 0) -> tuple[list[Level], list[Level], dict[str, str]]:
    """Every case at every boundary, each boundary with all cases together, and why other cases are left out.

    A run is a sitting. ``replicates`` are the processes a side that effects and false alarms are for.
    """
    pools: dict[str, dict[int, Pool]] = {}
    for number, run in enumerate(runs):
        for pool in gather(run):
            pools.setdefault(pool.case.id, {})[number] = pool
    labels = {key: next(iter(sittings.values())).case.label for key, sittings in pools.items()}
    series: dict[Boundary, dict[str, Sittings]] = {boundary: {} for boundary in BOUNDARIES}
    left_out: dict[str, str] = {}
    for key, of_case in pools.items():
        why = _unsound(of_case.values())
        usable: dict[Boundary, Sittings] = (
            {} if why else {b: parts for b in BOUNDARIES if (parts := _processes(of_case, b, len(runs)))}
        )
        for boundary, parts in usable.items():
            series[boundary][key] = parts
        if not usable:
            left_out[labels[key]] = why or f"fewer than {LEAST_PROCESSES} processes of one build in a sitting"
    splits = max(100, min(_SPLITS, _SPLITS_IN_ALL // max(sum(map(len, series.values())), 1)))
    each: list[Level] = []
    whole: list[Level] = []
    for boundary, of_boundary in series.items():
        several = list(of_boundary.values())
        session, scale = session_component(several), relative_session_sd(several)
        members = []
        for key, parts in of_boundary.items():
            session_sd = session_sd_of(parts, session, scale)
            level = _level(boundary, parts, session_sd, replicates, splits, f"{seed}/{key}/{boundary}")
            members.append(msgspec.structs.replace(level, case=key, label=labels[key]))
        each += members
        whole += [_together(boundary, members, several, session, replicates)] if members else []
    return each, whole, left_out


def _unsound(sittings: Iterable[Pool]) -> str:
    """Why a case has no times to trust; empty if it has."""
    measured = [pool for pool in sittings if pool.records]
    if any(pool.case.toolchain != "default" for pool in measured):
        return "it is of another toolchain"
    flaw = next((flaw for pool in measured if (flaw := pool.flaw)), None if measured else UNMEASURED)
    return f"it {flaw.text}" if flaw else ""


def _processes(sittings: Mapping[int, Pool], boundary: Boundary, number: int) -> Sittings:
    """The processes of each of ``number`` sittings, none of one that has too few; empty if all have, or a time is 0."""
    series: list[list[Process]] = [[] for _ in range(number)]
    for index, pool in sittings.items():
        times = sides.times(pool, boundary)
        if any(not time > 0 for time in times):
            return []
        builds = [record.build for record in pool.records if any(m.boundary == boundary for m in record.measurements)]
        if len(times) >= LEAST_PROCESSES and len(times) == len(builds):
            series[index] = [Process(math.log(time), build) for time, build in zip(times, builds, strict=True)]
    return series if process_component(series) else []


def _level(
    boundary: Boundary, sittings: Sittings, session_sd: float | None, replicates: int, splits: int, seed: str
) -> Level:
    rng = random.Random(seed)
    process = process_component(sittings)
    assert process  # else it is left out
    within, of_one, size = false_alarms.within_sittings(sittings, replicates, splits, rng)
    across, of_two, size_of_two = false_alarms.across_sittings(sittings, replicates, splits, rng)
    return _with_effects(
        Level(
            boundary=boundary,
            processes=tuple(map(len, sittings)),
            builds=max(len(cells(sitting)) for sitting in sittings),
            centre_ns=math.exp(fmean(each.log for sitting in sittings for each in sitting)),
            process=process,
            build=build_component(sittings),
            session=session_component([sittings]),
            session_sd=session_sd,
            within=false_alarms.alarms(within, of_one, size) if within else None,
            across=false_alarms.alarms(across, of_two, size_of_two, session_sd or 0.0) if across else None,
            without=false_alarms.alarms(across, of_two, size_of_two) if across else None,
        ),
        replicates,
    )


def _together(
    boundary: Boundary,
    members: Sequence[Level],
    series: Sequence[Sittings],
    session: Component | None,
    replicates: int,
) -> Level:
    """All cases of a boundary: the process sd is that of the mean variance, the alarms are those of all."""
    each = [sitting for sittings in series for sitting in sittings]  # as if each case were a sitting of its own
    process = process_component(each)
    assert process
    return _with_effects(
        Level(
            boundary=boundary,
            processes=tuple(map(sum, zip(*(level.processes for level in members), strict=True))),
            builds=max(level.builds for level in members),
            process=process,
            build=build_component(each),
            session=session,
            session_sd=session.sd if session else None,
            widest=max(level.process.sd for level in members),
            within=false_alarms.total(level.within for level in members),
            across=false_alarms.total(level.across for level in members),
            without=false_alarms.total(level.without for level in members),
        ),
        replicates,
    )


def _with_effects(level: Level, replicates: int) -> Level:
    """The level with what the verdict finds, in one sitting and in two."""
    sd, session_sd = level.process.sd, level.session_sd
    needs = [
        Need(
            effect=effect,
            one_sitting=replicates_needed(effect, sd, 0.0),
            two_sittings=None if session_sd is None else replicates_needed(effect, sd, session_sd),
        )
        for effect in EFFECTS
    ]
    return msgspec.structs.replace(
        level,
        one_sitting=smallest_effect(sd, 0.0, replicates),
        two_sittings=None if session_sd is None else smallest_effect(sd, session_sd, replicates),
        needs=tuple(needs),
    )
