"""Which case leads for each machine, model and size, and which of several runs says so; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from bench.analysis.pool import Pool
from bench.analysis.rows import Row
from bench.analysis.speed import Speed, size, speed_of
from bench.model.data import Data
from bench.model.run import Run
from bench.model.suite import Case

# From how many processes of a case on its ratios have intervals.
_SEVERAL = 2
# A run with more than this share of the cases and backends of the broadest one compares about as much.
_BROAD = 0.5
# The part of its time by which a case has to be faster than that of a preferred run: sessions differ by some percent.
_FASTER = 0.05
# The part of their FLOPs in which models of one name may differ to be of the same work.
_SAME_WORK = 0.001

LevelZero = Literal["", "first", "all"]
ExclusionReason = Literal["narrow", "no_baseline", "level_zero"]
Shapes = tuple[tuple[int | str, ...], ...]
_LEVEL = "optimization_level"


class FasterElsewhere(Data, frozen=True, kw_only=True):
    """A case (its id) of another run that leads there by a lower time than the one that leads a page, and why it does
    not: its run is ``narrow``, as it ranks few of the cases or backends that others do (``rivals`` of so many
    ``backends``), it has no time of its baseline (``no_baseline``), or it has engines of optimization level 0 alone.
    """

    run: str
    case: str
    why: ExclusionReason
    rivals: int
    backends: int


class Leader(Data, frozen=True, kw_only=True):
    """The fastest sound case (its id) of one model and size in one run; ``machine`` is the place of its machine.

    ``ties`` are the others that it cannot be told from. ``runner_up`` is the fastest that it can be told from, and
    ``margin`` the time of that over its own: above 1. ``rivals`` is how many cases ranked there, of so many
    ``backends``, ``elsewhere`` how many other runs of the same machine rank the same model and size. ``replicated``: it
    and another of them were measured in two processes or more, so that their ratio has an interval. ``has_baseline``:
    the run measured its baseline there, which may be the case itself. ``level_zero``: it is an engine of optimization
    level 0, which is built to be ready soon and not to be fast, and none of a higher level ranked there (``first``), or
    nothing but such engines did (``all``). ``faster``: the fastest case of another run whose time for the same work is
    lower, by more than sessions differ. ``shapes`` are those of the inputs where the machine ranks the same model and
    symbols with others, too.
    """

    run: str
    case: str
    machine: int
    ties: tuple[str, ...]
    runner_up: str
    margin: Speed | None
    rivals: int
    backends: int
    elsewhere: int = 0
    replicated: bool = False
    has_baseline: bool = False
    level_zero: LevelZero = ""
    faster: FasterElsewhere | None = None
    shapes: Shapes = ()


class _Candidate(NamedTuple):
    """The leader of a run with what is needed to choose among runs: its row, the ``labels`` that rank there, the
    FLOPs of one call (None if unknown), and when the run was made.
    """

    leader: Leader
    row: Row
    labels: frozenset[str]
    flops: int | None
    created: str

    @property
    def time(self) -> float:
        return primary_time(self.row)


class _Choice(NamedTuple):
    """The candidate that counts, ``top``: it is faster than the ``first`` by preference alone, or that itself. Both are
    of the ``broad`` ones.
    """

    first: _Candidate
    top: _Candidate
    broad: Sequence[_Candidate]


def leaders(run: Run, table: Sequence[Row], pools: Sequence[Pool], machine: int = 0) -> list[Leader]:
    """The fastest sound case of each model and size of a run, in their order; ``table`` are the rows() and ``pools``
    the cases as gathered. A duel has none: its pairs say which side is faster.
    """
    if run.header.duel is not None:
        return []
    of = {pool.case.id: pool for pool in pools}
    return [_leader(run.header.run, members, of, machine) for members in _ranked(table, of).values()]


def _ranked(table: Iterable[Row], pools: Mapping[str, Pool]) -> dict[tuple[object, ...], list[Row]]:
    """The ranked rows of each model and size, the fastest first."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in table:
        if row.ranked:
            groups.setdefault(size(pools[row.case].case), []).append(row)
    return {key: sorted(members, key=primary_time) for key, members in groups.items()}


def primary_time(row: Row) -> float:
    """The time, ns, by which a ranked row ranks."""
    assert row.primary is not None  # of what ranks
    return row.times[row.primary].value


def _leader(run: str, members: Sequence[Row], pools: Mapping[str, Pool], machine: int) -> Leader:
    first = members[0]
    ties = [row.case for row in members[1:] if row.tied]
    second = next((row for row in members[1:] if not row.tied), None)
    margin = None
    if second and first.primary:
        margin = speed_of(pools[first.case], pools[second.case], first.primary, "")
    return Leader(
        run=run,
        case=first.case,
        machine=machine,
        ties=tuple(ties),
        runner_up=second.case if second else "",
        margin=margin,
        rivals=len(members),
        backends=len({pools[row.case].case.backend for row in members}),
        replicated=first.processes >= _SEVERAL and any(row.processes >= _SEVERAL for row in members[1:]),
        has_baseline=first.speed is not None,
        level_zero=_level_zero(members, pools),
    )


def _level_zero(members: Sequence[Row], pools: Mapping[str, Pool]) -> LevelZero:
    """What Leader says of the levels of engines among these cases, the fastest first."""
    levels = [_levels(row, pools[row.case]) for row in members]
    if all(0 in own for own in levels):
        return "all"
    return "first" if 0 in levels[0] and not any(max(own, default=0) > 0 for own in levels) else ""


def _levels(row: Row, pool: Pool) -> set[int]:
    """The optimization levels of a case's engines, as their builder told them and the suite asks; none of others."""
    values = (*row.fairness.get(_LEVEL, ()), pool.case.options.get(_LEVEL))
    return {value for value in values if isinstance(value, int) and not isinstance(value, bool)}


def best(
    runs: Sequence[Run], tables: Sequence[Sequence[Row]], pools: Sequence[Sequence[Pool]], places: Sequence[int]
) -> list[Leader]:
    """One leader for each machine, model, size and shapes of inputs: that of the run which ``_choose`` takes. Of a run
    whose engines are all of optimization level 0 only where there is no other.

    ``tables`` are the rows() of the runs, ``pools`` their cases as gathered, ``places`` those of their machines().
    Times of different runs are not ranked against each other: what differs between sessions would be in the difference.
    """
    candidates: dict[tuple[object, ...], list[_Candidate]] = {}
    for run, table, of, place in zip(runs, tables, pools, places, strict=True):
        cases = {case.id: case for case in run.header.cases}
        of_run = {row.case: row for row in table}
        for leader in leaders(run, table, of, place):
            case = cases[leader.case]
            candidate = _Candidate(
                leader=leader,
                row=of_run[leader.case],
                labels=frozenset(row.label for row in table if row.ranked and size(cases[row.case]) == size(case)),
                flops=_flops(case, of),
                created=run.header.created,
            )
            candidates.setdefault((place, size(case), _shapes(case)), []).append(candidate)
    sizes = Counter(key[:2] for key in candidates)
    chosen = []
    for key, several in candidates.items():
        choice = _choose(several)
        also = {
            "elsewhere": len(several) - 1,
            "faster": _faster_elsewhere(several, choice),
            "shapes": key[2] if sizes[key[:2]] > 1 else (),
        }
        fields = {name: getattr(choice.top.leader, name) for name in Leader.__struct_fields__}
        chosen.append(Leader(**(fields | also)))
    return chosen


def _shapes(case: Case) -> Shapes:
    """The shapes of a case's inputs, whatever their names: the same symbols may stand beside other fixed sizes."""
    return tuple(sorted((each.shape for each in case.resolved.values()), key=repr))


def _flops(case: Case, pools: Sequence[Pool]) -> int | None:
    """The FLOPs as counted for the first case of the same model and size that has them."""
    same = (pool.records for pool in pools if size(pool.case) == size(case))
    return next((record.work.flops for records in same for record in records if record.work is not None), None)


def _choose(several: Sequence[_Candidate]) -> _Choice:
    """The candidate that counts.

    Broad runs rank more than half as many cases, and backends, as any: one that sets a backend against itself does not
    stand for the machine. Those with a baseline come first, then ``replicated`` ones, then the latest. Another broad
    run with its baseline takes the place of that if a case of its own does the same work faster, by more than sessions
    differ: not a case that both have, of which the later time counts. Runs that a level-0 engine leads, for lack of
    better ones, come after all that compare backends, and those of level-0 engines alone last.
    """
    compared = [each for each in several if not each.leader.level_zero and each.leader.backends > 1]
    several = compared or [each for each in several if each.leader.level_zero != "all"] or several
    cases, backends = (_BROAD * max(getattr(each.leader, name) for each in several) for name in ("rivals", "backends"))
    broad = [each for each in several if each.leader.rivals > cases and each.leader.backends > backends] or several
    first = max(broad, key=_preference)
    faster = [
        each for each in broad if _is_faster(each, first) and each.leader.has_baseline >= first.leader.has_baseline
    ]
    least = min((each.time for each in faster), default=0.0)
    near = [each for each in faster if each.time * (1 - _FASTER) < least]
    return _Choice(first, max(near, key=_preference, default=first), broad)


def _preference(candidate: _Candidate) -> tuple[object, ...]:
    leader = candidate.leader
    return leader.has_baseline, leader.replicated, candidate.created, leader.rivals


def _is_faster(candidate: _Candidate, other: _Candidate) -> bool:
    """Whether a case does the same work by a time that is clearly lower; one that the other's run ranks, too, if its
    time is the later one.
    """
    return (
        candidate.row.primary == other.row.primary
        and _same_work(candidate.flops, other.flops)
        and (candidate.row.label not in other.labels or candidate.created > other.created)
        and candidate.time < other.time * (1 - _FASTER)
    )


def _same_work(a: int | None, b: int | None) -> bool:
    """Whether two models of one name do the same, as far as that is known, but for a head of other classes."""
    return a is None or b is None or abs(a - b) <= _SAME_WORK * max(a, b)


def _faster_elsewhere(several: Sequence[_Candidate], choice: _Choice) -> FasterElsewhere | None:
    """The fastest case of another run that is faster than the one that was chosen."""
    faster = [each for each in several if _is_faster(each, choice.top) and _is_faster(each, choice.first)]
    if not faster:
        return None
    least = min(faster, key=lambda each: each.time)
    leader = least.leader
    why: ExclusionReason = "level_zero" if leader.level_zero else "no_baseline" if least in choice.broad else "narrow"
    return FasterElsewhere(run=leader.run, case=leader.case, why=why, rivals=leader.rivals, backends=leader.backends)
