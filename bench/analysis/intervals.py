"""How far a ratio or a difference of times may be off: standard errors by several estimates, the widest counts; pure.

Every interval of two sides whose processes are independent comes from here: that of a verdict, of a ratio in a table,
of rates, of a step of a history. Those of pairs come from bench.analysis.sequential.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Sequence
from statistics import fmean
from typing import NamedTuple, TypedDict

from bench import stats

# The confidence of the intervals that are shown.
SHOWN = 0.95
KNOWN = math.inf  # degrees of freedom of a standard deviation that is given


class GroupSd(NamedTuple):
    """A source of variance above the process: the standard deviation ``sd`` of a group's log, its degrees of freedom,
    and of each side the sum of the squares of its groups' shares: 1 for one group, 1/k for k equal, 0 where the side
    does not have this source. ``of_means`` is the variance of the means of groups,
    in which that of what is below is too; None where the ``sd`` is given, not estimated.
    """

    sd: float
    dof: float = KNOWN
    shares: tuple[float, float] = (1.0, 1.0)
    of_means: float | None = None

    @property
    def variance(self) -> float:
        """What it adds to that of the difference."""
        return self.sd**2 * sum(self.shares)

    @property
    def estimate(self) -> tuple[float, ...]:
        """What all levels that are of one estimate have; empty where the ``sd`` is given."""
        return () if self.of_means is None else (self.sd, self.dof, self.of_means)


class Sources(TypedDict, total=False):
    """What is known of the variance of two sides beyond their times; without any of it the sides are of one session and
    one build.

    ``process_sd`` is the standard deviation of the logs of processes, from a calibration, for a side of one process.
    ``session`` is the level of sessions, ``builds`` are those of builds, and ``groups`` says of each process in which
    session and build it was, so that these are left out of the spread of processes.
    """

    process_sd: float | None
    session: GroupSd | None
    builds: Sequence[GroupSd]
    groups: tuple[Sequence[Hashable], Sequence[Hashable]] | None


class Error(NamedTuple):
    """A standard error of the difference of two means, and its degrees of freedom."""

    error: float
    dof: float

    def half(self, confidence: float) -> float:
        """Half of the interval."""
        return stats.critical(self.dof, confidence) * self.error


class Part(NamedTuple):
    """A part of the variance of a difference, and its degrees of freedom. ``estimate`` is what it was estimated by
    together with that of other differences, if anything; what is ``shared`` is the same in all that are of one session.
    """

    variance: float
    dof: float
    estimate: tuple[float, ...] = ()
    shared: bool = False


class ProcessSd(NamedTuple):
    """The standard deviation of a side's processes, and its degrees of freedom per process beyond the first."""

    measured: float
    known_by: float

    @property
    def sd(self) -> float:
        """No less than that of the rounding of times."""
        return max(self.measured, stats.ROUNDING)

    def dof(self, n: int) -> float:
        """Those of n processes."""
        return KNOWN if math.isinf(self.known_by) else self.known_by * (n - 1)


class Estimates(NamedTuple):
    """A difference of two means, and its standard error by several estimates: ``whole`` ones with all levels, and
    ``partial`` ones with some or none, or without a side whose spread is given; of each the spreads as measured, and no
    less than the rounding. The last ``partial`` ones are those of groups, where their level is estimated.

    What is added to a variance, be it the floor or a level whose sd is known, also adds degrees of freedom, and of few
    processes these can narrow an interval by more than the variance widens it: 2 and 2 with sds of 0 and s have a half
    of 12.7 s / sqrt(2), with s and s one of 4.3 s. But what is added cannot tell more of the processes than they do,
    nor many processes what few groups differ by, so the interval is the widest of all.
    """

    centre: float
    whole: tuple[Error, ...]
    partial: tuple[Error, ...]

    def half(self, confidence: float) -> float:
        """Half of the interval."""
        return max(each.half(confidence) for each in {*self.whole, *self.partial})

    def interval(self, confidence: float) -> stats.Interval:
        """The interval on the scale of the difference."""
        half = self.half(confidence)
        return stats.Interval(self.centre - half, self.centre, self.centre + half)


def ratio_interval(
    a: Sequence[float],
    b: Sequence[float],
    *,
    process_sd: float | None = None,
    session: GroupSd | None = None,
    builds: Sequence[GroupSd] = (),
    groups: tuple[Sequence[Hashable], Sequence[Hashable]] | None = None,
) -> stats.Interval | None:
    """The ratio B / A of geometric means with the 95 % interval that ``verdict`` has of the same times and Sources.

    None for fewer than two processes on a side, unless there is a ``process_sd``. ValueError as by ``verdict``.
    """
    levels = [*([session] if session else []), *builds]
    check(a, b, {"process_sd": process_sd or 0.0})
    if min(len(a), len(b)) < 2 and process_sd is None:
        return None
    logs = logs_of(a), logs_of(b)
    of = estimates(fmean(logs[1]) - fmean(logs[0]), spreads(logs, groups, process_sd), (len(a), len(b)), levels)
    low, log, high = of.interval(SHOWN)
    return stats.Interval(math.exp(low), math.exp(log), math.exp(high))


def difference_interval(a: Sequence[float], b: Sequence[float]) -> stats.Interval | None:
    """The difference A - B of geometric means of times of one session and build, with its 95 % interval, by the same
    estimates as their ratio's: the standard error of a geometric mean is it times that of the logs (delta method).

    None for fewer than two processes on a side; ValueError as by ``verdict``.
    """
    check(a, b, {})
    if min(len(a), len(b)) < 2:
        return None
    logs = logs_of(a), logs_of(b)
    means = math.exp(fmean(logs[0])), math.exp(fmean(logs[1]))
    return estimates(means[0] - means[1], spreads(logs), (len(a), len(b)), (), means).interval(SHOWN)


def check(a: Sequence[float], b: Sequence[float], sds: dict[str, float]) -> None:
    """ValueError for a side without a process, a time that is no positive finite number, or an sd that cannot be."""
    for name, sd in sds.items():
        if not 0 <= sd < math.inf:
            raise ValueError(f"{name} is {sd}, which is no standard deviation")
    for name, side in (("a", a), ("b", b)):
        if not side:
            raise ValueError(f"{name} has no process")
        if wrong := [time for time in side if not (time > 0 and math.isfinite(time))]:
            raise ValueError(f"{name} has the time {wrong[0]}, which is no positive number")


def logs_of(times: Sequence[float]) -> list[float]:
    """The natural logarithms."""
    return [math.log(time) for time in times]


# --------------------------------------------------------------------------------------------------- the estimates


def spreads(
    logs: tuple[Sequence[float], Sequence[float]],
    groups: tuple[Sequence[Hashable], Sequence[Hashable]] | None = None,
    process_sd: float | None = None,
) -> tuple[ProcessSd, ProcessSd]:
    """Those of the processes of both sides; a side of one process has ``process_sd``, which must then be given."""
    a, b = groups or ((0,) * len(logs[0]), (0,) * len(logs[1]))
    return _spread(logs[0], a, process_sd), _spread(logs[1], b, process_sd)


def _spread(logs: Sequence[float], groups: Sequence[Hashable], process_sd: float | None) -> ProcessSd:
    """That of the processes themselves, within groups if some have two; a side with one has the calibrated one."""
    n = len(logs)
    if n < 2:
        assert process_sd is not None
        return ProcessSd(process_sd, KNOWN)
    members: dict[Hashable, list[float]] = {}
    for log, group in zip(logs, groups, strict=True):
        members.setdefault(group, []).append(log)
    within = list(members.values()) if len(members) < n else [list(logs)]
    squares = sum((log - centre) ** 2 for of in within for centre in (fmean(of),) for log in of)
    dof = n - len(within)
    return ProcessSd(math.sqrt(squares / dof), dof / (n - 1))


def estimates(
    centre: float,
    spreads: Sequence[ProcessSd],
    n: tuple[int, int],
    levels: Sequence[GroupSd],
    scales: tuple[float, float] = (1.0, 1.0),
) -> Estimates:
    """All estimates of the error of ``centre``, a difference of the means of ``n`` logs each, or with ``scales`` of
    what these are the relative errors of.
    """
    dofs = [spread.dof(count) for spread, count in zip(spreads, n, strict=True)]
    sds = [spread.measured for spread in spreads], [spread.sd for spread in spreads]
    shares = scales[0] ** 2 / n[0], scales[1] ** 2 / n[1]
    present = [level for level in levels if level.variance]
    fewer = [some for size in range(len(present)) for some in itertools.combinations(present, size)]

    def errors(sds: Sequence[Sequence[float]], levels: Sequence[GroupSd]) -> list[Error]:
        return [_error(each, dofs, shares, n[0] == n[1], levels) for each in sds]

    partial = [error for some in fewer for error in errors(sds, some)]
    if len({math.isinf(dof) for dof in dofs}) > 1:  # one side's spread is given: the other side alone
        measured = [[0.0 if math.isinf(dof) else sd for sd, dof in zip(each, dofs, strict=True)] for each in sds]
        partial += [error for some in (*fewer, present) for error in errors(measured, some)]
    partial += [_error_of(parts) for each in sds if (parts := _of_groups(each, dofs, shares, levels))]
    return Estimates(centre, tuple(errors(sds, present)), tuple(partial))


def _error(
    sds: Sequence[float], dofs: Sequence[float], shares: tuple[float, float], equal: bool, levels: Sequence[GroupSd]
) -> Error:
    """With the variances of processes and levels, and the degrees of freedom of Satterthwaite, "An approximate
    distribution of estimates of variance components", Biometrics Bulletin 2 (1946) 110. ``shares`` say how much of the
    variance of a process is in that of the difference: of n processes 1 / n.
    """
    parts = [sd**2 * share for sd, share in zip(sds, shares, strict=True)]
    welch, uncertain = sum(parts), sum(part**2 / dof for part, dof in zip(parts, dofs, strict=True))
    of_processes = welch if equal else max(welch, _pooled(sds, dofs, shares))
    variance = of_processes + sum(level.variance for level in levels)
    uncertain *= (of_processes / welch) ** 2 if welch else 1.0
    uncertain += sum(level.variance**2 / level.dof for level in levels)
    return Error(math.sqrt(variance), variance**2 / uncertain if uncertain else KNOWN)


def _of_groups(
    sds: Sequence[float], dofs: Sequence[float], shares: tuple[float, float], levels: Sequence[GroupSd]
) -> tuple[Part, ...]:
    """The variance of the difference by how far the means of groups lie apart, sessions before builds, which are within
    them; with the degrees of freedom of the groups. So it also holds where few groups are closer together, by chance,
    than they usually are: many processes tell nothing of that. Empty without a level that is estimated.
    """
    parts: dict[GroupSd | int, Part] = {}  # by what tells of it: a level, or the processes of a side
    given = 0.0
    for side, (sd, share) in enumerate(zip(sds, shares, strict=True)):
        source = next((level for level in levels if level.of_means is not None and level.shares[side]), None)
        if source is None:
            parts[side] = Part(sd**2 * share, dofs[side])
        else:
            earlier = parts[source].variance if source in parts else 0.0
            variance = earlier + (source.of_means or 0.0) * source.shares[side]
            parts[source] = Part(variance, source.dof, source.estimate)
        given += sum(level.sd**2 * level.shares[side] for level in levels if level.of_means is None)
    estimated = any(isinstance(key, GroupSd) for key in parts)
    return (*parts.values(), Part(given, KNOWN)) if estimated else ()


def _error_of(parts: Sequence[Part]) -> Error:
    variance, uncertain = sum(part.variance for part in parts), sum(part.variance**2 / part.dof for part in parts)
    return Error(math.sqrt(variance), variance**2 / uncertain if uncertain else KNOWN)


def for_means(
    spreads: Sequence[ProcessSd], n: tuple[int, int], session: GroupSd, builds: Sequence[GroupSd]
) -> tuple[tuple[Part, ...], ...]:
    """The variance of a difference in its parts, by several estimates, as many for all: of processes, with builds, and
    with sessions, each by both sides and by those whose interval is the widest; and that of groups.
    """
    processes = estimates(0.0, spreads, n, ())
    of_builds = tuple(Part(level.variance, level.dof, level.estimate) for level in builds if level.variance)
    of_sessions = (Part(session.variance, session.dof, session.estimate, shared=True),) if session.variance else ()
    several: list[tuple[Part, ...]] = []
    for error in (widest(processes.whole, SHOWN), widest((*processes.whole, *processes.partial), SHOWN)):
        own = (Part(error.error**2, error.dof),)
        several += [own, own + of_builds, own + of_builds + of_sessions]
    dofs = [spread.dof(count) for spread, count in zip(spreads, n, strict=True)]
    of_groups = _of_groups([spread.sd for spread in spreads], dofs, (1 / n[0], 1 / n[1]), (session, *builds))
    return (*several, of_groups or several[2])


def _pooled(sds: Sequence[float], dofs: Sequence[float], shares: tuple[float, float]) -> float:
    """The variance of the difference if both sides have one spread, that of all their processes; of equal numbers that
    is Welch's. Two processes may be alike by chance, which the many of the other side contradict.
    """
    if math.isinf(sum(dofs)):
        return 0.0
    return sum(dof * sd**2 for dof, sd in zip(dofs, sds, strict=True)) / sum(dofs) * sum(shares)


def widest(errors: Sequence[Error], confidence: float) -> Error:
    """The one with the widest interval."""
    return max(errors, key=lambda each: each.half(confidence))
