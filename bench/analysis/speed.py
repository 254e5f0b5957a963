"""Speed against a baseline, and rank: what may be compared with what, and whether two times can be told apart."""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import msgspec

from bench import stats
from bench.analysis import bootstrap
from bench.analysis.pool import Pool
from bench.errors import UsageError, did_you_mean
from bench.model.samples import SortedSamples
from bench.model.suite import Boundary, Case, named

CONFIDENCE = 0.95


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """Time of the baseline over time of the case at ``boundary``: above 1 the case is faster.

    ``against`` is the label of the baseline's case, ``backend`` its backend with options, ``toolchain`` its toolchain;
    the baseline's own row is against itself, with ratio 1 and no interval. All others have an interval or no ratio.
    ``precision`` is the one that the baseline was named with, empty where each case has that of its own precision.
    ``within`` says that a side has one process: the interval, if any, is of samples and not of process medians.
    ``across_devices`` says that no card or machine is known to have measured both sides, so that what differs between
    two of a kind may be in the ratio and is not in its interval.
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
        raise UsageError(
            f"no case has the backend {baseline!r}.{did_you_mean(baseline, labels)}",
            fix=f"--baseline with one of: {', '.join(labels)}",
        )


def is_distinct(pool: Pool, best: Pool, boundary: Boundary) -> bool:
    """Whether ``pool`` is slower than ``best`` by more than the interval of their ratio leaves open; False where there
    is too little for an interval.
    """
    ours, theirs = pool.samples[boundary], best.samples[boundary]
    if min(len(ours), len(theirs)) == 1:  # a bootstrap, which most pairs need not draw
        slow, quick = SortedSamples.joined(ours), SortedSamples.joined(theirs)
        if _far_apart(slow, quick):
            return True
        if bootstrap.is_not_above(slow, quick, CONFIDENCE):
            return False
    interval, _ = _ratio(pool, best, boundary)
    return interval is not None and interval.low > 1


def _far_apart(slow: SortedSamples, quick: SortedSamples) -> bool:
    """Whether a bootstrap need not be drawn: its medians lie within 5 deviations of ranks, half the root of n each."""
    if min(len(slow), len(quick)) < bootstrap.LEAST:
        return False
    return slow[_around_median(len(slow))[0]] > quick[_around_median(len(quick))[1]]


@functools.lru_cache(maxsize=4096)
def _around_median(n: int) -> tuple[int, int]:
    """The ranks, from 0, of n samples that lie 5 deviations on both sides of the median, or the outermost."""
    far = 5 * math.sqrt(n) / 2 + 1
    return max(math.floor(n / 2 - far), 0), min(math.ceil(n / 2 + far), n - 1)


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
    """Welch's interval of the ratio of process medians; with one process on a side, bootstrap within processes; no
    ratio where neither can be computed.
    """
    return speeds_of([(pool, base, boundary)], baseline)[0]


def speeds_of(pairs: Sequence[tuple[Pool, Pool, Boundary]], baseline: str) -> list[Speed | None]:
    """``speed_of`` of each pool, its base and the boundary, in less time than one by one."""
    sides = [(base, pool, boundary) for pool, base, boundary in pairs if base is not pool and boundary in base.samples]
    ratios = iter(_ratios(sides))
    speeds: list[Speed | None] = []
    for pool, base, boundary in pairs:
        if boundary not in base.samples:
            speeds.append(None)
            continue
        interval, within = (None, False) if base is pool else next(ratios)
        speeds.append(
            Speed(
                ratio=1.0 if base is pool else interval and interval.ratio,
                low=interval and interval.low,
                high=interval and interval.high,
                boundary=boundary,
                against=base.case.label,
                backend=named(base.case.backend, base.case.options),
                toolchain=base.case.toolchain,
                precision=base.case.precision if with_precision(base.case, baseline) else "",
                within=within,
                across_devices=base is not pool and not _places(base) & _places(pool),
            )
        )
    return speeds


def _ratio(above: Pool, below: Pool, boundary: Boundary) -> tuple[stats.Ratio | None, bool]:
    """The time of ``above`` over that of ``below`` with its interval, and whether that is within processes only."""
    return _ratios([(above, below, boundary)])[0]


def _ratios(sides: Iterable[tuple[Pool, Pool, Boundary]]) -> list[tuple[stats.Ratio | None, bool]]:
    """As _ratio, of each two pools at a boundary."""
    ratios: list[tuple[stats.Ratio | None, bool]] = []
    within: dict[int, tuple[SortedSamples, SortedSamples]] = {}
    for place, (above, below, boundary) in enumerate(sides):
        tops, bottoms = above.samples[boundary], below.samples[boundary]
        interval = None
        if min(len(tops), len(bottoms)) > 1:
            a, b = ([stats.median(samples) for samples in side] for side in (tops, bottoms))
            interval = stats.ratio_interval(a, b, CONFIDENCE)
        if interval is None:
            within[place] = SortedSamples.joined(tops), SortedSamples.joined(bottoms)
        ratios.append((interval, interval is None))
    bootstrapped = bootstrap.bootstrap_ratios(list(within.values()), CONFIDENCE)
    for place, ratio in zip(within, bootstrapped, strict=True):
        ratios[place] = ratio, True
    return ratios


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
