"""Whether one side is faster than another: the rule, on the medians of processes, and how many would decide; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Literal, NamedTuple

from bench import stats
from bench.model.data import Data

# A difference is called one if the 99 % interval of the ratio excludes 1 and it is at least 1 %; two sides are called
# the same if the 90 % interval lies within 2 %, which is two one-sided tests at 5 % (Schuirmann 1987).
DIFFERENT, SAME, SHOWN = 0.99, 0.90, 0.95
LEAST, ALIKE = 0.01, 0.02
# Processes of a case that is to have a verdict.
USUAL = 7
# More processes than this are no advice.
MOST = 1000
# Of two sides without any spread the times are rounded: to a tick of 32 ns or less, of calls of 10 us or more.
_ROUNDING = 1e-3 / math.sqrt(12)
_KNOWN = math.inf  # degrees of freedom of a standard deviation that is given

Kind = Literal["FASTER", "SLOWER", "SAME", "INCONCLUSIVE"]


class Verdict(Data, frozen=True, kw_only=True):
    """Times of B against times of A: ``ratio`` is B / A of the geometric means over processes, ``low`` to ``high`` its
    95 % interval, None where there is none.

    ``basis`` is what the interval rests on: the spread of these processes, a calibrated one, or nothing. ``needed`` are
    processes per side that would decide; None where it is decided, where no number would, or without a basis.
    """

    kind: Kind
    ratio: float
    low: float | None
    high: float | None
    needed: int | None
    processes: tuple[int, int]
    basis: Literal["processes", "calibration", "none"]


class _Difference(NamedTuple):
    """The difference of the means of logs, its standard error and its degrees of freedom."""

    log: float
    error: float
    dof: float

    def half(self, confidence: float) -> float:
        """Half of the interval."""
        return stats.critical(self.dof, confidence) * self.error


def verdict(
    a: Sequence[float], b: Sequence[float], *, session_sd: float = 0.0, process_sd: float | None = None
) -> Verdict:
    """B against A, by the medians of their processes in ns (or times per inference): below 1, B takes less time.

    Welch's t on the logs ("The generalization of Student's problem when several different population variances are
    involved", Biometrika 34 (1947) 28). FASTER or SLOWER if the 99 % interval of the ratio excludes 1 and the ratio
    differs from 1 by 1 % or more; SAME if the 90 % interval lies within 2 %; else INCONCLUSIVE.

    ``session_sd`` is the standard deviation of the log of a level from one session to another, for sides that were
    measured in different ones. ``process_sd`` is that between processes, from a calibration: it is used where a side
    has one process, whose own samples are no evidence of it.

    ValueError without a process on a side, for a time that is not a positive finite number, or for a standard deviation
    that is negative or no number.
    """
    for name, sd in (("session_sd", session_sd), ("process_sd", process_sd or 0.0)):
        if not 0 <= sd < math.inf:
            raise ValueError(f"{name} is {sd}, which is no standard deviation")
    for name, side in (("a", a), ("b", b)):
        if not side:
            raise ValueError(f"{name} has no process")
        if wrong := [time for time in side if not (time > 0 and math.isfinite(time))]:
            raise ValueError(f"{name} has the time {wrong[0]}, which is no positive number")
    logs = [math.log(time) for time in a], [math.log(time) for time in b]
    ratio = math.exp(fmean(logs[1]) - fmean(logs[0]))
    processes = len(a), len(b)
    if min(processes) < 2 and process_sd is None:
        return Verdict(
            kind="INCONCLUSIVE", ratio=ratio, low=None, high=None, needed=None, processes=processes, basis="none"
        )
    difference = _difference(*logs, session_sd, process_sd)
    kind, half = _kind(difference), difference.half(SHOWN)
    return Verdict(
        kind=kind,
        ratio=ratio,
        low=math.exp(difference.log - half),
        high=math.exp(difference.log + half),
        needed=_needed(*logs, session_sd, process_sd) if kind == "INCONCLUSIVE" else None,
        processes=processes,
        basis="processes" if min(processes) > 1 else "calibration",
    )


def _difference(a: Sequence[float], b: Sequence[float], session_sd: float, process_sd: float | None) -> _Difference:
    """That of the logs ``a`` and ``b``; Satterthwaite's degrees of freedom (Biometrics Bulletin 2 (1946) 110)."""
    log = fmean(b) - fmean(a)
    if min(len(a), len(b)) < 2:
        assert process_sd is not None
        variance = max(process_sd, _ROUNDING) ** 2 * (1 / len(a) + 1 / len(b))
        return _Difference(log, math.sqrt(variance + 2 * session_sd**2), _KNOWN)
    parts = [max(_sd(side), _ROUNDING) ** 2 / len(side) for side in (a, b)]
    dof = sum(parts) ** 2 / sum(part**2 / (len(side) - 1) for part, side in zip(parts, (a, b), strict=True))
    return _Difference(log, math.sqrt(sum(parts) + 2 * session_sd**2), dof)


def _kind(difference: _Difference) -> Kind:
    log = difference.log
    if abs(log) > difference.half(DIFFERENT) and abs(math.expm1(log)) >= LEAST:
        return "FASTER" if log < 0 else "SLOWER"
    half = difference.half(SAME)
    if math.exp(log - half) >= 1 - ALIKE and math.exp(log + half) <= 1 + ALIKE:
        return "SAME"
    return "INCONCLUSIVE"


def _needed(a: Sequence[float], b: Sequence[float], session_sd: float, process_sd: float | None) -> int | None:
    """Processes on each side that would decide, if their difference and their spreads stay as they are."""
    log = fmean(b) - fmean(a)
    known = min(len(a), len(b)) < 2
    sds = [max(process_sd or 0.0, _ROUNDING)] * 2 if known else [max(_sd(side), _ROUNDING) for side in (a, b)]
    variance = sds[0] ** 2 + sds[1] ** 2
    spread = sds[0] ** 4 + sds[1] ** 4

    def decides(n: int) -> bool:
        dof = variance**2 / spread * (n - 1) if spread else _KNOWN
        return _kind(_Difference(log, math.sqrt(variance / n + 2 * session_sd**2), dof)) != "INCONCLUSIVE"

    if not decides(MOST):
        return None
    low, high = min(len(a), len(b), 1), MOST
    while low + 1 < high:  # more processes decide what fewer do
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return high


def _sd(values: Sequence[float]) -> float:
    centre = fmean(values)
    return math.sqrt(sum((value - centre) ** 2 for value in values) / (len(values) - 1))
