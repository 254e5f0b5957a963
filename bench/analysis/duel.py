"""What the pairs of a duel say: the ratio of each pair of processes, and where each contest stands; pure."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from bench import stats
from bench.analysis import sequential
from bench.analysis.flaws import flaw_of
from bench.analysis.sequential import Standing
from bench.model.data import Data
from bench.model.run import Duel, Failure, Measurement, Record, Run
from bench.model.suite import Boundary


class Match(Data, frozen=True, kw_only=True):
    """The case ``b`` (an id) against the case ``a``, the first of its contest, at ``boundary``.

    ``ratios`` are those of the pairs, B / A, ``a_ns`` and ``b_ns`` the geometric means of their medians (in
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
        return bool(self.why) or self.standing.is_decided

    def slower(self, threshold: float = 0.0) -> bool:
        """Whether the second side is SLOWER by more than ``threshold``, a fraction."""
        return self.kind == "SLOWER" and (self.standing.ratio or 1.0) - 1 > threshold


class PairRatio(NamedTuple):
    """A ratio of ``pairs`` with its repeated 95 % interval, None where these are too few."""

    ratio: float
    low: float | None
    high: float | None
    pairs: int


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


def pair_ratio(duel: Duel, a: Sequence[Record], b: Sequence[Record], boundary: Boundary) -> PairRatio | None:
    """Of two cases of one contest, given by their records, the ratio B / A of their pairs as a match of them has it.

    None where they have no pairs at ``boundary``: they are of different contests, or the duel is of another boundary.
    """
    sides = tuple({record.case: None for record in (*a, *b)})
    contest = next((each for each in duel.contests if {*sides} <= {*each}), ())
    if boundary != duel.boundary or len(sides) < 2 or not contest:
        return None
    # A match is of a later side against an earlier one: the rule may stop at another pair the other way round.
    is_match = contest.index(sides[0]) < contest.index(sides[1])
    tops, bottoms = (_times(side, boundary) for side in ((a, b) if is_match else (b, a)))
    of = sequential.judge([*_log_ratios(tops, bottoms, duel.pairs).values()], duel.pairs)
    if of.ratio is None:
        return None
    if is_match:
        return PairRatio(of.ratio, of.low, of.high, of.pairs)
    return PairRatio(1 / of.ratio, of.high and 1 / of.high, of.low and 1 / of.low, of.pairs)


def _match(
    a: str, b: str, labels: dict[str, str], records: dict[str, list[Record]], boundary: Boundary, most: int
) -> Match:
    tops, bottoms = (_times(records.get(side, []), boundary) for side in (a, b))
    logs = _log_ratios(tops, bottoms, most)
    standing = sequential.judge([*logs.values()], most)
    pairs = [*logs][: standing.pairs]
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
        ratios=tuple(math.exp(logs[pair]) for pair in pairs),
        a_ns=statistics.geometric_mean([tops[pair].whole for pair in pairs]) if pairs else None,
        b_ns=statistics.geometric_mean([bottoms[pair].whole for pair in pairs]) if pairs else None,
        why=why,
        failure=failure,
    )


class _Times(NamedTuple):
    """Of one process, in nanoseconds: the median of all its samples, or in ``throughput`` the time per inference, and
    the medians of its blocks.
    """

    whole: float
    blocks: tuple[float, ...]


def _log_ratios(a: dict[int, _Times], b: dict[int, _Times], most: int) -> dict[int, float]:
    """Those of the pairs of which both processes have times, in their order."""
    return {pair: _log_ratio(a[pair], b[pair]) for pair in sorted(a.keys() & b.keys())[:most]}


def _log_ratio(a: _Times, b: _Times) -> float:
    """Of a pair, log(B / A): the median over its rounds of the ratio of the two blocks, else the ratio of the wholes.

    The blocks of one round are neighbours in time, and where that is asked for they have run on one core. A host that
    changes its speed from round to round changes both of them, and one that does within a round changes few of many.
    """
    rounds = [math.log(later / earlier) for earlier, later in zip(a.blocks, b.blocks, strict=False)]
    return statistics.median(rounds) if rounds else math.log(b.whole / a.whole)


def _times(records: Sequence[Record], boundary: Boundary) -> dict[int, _Times]:
    """The times of each process, by pair."""
    times = {}
    for record in records:
        for measured in record.measurements:
            if measured.boundary != boundary or record.failure:
                continue
            if boundary == "throughput":
                whole = measured.window_ns / (measured.calls * measured.batch) if measured.calls else 0.0
            else:
                whole = float(stats.median(measured.samples)) if measured.samples else 0.0
            if whole > 0:
                times[record.replicate] = _Times(whole, _block_medians(measured))
    return times


def _block_medians(measured: Measurement) -> tuple[float, ...]:
    ends = list(itertools.accumulate(measured.blocks, initial=0))
    if measured.boundary == "throughput" or ends[-1] != len(measured.samples):
        return ()
    blocks = [measured.samples[begin:end] for begin, end in itertools.pairwise(ends)]
    medians = tuple(float(stats.median(block)) for block in blocks if block)
    return medians if len(medians) == len(blocks) and all(median > 0 for median in medians) else ()


def _unsound(records: Sequence[Record], label: str, boundary: Boundary) -> tuple[str, Failure | None]:
    """Why a side is not judged, with the failure if it is one; empty and None if it is."""
    for record in records:
        if flaw := flaw_of(record):
            why = record.accuracy.why if record.accuracy and flaw.kind in ("inaccurate", "varying") else ""
            return f"{label} {flaw.text}" + (f": {why}" if why else ""), record.failure
        if not _times([record], boundary):
            return f"{label} has no {boundary}", None
    return "", None
