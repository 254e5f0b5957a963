"""Whether the cases of a run that are compared ran under equal conditions: findings, each with who differs; pure.

Conditions are read from the fairness reports of the records (``bench.analysis.conditions``), effects from the times of
cases of the same run that differ in the condition alone (``bench.analysis.effects``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from bench.analysis import conditions, effects
from bench.analysis.compare import Pair
from bench.analysis.conditions import CONDITIONS, FACTS, Condition, Fact, Kind, Subject
from bench.analysis.effects import Effect, shortest_first
from bench.analysis.pool import Pool, gather
from bench.analysis.readings import Readings
from bench.analysis.rows import Row
from bench.analysis.speed import size
from bench.model.data import Data
from bench.model.run import Environment, Run
from bench.model.suite import named

# A measured effect below this is none, whatever its interval: as in verdicts.
LEAST = 0.01
# On a held stream a graph's kernels take no longer than launched one by one: above this they are others.
_OTHER_PROGRAM = 1.10


class Side(Data, frozen=True, kw_only=True):
    """The cases (ids) that have a condition in common, by the ``names`` that tell them from those of other sides.

    ``values`` are those that the condition has among them, several where a backend was measured with each.
    """

    values: tuple[str, ...]
    names: tuple[str, ...]
    cases: tuple[str, ...]


class Finding(Data, frozen=True, kw_only=True):
    """One way in which a comparison is unequal.

    Of a condition that differs there are two or more ``sides``, the one with fewer names first; of something that
    happened to cases, as a graph break, one. ``key`` is the key of the fairness report that tells it, ``figures`` are
    counts (the largest of the cases) and reasons, ``boundaries`` are the measured times that it touches, ``option`` the
    key and value of a suite that evens it out, empty where there is none. ``effects`` are measured in this run.
    """

    kind: Kind
    key: str
    sides: tuple[Side, ...]
    figures: dict[str, Any] = {}
    boundaries: tuple[str, ...] = ()
    option: str = ""
    effects: tuple[Effect, ...] = ()

    @property
    def cases(self) -> tuple[str, ...]:
        """The ids of all sides."""
        return tuple(dict.fromkeys(case for side in self.sides for case in side.cases))


def lint(run: Run, only: Collection[str] | None = None, pools: Sequence[Pool] | None = None) -> tuple[Finding, ...]:
    """The findings of a run in the order of ``conditions``; ``only`` are the ids of the cases to look at, ``pools``
    those of gather(), for who has them.

    Cases are set against each other if they have one model, sizes, precision, state of the L2 cache and transfers. A
    backend that was measured with each value of a condition is no reason for a finding, if all others were, too.
    """
    every = gather(run) if pools is None else pools
    pools = [pool for pool in every if pool.samples and (only is None or pool.case.id in only)]
    subjects = [_of_pool(pool, run.header.environments) for pool in pools]
    groups: dict[object, list[Subject]] = {}
    for subject in subjects:
        groups.setdefault(subject.group, []).append(subject)
    findings, readings = [], Readings(subjects)
    unequal = [group for group in groups.values() if not readings.equal(group)]
    for condition in CONDITIONS:
        differing = [sides for group in unequal if (sides := _sides(condition, group, readings))]
        findings += [_finding(condition, sides, subjects) for sides in _merged(differing)]
    for fact in FACTS:
        seen = [(subject, figures) for subject in subjects if (figures := readings.figures(fact, subject))]
        findings += [finding] if (finding := _happened(fact, seen)) else []
    by_id = {pool.case.id: pool for pool in pools}
    facts = {subject.case: subject for subject in subjects}
    several = [
        _with_effects(each, effects.measured_effects(each.kind, each.key, each.cases, by_id, facts))
        for each in findings
    ]
    return (*several, *_graph_programs(by_id, facts))


def lint_pairs(pairs: Iterable[Pair]) -> tuple[Finding, ...]:
    """The conditions in which partners of a comparison differ, and what happened to cases of one side alone. The names
    of sides are those of their cases, or A and B where partners have one name. Partners of unlike precision, and those
    without a verdict, are not looked at.
    """
    alike = [pair for pair in pairs if pair.verdict and pair.a.precision == pair.b.precision]
    both = [(_of_row(pair.a, "A"), _of_row(pair.b, "B")) for pair in alike]
    findings: list[Finding] = []
    for condition in CONDITIONS:
        members: dict[tuple[tuple[str, ...], tuple[str, ...]], list[tuple[Subject, Subject]]] = {}
        for a, b in both:
            texts = conditions.values(condition, a), conditions.values(condition, b)
            if texts[0] and texts[1] and texts[0] != texts[1] and _touched(condition, (a, b)):
                members.setdefault(texts, []).append((a, b))
        for texts, partners in members.items():
            sides = [_side(texts[n], _names(partners, n), [pair[n] for pair in partners]) for n in (0, 1)]
            findings.append(_finding(condition, sides, [subject for pair in partners for subject in pair]))
    for fact in FACTS:
        for n in (0, 1):
            alone = [
                pair for pair in both if conditions.figures(fact, pair[n]) and not conditions.figures(fact, pair[1 - n])
            ]
            if finding := _happened(fact, [(pair[n], conditions.figures(fact, pair[n])) for pair in alone]):
                side = _side((), _names(alone, n), [pair[n] for pair in alone])
                findings.append(msgspec.structs.replace(finding, sides=(side,)))
    return tuple(findings)


def _graph_programs(pools: Mapping[str, Pool], subjects: Mapping[str, Subject]) -> list[Finding]:
    """The cases whose captured graph takes longer on the GPU than the same program without it: what was captured is
    another program, as a model may ask whether its stream is capturing.
    """
    slower = effects.of_slower_graphs(pools, subjects, _OTHER_PROGRAM)
    if not slower:
        return []
    cases = [subjects[effect.a] for effect in slower]
    side = _side((), tuple(dict.fromkeys(case.name for case in cases)), cases)
    figures = {"ratio": max(effect.ratio for effect in slower)}
    touched = tuple(sorted(conditions.ALL & frozenset().union(*(case.boundaries for case in cases))))
    return [
        Finding(
            kind="graph_program",
            key="graph_program",
            sides=(side,),
            figures=figures,
            boundaries=touched,
            option="cuda_graph: off",
            effects=slower,
        )
    ]


def _names(pairs: Sequence[tuple[Subject, Subject]], n: int) -> tuple[str, ...]:
    """The names of one side; ``A`` or ``B`` where partners have the same."""
    if any(a.name == b.name for a, b in pairs):
        return ("AB"[n],)
    return tuple(dict.fromkeys(pair[n].name for pair in pairs))


def _with_effects(finding: Finding, measured: tuple[Effect, ...]) -> Finding:
    """Also at the boundaries where the effect shows in a measurement."""
    boundaries = {*finding.boundaries, *(each.boundary for each in measured if abs(each.ratio - 1) >= LEAST)}
    return msgspec.structs.replace(finding, effects=measured, boundaries=tuple(sorted(boundaries)))


def has_effect(finding: Finding) -> bool:
    """False if the run measured what the finding does to times, and each effect is below LEAST."""
    return not finding.effects or any(abs(effect.ratio - 1) >= LEAST for effect in finding.effects)


# ---------------------------------------------------------------------------------------------------------- subjects


def _of_pool(pool: Pool, environments: Mapping[str, Environment]) -> Subject:
    case = pool.case
    facts: dict[str, list[Any]] = {}
    for record in pool.records:
        for key, value in record.fairness.items():
            if value not in (values := facts.setdefault(key, [])):
                values.append(value)
    here = environments.get(case.toolchain) or environments.get("default")
    lanes = [f"streams={case.streams}"] * (case.streams != 1) + [f"lanes={case.lanes}"] * (case.lanes != "threads")
    setting = " ".join(["graph"] * case.cuda_graph + lanes)
    place = f"@{case.toolchain}" if case.toolchain != "default" else ""
    return Subject(
        case=case.id,
        name=" ".join(filter(None, (named(case.backend, case.options) + place, setting))),
        backend=case.backend + place,
        precision=case.precision,
        group=(size(case), case.precision),
        facts={key: tuple(values) for key, values in facts.items()},
        boundaries=frozenset({*pool.samples, *["throughput"] * bool(pool.rates)}),
        on_gpu=any(record.telemetry.gpu for record in pool.records) or bool({"gpu", "enqueue"} & set(pool.samples)),
        flags=here.flags if here else {},
    )


def _of_row(row: Row, side: str) -> Subject:
    on_gpu = any(each.gpu for each in row.telemetry.values()) or row.memory_of == "gpu"
    return Subject(
        case=row.case,
        name=f"{row.backend} {row.setting}".rstrip(),
        backend=row.backend,
        precision=row.precision,
        group=side,
        facts=row.fairness,
        boundaries=frozenset({*row.times, *["throughput"] * bool(row.rate)}),
        on_gpu=on_gpu,
        flags={},
    )


# ---------------------------------------------------------------------------------------------------------- findings


def _sides(condition: Condition, group: Sequence[Subject], readings: Readings) -> tuple[Side, ...]:
    """The sides of a group by what each backend (or case) was measured with; none where all had the same."""
    if readings.alike(condition, group):
        return ()
    told: dict[str, dict[str, None]] = {}
    members: dict[str, list[Subject]] = {}
    for subject in group:
        if texts := readings.values(condition, subject):
            name = subject.backend if condition.axis else subject.name
            told.setdefault(name, {}).update(dict.fromkeys(texts))
            members.setdefault(name, []).append(subject)
    names: dict[tuple[str, ...], list[str]] = {}
    for name, each in told.items():
        names.setdefault(tuple(sorted(each, key=shortest_first)), []).append(name)
    if len(names) < 2 or not _touched(condition, [each for of_name in members.values() for each in of_name]):
        return ()
    return tuple(
        _side(texts, of_texts, [each for name in of_texts for each in members[name]])
        for texts, of_texts in names.items()
    )


def _touched(of: Condition | Fact, subjects: Iterable[Subject]) -> tuple[str, ...]:
    """The boundaries of ``subjects`` that it can show in."""
    return tuple(sorted(of.touches & frozenset().union(*(subject.boundaries for subject in subjects))))


def _side(values: Sequence[str], names: Sequence[str], subjects: Iterable[Subject]) -> Side:
    return Side(values=tuple(values), names=tuple(names), cases=tuple(dict.fromkeys(s.case for s in subjects)))


def _merged(groups: Iterable[tuple[Side, ...]]) -> list[tuple[Side, ...]]:
    """Those of several groups as one where no name would be on two sides."""
    # Of each merged one the names and cases by values, and the values by name.
    merged: list[tuple[dict[tuple[str, ...], list[Side]], dict[str, tuple[str, ...]]]] = []
    for sides in groups:
        own = {name: side.values for side in sides for name in side.names}
        fitting = (each for each in merged if all(each[1].get(name, values) == values for name, values in own.items()))
        several, names = next(fitting, ({}, {}))
        if not several:
            merged.append((several, names))
        names |= own
        for side in sides:
            several.setdefault(side.values, []).append(side)
    return [tuple(_join(values, parts) for values, parts in several.items()) for several, _ in merged]


def _join(values: tuple[str, ...], parts: Sequence[Side]) -> Side:
    return Side(
        values=values,
        names=tuple(dict.fromkeys(name for side in parts for name in side.names)),
        cases=tuple(dict.fromkeys(case for side in parts for case in side.cases)),
    )


def _finding(condition: Condition, sides: Sequence[Side], subjects: Iterable[Subject]) -> Finding:
    cases = {case for side in sides for case in side.cases}
    return Finding(
        kind=condition.kind,
        key=condition.key,
        sides=tuple(sorted(sides, key=lambda side: (len(side.names), len(side.cases)))),
        boundaries=_touched(condition, [subject for subject in subjects if subject.case in cases]),
        option=condition.option,
    )


def _happened(fact: Fact, seen: Sequence[tuple[Subject, dict[str, Any]]]) -> Finding | None:
    """The cases that it happened to, with the numbers of the one where its first is largest, and the texts of all;
    ``seen`` are those cases, each with its figures.
    """
    if not seen:
        return None
    cases = [subject for subject, _ in seen]
    several = [figures for _, figures in seen]
    merged = dict(sorted(several, key=_first)[-1])
    for name in dict.fromkeys(name for each in several for name, value in each.items() if isinstance(value, tuple)):
        merged[name] = tuple(dict.fromkeys(text for each in several for text in each.get(name, ())))
    return Finding(
        kind=fact.kind,
        key=fact.key,
        sides=(_side((), tuple(dict.fromkeys(case.name for case in cases)), cases),),
        figures=merged,
        boundaries=_touched(fact, cases),
        option=fact.option,
    )


def _first(figures: Mapping[str, Any]) -> float:
    return float(next(iter(figures.values())))
