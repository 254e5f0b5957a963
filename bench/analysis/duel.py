"""What the pairs of a duel say: the ratio of each pair of processes, and where each contest stands; pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from bench import stats
from bench.analysis import sequential
from bench.analysis.pool import CHANGING
from bench.analysis.sequential import Standing
from bench.model.data import Data
from bench.model.run import Failure, Record, Run
from bench.model.suite import Boundary


class Match(Data, frozen=True, kw_only=True):
    """The case ``b`` (an id) against the case ``a``, the first of its contest, at ``boundary``.

    ``ratios`` are those of the pairs, times of B / A, ``a_ns`` and ``b_ns`` the geometric means of their medians (in
    ``throughput`` of the times per inference), None without a pair. ``why`` says why a side is not judged (it failed,
    is inaccurate, or its calls are not alike), and ``failure`` has the first that ended a process; ``standing`` is
    where the match stood before.
    """

    a: str
    b: str
    a_label: str
    b_label: str
    boundary: Boundary
    standing: Standing
    ratios: tuple[float, ...] = ()
    a_ns: float | None = None
    b_ns: float | None = None
    why: str = ""
    failure: Failure | None = None

    @property
    def kind(self) -> str:
        """The kind of the verdict, or NONE where a side cannot be judged."""
        return "NONE" if self.why else self.standing.kind

    @property
    def over(self) -> bool:
        """Whether more pairs are of no use."""
        return bool(self.why) or self.standing.decided

    def slower(self, threshold: float = 0.0) -> bool:
        """Whether the second side is SLOWER by more than ``threshold``, a fraction."""
        return self.kind == "SLOWER" and (self.standing.ratio or 1.0) - 1 > threshold


def matches(run: Run) -> tuple[Match, ...]:
    """The matches of a duel, in their order. ValueError for a run that is none."""
    duel = run.header.duel
    if duel is None:
        raise ValueError(f"{run.header.run} is no duel")
    labels = {case.id: case.label for case in run.header.cases}
    records: dict[str, list[Record]] = {}
    for record in run.records:
        records.setdefault(record.case, []).append(record)
    return tuple(
        _match(first, other, labels, records, duel.boundary, duel.pairs)
        for first, *others in duel.contests
        for other in others
    )


def _match(
    a: str, b: str, labels: dict[str, str], records: dict[str, list[Record]], boundary: Boundary, most: int
) -> Match:
    tops, bottoms = (_times(records.get(side, []), boundary) for side in (a, b))
    pairs = sorted(tops.keys() & bottoms.keys())[:most]
    standing = sequential.judge([math.log(bottoms[pair] / tops[pair]) for pair in pairs], most)
    pairs = pairs[: standing.pairs]
    why, failure = "", None
    for side in (a, b):
        reason, ending = _unsound(records.get(side, []), labels[side], boundary)
        why, failure = why or reason, failure or ending
    return Match(
        a=a,
        b=b,
        a_label=labels[a],
        b_label=labels[b],
        boundary=boundary,
        standing=standing,
        ratios=tuple(bottoms[pair] / tops[pair] for pair in pairs),
        a_ns=statistics.geometric_mean([tops[pair] for pair in pairs]) if pairs else None,
        b_ns=statistics.geometric_mean([bottoms[pair] for pair in pairs]) if pairs else None,
        why=why,
        failure=failure,
    )


def _times(records: Sequence[Record], boundary: Boundary) -> dict[int, float]:
    """Nanoseconds by pair: the median, or in ``throughput`` per inference."""
    times = {}
    for record in records:
        for measured in record.measurements:
            if measured.boundary != boundary or record.failure:
                continue
            if boundary == "throughput":
                time = measured.window_ns / (measured.calls * measured.batch) if measured.calls else 0.0
            else:
                time = float(stats.median(measured.samples)) if measured.samples else 0.0
            if time > 0:
                times[record.replicate] = time
    return times


def _unsound(records: Sequence[Record], label: str, boundary: Boundary) -> tuple[str, Failure | None]:
    """Why a side is not judged, with the failure if it is one; empty and None if it is."""
    for record in records:
        if record.failure:
            return f"{label} failed: {record.failure.kind}", record.failure
        if record.accuracy and not record.accuracy.ok:
            return f"{label} is inaccurate: {record.accuracy.why}", None
        if any(warning.kind in CHANGING for warning in record.warnings):
            return f"calls of {label} are not alike", None
        if not _times([record], boundary):
            return f"{label} has no {boundary}", None
    return "", None
