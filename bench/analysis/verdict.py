"""Whether one side is faster than another: the rule, on the medians of processes, and how many would decide; pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Sequence
from statistics import fmean
from typing import Literal, NamedTuple

from bench import stats
from bench.analysis import deals
from bench.model.data import Data

# A difference is called one if the 99 % interval of the ratio excludes 1 and it is at least 1 %; two sides are called
# the same if the 90 % interval lies within 2 %, which is two one-sided tests at 5 % (Schuirmann 1987).
DIFFERENT, SAME, SHOWN = 0.99, 0.90, 0.95
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
# Of two sides without any spread the times are rounded: to a tick of 32 ns or less, of calls of 10 us or more.
_ROUNDING = 1e-3 / math.sqrt(12)
_KNOWN = math.inf  # degrees of freedom of a standard deviation that is given

Kind = Literal["FASTER", "SLOWER", "SAME", "INCONCLUSIVE"]


class Verdict(Data, frozen=True, kw_only=True):
    """Times of B against times of A: ``ratio`` is B / A of the geometric means over processes, ``low`` to ``high`` its
    95 % interval, None where there is none.

    ``error`` is the standard error of the ratio's log with ``dof`` degrees of freedom, ``shared`` the part of it that
    sessions have, which other cases of the same runs share. ``basis`` is what they rest on: the spread of these
    processes, a calibrated one, or nothing. ``needed`` are processes per side that would decide with a probability of
    90 % if ratio and spreads are what they seem; None where it is decided, where MOST would not, or without a basis.
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


class Level(NamedTuple):
    """A source of variance above the process: the standard deviation ``sd`` of a group's log, its degrees of freedom,
    and of each side the sum of the squares of its groups' shares: 1 for one group, 1/k for k equal, 0 where the side
    does not have this source.
    """

    sd: float
    dof: float = _KNOWN
    shares: tuple[float, float] = (1.0, 1.0)

    @property
    def variance(self) -> float:
        """What it adds to that of the difference."""
        return self.sd**2 * sum(self.shares)


class _Error(NamedTuple):
    """A standard error of the difference of the means of logs, and its degrees of freedom."""

    error: float
    dof: float

    def half(self, confidence: float) -> float:
        """Half of the interval."""
        return stats.critical(self.dof, confidence) * self.error


class _Difference(NamedTuple):
    """The difference of the means of logs, and its standard error by several estimates: ``whole`` ones with all levels,
    and ``partial`` ones with some or none; of each the spreads as measured, and no less than the rounding.

    What is added to a variance, be it the floor or a level whose sd is known, also adds degrees of freedom, and of few
    processes these can narrow an interval by more than the variance widens it: 2 and 2 with sds of 0 and s have a half
    of 12.7 s / sqrt(2), with s and s one of 4.3 s. But what is added cannot tell more of the processes than they do, so
    the interval is the widest of all.
    """

    log: float
    whole: tuple[_Error, ...]
    partial: tuple[_Error, ...]

    def half(self, confidence: float) -> float:
        """Half of the interval."""
        return max(each.half(confidence) for each in {*self.whole, *self.partial})


def verdict(
    a: Sequence[float],
    b: Sequence[float],
    *,
    session_sd: float = 0.0,
    process_sd: float | None = None,
    session: Level | None = None,
    builds: Sequence[Level] = (),
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
    levels = (session or Level(session_sd), *builds)
    _check(a, b, {"session_sd": levels[0].sd, "process_sd": process_sd or 0.0})
    logs = [math.log(time) for time in a], [math.log(time) for time in b]
    ratio = math.exp(fmean(logs[1]) - fmean(logs[0]))
    processes = len(a), len(b)
    if min(processes) < 2 and process_sd is None:
        return Verdict(
            kind="INCONCLUSIVE", ratio=ratio, low=None, high=None, needed=None, processes=processes, basis="none"
        )
    labels = groups or ((0,) * len(a), (0,) * len(b))
    spreads = [_spread(side, of_side, process_sd) for side, of_side in zip(logs, labels, strict=True)]
    difference = _difference(fmean(logs[1]) - fmean(logs[0]), spreads, processes, levels)
    kind = _kind(difference, *logs) if min(processes) > 1 else "INCONCLUSIVE"
    half, error = difference.half(SHOWN), _widest(difference.whole, SHOWN)
    return Verdict(
        kind=kind,
        ratio=ratio,
        low=math.exp(difference.log - half),
        high=math.exp(difference.log + half),
        needed=_needed(difference.log, spreads, levels) if kind == "INCONCLUSIVE" else None,
        processes=processes,
        basis="processes" if min(processes) > 1 else "calibration",
        error=error.error,
        dof=error.dof,
        shared=math.sqrt(levels[0].variance),
    )


def ratio_interval(a: Sequence[float], b: Sequence[float]) -> stats.Interval | None:
    """B / A with the 95 % interval that ``verdict`` has for sides of one session and build; times as there.

    None for fewer than two processes on a side.
    """
    _check(a, b, {})
    if min(len(a), len(b)) < 2:
        return None
    logs = [math.log(time) for time in a], [math.log(time) for time in b]
    spreads = [_spread(side, (0,) * len(side), None) for side in logs]
    difference = _difference(fmean(logs[1]) - fmean(logs[0]), spreads, (len(a), len(b)), ())
    half = difference.half(SHOWN)
    return stats.Interval(*(math.exp(difference.log + side * half) for side in (-1, 0, 1)))


def can_differ(a: int, b: int) -> bool:
    """Whether ``a`` and ``b`` processes can be called FASTER or SLOWER, however far apart they are."""
    return min(a, b) >= FEW or (min(a, b) > 1 and _can_be_rare(a, b))


def _check(a: Sequence[float], b: Sequence[float], sds: dict[str, float]) -> None:
    for name, sd in sds.items():
        if not 0 <= sd < math.inf:
            raise ValueError(f"{name} is {sd}, which is no standard deviation")
    for name, side in (("a", a), ("b", b)):
        if not side:
            raise ValueError(f"{name} has no process")
        if wrong := [time for time in side if not (time > 0 and math.isfinite(time))]:
            raise ValueError(f"{name} has the time {wrong[0]}, which is no positive number")


# --------------------------------------------------------------------------------------------------------- the rule


class _Spread(NamedTuple):
    """The standard deviation of a side's processes, and its degrees of freedom per process beyond the first."""

    measured: float
    known_by: float

    @property
    def sd(self) -> float:
        """No less than that of the rounding of times."""
        return max(self.measured, _ROUNDING)

    def dof(self, n: int) -> float:
        """Those of n processes."""
        return _KNOWN if math.isinf(self.known_by) else self.known_by * (n - 1)


def _spread(logs: Sequence[float], groups: Sequence[Hashable], process_sd: float | None) -> _Spread:
    """That of the processes themselves, within groups if some have two; a side with one has the calibrated one."""
    n = len(logs)
    if n < 2:
        assert process_sd is not None
        return _Spread(process_sd, _KNOWN)
    members: dict[Hashable, list[float]] = {}
    for log, group in zip(logs, groups, strict=True):
        members.setdefault(group, []).append(log)
    within = list(members.values()) if len(members) < n else [list(logs)]
    squares = sum((log - centre) ** 2 for of in within for centre in (fmean(of),) for log in of)
    dof = n - len(within)
    return _Spread(math.sqrt(squares / dof), dof / (n - 1))


def _difference(log: float, spreads: Sequence[_Spread], n: tuple[int, int], levels: Sequence[Level]) -> _Difference:
    dofs = [spread.dof(count) for spread, count in zip(spreads, n, strict=True)]
    sds = [spread.measured for spread in spreads], [spread.sd for spread in spreads]
    present = [level for level in levels if level.variance]
    fewer = [some for size in range(len(present)) for some in itertools.combinations(present, size)]
    partial = tuple(_error(each, dofs, n, some) for some in fewer for each in sds)
    return _Difference(log, tuple(_error(each, dofs, n, present) for each in sds), partial)


def _error(sds: Sequence[float], dofs: Sequence[float], n: tuple[int, int], levels: Sequence[Level]) -> _Error:
    """With the variances of processes and levels, and the degrees of freedom of Satterthwaite, "An approximate
    distribution of estimates of variance components", Biometrics Bulletin 2 (1946) 110.
    """
    parts = [sd**2 / count for sd, count in zip(sds, n, strict=True)]
    welch, uncertain = sum(parts), sum(part**2 / dof for part, dof in zip(parts, dofs, strict=True))
    of_processes = max(welch, _pooled(sds, dofs, n))
    variance = of_processes + sum(level.variance for level in levels)
    uncertain *= (of_processes / welch) ** 2 if welch else 1.0
    uncertain += sum(level.variance**2 / level.dof for level in levels)
    return _Error(math.sqrt(variance), variance**2 / uncertain if uncertain else _KNOWN)


def _pooled(sds: Sequence[float], dofs: Sequence[float], n: tuple[int, int]) -> float:
    """The variance of the difference if both sides have one spread, that of all their processes; of equal numbers it is
    Welch's. Two processes may be alike by chance, which the many of the other side contradict.
    """
    if n[0] == n[1] or math.isinf(sum(dofs)):
        return 0.0
    variance = sum(dof * sd**2 for dof, sd in zip(dofs, sds, strict=True)) / sum(dofs)
    return variance * (1 / n[0] + 1 / n[1])


def _widest(errors: Sequence[_Error], confidence: float) -> _Error:
    return max(errors, key=lambda each: each.half(confidence))


def _kind(difference: _Difference, a: Sequence[float], b: Sequence[float]) -> Kind:
    log = difference.log
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


def _needed(log: float, spreads: Sequence[_Spread], levels: Sequence[Level]) -> int | None:
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

    def __init__(self, log: float, spreads: Sequence[_Spread], levels: Sequence[Level]) -> None:
        # Processes that are measured say themselves how they differ, also where these had a spread that is given.
        self._spreads = [spread if spread.known_by < _KNOWN else _Spread(spread.measured, 1.0) for spread in spreads]
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

    def _expected(self, n: int, confidence: float) -> tuple[float, _Error]:
        """The standard error, and the estimate that makes the interval, whose degrees of freedom are rounded, as
        critical values of few are soon known.
        """
        difference = _difference(self._log, self._spreads, (n, n), self._levels)
        limit = _widest((*difference.whole, *difference.partial), confidence)
        dof = limit.dof if math.isinf(limit.dof) else float(max(1, round(limit.dof)))
        return max(each.error for each in difference.whole), _Error(limit.error, dof)


def _below(z: float) -> float:
    """The probability that a normal variable lies below ``z`` standard deviations."""
    return math.erfc(-z / math.sqrt(2)) / 2
