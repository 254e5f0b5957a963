"""One case over many runs: a point per run, and the runs at which its time steps to another level; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from itertools import pairwise
from statistics import median
from typing import Literal

import msgspec

from bench import stats
from bench.analysis import differences, sides, steps
from bench.analysis.differences import Difference
from bench.analysis.intervals import ratio_interval
from bench.analysis.pool import Pool, gather
from bench.analysis.rows import PRIMARY
from bench.analysis.spreads import Spreads
from bench.analysis.verdict import LEAST
from bench.model.calibration import Calibration
from bench.model.run import Environment, Header, Run
from bench.model.suite import Boundary, Case

# Runs from which steps are looked for where a calibration says what noise is; without one, from steps.LEAST on.
LEAST_RUNS = 4
# Deviations from its level from which a point is said to lie apart.
_APART = 4.0


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A case in one run: ``ns`` is the geometric mean of process medians (in ``throughput`` of times per inference),
    with its 95 % interval, None in one process. ``level_ns`` is the median of the points between two steps, ``apart``
    a point that lies far from it.
    """

    run: str
    created: str
    commit: str
    version: str
    ns: float
    low: float | None
    high: float | None
    processes: int
    fingerprint: str
    level_ns: float = 0.0
    apart: bool = False


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A change of level at the point ``index``, the first of the new one: ``ratio`` of its time to that before, with
    the 95 % interval of the runs on both sides, None where one has a single run. ``changes`` are what the commit, the
    environment and the settings of this run differ in from the run before.
    """

    index: int
    run: str
    before_ns: float
    after_ns: float
    ratio: float
    low: float | None
    high: float | None
    changes: tuple[Difference, ...]


class History(msgspec.Struct, frozen=True, kw_only=True):
    """The points of one case at one boundary on one device, by time, all by one ``definition`` of boundaries (that of
    their environments). Where there were others before, ``redefined`` is what differs from the history before, which
    this one does not continue. ``sd`` is the noise of one run (of logs) that steps were looked for with, and ``basis``
    where it is from; ``none`` where there are too few runs for steps.

    ``gaps`` are runs in which the case has no sound time, and why; ``unread`` are files that could not be read;
    ``suite`` is the file of the suite of the last run.
    """

    case: str
    label: str
    device: str
    arch: str
    boundary: Boundary
    definition: str = ""
    redefined: tuple[Difference, ...] = ()
    points: tuple[Point, ...] = ()
    steps: tuple[Step, ...] = ()
    sd: float | None = None
    basis: Literal["calibration", "runs", "none"] = "none"
    calibration: str = ""
    gaps: tuple[tuple[str, str], ...] = ()
    unread: tuple[str, ...] = ()
    suite: str = ""


class _Moment(msgspec.Struct, frozen=True):
    run: Run
    pool: Pool
    here: Environment


def is_point(header: Header) -> bool:
    """Whether a run is a point of the histories of its cases: the processes of a duel take turns with others."""
    return header.duel is None


def histories(
    runs: Sequence[Run], cases: Sequence[Case], boundaries: Sequence[Boundary] = ()
) -> list[tuple[History, list[Run]]]:
    """A history of each case on each device at each of ``boundaries`` (by default the first of PRIMARY that it has
    or was to have) by each definition of them, without steps, and the run of each point. Only of runs that is_point().
    """
    moments: dict[tuple[str, str, str], list[_Moment]] = {}
    wanted = {case.id: case for case in cases}
    counted = (run for run in runs if is_point(run.header))
    for run in sorted(counted, key=lambda run: (run.header.created, run.header.run)):
        for pool in gather(run):
            here = sides.environment_of(run.header, pool.case)
            if pool.case.id in wanted and here:
                moments.setdefault((pool.case.id, here.arch, here.device), []).append(_Moment(run, pool, here))
    whole = []
    for several in moments.values():
        measured = {boundary for each in several for boundary in each.pool.samples}
        groups = differences.by_definition(several, lambda each: each.here)
        for boundary in boundaries or [_primary(several, measured)]:
            if boundary in measured or not boundaries:
                whole += [_of(group, boundary, before) for before, group in pairwise([[], *groups])]
    return whole


def with_steps(history: History, runs: Sequence[Run], calibration: Calibration | None = None) -> History:
    """The history with its steps: of 1 % or more, and beyond the noise.

    Noise is the larger of what the runs show themselves (by differences of neighbours) and the calibrated one: of the
    run, session sd and process sd / sqrt(processes). ``runs`` are those of the points.
    """
    logs = [math.log(point.ns) for point in history.points]
    seen = steps.noise(logs)
    known = _known(history, calibration)
    if (known is None and seen is None) or len(logs) < LEAST_RUNS:
        return _placed(history, [])
    sds = [max(each, seen or 0.0) for each in known] if known else [seen or 0.0] * len(logs)
    places = steps.without_small(logs, steps.steps(logs, sds), math.log1p(LEAST))
    usual = median(sds)
    is_calibrated = known is not None and usual > (seen or 0.0)
    history = msgspec.structs.replace(
        history,
        sd=usual,
        basis="calibration" if is_calibrated else "runs",
        calibration=calibration.calibration if calibration and is_calibrated else "",
    )
    history = _placed(history, places, sds)
    return msgspec.structs.replace(history, steps=tuple(_step(history, runs, place, places) for place in places))


def matches(cases: Sequence[Case], name: str) -> list[Case]:
    """The cases, each once, whose label is ``name``, or whose id begins with it."""
    distinct = {case.id: case for case in cases}.values()
    by_label = [case for case in distinct if case.label == name]
    return by_label or [case for case in distinct if len(name) >= 4 and case.id.startswith(name)]


# ------------------------------------------------------------------------------------------------------------------


def _primary(moments: Sequence[_Moment], measured: Set[Boundary]) -> Boundary:
    """The boundary of a case: the first of PRIMARY that is ``measured``, or was to be where no run has measured it."""
    wanted = measured or {boundary for each in moments for boundary in each.run.header.policy.boundaries}
    default: Boundary = "gpu" if moments[0].here.kind == "cuda" else "latency"
    return next((b for b in PRIMARY if b in wanted), "throughput" if wanted else default)


def _of(moments: Sequence[_Moment], boundary: Boundary, before: Sequence[_Moment]) -> tuple[History, list[Run]]:
    """The history of ``moments``, which are by one definition; those ``before`` are by another."""
    points, runs, gaps = [], [], []
    for each in moments:
        times = sides.times(each.pool, boundary)
        if why := _unsound(each.pool, times, boundary):
            gaps.append((each.run.header.run, why))
            continue
        interval = stats.process_interval(times)
        header = each.run.header
        points.append(
            Point(
                run=header.run,
                created=header.created,
                commit=header.commit,
                version=header.version,
                ns=interval.centre if interval else times[0],
                low=interval.low if interval else None,
                high=interval.high if interval else None,
                processes=len(times),
                fingerprint=each.here.fingerprint,
            )
        )
        runs.append(each.run)
    first = moments[0]
    return History(
        case=first.pool.case.id,
        label=first.pool.case.label,
        device=first.here.device,
        arch=first.here.arch,
        boundary=boundary,
        definition=first.here.boundaries,
        redefined=tuple(differences.redefinitions(before[-1].here, first.here)) if before else (),
        points=tuple(points),
        gaps=tuple(gaps),
        suite=moments[-1].run.header.suite_path,
    ), runs


def _unsound(pool: Pool, times: Sequence[float], boundary: Boundary) -> str:
    """Why a run has no point; empty if it has."""
    if flaw := pool.flaw:
        return f"it {flaw.text}"
    if not times:
        return f"it has no {boundary}"
    return "" if all(time > 0 and math.isfinite(time) for time in times) else "it has times of 0"


def _known(history: History, calibration: Calibration | None) -> list[float] | None:
    """The calibrated noise of each point; None without a calibration of several sittings at this boundary."""
    if calibration is None:
        return None
    session_sd, process_sd = Spreads(calibration).of([history.case], history.boundary)
    if process_sd is None or session_sd is None:
        return None
    noise = [math.hypot(session_sd, process_sd / math.sqrt(point.processes)) for point in history.points]
    return noise if min(noise, default=0.0) > 0 else None


def _placed(history: History, places: Sequence[int], sds: Sequence[float] = ()) -> History:
    """The history whose points know their level."""
    bounds = [0, *places, len(history.points)]
    points: list[Point] = []
    for start, end in pairwise(bounds):
        of_level = history.points[start:end]
        level = median(point.ns for point in of_level) if of_level else 0.0
        for index, point in enumerate(of_level, start):
            apart = bool(sds) and abs(math.log(point.ns / level)) > _APART * sds[index]
            points.append(msgspec.structs.replace(point, level_ns=level, apart=apart))
    return msgspec.structs.replace(history, points=tuple(points))


def _step(history: History, runs: Sequence[Run], place: int, places: Sequence[int]) -> Step:
    start = max([0, *(other for other in places if other < place)])
    end = min([len(history.points), *(other for other in places if other > place)])
    before, after = ([point.ns for point in history.points[a:b]] for a, b in ((start, place), (place, end)))
    interval = ratio_interval(before, after)
    return Step(
        index=place,
        run=history.points[place].run,
        before_ns=history.points[place - 1].level_ns,
        after_ns=history.points[place].level_ns,
        ratio=history.points[place].level_ns / history.points[place - 1].level_ns,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        changes=_changes(runs[place - 1], runs[place]),
    )


def _changes(before: Run, after: Run) -> tuple[Difference, ...]:
    """What two runs that follow each other differ in: the commit first, then environments and settings."""
    commits = before.header.commit or "none", after.header.commit or "none"
    differ = [Difference(dimension="", what="commit", a=commits[0], b=commits[1])] if len(set(commits)) > 1 else []
    for name, here in after.header.environments.items():
        if was := before.header.environments.get(name):
            differ += differences.differences(was, here)
    return tuple(dict.fromkeys([*differ, *differences.minor_differences([before, after])]))
