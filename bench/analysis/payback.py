"""When a runtime pays back: what comes before its first answer against what it saves with each later request; pure."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Iterable, Sequence, Set
from typing import Literal

from bench.analysis.pool import Pool, gather
from bench.analysis.rows import baseline_label
from bench.analysis.sides import times
from bench.analysis.speed import baseline_of, baselines_of, check_baseline, ratio_of
from bench.analysis.times import category
from bench.model.data import Data
from bench.model.run import Record, Run
from bench.model.suite import Boundary

# Whose times are those of a request: the first that both sides have.
_REQUEST: tuple[Boundary, ...] = ("latency", "gpu", "gpu_unheld")
# Keys of the fairness report, `warm` where a compiler found earlier work in its own caches.
_CACHES = ("code_cache", "autotune_cache", "timing_cache", "runtime_cache")
_AHEAD = "prestart"
_START = ("import", "load", "deserialize")
_FIRST = "first_call"
_WEIGHTS = "weights"

Making = Literal["none", "measured", "cached", "beside"]
Outcome = Literal["baseline", "after", "at_once", "never", "until", "unknown"]


class Payback(Data, frozen=True, kw_only=True):
    """One case against its baseline's. Times are nanoseconds, each the median over processes.

    ``build_ns`` is all that is made before a process can load it, or in its first moments (export, build, compile):
    0 if nothing is, None if it has no time of its own: ``making`` says that it was ``cached`` or made ``beside`` other
    work. ``start_ns`` is import, load and deserialize, without the imports if ``ahead``: then they were made before the
    turn. ``first_ns`` is the first call, ``steady_ns`` a later request at ``boundary``; ``ratio`` is the steady time of
    the baseline over that of the case, with its 95 % interval over processes.

    ``outcome``: the case is the ``baseline``; its total time is lower ``after`` that many ``requests``, from the first
    one on (``at_once``), ``never``, or only ``until`` that many; ``unknown``, and ``why``. ``requests`` go from ``low``
    to ``high`` as the ratio goes through its interval; with a ``low`` and no ``high`` there may be no end.
    """

    case: str
    label: str
    against: str = ""
    boundary: Boundary | None = None
    build_ns: float | None = None
    making: Making = "none"
    ahead: bool = False
    start_ns: float | None = None
    first_ns: float | None = None
    steady_ns: float | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    outcome: Outcome = "unknown"
    requests: int | None = None
    low: int | None = None
    high: int | None = None
    why: str = ""

    @property
    def first_answer_ns(self) -> float | None:
        """From nothing to the first answer; None if a part of it is not known."""
        parts = (self.build_ns, self.start_ns, self.first_ns)
        return None if None in parts else sum(part for part in parts if part is not None)

    def hours(self, rate: float) -> float | None:
        """How long ``requests`` take at ``rate`` of them per second."""
        return None if self.requests is None else self.requests / rate / 3600


class RunPayback(Data, frozen=True, kw_only=True):
    """The cases of a run in the order of its plan; ``cold`` if it took nothing from caches. ``suite`` is its file."""

    run: str
    suite: str
    cold: bool
    baseline: str
    cases: tuple[Payback, ...]


def of_run(
    run: Run, baseline: str = "", only: Set[str] | None = None, pools: Sequence[Pool] | None = None
) -> RunPayback:
    """Each case of ``only`` (ids; all without it) that has records, against the case of ``baseline``; this and
    ``pools`` as in ``rows``.

    UsageError if no case has the ``baseline``.
    """
    check_baseline(run.header.cases, baseline)
    pools = gather(run) if pools is None else pools
    label = baseline_label(run, baseline)
    bases = baselines_of(pools, label)
    cases = tuple(
        _of_case(pool, baseline_of(pool, bases), label, run.header.cold)
        for pool in pools
        if pool.records and (only is None or pool.case.id in only)
    )
    header = run.header
    return RunPayback(run=header.run, suite=header.suite_path, cold=header.cold, baseline=label, cases=cases)


def requests(extra_ns: float, saving_ns: float) -> int | None:
    """After how many requests ``extra_ns`` before the second one are made up for by ``saving_ns`` with each from then
    on; for two negative numbers, until how many. None if they never are.
    """
    if extra_ns * saving_ns <= 0:
        return None
    number = extra_ns / saving_ns
    if not math.isfinite(number):
        return None
    return 1 + (math.ceil(number) if extra_ns > 0 else math.floor(number))


# ------------------------------------------------------------------------------------------------------------------


def _of_case(pool: Pool, base: Pool | None, baseline: str, cold: bool) -> Payback:
    """The case alone, and if it can be, against its baseline."""
    boundary = next((b for b in _REQUEST if b in pool.samples and (base is None or b in base.samples)), None)
    records = [record for record in pool.records if record.measurements]
    making, build_ns = _making(records, cold)
    starts = _starts(records)
    kinds = [ahead for ahead in (False, True) if ahead in starts]
    common = kinds if base is None else [ahead for ahead in kinds if ahead in _starts(base.records)]
    ahead = next(iter(common or kinds), False)
    alone = Payback(
        case=pool.case.id,
        label=pool.case.label,
        boundary=boundary,
        build_ns=build_ns,
        making=making,
        ahead=ahead,
        start_ns=starts.get(ahead),
        first_ns=_median(_sum(record, (_FIRST,)) for record in records),
        steady_ns=_centre(times(pool, boundary)),
    )
    if why := _unsound(pool, base, boundary, baseline):
        return _replace(alone, why=why)
    assert base is not None
    if base is pool:
        return _replace(alone, outcome="baseline", against=pool.case.label)
    return _against(_replace(alone, against=base.case.label), pool, base, cold, bool(common))


def _against(alone: Payback, pool: Pool, base: Pool, cold: bool, comparable: bool) -> Payback:
    """The case with its outcome against ``base``."""
    assert alone.boundary is not None
    ratio = ratio_of(base, pool, alone.boundary)
    steady, own = _centre(times(base, alone.boundary)), alone.steady_ns
    assert ratio is not None
    assert steady is not None
    assert own is not None
    if ratio.pairs:  # of a duel, whose ratio is not that of the two times
        own = steady / ratio.ratio
    low, high = ratio.low, ratio.high
    alone = _replace(alone, ratio=steady / own, ratio_low=low, ratio_high=high)
    records = [record for record in base.records if record.measurements]
    making, base_build = _making(records, cold)
    if alone.build_ns is None:
        return _replace(alone, why=alone.making)
    if base_build is None:
        return _replace(alone, why=f"the baseline's build is {making}")
    if not comparable:
        return _replace(alone, why="one of the two imported its libraries ahead of its turn")
    before, first = _starts(records)[alone.ahead], _median(_sum(record, (_FIRST,)) for record in records)
    total = alone.first_answer_ns
    if total is None or first is None:
        return _replace(alone, why="no first call is recorded")
    extra = total - (base_build + before + first)
    number = requests(extra, steady - own)
    bounds = _bounds(extra, steady, low, high)
    if own < steady:
        if extra <= 0:
            return _replace(alone, outcome="at_once", requests=1)
        return _replace(alone, outcome="after", requests=number, **bounds)
    if extra < 0 and own > steady:
        return _replace(alone, outcome="until", requests=number, **bounds)
    return _replace(alone, outcome="never", **bounds)


def _bounds(extra: float, steady: float, low: float | None, high: float | None) -> dict[str, int | None]:
    """The numbers of requests at the ends of the ratio's interval; the lesser one, and the greater if there is one."""
    if low is None or high is None:
        return {}
    ends = [requests(extra, steady * (1 - 1 / ratio)) for ratio in (low, high)]
    numbers = sorted(end for end in ends if end is not None)
    return {"low": numbers[0], "high": numbers[1] if len(numbers) > 1 else None} if numbers else {}


def _unsound(pool: Pool, base: Pool | None, boundary: Boundary | None, baseline: str) -> str:
    """Why a case cannot be set against its baseline; empty if it can."""
    if flaw := pool.flaw:
        return f"it {flaw.text}"
    if base is None:
        return f"no sound {baseline} of its model and sizes"
    return "" if boundary else "no latency"


def _making(records: Sequence[Record], cold: bool) -> tuple[Making, float | None]:
    """How what a case needs was made, and the median of how long that took where a process shows it."""
    by_making: dict[Making, list[int]] = {}
    for record in records:
        phases = [phase for phase in record.phases if _is_build(phase.name)]
        # What a cold run reuses it has made itself, for another case or replicate, and ``ns`` is how long that took.
        reused = not cold and any(not phase.cold for phase in phases)
        reused = reused or any(record.fairness.get(name) == "warm" for name in _CACHES)
        making: Making = "measured"
        if not phases:
            making = "none"
        elif any(phase.beside for phase in phases):
            making = "beside"
        elif reused:
            making = "cached"
        by_making.setdefault(making, []).append(sum(phase.ns for phase in phases))
    if "measured" in by_making:
        return "measured", float(statistics.median(by_making["measured"]))
    return next(((name, None) for name in ("cached", "beside") if name in by_making), ("none", 0.0))


@functools.lru_cache(maxsize=4096)
def _is_build(phase: str) -> bool:
    """Whether a deployment needs it: not the weights, which carry those of one toolchain's PyTorch into another."""
    return phase != _WEIGHTS and category("measure", phase) == "builds"


def _starts(records: Iterable[Record]) -> dict[bool, float]:
    """The median of import, load and deserialize, by whether the imports were made ahead of the turn."""
    spent: dict[bool, list[int]] = {}
    for record in records:
        if record.measurements:
            ahead = any(phase.name == _AHEAD for phase in record.phases)
            names = _START[1:] if ahead else _START
            spent.setdefault(ahead, []).append(_sum(record, names) or 0)
    return {ahead: float(statistics.median(several)) for ahead, several in spent.items()}


def _sum(record: Record, names: Sequence[str]) -> int | None:
    """Nanoseconds of the phases of these names; None if it has none of them."""
    spent = [phase.ns for phase in record.phases if _stem(phase.name) in names]
    return sum(spent) if spent else None


@functools.lru_cache(maxsize=4096)
def _stem(phase: str) -> str:
    return phase.partition(":")[0]


def _median(values: Iterable[int | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return float(statistics.median(numbers)) if numbers else None


def _centre(medians: Sequence[float]) -> float | None:
    if not medians or min(medians) <= 0:
        return None
    return statistics.geometric_mean(medians) if len(medians) > 1 else medians[0]


def _replace(payback: Payback, **fields: object) -> Payback:
    import msgspec

    return msgspec.structs.replace(payback, **fields)
