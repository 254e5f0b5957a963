"""Variance components of process medians: between processes, builds and sessions; sequences in, numbers out; pure."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from statistics import fmean
from typing import NamedTuple


class Sample(NamedTuple):
    """The logarithm of the median of one process, in which session it ran, and which build of its model."""

    log: float
    session: Hashable = 0
    build: Hashable = 0


class Component(NamedTuple):
    """The standard deviation of the logs of one level, its degrees of freedom, and how many sets tell of it; and the
    variance of the means of its groups, in which that of what is below is too.
    """

    sd: float
    dof: int
    sets: int
    of_means: float


class Components(NamedTuple):
    """What processes of one build and session differ by, what builds of one session do, and what sessions do; None
    where no set has two of them.
    """

    process: Component | None
    build: Component | None
    session: Component | None


def components(sets: Iterable[Sequence[Sample]]) -> Components:
    """Those of sets of processes, each of one case on one side: builds nested in sessions, all pooled over the sets.

    The method of moments of a nested analysis of variance (Henderson's method 1 for unbalanced data, "Estimation of
    variance and covariance components", Biometrics 9 (1953) 226; Searle, Casella and McCulloch, "Variance Components"
    (1992), chapter 5): mean squares are set equal to what they estimate, set by set, so that sets may differ in the
    variance of their processes. A component below 0 is 0.
    """
    tables = [_Table(samples) for samples in sets if samples]
    process = _pooled([(t.process_squares, t.process_squares, t.process_dof, t.process_dof) for t in tables])
    build = _pooled([(t.build_squares, t.build_excess, t.build_weight, t.build_dof) for t in tables if t.process_dof])
    build_variance = build.sd**2 if build else 0.0
    above = [
        (t.session_squares, t.session_excess - t.session_of_build * build_variance, t.session_weight, t.session_dof)
        for t in tables
        if t.process_dof
    ]
    return Components(process, build, _pooled(above))


def share(groups: Iterable[Hashable]) -> float:
    """The sum of the squares of the shares that groups have of the processes: 1 for one, 1/k for k equal ones.

    The variance of a mean over processes has that part of the variance between groups.
    """
    sizes: dict[Hashable, int] = {}
    for group in groups:
        sizes[group] = sizes.get(group, 0) + 1
    total = sum(sizes.values())
    return sum(size**2 for size in sizes.values()) / total**2


def _pooled(parts: Sequence[tuple[float, float, float, int]]) -> Component | None:
    """Of sums of squares, what is left of them without the levels below, what the variance is multiplied by in them,
    and their degrees of freedom.
    """
    usable = [each for each in parts if each[-1]]
    if not usable:
        return None
    squares, excess, weight, dof = (sum(column) for column in zip(*usable, strict=True))
    return Component(math.sqrt(max(excess / weight, 0.0)), int(dof), len(usable), squares / weight)


class _Table:
    """The analysis of variance of one set. ``*_excess`` are sums of squares less what processes contribute to them."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        sessions: dict[Hashable, dict[Hashable, list[float]]] = {}
        for log, session, build in samples:
            sessions.setdefault(session, {}).setdefault(build, []).append(log)
        n = len(samples)
        builds = [logs for of_session in sessions.values() for logs in of_session.values()]
        by_session = [[log for logs in of_session.values() for log in logs] for of_session in sessions.values()]
        centre = fmean(log for log, _, _ in samples)
        self.process_squares = sum(_squares(logs, fmean(logs)) for logs in builds)
        self.process_dof = n - len(builds)
        variance = self.process_squares / self.process_dof if self.process_dof else 0.0
        between_builds = sum(
            len(logs) * (fmean(logs) - fmean(whole)) ** 2
            for whole, of_session in zip(by_session, sessions.values(), strict=True)
            for logs in of_session.values()
        )
        self.build_dof = len(builds) - len(sessions)
        self.build_squares = between_builds
        self.build_excess = between_builds - self.build_dof * variance
        # How often the variance between builds is in the sums of squares.
        in_sessions = sum(
            sum(len(logs) ** 2 for logs in of_session.values()) / len(whole)
            for whole, of_session in zip(by_session, sessions.values(), strict=True)
        )
        in_all = sum(len(logs) ** 2 for logs in builds) / n
        self.build_weight = n - in_sessions
        self.session_squares = sum(len(whole) * (fmean(whole) - centre) ** 2 for whole in by_session)
        self.session_dof = len(sessions) - 1
        self.session_excess = self.session_squares - self.session_dof * variance
        self.session_of_build = in_sessions - in_all
        self.session_weight = n - sum(len(whole) ** 2 for whole in by_session) / n


def _squares(values: Sequence[float], centre: float) -> float:
    return sum((value - centre) ** 2 for value in values)
