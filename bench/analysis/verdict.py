"""Whether one side is faster than another: the rule, on the medians of processes, and how many would decide; pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from statistics import fmean
from typing import Literal

from bench.analysis import deals, intervals
from bench.analysis.intervals import KNOWN, SHOWN, Error, Estimates, GroupSd, Part, ProcessSd
from bench.model.data import Data

# A difference is called one if the 99 % interval of the ratio excludes 1 and it is at least 1 %; two sides are called
# the same if the 90 % interval lies within 2 %, which is two one-sided tests at 5 % (Schuirmann 1987).
DIFFERENT, SAME = 0.99, 0.90
LEAST, ALIKE = 0.01, 0.02
# Processes of a case that is to have a verdict.
USUAL = 7
# How sure a number of processes is to decide that is named as enough.
POWER = 0.9
# Some programs are in one of several states, process by process: few processes of two sides may then differ by chance
# without any spread on a side. So a difference must also be rare among all deals of the processes. The limit is the
# largest at which no distribution that was simulated is called different in more than 1.1 % (docs/statistics.md).
RARE = 0.016
# Sides of four have 70 deals, of which two are most extreme: that must do, and Welch's t alone is right there.
_FOUR = 4
# Where no deal can be that rare (three of each: 2 of 20), only states further apart than any of a spread of 5 % would.
FEW, _FAR = 3, 0.20
# More processes than this are no advice: seven times the usual number makes an interval 2.6 times narrower, in the time
# in which a quieter host, a duel or another session would say more; and what sessions differ by does not shrink at all.
MOST = 50

Kind = Literal["FASTER", "SLOWER", "SAME", "INCONCLUSIVE"]


class Verdict(Data, frozen=True, kw_only=True):
    """Times of B against times of A: ``ratio`` is B / A of the geometric means over processes, ``low`` to ``high`` its
    95 % interval, None where there is none.

    ``error`` is the standard error of the ratio's log with ``dof`` degrees of freedom, ``shared`` the part of it that
    sessions have, which other cases of the same runs share; ``parts`` has the variance by several estimates, for a mean
    over cases. ``basis`` is what they rest on: the spread of these processes, a calibrated one, or nothing. ``needed``
    are processes per side that would decide with a probability of 90 % if ratio and spreads are what they seem; None
    where it is decided, where MOST would not, or without a basis.
    """

    kind: Kind
    ratio: float
    low: float | None
    high: float | None
    needed: int | None
    processes: tuple[int, int]
    basis: Literal["processes", "calibration", "none"]
    error: float | None = None
    dof: float | None = None
    shared: float = 0.0
    parts: tuple[tuple[Part, ...], ...] = ()


def verdict(
    a: Sequence[float],
    b: Sequence[float],
    *,
    session_sd: float = 0.0,
    process_sd: float | None = None,
    session: GroupSd | None = None,
    builds: Sequence[GroupSd] = (),
    groups: tuple[Sequence[Hashable], Sequence[Hashable]] | None = None,
) -> Verdict:
    """B against A, by the medians of their processes in ns (or times per inference): below 1, B takes less time.

    Welch's t on the logs ("The generalization of Student's problem when several different population variances are
    involved", Biometrika 34 (1947) 28); of unequal sides at least with the spread that they have together. FASTER or
    SLOWER if the 99 % interval of the ratio excludes 1, the ratio differs from 1 by 1 % or more, and at most 1.6 % of
    all ways to deal the processes to the sides have means as far apart; SAME if the 90 % interval lies within 2 %; else
    INCONCLUSIVE. Of three processes against three to five no difference is that rare: there 20 % or more decide, and of
    two against two to nine none. One process on a side decides nothing.

    ``session_sd`` is the standard deviation of the log of a level from one session to another, for sides that were
    measured in one session each; ``session`` says it of several, ``builds`` of several builds, and ``groups`` says of
    each process in which session and build it was, so that these are left out of the spread of processes.
    ``process_sd`` is that between processes, from a calibration: it gives the interval of a side of one process, whose
    own samples are no evidence of it. It is no verdict: the spread may be that of another case, and by two processes
    nothing as far apart would be called different.

    ValueError without a process on a side, for a time that is not a positive finite number, or for a standard deviation
    that is negative or no number.
    """
    levels = (session or GroupSd(session_sd), *builds)
    intervals.check(a, b, {"session_sd": levels[0].sd, "process_sd": process_sd or 0.0})
    logs = intervals.logs_of(a), intervals.logs_of(b)
    ratio = math.exp(fmean(logs[1]) - fmean(logs[0]))
    processes = len(a), len(b)
    if min(processes) < 2 and process_sd is None:
        return Verdict(
            kind="INCONCLUSIVE", ratio=ratio, low=None, high=None, needed=None, processes=processes, basis="none"
        )
    spreads = intervals.spreads(logs, groups, process_sd)
    difference = intervals.estimates(fmean(logs[1]) - fmean(logs[0]), spreads, processes, levels)
    kind = _kind(difference, *logs) if min(processes) > 1 else "INCONCLUSIVE"
    low, log, high = difference.interval(SHOWN)
    error = intervals.widest(difference.whole, SHOWN)
    return Verdict(
        kind=kind,
        ratio=ratio,
        low=math.exp(low),
        high=math.exp(high),
        needed=_needed(log, spreads, levels) if kind == "INCONCLUSIVE" else None,
        processes=processes,
        basis="processes" if min(processes) > 1 else "calibration",
        error=error.error,
        dof=error.dof,
        shared=math.sqrt(levels[0].variance),
        parts=intervals.for_means(spreads, processes, levels[0], levels[1:]),
    )


def can_differ(a: int, b: int) -> bool:
    """Whether ``a`` and ``b`` processes can be called FASTER or SLOWER, however far apart they are."""
    return least_difference(a, b) is not None


def least_difference(a: int, b: int) -> float | None:
    """The least difference, as a fraction, by which ``a`` and ``b`` processes can be called FASTER or SLOWER, however
    little noise there is; None where they cannot be at all.
    """
    if min(a, b) > 1 and _can_be_rare(a, b):
        return LEAST
    return _FAR if min(a, b) >= FEW else None


# --------------------------------------------------------------------------------------------------------- the rule


def _kind(difference: Estimates, a: Sequence[float], b: Sequence[float]) -> Kind:
    log = difference.centre
    if abs(log) > difference.half(DIFFERENT) and abs(math.expm1(log)) >= LEAST and _is_rare(log, a, b):
        return "FASTER" if log < 0 else "SLOWER"
    half = difference.half(SAME)
    if math.exp(log - half) >= 1 - ALIKE and math.exp(log + half) <= 1 + ALIKE:
        return "SAME"
    return "INCONCLUSIVE"


def _is_rare(log: float, a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether so large a difference is rare among the deals; of few processes, whether it is far beyond states."""
    fewest = min(len(a), len(b))
    if not _can_be_rare(len(a), len(b)):
        return fewest >= FEW and abs(math.expm1(log)) >= _FAR
    return deals.rarity(a, b) <= (RARE if (len(a), len(b)) != (_FOUR, _FOUR) else 2 / deals.number(_FOUR, _FOUR))


def _can_be_rare(a: int, b: int) -> bool:
    """Whether any deal can; equal sides have two that are most extreme, one and its mirror image."""
    most_extreme = 2 if a == b else 1
    return min(a, b) >= _FOUR or most_extreme / deals.number(a, b) <= RARE


# ------------------------------------------------------------------------------------------- how many would decide


def _needed(log: float, spreads: Sequence[ProcessSd], levels: Sequence[GroupSd]) -> int | None:
    """Processes on each side that decide with the probability POWER, if difference and spreads stay as they are."""
    plan = _Plan(log, spreads, levels)
    return _least(lambda n: max(plan.differs(n), plan.is_same(n)) >= POWER)


def _least(decides: Callable[[int], bool]) -> int | None:
    """The least number of processes that decides, where more decide what fewer do."""
    if not decides(MOST):
        return None
    low, high = 1, MOST
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return high


class _Plan:
    """What is to be expected of so many processes a side, whose difference and spreads are these."""

    def __init__(self, log: float, spreads: Sequence[ProcessSd], levels: Sequence[GroupSd]) -> None:
        # Processes that are measured say themselves how they differ, also where these had a spread that is given.
        self._spreads = [spread if spread.known_by < KNOWN else ProcessSd(spread.measured, 1.0) for spread in spreads]
        self._log, self._levels = log, levels

    def differs(self, n: int) -> float:
        """The probability of FASTER or SLOWER: that a noncentral t exceeds the limit, by the approximation of Johnson
        and Welch, "Applications of the non-central t-distribution", Biometrika 31 (1940) 362; and that the estimate is
        1 % or more.
        """
        effect = abs(self._log)
        if n < 2 or not (_can_be_rare(n, n) or (n >= FEW and abs(math.expm1(self._log)) >= _FAR)):
            return 0.0
        error, limit = self._expected(n, DIFFERENT)
        half, dof = limit.half(DIFFERENT), limit.dof
        least = math.log1p(LEAST) if self._log > 0 else -math.log1p(-LEAST)
        beyond = (effect - half * (1 - 1 / (4 * dof))) / math.sqrt(error**2 + half**2 / (2 * dof))
        return _below(min(beyond, (effect - least) / error))

    def is_same(self, n: int) -> float:
        """The probability of SAME, with the standard error as expected."""
        if n < 2:
            return 0.0
        error, limit = self._expected(n, SAME)
        half = limit.half(SAME)
        low, high = math.log1p(-ALIKE) + half, math.log1p(ALIKE) - half
        return _below((high - self._log) / error) - _below((low - self._log) / error) if low < high else 0.0

    def _expected(self, n: int, confidence: float) -> tuple[float, Error]:
        """The standard error, and the estimate that makes the interval, whose degrees of freedom are rounded, as
        critical values of few are soon known.
        """
        difference = intervals.estimates(self._log, self._spreads, (n, n), self._levels)
        limit = intervals.widest((*difference.whole, *difference.partial), confidence)
        dof = limit.dof if math.isinf(limit.dof) else float(max(1, round(limit.dof)))
        return max(each.error for each in difference.whole), Error(limit.error, dof)


def _below(z: float) -> float:
    """The probability that a normal variable lies below ``z`` standard deviations."""
    return math.erfc(-z / math.sqrt(2)) / 2
