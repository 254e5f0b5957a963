"""Where the wall time of a run went: what each phase of a worker counts as, and the sums by case; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

from bench.model.data import Data
from bench.model.run import Record, Run
from bench.model.seam import REFERENCES

# In the order in which a run comes to them:
#   start_up    everything before the first case: toolchains, the check of models, ceilings
#   imports     the start of a worker's process, its imports, loading the model
#   references  inputs and the outputs that others are compared with
#   builds      exports, packages, engines, and what is compiled before the first call
#   warmup      the first call and the warm-up
#   waiting     for the device's lock, or for other workers to be out of the way
#   other       the runner itself, while no worker is at work
CATEGORIES = (
    "start_up", "imports", "references", "builds", "warmup", "measuring", "validation", "waiting", "other",
)  # fmt: skip
PREFLIGHT = "preflight"
_OF_PHASE = {
    "start": "imports",
    "prestart": "imports",
    "import": "imports",
    "load": "imports",
    "deserialize": "imports",
    "first_call": "warmup",
    "warmup": "warmup",
    "measure": "measuring",
    "saturate": "measuring",
    "saturated": "measuring",
    "validate": "validation",
    "waiting": "waiting",
}


def category(work: str, phase: str) -> str:
    """What a phase of a worker that does ``work`` counts as. A phase not known here is one of its backend's own, in
    which it makes something.
    """
    if work == PREFLIGHT:
        return "start_up"
    artifacts = "references" if work in REFERENCES else "builds"
    return _OF_PHASE.get(phase.partition(":")[0], artifacts)


class CaseTimes(Data, frozen=True, kw_only=True):
    """The wall time of a case's turns, nanoseconds by category; ``processes`` is how many they were.

    Of the ``unknown`` processes, which an earlier version measured, only the phases are there.
    """

    case: str
    label: str
    processes: int = 0
    ns: dict[str, int] = {}
    unknown: int = 0


class RunTimes(Data, frozen=True, kw_only=True):
    """A run's wall time: by ``cases`` in the order of the plan, the ``rest`` that is of no single case (the start-up,
    what was made ahead, what lies between turns), and the ``total``, nanoseconds by category.

    ``rest`` is None where it is not known: for a part of a run, one without a footer, or one of an earlier version.
    """

    run: str
    cases: tuple[CaseTimes, ...]
    rest: dict[str, int] | None
    total: dict[str, int]

    @property
    def unknown(self) -> int:
        """How many processes an earlier version measured."""
        return sum(case.unknown for case in self.cases)


def of_run(run: Run, only: Set[str] | None = None) -> RunTimes:
    """The times of the cases (ids) of ``only``, of all without it, that have records."""
    groups: dict[str, list[Record]] = {case.id: [] for case in run.header.cases}
    for record in run.records:
        groups.setdefault(record.case, []).append(record)
    cases = tuple(_of_case(records) for case, records in groups.items() if records and (only is None or case in only))
    own = add(case.ns for case in cases)
    if only is not None or not run.times or any(case.unknown for case in cases):
        return RunTimes(run=run.header.run, cases=cases, rest=None, total=own)
    # Of a run that was killed, and then resumed, the records have times that no footer has.
    rest = add({name: max(ns - own.get(name, 0), 0)} for name, ns in add([run.times]).items())
    return RunTimes(run=run.header.run, cases=cases, rest=rest, total=add((own, rest)))


def add(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sums by category that are not 0, in the order of CATEGORIES; a category not known here is ``other``."""
    sums = dict.fromkeys(CATEGORIES, 0)
    for part in parts:
        for name, ns in part.items():
            sums[name if name in sums else "other"] += ns
    return {name: ns for name, ns in sums.items() if ns}


def _of_case(records: list[Record]) -> CaseTimes:
    return CaseTimes(
        case=records[0].case,
        label=records[0].label,
        processes=len(records),
        ns=add(record.times or _of_phases(record) for record in records),
        unknown=sum(not record.times for record in records),
    )


def _of_phases(record: Record) -> dict[str, int]:
    """What the phases of a record of an earlier version tell; those that were taken from the cache cost nothing."""
    return add({category("measure", phase.name): phase.ns} for phase in record.phases if phase.cold)
