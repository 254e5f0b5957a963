"""Speed against a baseline, and rank: what may be compared with what, and whether two times can be told apart."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from statistics import geometric_mean
from typing import NamedTuple, TypeAlias

import msgspec

from bench import stats
from bench.analysis import intervals
from bench.analysis.duel import pair_ratio
from bench.analysis.intervals import Sources
from bench.analysis.pool import Pool
from bench.analysis.sides import Levels, build_levels
from bench.errors import UsageError, did_you_mean
from bench.model.suite import Boundary, Case, named

CONFIDENCE = 0.95
# Bounds that are further apart than this, with 1 between them, leave open which side is faster and by how much: from a
# third less to half as much again, as seen from the middle.
VAGUE = 2.0


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """Time of the baseline over time of the case at ``boundary``: above 1 the case is faster.

    ``against`` is the label of the baseline's case, ``backend`` its backend with options, ``toolchain`` its toolchain;
    the baseline's own row is against itself, with ratio 1 and no interval. There is no ratio of a time of 0.
    ``precision`` is the one that the baseline was named with, empty where each case has that of its own precision.
    ``within`` says that a side has one process: nothing is known of how its processes differ, so there is no interval,
    and the ratio decides nothing.
    ``across_devices`` says that no card or machine is known to have measured both sides, so that what differs between
    two of a kind may be in the ratio and is not in its interval.
    ``pairs`` is of how many pairs of a duel the ratio is, with the interval of such a match: without one where they are
    too few. None where the processes of both sides are independent.
    """

    ratio: float | None
    low: float | None
    high: float | None
    boundary: Boundary
    against: str
    backend: str
    toolchain: str
    precision: str
    within: bool
    across_devices: bool
    pairs: int | None = None


def baselines(cases: Iterable[Case]) -> list[str]:
    """What may be named as a baseline of ``cases``; with toolchains and precisions only where there are several."""
    cases = list(cases)
    toolchains = {case.toolchain for case in cases} if len({case.toolchain for case in cases}) > 1 else ()
    precisions = {case.precision for case in cases} if len({case.precision for case in cases}) > 1 else ()
    names = set()
    for case in cases:
        for label in (case.backend, named(case.backend, case.options)):
            names |= {label}
            names |= {f"{label}@{case.toolchain}"} if toolchains else set()
            names |= {f"{label}/{case.precision}"} if precisions else set()
    return sorted(names)


def check_baseline(cases: Iterable[Case], baseline: str) -> None:
    """UsageError if none of the cases of a run is the ``baseline`` that is asked for."""
    cases = list(cases)
    if baseline and not any(is_baseline(case, baseline) for case in cases):
        labels = baselines(cases)
        what = _absent_part(cases, baseline) or f"no case has the backend {baseline!r}.{did_you_mean(baseline, labels)}"
        raise UsageError(what, fix=f"--baseline with one of: {', '.join(labels)}")


def _absent_part(cases: Sequence[Case], baseline: str) -> str:
    """Which of its precision and toolchain the cases of a baseline's backend do not have; empty if none is of that."""
    name, *ends = parts_of(baseline)
    of_backend = [case for case in cases if name and is_baseline(case, name)]
    if not of_backend or len(name + "".join(ends)) != len(baseline):  # it has more than one precision or toolchain
        return ""
    known = {case.precision for case in of_backend}, {case.toolchain for case in of_backend}
    parts = [(kind, end[1:]) for kind, end in zip(("precision", "toolchain"), ends, strict=True) if end]
    absent = [part for part in parts if part[1] not in known[part[0] == "toolchain"]]
    # If each is there, it is not both of one case.
    return f"no case of {name} has " + " and ".join(f"the {kind} {value!r}" for kind, value in absent or parts)


def is_distinct(pool: Pool, best: Pool, boundary: Boundary) -> bool:
    """Whether ``pool`` is slower than ``best`` by more than the interval of their ratio leaves open; False where there
    is none, as with one process on a side.
    """
    ratio = ratio_of(pool, best, boundary)
    return ratio is not None and ratio.low is not None and ratio.low > 1


def is_undecided(low: float | None, high: float | None) -> bool:
    """Whether a ratio with the interval ``low`` to ``high`` says neither which side is faster nor by how much: the
    interval is not known, or contains 1 and is wider than a factor of VAGUE.
    """
    return low is None or high is None or (low <= 1 <= high and high > VAGUE * low)


def size(case: Case) -> tuple[object, ...]:
    """What must be equal for two times to be of the same work; transfers and L2 state are part of the question."""
    return case.model, tuple(sorted(case.symbols.items())), case.l2, case.transfers


def is_baseline(case: Case, baseline: str) -> bool:
    """Whether ``baseline`` names the backend of ``case``, with or without options, toolchain and precision."""
    if not baseline.startswith(case.backend):  # as each of the names below does
        return False
    return _exactly(case, baseline) or baseline in _names(case.backend, case)


def parts_of(baseline: str) -> tuple[str, str, str]:
    """The backend of a baseline, with its options, and ``/PRECISION`` and ``@TOOLCHAIN``, empty where it has none."""
    head, bracket, ending = baseline.rpartition("]")  # options may have a path
    name, *endings = re.split(r"(?=[/@])", ending)
    precision, toolchain = (next((each for each in endings if each[0] == mark), "") for mark in "/@")
    return head + bracket + name, precision, toolchain


def with_precision(case: Case, baseline: str) -> bool:
    """Whether ``baseline`` names ``case`` with its precision, as in ``eager/fp32``: then it serves all precisions."""
    if "/" not in baseline:
        return False
    precise = {name for label in (case.backend, named(case.backend, case.options)) for name in _precise(label, case)}
    return baseline in precise


def _precise(label: str, case: Case) -> set[str]:
    return {
        f"{label}/{case.precision}",
        f"{label}/{case.precision}@{case.toolchain}",
        f"{label}@{case.toolchain}/{case.precision}",
    }


def _names(label: str, case: Case) -> set[str]:
    return {label, f"{label}@{case.toolchain}"} | _precise(label, case)


def _exactly(case: Case, baseline: str) -> bool:
    """Whether the name of the baseline is the backend with all its options."""
    return baseline in _names(named(case.backend, case.options), case)


# The sound cases of a baseline's backend: by size, and of each size by what baseline_of() looks for, the first of each.
Bases: TypeAlias = dict[tuple[object, ...], dict[tuple[object, ...], Pool]]


def baselines_of(pools: Iterable[Pool], baseline: str) -> Bases:
    """The sound cases of the baseline's backend, under precision, whether its options are the ones named, toolchain,
    graph and streams; None stands for any, so that what is nearest is found without a comparison with each.
    """
    bases: Bases = {}
    for pool in pools:
        case = pool.case
        if not (is_baseline(case, baseline) and pool.sound):
            continue
        serves_all = case.precision == "fp32" or with_precision(case, baseline)
        precisions = (case.precision, None) if serves_all else (case.precision,)
        exactly, toolchains, streams = (_exactly(case, baseline),), (case.toolchain, None), (case.streams, None)
        of_size = bases.setdefault(size(case), {})
        for key in itertools.product(precisions, exactly, toolchains, (case.cuda_graph,), streams):
            of_size.setdefault(key, pool)
    return bases


def baseline_of(pool: Pool, bases: Bases) -> Pool | None:
    """The one of ``bases`` that is nearest: same precision, else fp32, unless the baseline names one; then without
    options, same toolchain, no graph, same streams.
    """
    case = pool.case
    of_size = bases.get(size(case), {})
    nearest_first = itertools.product(
        (case.precision, None), (True, False), (case.toolchain, None), (False, True), (case.streams, None)
    )
    return next((of_size[key] for key in nearest_first if key in of_size), None)


def speed_of(pool: Pool, base: Pool, boundary: Boundary, baseline: str) -> Speed | None:
    """The speed of ``pool`` against ``base`` with the interval of ratio_of(). None if ``base`` has no time at
    ``boundary``.
    """
    if boundary not in base.samples:
        return None
    ratio = Quotient(1.0) if base is pool else ratio_of(base, pool, boundary)
    return Speed(
        ratio=ratio and ratio.ratio,
        low=ratio and ratio.low,
        high=ratio and ratio.high,
        boundary=boundary,
        against=base.case.label,
        backend=named(base.case.backend, base.case.options),
        toolchain=base.case.toolchain,
        precision=base.case.precision if with_precision(base.case, baseline) else "",
        within=base is not pool and min(len(base.samples[boundary]), len(pool.samples[boundary])) == 1,
        across_devices=base is not pool and not _places(base) & _places(pool),
        pairs=ratio and ratio.pairs,
    )


class Quotient(NamedTuple):
    """Of two times, with its 95 % interval if it is known; of so many pairs of a duel, or None."""

    ratio: float
    low: float | None = None
    high: float | None = None
    pairs: int | None = None


def ratio_of(above: Pool, below: Pool, boundary: Boundary) -> Quotient | None:
    """The time of ``above`` over that of ``below``; None if one has a time of 0.

    Of cases that took turns in a duel it is that of their pairs, with the interval that allows for stopping early. Else
    it is that of geometric means over processes, with the interval of ``verdict``, in which is what builds differ by
    where the run has several, or without one where a side has one process.
    """
    if below.duel and (of_pairs := pair_ratio(below.duel, below.records, above.records, boundary)):
        return Quotient(*of_pairs)
    a, b = ([float(stats.median(samples)) for samples in pool.samples[boundary]] for pool in (above, below))
    if min(*a, *b) <= 0:
        return None
    if interval := intervals.ratio_interval(b, a, **_sources(below, above, boundary)):
        return Quotient(interval.centre, interval.low, interval.high)
    return Quotient(geometric_mean(a) / geometric_mean(b))


def _sources(a: Pool, b: Pool, boundary: Boundary) -> Sources:
    """What the builds of both add to the spread of processes at a boundary."""
    builds = {pool.case.backend: pool.builds[boundary] for pool in (a, b) if boundary in pool.builds}
    if not builds:
        return Sources()
    groups = [[("", build) for build in pool.builds_at(boundary)] for pool in (a, b)]
    levels = build_levels(Levels(builds=builds), (a.case.backend, b.case.backend), groups)
    return Sources(builds=levels, groups=(groups[0], groups[1]))


def _places(pool: Pool) -> set[str]:
    """The cards or machines that measured: empty for that on which a run on one was begun, and a name of its own for
    each record that does not say which other one it was.
    """
    places = set()
    for record in pool.records:
        if record.measurements:
            moved = any(warning.kind == "ResumedElsewhere" for warning in record.warnings)
            unknown = f"? {record.case} {record.replicate}"
            places.add(record.card or ((record.telemetry.resumed_on or unknown) if moved else ""))
    return places
