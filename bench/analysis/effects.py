"""What a condition does to times, from cases of one run that differ in it and in nothing else; pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from bench.analysis.conditions import CAPTURED, CONDITIONS, Condition, Kind, Subject
from bench.analysis.conditions import values as values_of
from bench.analysis.pool import Pool, gather_one
from bench.analysis.speed import speed_of
from bench.model.data import Data
from bench.model.suite import Boundary, Case

# Whose times an effect is read from, and how many pairs are computed at most.
BOUNDARIES: tuple[Boundary, ...] = ("gpu", "gpu_unheld", "latency")
MOST = 8
# Keys of conditions that processes of one case may differ in.
_CACHES = ("autotune_cache", "timing_cache", "runtime_cache")
# What two cases of one backend may differ in to show the effect of a condition: fields of a case, and keys of options.
_VARIES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "tf32": (("precision",), ()),
    "memory_format": ((), ("memory_format",)),
    "graph_capture": (("cuda_graph",), ("mode",)),
    "graph_inputs": (("cuda_graph",), ("mode",)),
    "autocast": ((), ("autocast",)),
    "threads": ((), ("threads",)),
    "optimization_level": ((), ("optimization_level",)),
    "graph_optimization": ((), ("graph_optimization",)),
    "cudnn_benchmark": ((), ("cudnn_search",)),
}
# Modes of Inductor that differ in capturing graphs alone.
_MODES = {"reduce-overhead": "default", "max-autotune": "max-autotune-no-cudagraphs"}


class Effect(Data, frozen=True, kw_only=True):
    """The time of case ``a`` over that of case ``b`` (ids) at ``boundary``, with its 95 % interval, None where a side
    has one process; they differ in the condition alone, which is ``a_value`` and ``b_value``.

    Of one case whose processes differ in it, ``a`` and ``b`` are the same.
    """

    a: str
    b: str
    a_value: str
    b_value: str
    boundary: Boundary
    ratio: float
    low: float | None
    high: float | None


def shortest_first(text: str) -> tuple[int, str]:
    """The order of values: ``2`` before ``16``, ``captured`` before ``not captured``."""
    return len(text), text


def measured_effects(
    kind: Kind, key: str, cases: Iterable[str], pools: Mapping[str, Pool], subjects: Mapping[str, Subject]
) -> tuple[Effect, ...]:
    """The effects of the condition that reads ``key`` on the models of ``cases`` (ids), at most MOST pairs of cases."""
    condition = next((each for each in CONDITIONS if each.kind == kind and each.key == key), None)
    if condition is None:
        return ()
    cases = tuple(cases)
    pairs = _within(condition, [pools[case] for case in cases]) if key in _CACHES else ()
    if key in _VARIES:
        models = {pools[case].case.model for case in cases}
        pairs = _variants(condition, [p for p in pools.values() if p.case.model in models], subjects)
    effects: list[Effect] = []
    for number, pair in enumerate(pairs):
        if number >= MOST:
            break
        effects += _effects(condition, *pair)
    return tuple(effects)


def of_slower_graphs(pools: Mapping[str, Pool], subjects: Mapping[str, Subject], least: float) -> tuple[Effect, ...]:
    """The effects of captured graphs at ``gpu`` whose whole interval is ``least`` or more, as ratios."""
    condition = next(each for each in CONDITIONS if each.key == "graph_capture")
    slower: list[Effect] = []
    for pair in _variants(condition, list(pools.values()), subjects):
        captured, plain = sorted(pair, key=lambda each: each[1] != CAPTURED)
        times = [_median(pool, "gpu") for pool, _ in (captured, plain)]
        if times[1] and times[0] / times[1] >= least:  # an interval costs more than two medians
            at_gpu = [effect for effect in _effects(condition, captured, plain) if effect.boundary == "gpu"]
            slower += [effect for effect in at_gpu if effect.low is not None and effect.low >= least]
    return tuple(slower)


def _median(pool: Pool, boundary: Boundary) -> float:
    samples = [sample for process in pool.samples.get(boundary, ()) for sample in process]
    return statistics.median(samples) if samples else 0.0


# A pool with the value that it has.
_Valued = tuple[Pool, str]


def _variants(
    condition: Condition, pools: Sequence[Pool], subjects: Mapping[str, Subject]
) -> Iterator[tuple[_Valued, _Valued]]:
    """Sound cases that are equal but for the condition; the first two values of each."""
    alike: dict[tuple[object, ...], dict[str, Pool]] = {}
    for pool in pools:
        values = values_of(condition, subjects[pool.case.id])
        if len(values) == 1 and pool.sound:
            alike.setdefault(_identity(pool.case, condition.key), {}).setdefault(values[0], pool)
    for members in alike.values():
        if len(members) > 1:
            one, other, *_ = sorted(members, key=shortest_first, reverse=True)  # `not captured` before `captured`
            yield (members[one], one), (members[other], other)


def _identity(case: Case, key: str) -> tuple[object, ...]:
    """Equal for cases that differ at most in what the condition may vary."""
    fields, names = _VARIES[key]
    options = {name: value for name, value in case.options.items() if name not in names or name == "mode"}
    if "mode" in names:  # modes that time kernels are programs of their own
        mode = str(options.pop("mode", "default"))
        options["mode"] = _MODES.get(mode, mode)
    rest = {"precision": case.precision, "cuda_graph": case.cuda_graph}
    return (
        case.model,
        case.backend,
        msgspec.json.encode(options, order="sorted"),
        *(value for name, value in rest.items() if name not in fields),
        tuple(sorted(case.symbols.items())),
        tuple(sorted(case.dynamic)),
        case.streams,
        case.lanes,
        case.l2,
        case.transfers,
        case.toolchain,
    )


def _within(condition: Condition, pools: Iterable[Pool]) -> Iterator[tuple[_Valued, _Valued]]:
    """Of cases whose processes differ in the condition, those of its first value and those of its second."""
    for pool in pools:
        by_value: dict[str, list[int]] = {}
        for number, record in enumerate(pool.records):
            if condition.key in record.fairness and record.measurements:
                by_value.setdefault(str(record.fairness[condition.key]), []).append(number)
        if len(by_value) > 1 and pool.sound:
            one, other, *_ = sorted(by_value)
            yield (_part(pool, by_value[one]), one), (_part(pool, by_value[other]), other)


def _part(pool: Pool, numbers: Sequence[int]) -> Pool:
    return gather_one(pool.case, [pool.records[number] for number in numbers])


def _effects(condition: Condition, a: _Valued, b: _Valued) -> Iterator[Effect]:
    for boundary in BOUNDARIES:
        if boundary not in a[0].samples or boundary not in b[0].samples:
            continue
        speed = speed_of(b[0], a[0], boundary, "")
        if speed and speed.ratio is not None:
            yield Effect(
                a=a[0].case.id,
                b=b[0].case.id,
                a_value=a[1],
                b_value=b[1],
                boundary=boundary,
                ratio=speed.ratio,
                low=speed.low,
                high=speed.high,
            )
