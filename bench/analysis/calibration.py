"""How identical code differs on one machine, by runs of the same cases: components of variance, false alarms; pure."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

import msgspec

from bench.analysis import differences, sides
from bench.analysis.compare import Comparison, SpreadOf
from bench.analysis.differences import Difference
from bench.analysis.pool import Pool, gather
from bench.analysis.power import replicates_needed, smallest_effect
from bench.analysis.verdict import verdict
from bench.model.calibration import Alarms, Calibration, Component, Level, Need
from bench.model.run import Environment, Run
from bench.model.suite import Boundary, Case

# What `compare` compares, and the host's part beside it.
SHOWN: tuple[Boundary, ...] = ("gpu", "gpu_unheld", "latency", "throughput", "enqueue")
EFFECTS = (0.01, 0.02, 0.03, 0.05)
# Fewer processes in a sitting than this give no spread worth a number: sd from 3 has a 95 % interval of 0.5 to 6 of it.
LEAST_PROCESSES = 3
_SPLITS, _SPLITS_IN_ALL = 500, 10_000
_CONFIDENCE = 0.95


class Process(NamedTuple):
    """The log of the time of one process, and the build that it measured."""

    log: float
    build: int


Sittings = Sequence[Sequence[Process]]


def levels(runs: Sequence[Run], replicates: int, seed: int = 0) -> tuple[list[Level], list[Level], dict[str, str]]:
    """Every case at every boundary, each boundary with all cases together, and why other cases are left out.

    A run is a sitting. ``replicates`` are the processes a side that effects and false alarms are for.
    """
    pools: dict[str, dict[int, Pool]] = {}
    for number, run in enumerate(runs):
        for pool in gather(run):
            pools.setdefault(pool.case.id, {})[number] = pool
    labels = {key: next(iter(sittings.values())).case.label for key, sittings in pools.items()}
    series: dict[Boundary, dict[str, Sittings]] = {boundary: {} for boundary in SHOWN}
    left_out: dict[str, str] = {}
    for key, of_case in pools.items():
        why = _unsound(of_case.values())
        usable: dict[Boundary, Sittings] = (
            {} if why else {b: parts for b in SHOWN if (parts := _processes(of_case, b, len(runs)))}
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


class Spreads:
    """The spreads of a calibration, by case and boundary."""

    def __init__(self, calibration: Calibration) -> None:
        self._whole = {level.boundary: level for level in calibration.boundaries}
        self._levels = {(level.case, level.boundary): level for level in calibration.levels}

    def of(self, cases: Sequence[str], boundary: Boundary | None) -> tuple[float | None, float | None]:
        """Session sd and process sd for a comparison of ``cases`` (ids) at a boundary: the larger of the cases, of one
        that was not calibrated that of all cases together and the largest of all. None for what is not known.
        """
        whole = self._whole.get(boundary) if boundary else None
        if whole is None or boundary is None:
            return None, None
        unknown = msgspec.structs.replace(
            whole, process=msgspec.structs.replace(whole.process, sd=whole.widest or whole.process.sd)
        )
        several = [self._levels.get((case, boundary), unknown) for case in cases]
        sessions = [level.session_sd for level in several if level.session_sd is not None]
        session_sd = max(sessions) if len(sessions) == len(several) else None
        return session_sd, max(level.process.sd for level in several)


def spread_of(calibration: Calibration, *, sittings: bool) -> SpreadOf:
    """For ``compare``: sides of one sitting have a session sd of 0. Where that between ``sittings`` is not known,
    processes of one say nothing of two, and there is neither.
    """
    spreads = Spreads(calibration)

    def of_pair(cases: Sequence[Case], boundary: Boundary | None) -> tuple[float, float | None]:
        if any(case.toolchain != "default" for case in cases):  # which the calibration is not of
            return 0.0, None
        session_sd, process_sd = spreads.of([case.id for case in cases], boundary)
        if not sittings:
            return 0.0, process_sd
        return (0.0, None) if session_sd is None else (session_sd, process_sd)

    return of_pair


def mark(comparison: Comparison, calibration: Calibration | None, note: str, *, sittings: bool) -> Comparison:
    """The comparison with the calibration that its verdicts use and a ``note`` on it, or why they use none."""
    if calibration is None:
        return msgspec.structs.replace(comparison, calibration_note=note)
    judged = [pair for pair in comparison.pairs if pair.verdict and pair.boundary]
    if not sittings:  # only sides of one process need it
        is_used = any(pair.verdict and pair.verdict.basis == "calibration" for pair in judged)
        fields = {"calibration": calibration.calibration, "calibration_note": note} if is_used else {}
        return msgspec.structs.replace(comparison, **fields)
    spreads, sds = Spreads(calibration), dict[Boundary, tuple[float, float]]()
    for pair in judged:
        assert pair.boundary
        session_sd, _ = spreads.of((pair.a.case, pair.b.case), pair.boundary)
        if session_sd is not None:
            low, high = sds.get(pair.boundary, (session_sd, session_sd))
            sds[pair.boundary] = min(low, session_sd), max(high, session_sd)
    if sds:
        return msgspec.structs.replace(
            comparison, calibration=calibration.calibration, session_sd=sds, calibration_note=note
        )
    shared = ", ".join(dict.fromkeys(pair.boundary or "" for pair in judged))
    of_one = any(level.boundary in {pair.boundary for pair in judged} for level in calibration.boundaries)
    why = "is of one sitting, which does not show how runs differ" if of_one else f"has no {shared}"
    return msgspec.structs.replace(comparison, calibration_note=f"{calibration.calibration} {why}" if judged else "")


def mismatch(calibration: Calibration, environments: Iterable[Environment], across: Sequence[str]) -> list[Difference]:
    """In what environments are others than that of the calibration, each once; but for what ``across`` names, unless it
    is the device.
    """
    named = [name for name in across if name.partition(":")[0] not in ("device", "limit")]
    differ = [each for here in environments for each in differences.differences(calibration.environment, here)]
    return list(dict.fromkeys(each for each in differ if not differences.is_named(each.dimension, named)))


# ------------------------------------------------------------------------------------------------------- components


def process_component(sittings: Sittings) -> Component | None:
    """The spread from process to process within a build and a sitting; None without two of them in one."""
    squares, dof = _within(sittings)
    return _component(squares / dof, squares, dof, 0.0, 1.0) if dof else None


def build_component(sittings: Sittings) -> Component | None:
    """That from build to build within a sitting, beyond what processes explain; None without two builds in one."""
    squares, dof, scale = 0.0, 0, 0.0
    for sitting in sittings:
        cells = _cells(sitting)
        if len(cells) > 1:
            centre = fmean(each.log for each in sitting)
            squares += sum(len(cell) * (fmean(cell) - centre) ** 2 for cell in cells)
            dof += len(cells) - 1
            scale += len(sitting) - sum(len(cell) ** 2 for cell in cells) / len(sitting)
    within, freedom = _within(sittings)
    if not dof or not freedom:
        return None
    noise = within / freedom
    return _component((squares - dof * noise) / scale, squares, dof, noise, scale / dof)


def session_component(several: Sequence[Sittings]) -> Component | None:
    """That from sitting to sitting, beyond what processes explain, over cases of which each differs in its own way; of
    one case with one. None without two sittings of one.

    Analysis of variance of a one-way layout with unequal numbers: Searle, Casella and McCulloch, "Variance Components"
    (1992), section 3.6. Another build in another sitting counts as part of it.
    """
    squares, noise, dofs, sittings_less_one = 0.0, 0.0, 0, 0
    for sittings in several:
        within, freedom = _within(sittings)
        filled = [[each.log for each in sitting] for sitting in sittings if sitting]
        if len(filled) < 2 or not freedom:
            continue
        number, dof = sum(map(len, filled)), len(filled) - 1
        centre = sum(map(sum, filled)) / number
        between = sum(len(logs) * (fmean(logs) - centre) ** 2 for logs in filled)
        # The processes of a sitting, if all had as many.
        size = (number - sum(len(logs) ** 2 for logs in filled) / number) / dof
        squares += between / size
        noise += dof * within / freedom / size
        dofs, sittings_less_one = dofs + dof, max(sittings_less_one, dof)
    if not dofs:
        return None
    # What slows a sitting slows all its cases, so that more cases are no more evidence of how sittings differ.
    return _component(
        (squares - noise) / dofs, squares / dofs * sittings_less_one, sittings_less_one, noise / dofs, 1.0
    )


def relative_session_sd(several: Sequence[Sittings]) -> float | None:
    """The session sd in process sds: the root of the mean over cases. None without two sittings of one."""
    shares = []
    for sittings in several:
        session, process = session_component([sittings]), process_component(sittings)
        if session and process and process.sd > 0:
            shares.append((session.sd / process.sd) ** 2)
    return math.sqrt(fmean(shares)) if shares else None


def session_sd_of(sittings: Sittings, session: Component | None, scale: float | None) -> float | None:
    """What verdicts on two sittings of a case add. With few sittings its own figure may be zero by chance, so it is not
    less than what all cases show together: in absolute terms, or in process sds, whichever is less for this case.
    """
    if session is None:
        return None
    own, process = session_component([sittings]), process_component(sittings)
    together = min(session.sd, scale * process.sd) if scale is not None and process else session.sd
    return max(own.sd if own else 0.0, together)


def _within(sittings: Sittings) -> tuple[float, int]:
    """The sum of squares of logs about the mean of their build and sitting, and its degrees of freedom."""
    squares, dof = 0.0, 0
    for sitting in sittings:
        for cell in _cells(sitting):
            centre = fmean(cell)
            squares += sum((log - centre) ** 2 for log in cell)
            dof += len(cell) - 1
    return squares, dof


def _cells(sitting: Sequence[Process]) -> list[list[float]]:
    cells: dict[int, list[float]] = {}
    for each in sitting:
        cells.setdefault(each.build, []).append(each.log)
    return list(cells.values())


def _component(variance: float, squares: float, dof: int, noise: float, scale: float) -> Component:
    """A variance with its interval: ``squares`` is about chi-squared with ``dof`` degrees of freedom times ``noise`` +
    ``scale`` times the variance (the interval of Tukey and Williams without the error of ``noise``).
    """
    from scipy.special import chdtri

    tail = (1 - _CONFIDENCE) / 2
    low, high = ((squares / float(chdtri(dof, t)) - noise) / scale for t in (tail, 1 - tail))
    sd, low, high = (math.sqrt(max(value, 0.0)) for value in (variance, low, high))
    return Component(sd=sd, low=low, high=high, dof=dof)


# ------------------------------------------------------------------------------------------------------ false alarms


def alarms(
    sides: Sequence[tuple[Sequence[float], Sequence[float]]], pairs: int, replicates: int, session_sd: float = 0.0
) -> Alarms:
    """How many of these pairs of sides (times of processes of identical code) the verdict calls different."""
    kinds = [verdict(a, b, session_sd=session_sd).kind for a, b in sides]
    number = sum(kind in ("FASTER", "SLOWER") for kind in kinds)
    low, high = rate_interval(number / len(sides), pairs)
    return Alarms(replicates=replicates, splits=len(sides), alarms=number, pairs=pairs, low=low, high=high)


def rate_interval(rate: float, number: float) -> tuple[float, float]:
    """The 95 % interval of Clopper and Pearson (Biometrika 26 (1934) 404) of a ``rate`` seen in ``number`` trials."""
    from scipy.special import betaincinv

    tail, seen = (1 - _CONFIDENCE) / 2, rate * number
    low = float(betaincinv(seen, number - seen + 1, tail)) if seen > 0 else 0.0
    high = float(betaincinv(seen + 1, number - seen, 1 - tail)) if seen < number else 1.0
    return low, high


def _within_sittings(
    sittings: Sittings, replicates: int, splits: int, rng: random.Random
) -> tuple[list[tuple[list[float], list[float]]], int, int]:
    """Pairs of sides from one sitting each, how many are disjoint, and the processes a side: those asked for, or as
    many as the largest sitting has for both.
    """
    size = min(replicates, max(map(len, sittings)) // 2)
    large = [sitting for sitting in sittings if len(sitting) >= 2 * size]
    sides = []
    for _ in range(splits if size > 1 else 0):
        chosen = rng.sample([math.exp(each.log) for each in rng.choice(large)], 2 * size)
        sides.append((chosen[:size], chosen[size:]))
    return sides, sum(len(sitting) // (2 * size) for sitting in large) if size > 1 else 0, size


def _across_sittings(
    sittings: Sittings, replicates: int, splits: int, rng: random.Random
) -> tuple[list[tuple[list[float], list[float]]], int, int]:
    """As _within_sittings, of two sittings each; a sitting is one trial however many processes it has."""
    sizes = sorted(map(len, sittings), reverse=True)
    size = min(replicates, sizes[1]) if len(sizes) > 1 else 0
    large = [sitting for sitting in sittings if len(sitting) >= size]
    sides = []
    for _ in range(splits if size > 1 else 0):
        a, b = ([math.exp(each.log) for each in rng.sample(side, size)] for side in rng.sample(large, 2))
        sides.append((a, b))
    return sides, len(large) // 2, size


def _sum(several: Iterable[Alarms | None]) -> Alarms | None:
    every = [each for each in several if each]
    if not every:
        return None
    splits, number, pairs = (sum(getattr(each, name) for each in every) for name in ("splits", "alarms", "pairs"))
    low, high = rate_interval(number / splits, pairs)
    fewest = min(each.replicates for each in every)
    return Alarms(replicates=fewest, splits=splits, alarms=number, pairs=pairs, low=low, high=high)


# ------------------------------------------------------------------------------------------------------------ levels


def _unsound(sittings: Iterable[Pool]) -> str:
    """Why a case has no times to trust; empty if it has."""
    measured = [pool for pool in sittings if pool.records]
    if any(pool.case.toolchain != "default" for pool in measured):
        return "it is of another toolchain"
    for pool in measured:
        if pool.failures:
            return f"it failed: {pool.failures[0].kind}"
        if not pool.sound:
            return "it is inaccurate" if pool.score and not pool.score.ok else "its calls are not alike"
    return "" if measured else "it was not measured"


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
    within, of_one, size = _within_sittings(sittings, replicates, splits, rng)
    across, of_two, size_of_two = _across_sittings(sittings, replicates, splits, rng)
    return _with_effects(
        Level(
            boundary=boundary,
            processes=tuple(map(len, sittings)),
            builds=max(len(_cells(sitting)) for sitting in sittings),
            centre_ns=math.exp(fmean(each.log for sitting in sittings for each in sitting)),
            process=process,
            build=build_component(sittings),
            session=session_component([sittings]),
            session_sd=session_sd,
            within=alarms(within, of_one, size) if within else None,
            across=alarms(across, of_two, size_of_two, session_sd or 0.0) if across else None,
            without=alarms(across, of_two, size_of_two) if across else None,
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
            within=_sum(level.within for level in members),
            across=_sum(level.across for level in members),
            without=_sum(level.without for level in members),
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
