"""Components of variance of identical code: from process to process, build to build, sitting to sitting; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from bench.model.calibration import Component

# Of every interval of a calibration.
CONFIDENCE = 0.95


class Process(NamedTuple):
    """The log of the time of one process, and the build that it measured."""

    log: float
    build: int


Sittings = Sequence[Sequence[Process]]


def process_component(sittings: Sittings) -> Component | None:
    """The spread from process to process within a build and a sitting; None without two of them in one."""
    squares, dof = _within(sittings)
    return _component(squares / dof, squares, dof, 0.0, 1.0) if dof else None


def build_component(sittings: Sittings) -> Component | None:
    """That from build to build within a sitting, beyond what processes explain; None without two builds in one."""
    squares, dof, scale = 0.0, 0, 0.0
    for sitting in sittings:
        of_builds = cells(sitting)
        if len(of_builds) > 1:
            centre = fmean(each.log for each in sitting)
            squares += sum(len(cell) * (fmean(cell) - centre) ** 2 for cell in of_builds)
            dof += len(of_builds) - 1
            scale += len(sitting) - sum(len(cell) ** 2 for cell in of_builds) / len(sitting)
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
        for cell in cells(sitting):
            centre = fmean(cell)
            squares += sum((log - centre) ** 2 for log in cell)
            dof += len(cell) - 1
    return squares, dof


def cells(sitting: Sequence[Process]) -> list[list[float]]:
    """The logs of each build of a sitting."""
    of_builds: dict[int, list[float]] = {}
    for each in sitting:
        of_builds.setdefault(each.build, []).append(each.log)
    return list(of_builds.values())


def _component(variance: float, squares: float, dof: int, noise: float, scale: float) -> Component:
    """A variance with its interval: ``squares`` is about chi-squared with ``dof`` degrees of freedom times ``noise`` +
    ``scale`` times the variance (the interval of Tukey and Williams without the error of ``noise``).
    """
    from scipy.special import chdtri

    tail = (1 - CONFIDENCE) / 2
    low, high = ((squares / float(chdtri(dof, t)) - noise) / scale for t in (tail, 1 - tail))
    sd, low, high = (math.sqrt(max(value, 0.0)) for value in (variance, low, high))
    return Component(sd=sd, low=low, high=high, dof=dof)
