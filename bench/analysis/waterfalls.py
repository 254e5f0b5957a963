"""The waterfalls of the cases of profiles, beside what a run measured of the same cases without a profiler; pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence, Set

import msgspec

from bench.analysis import held_calls, waterfall
from bench.analysis.held_calls import Comparison
from bench.analysis.rows import rows
from bench.analysis.waits import Wait, waits
from bench.model.data import Data
from bench.model.profile import CaseProfile, CondensedProfile, Parts, ProfileRun
from bench.model.run import Failure, Run
from bench.model.suite import Boundary

BESIDE: tuple[Boundary, ...] = ("gpu", "gpu_unheld", "latency")
ELSEWHERE = "the profile is of another environment than the run: a library, the driver or a limit of the device differs"


class RunWaterfalls(Data, frozen=True, kw_only=True):
    """Those of a run's ``cases``. ``make`` is the command for cases without a profile, empty if there are none;
    ``problems`` are files of profiles that could not be read.
    """

    run: str
    cases: tuple[Waterfall, ...]
    make: str = ""
    problems: tuple[str, ...] = ()


class Waterfall(Data, frozen=True, kw_only=True):
    """One case. ``parts`` are those of its typical inference, None without a profile, and ``ratio`` is the window of
    that over the median without a profiler; of GPU work ``busy_ns``, ``span_ns`` and ``held_ns`` are medians over all
    ``iterations``.

    ``attributed`` is the fraction of the time of all kernels of the capture that belongs to an iteration. ``times`` has
    the medians that the run measured of BESIDE, ns, in other processes than the profiled one, whose own ``gpu`` is in
    ``own``. ``waits`` are the calls that wait inside of the inference. ``created`` and ``tool`` are those of the
    profile.
    """

    case: str
    label: str
    tool: str = ""
    created: str = ""
    device: str = ""
    iterations: int = 0
    parts: Parts | None = None
    unprofiled_ns: float | None = None
    ratio: float | None = None
    busy_ns: float | None = None
    span_ns: float | None = None
    held_ns: float | None = None
    attributed: float | None = None
    times: dict[str, float] = {}
    own: Comparison = Comparison()
    waits: tuple[Wait, ...] = ()
    notes: tuple[str, ...] = ()
    failure: Failure | None = None


def of_profiles(profiles: ProfileRun) -> tuple[Waterfall, ...]:
    """One for each case of a file of profiles that has one or says why not; layers alone have none."""
    return tuple(_of(case, profiles) for case in profiles.cases if _tells(case))


def of_run(run: Run, profiles: Iterable[ProfileRun], only: Set[str] | None = None) -> tuple[Waterfall, ...]:
    """One for each case of a run, of those among ``only`` (ids), in its order; from ``profiles``, newest first, each
    takes the first that has a profile of it, else the first failure. They are read until all cases have one.
    """
    table = [row for row in rows(run) if only is None or row.case in only]
    toolchains = {case.id: case.toolchain for case in run.header.cases}
    open_cases = {row.case for row in table}
    complete: dict[str, Waterfall] = {}
    failed: dict[str, Waterfall] = {}
    for one in profiles:
        for case in one.cases:
            if case.case in open_cases and _tells(case):
                target = complete if case.failure is None else failed
                each = _of(case, one)
                if _is_elsewhere(run, one, toolchains[case.case]):
                    each = msgspec.structs.replace(each, notes=(*each.notes, ELSEWHERE))
                target.setdefault(case.case, each)
        open_cases -= set(complete)
        if not open_cases:
            break
    several = []
    for row in table:
        each = complete.get(row.case) or failed.get(row.case) or Waterfall(case=row.case, label=row.label)
        times = {boundary: row.times[boundary].value for boundary in BESIDE if boundary in row.times}
        several.append(msgspec.structs.replace(each, times=times))
    return tuple(several)


def _is_elsewhere(run: Run, profiles: ProfileRun, toolchain: str) -> bool:
    ours, theirs = run.header.environments.get(toolchain), profiles.environments.get(toolchain)
    return ours is not None and theirs is not None and ours.fingerprint != theirs.fingerprint


def _tells(case: CaseProfile) -> bool:
    return case.failure is not None or bool(case.condensed and case.condensed.parts)


def _of(case: CaseProfile, profiles: ProfileRun) -> Waterfall:
    about = Waterfall(case=case.case, label=case.label, tool=profiles.tool, created=profiles.created)
    condensed = case.condensed
    if condensed is None or not condensed.parts:
        return msgspec.structs.replace(about, failure=case.failure)
    profile, parts = condensed.profile, condensed.parts
    on_gpu = profile.device == "cuda"
    return msgspec.structs.replace(
        about,
        device=profile.device,
        iterations=len(parts),
        parts=parts[waterfall.typical(parts)],
        unprofiled_ns=_median(profile.unprofiled_ns),
        ratio=waterfall.ratio(parts, profile.unprofiled_ns),
        busy_ns=_median([each.busy for each in parts]) if on_gpu else None,
        span_ns=_median([each.span for each in parts]) if on_gpu else None,
        held_ns=_median([each.held for each in parts]) if on_gpu else None,
        own=held_calls.compare(condensed),
        attributed=condensed.attribution.share if condensed.attribution else None,
        waits=waits(profile),
        notes=profile_notes(condensed),
    )


def profile_notes(condensed: CondensedProfile) -> tuple[str, ...]:
    """What the tool could not tell of a case, and that its windows lie far apart where they do."""
    spread = waterfall.spread([each.window for each in condensed.parts])
    return (*condensed.profile.notes, *([spread] if spread else []))


def _median(values: Sequence[int]) -> float | None:
    return statistics.median(values) if values else None
