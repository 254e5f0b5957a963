"""The records of a run gathered by case: samples per boundary and process, rates, and the worst accuracy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import msgspec

from bench import stats
from bench.analysis.components import Component, Sample, components
from bench.analysis.flaws import ORDER, UNMEASURED, UNSAMPLED, Flaw, flaw_of, is_blind
from bench.model.run import Duel, Failure, Record, Run
from bench.model.samples import SortedSamples
from bench.model.suite import Boundary, Case
from bench.units import NS_PER_S


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """The least accurate process of a case, the worst of its outputs in each figure; None is infinite or undefined.

    Those against the quantized reference, and its own ``rounding_cosine``, are also None where the case has none.
    ``varies`` says that outputs change from call to call, so that they are not ok whatever the backend; ``empty`` that
    no output has an element, and no metric was computed either: nothing was compared; ``blind`` that what it was
    compared with does not depend on the inputs, so that this says nothing.
    """

    ok: bool
    cosine: float | None
    rel_l2: float | None
    max_abs: float | None
    sqnr: float | None
    nan: int
    metric: dict[str, float]
    why: str
    varies: bool
    quantized_cosine: float | None = None
    quantized_sqnr: float | None = None
    rounding_cosine: float | None = None
    empty: bool = False
    blind: bool = False

    @property
    def accurate(self) -> bool | None:
        """The verdict; None where nothing was compared, or only with a reference that says nothing."""
        return None if self.ok and (self.empty or self.blind) else self.ok


class Pool(msgspec.Struct, frozen=True):
    """A case and the last record of each replicate.

    ``samples`` are nanoseconds by boundary and process, ``rates`` inferences per second by process. ``duel`` is that of
    the run, whose processes of one replicate are pairs. ``builds`` says by boundary how far the builds of this backend
    lie apart in the run, where it has several.
    """

    case: Case
    records: tuple[Record, ...]
    samples: dict[Boundary, tuple[SortedSamples, ...]]
    rates: tuple[float, ...]
    score: Score | None
    duel: Duel | None = None
    builds: dict[Boundary, Component] = {}

    def builds_at(self, boundary: Boundary) -> list[int]:
        """The build of each of the processes that ``samples`` has at a boundary."""
        return [
            record.build
            for record in self.records
            for measurement in record.measurements
            if measurement.samples and measurement.boundary == boundary
        ]

    @property
    def failures(self) -> list[Failure]:
        """Of the processes that ended in one."""
        return [record.failure for record in self.records if record.failure]

    @property
    def flaw(self) -> Flaw | None:
        """Why its times cannot be used, the gravest reason of all processes; None if they can."""
        if not self.records:
            return UNMEASURED
        flaws = [flaw for record in self.records if (flaw := flaw_of(record))]
        if not self.samples:
            flaws.append(UNSAMPLED)
        return min(flaws, key=lambda flaw: ORDER.index(flaw.kind), default=None)

    @property
    def sound(self) -> bool:
        """Measured, accurate as far as checked, not without any output to compare, with a reference that depends on
        the inputs and calls that are alike, and no process failed.
        """
        return self.flaw is None


def gather(run: Run) -> list[Pool]:
    """A pool per case of the plan, in its order; empty for a case without records."""
    records: dict[str, dict[int, Record]] = {}
    for record in run.records:  # a case that was measured again after a failure counts once per replicate
        records.setdefault(record.case, {})[record.replicate] = record
    cases = {case.id: case for case in run.header.cases}
    pools = [gather_one(case, records.get(key, {}).values(), run.header.duel) for key, case in cases.items()]
    return _with_builds(pools) if any(record.build for record in run.records) else pools


def _with_builds(pools: Sequence[Pool]) -> list[Pool]:
    """The same, each with what builds of its backend differ by, estimated from all its cases."""
    sets: dict[tuple[str, Boundary], list[list[Sample]]] = {}
    for pool in pools:
        for boundary, processes in pool.samples.items():
            medians = [float(stats.median(samples)) for samples in processes]
            if min(medians) > 0:
                builds = pool.builds_at(boundary)
                samples = [Sample(math.log(time), build=build) for time, build in zip(medians, builds, strict=True)]
                sets.setdefault((pool.case.backend, boundary), []).append(samples)
    known: dict[str, dict[Boundary, Component]] = {}
    for (backend, boundary), several in sets.items():
        if component := components(several).build:
            known.setdefault(backend, {})[boundary] = component
    return [msgspec.structs.replace(pool, builds=known.get(pool.case.backend, {})) for pool in pools]


def gather_one(case: Case, records: Iterable[Record], duel: Duel | None = None) -> Pool:
    """The pool of one case; each record is one process, of a pair in a ``duel``."""
    records = tuple(records)
    samples: dict[Boundary, list[SortedSamples]] = {}
    rates: list[float] = []
    for record in records:
        for m in record.measurements:
            if m.samples:
                samples.setdefault(m.boundary, []).append(
                    m.samples if isinstance(m.samples, SortedSamples) else SortedSamples(m.samples)
                )
            if m.window_ns:
                rates.append(m.calls * m.batch / m.window_ns * NS_PER_S)
    by_boundary = {boundary: tuple(processes) for boundary, processes in samples.items()}
    return Pool(case=case, records=records, samples=by_boundary, rates=tuple(rates), score=_score(records), duel=duel)


def _score(records: Sequence[Record]) -> Score | None:
    """The worst process: an inaccurate one first, then one that returned nothing, then one with a blind reference, then
    the lowest cosine, where undefined is lowest of all.
    """
    scores = []
    for record in records:
        if accuracy := record.accuracy:
            outputs = [output for output in accuracy.outputs if not output.empty]
            sqnr = [output.sqnr for output in outputs if output.sqnr is not None]
            quantized_sqnr = [output.quantized_sqnr for output in outputs if output.quantized_sqnr is not None]
            score = Score(
                ok=accuracy.ok,
                cosine=_extreme(min, [output.cosine for output in outputs]),
                rel_l2=_extreme(max, [output.rel_l2 for output in outputs]),
                max_abs=_extreme(max, [output.max_abs for output in outputs]),
                sqnr=min(sqnr, default=None),
                nan=sum(output.nan for output in outputs),
                metric=accuracy.metric,
                why=accuracy.why,
                varies=accuracy.varies,
                quantized_cosine=_extreme(min, [output.quantized_cosine for output in outputs]),
                quantized_sqnr=min(quantized_sqnr, default=None),
                rounding_cosine=_extreme(min, [output.rounding_cosine for output in outputs]),
                empty=accuracy.empty and not accuracy.metric,
                blind=is_blind(record),
            )
            scores.append(score)
    cosines = [-math.inf if score.cosine is None else score.cosine for score in scores]
    keys = [(score.ok, not score.empty, not score.blind, cosine) for score, cosine in zip(scores, cosines, strict=True)]
    return scores[keys.index(min(keys))] if scores else None


def _extreme(pick: Callable[[list[float]], float], values: list[float | None]) -> float | None:
    """The worst of the values; None if any is undefined or there are none."""
    numbers = [value for value in values if value is not None]
    return pick(numbers) if numbers and len(numbers) == len(values) else None
