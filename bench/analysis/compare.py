"""Two sides of a comparison: whether partners may be compared, and the verdict on each pair."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Collection, Sequence
from typing import Literal

import msgspec

from bench.analysis.differences import Difference, check_named, differences, is_named, minor_differences
from bench.analysis.intervals import Sources, ratio_interval
from bench.analysis.overall import Overall, overall
from bench.analysis.partners import of_axis, partners
from bench.analysis.pool import Pool
from bench.analysis.rows import PRIMARY, Row, row_of
from bench.analysis.sides import Levels, Member, build_levels, levels, origins, session_level, times
from bench.analysis.verdict import LEAST, Verdict, can_differ, least_difference, verdict
from bench.model.run import Run
from bench.model.suite import Boundary, Case

Kind = Literal["FASTER", "SLOWER", "SAME", "INCONCLUSIVE", "REFUSED", "NONE"]
# SM clocks that differ by so much are shown with the times in cycles.
CLOCKS = 0.01
_MADE = ("export", "compile", "build")
# The session sd and the process sd for a comparison of cases at a boundary.
SpreadOf = Callable[[Sequence[Case], Boundary | None], tuple[float, float | None]]


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """Inferences per second of B over those of A, geometric means over processes: above 1, B does more; with the 95 %
    interval of the verdict on ``throughput``, None where that has none.
    """

    ratio: float
    low: float | None = None
    high: float | None = None


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """A case of the first side, and its partner in the second; their rows have the times of ``boundary`` alone.

    ``kind`` is that of the verdict, REFUSED where the environments differ in what was not named (``differences``), or
    NONE where a side has no sound figure (``why``). ``a_ns`` and ``b_ns`` are the geometric means of process medians,
    in ``throughput`` of the times per inference. ``a_made_ns`` and ``b_made_ns`` are export, compile and build where
    they were made anew.
    """

    label: str
    a: Row
    b: Row
    boundary: Boundary | None
    kind: Kind
    verdict: Verdict | None = None
    a_ns: float | None = None
    b_ns: float | None = None
    a_made_ns: float | None = None
    b_made_ns: float | None = None
    rate: Rate | None = None
    cycles: float | None = None
    why: str = ""
    differences: tuple[Difference, ...] = ()


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """All pairs of two sides, in the order of the first; ``a`` and ``b`` are the ids of its runs, ``paths`` the files
    that they were read from.

    ``axis`` is what partners differ in, empty if in nothing. ``only_a`` and ``only_b`` are the labels of cases without
    a partner; ``unfinished`` the runs that did not end by themselves; ``named_differences`` what was named and differs;
    ``minor_differences`` how else the runs differ (policy, fork, cold, seed, version, files of models, card).
    ``overall`` are the geometric means of the ratios, along an axis one for each value of the second side; ``levels``
    is what several sessions and builds of a side add to intervals. ``calibration`` is the name of that whose spreads
    the verdicts use, with the least and the largest ``session_sd`` that they add at each boundary; ``calibration_note``
    says why one that is stored was not used, or what it does not cover.
    """

    a: tuple[str, ...]
    b: tuple[str, ...]
    pairs: tuple[Pair, ...]
    paths: dict[str, str] = {}
    overall: tuple[Overall, ...] = ()
    levels: Levels = Levels()
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()
    axis: str = ""
    unfinished: tuple[str, ...] = ()
    named_differences: tuple[Difference, ...] = ()
    minor_differences: tuple[Difference, ...] = ()
    calibration: str = ""
    session_sd: dict[Boundary, tuple[float, float]] = {}
    calibration_note: str = ""

    @property
    def refused(self) -> tuple[Difference, ...]:
        """What would have to be named, each once."""
        return tuple(dict.fromkeys(each for pair in self.pairs for each in pair.differences))

    def slower(self, threshold: float = 0.0) -> list[Pair]:
        """The pairs whose second side is SLOWER by more than ``threshold``, a fraction."""
        return [p for p in self.pairs if p.kind == "SLOWER" and p.verdict and p.verdict.ratio - 1 > threshold]

    def too_few(self) -> tuple[int, int] | None:
        """The processes of the sides of the pair that has most, if no judged pair has enough to be SLOWER, however far
        its sides are apart; else None.
        """
        sides = [pair.verdict.processes for pair in self.pairs if pair.verdict]
        return max(sides, key=min, default=None) if not any(can_differ(*each) for each in sides) else None

    def insensitive(self, threshold: float = 0.0) -> dict[float | None, list[Pair]]:
        """The judged pairs of too few processes to be SLOWER by little more than ``threshold``, a fraction, by the
        least slow-down at which they can be; by None those that cannot be at all.
        """
        several: dict[float | None, list[Pair]] = {}
        for pair in self.pairs:
            least = least_difference(*pair.verdict.processes) if pair.verdict else 0.0
            if least is None or least > max(threshold, LEAST):
                several.setdefault(least, []).append(pair)
        return several

    @property
    def failed(self) -> list[Pair]:
        """The pairs whose second side failed, is inaccurate, was not measured or has nothing that judges its outputs
        where the first has, while the first has a result.
        """
        lost = [p for p in self.pairs if p.kind == "NONE" and not _has_failed(p.a)]
        return [p for p in lost if _has_failed(p.b) or (_is_unjudged(p.b) and p.a.score and not _is_unjudged(p.a))]

    def fails(self, *, slower: float | None = None, failed: bool = False, inconclusive: bool = False) -> bool:
        """Whether there is a pair of the kinds named: SLOWER by more than ``slower``, ``failed``, INCONCLUSIVE."""
        undecided = any(p.kind == "INCONCLUSIVE" for p in self.pairs)
        too_slow = slower is not None and bool(self.slower(slower))
        return too_slow or (failed and bool(self.failed)) or (inconclusive and undecided)


def compare(
    a: Sequence[Run],
    b: Sequence[Run] = (),
    *,
    boundary: Boundary | None = None,
    across: Sequence[str] = (),
    axis: str = "",
    baseline: str = "",
    only: Collection[str] | None = None,
    session_sd: float = 0.0,
    process_sd: float | None = None,
    spread: SpreadOf | None = None,
) -> Comparison:
    """The runs ``b`` against the runs ``a``; those of one side are pooled.

    Cases are partners if their ids are equal; with ``axis`` (one of partners.AXES) if they are equal but for that.
    Without ``b`` the cases of ``a`` are compared with each other along the axis: all against ``baseline`` (a backend),
    or the first.
    ``only`` are ids of cases of ``a``: pairs without one are left out.
    ``session_sd`` and ``process_sd`` are standard deviations of logs of times, for the verdict; ``spread`` gives those
    of each pair in their place.

    UsageError for an unknown axis, dimension or baseline, for several candidates as a partner, or if nothing has a
    partner.
    """
    check_named(across)
    matches, only_a, only_b = partners(a, b, axis, baseline)
    if only is not None:
        matches = [pair for pair in matches if any(member.pool.case.id in only for member in pair)]
        only_a, only_b = [], []
    crossed: dict[Difference, None] = {}
    known, of_rates = _levels(matches, boundary), _levels(matches, "throughput")
    sds = spread or (lambda *_: (session_sd, process_sd))
    pairs = []
    for first, second in matches:
        differ = _of_members(first, second)
        names = (*across, *of_axis(first.pool.case, second.pool.case, axis))
        unnamed = tuple(each for each in differ if not is_named(each.dimension, names))
        crossed |= dict.fromkeys(each for each in differ if each not in unnamed)
        rate = None if unnamed else _rate(first, second, of_rates, sds)
        pairs.append(_pair(first, second, boundary, unnamed, known, sds, rate))
    return Comparison(
        a=tuple(run.header.run for run in a),
        b=tuple(run.header.run for run in b or a),
        pairs=tuple(pairs),
        paths={run.header.run: run.path for run in (*a, *b) if run.path},
        overall=_overall(pairs, axis),
        levels=known,
        only_a=tuple(only_a),
        only_b=tuple(only_b),
        axis=axis,
        unfinished=tuple(run.header.run for run in (*a, *b) if not run.footer or run.footer.status != "complete"),
        named_differences=tuple(crossed),
        minor_differences=tuple(dict.fromkeys(minor_differences((*a, *b)))),
    )


# ------------------------------------------------------------------------------------------------------------- pairs


def _of_members(first: Member, second: Member) -> list[Difference]:
    """In what any of the environments of two cases differs from the first, each once."""
    environments = (*first.environments, *second.environments)
    if not environments:
        return []
    before, others = environments[0], environments[1:]
    return list(dict.fromkeys(each for here in others if here is not before for each in differences(before, here)))


def _pair(
    first: Member,
    second: Member,
    boundary: Boundary | None,
    unnamed: tuple[Difference, ...],
    known: Levels,
    spread: SpreadOf,
    rate: Rate | None,
) -> Pair:
    shared = _shared(first, second, boundary)
    a, b = (row_of(_at(member.pool, shared), shared) for member in (first, second))
    label = a.label if a.case == b.case else f"{a.label} -> {b.label}"
    whole = Pair(label=label, a=a, b=b, boundary=shared, kind="REFUSED", differences=unnamed)
    if unnamed:
        return whole
    tops, bottoms = times(first.pool, shared), times(second.pool, shared)
    whole = msgspec.structs.replace(
        whole,
        kind="NONE",
        a_ns=_centre(tops),
        b_ns=_centre(bottoms),
        a_made_ns=_making_time(a),
        b_made_ns=_making_time(b),
        rate=rate,
        cycles=_cycles(a, b, shared, _centre(tops), _centre(bottoms)),
        why=_unsound("A", first.pool)
        or _unsound("B", second.pool)
        or _without_times("A", tops, shared)
        or _without_times("B", bottoms, shared),
    )
    if whole.why:
        return whole
    decided = verdict(tops, bottoms, **_sources(first, second, shared, known, spread))
    return msgspec.structs.replace(whole, kind=decided.kind, verdict=decided)


def _sources(first: Member, second: Member, boundary: Boundary | None, known: Levels, spread: SpreadOf) -> Sources:
    """What is known at a boundary of the variance of two sides beyond their times."""
    session_sd, process_sd = spread((first.pool.case, second.pool.case), boundary)
    if not session_sd and not known.is_known:
        return Sources(process_sd=process_sd)
    groups = origins(first, boundary), origins(second, boundary)
    backends = first.pool.case.backend, second.pool.case.backend
    session = session_level(known, groups, session_sd)
    return Sources(process_sd=process_sd, session=session, builds=build_levels(known, backends, groups), groups=groups)


def _shared(first: Member, second: Member, boundary: Boundary | None) -> Boundary | None:
    """The boundary of a pair: the one that was named, else the first of PRIMARY that both sides have."""
    return boundary or next((b for b in PRIMARY if b in first.pool.samples and b in second.pool.samples), None)


def _levels(matches: Sequence[tuple[Member, Member]], boundary: Boundary | None) -> Levels:
    """From each member at each boundary once, as along an axis one is the partner of several."""
    sides: dict[tuple[int, Boundary | None], tuple[Member, Boundary | None]] = {}
    for pair in matches:
        shared = _shared(*pair, boundary)
        sides |= {(id(member), shared): (member, shared) for member in pair}
    return levels(sides.values())


def _overall(pairs: Sequence[Pair], axis: str) -> tuple[Overall, ...]:
    """That of all pairs, or along an axis, where a case may have several partners, by what the second side is."""
    groups: dict[str, list[Verdict]] = {}
    for pair in pairs:
        if pair.verdict:
            of = {"backend": pair.b.backend, "precision": pair.b.precision}.get(axis, "")
            groups.setdefault(of, []).append(pair.verdict)
    means = (overall(verdicts, of) for of, verdicts in groups.items())
    return tuple(mean for mean in means if mean is not None)


def _at(pool: Pool, boundary: Boundary | None) -> Pool:
    """The pool with the samples of one boundary: the figures of the others take most of the time of a row."""
    return msgspec.structs.replace(pool, samples={key: each for key, each in pool.samples.items() if key == boundary})


def _centre(medians: Sequence[float]) -> float | None:
    return statistics.geometric_mean(medians) if medians and min(medians) > 0 else None


def _rate(first: Member, second: Member, known: Levels, spread: SpreadOf) -> Rate | None:
    """The reciprocal of the ratio of times per inference; None where a side has no rate, or one of 0. ``known`` are the
    levels at ``throughput``.
    """
    above, below = _centre(second.pool.rates), _centre(first.pool.rates)
    if above is None or below is None:
        return None
    sources = _sources(first, second, "throughput", known, spread)
    interval = ratio_interval(times(first.pool, "throughput"), times(second.pool, "throughput"), **sources)
    low, high = (1 / interval.high, 1 / interval.low) if interval else (None, None)
    return Rate(ratio=above / below, low=low, high=high)


def _cycles(a: Row, b: Row, boundary: Boundary | None, a_ns: float | None, b_ns: float | None) -> float | None:
    """The ratio of the times on the GPU in cycles, if the medians of the SM clock differ by CLOCKS or more."""
    clocks = _clock(a), _clock(b)
    if boundary not in ("gpu", "gpu_unheld") or not (a_ns and b_ns and clocks[0] and clocks[1]):
        return None
    moved = clocks[1] / clocks[0]
    return b_ns / a_ns * moved if abs(moved - 1) >= CLOCKS else None


def _clock(row: Row) -> float | None:
    """The median of the processes' medians of the SM clock under load, MHz."""
    known = [of.gpu.sm_mhz_median for of in row.telemetry.values() if of.gpu and of.gpu.sm_mhz_median]
    return statistics.median(known) if known else None


def _unsound(side: str, pool: Pool) -> str:
    """Why a side has no figure to judge by, whatever the boundary; empty if it has."""
    return f"{side} {flaw.text}" if (flaw := pool.flaw) else ""


def _without_times(side: str, medians: Sequence[float], boundary: Boundary | None) -> str:
    if not medians:
        return f"{side} has no {boundary}" if boundary else "no boundary in common"
    return f"{side} has times of 0" if min(medians) <= 0 else ""


def _has_failed(row: Row) -> bool:
    return row.failure is not None or not row.processes or (row.score is not None and not row.score.ok)


def _is_unjudged(row: Row) -> bool:
    """Whether its outputs are empty, or are compared with what does not depend on the inputs."""
    return row.score is not None and (row.score.empty or row.score.blind)


def _making_time(row: Row) -> float | None:
    spent = [phase.cold_ns for phase in row.phases if phase.name in _MADE and phase.cold_ns is not None]
    return sum(spent) if spent else None
