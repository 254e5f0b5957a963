"""A run's wall time by case: what is of each, what is of none, and what a run of an earlier version tells."""

from __future__ import annotations

import pytest

from bench.analysis import times
from bench.model.run import Phase, Record, Run
from tests.store.kit import FOOTER, case, header, record

A, B = case("a"), case("b")


def run_of(*records: Record, sums: dict[str, int] | None = None) -> Run:
    return Run(path="x.jsonl", header=header((A, B)), records=records, footer=FOOTER, times=sums or {})


def timed(of: times.CaseTimes | object, replicate: int = 0, **ns: int) -> Record:
    made = record(of, replicate)  # type: ignore[arg-type]
    return Record(case=made.case, label=made.label, replicate=replicate, times=ns)


def test_cases_have_the_sums_of_their_turns_and_the_rest_makes_up_the_total() -> None:
    run = run_of(
        timed(B, imports=5, measuring=3),
        timed(A, imports=4, other=1),
        timed(B, 1, measuring=2),
        sums={"measuring": 5, "start_up": 7, "imports": 11, "other": 1},
    )
    whole = times.of_run(run)
    assert [(each.label, each.processes, each.ns) for each in whole.cases] == [
        (A.label, 1, {"imports": 4, "other": 1}),
        (B.label, 2, {"imports": 5, "measuring": 5}),
    ]
    assert whole.rest == {"start_up": 7, "imports": 2}
    assert whole.total == {"start_up": 7, "imports": 11, "measuring": 5, "other": 1}
    assert list(whole.total) == [name for name in times.CATEGORIES if name in whole.total]
    assert whole.unknown == 0


def test_a_part_of_a_run_is_summed_alone() -> None:
    run = run_of(timed(A, imports=4), timed(B, measuring=2), sums={"imports": 9, "measuring": 2})
    part = times.of_run(run, {B.id})
    assert ([each.label for each in part.cases], part.rest, part.total) == ([B.label], None, {"measuring": 2})


def test_of_a_run_without_a_footer_the_rest_is_unknown() -> None:
    run = run_of(timed(A, imports=4))
    assert (times.of_run(run).rest, times.of_run(run).total) == (None, {"imports": 4})


def test_what_a_killed_run_recorded_is_not_taken_from_the_rest() -> None:
    run = run_of(timed(A, imports=40), timed(B, imports=4), sums={"imports": 5, "start_up": 1})
    assert times.of_run(run).rest == {"start_up": 1}
    assert times.of_run(run).total == {"start_up": 1, "imports": 44}


def test_a_record_of_an_earlier_version_has_what_its_phases_tell() -> None:
    phases = (
        Phase(name="export", ns=100, cold=False),  # from the cache: it cost nothing
        Phase(name="build", ns=20),
        Phase(name="prestart", ns=3),
        Phase(name="load", ns=4),
        Phase(name="first_call", ns=5),
        Phase(name="warmup", ns=6),
        Phase(name="measure", ns=7),
        Phase(name="validate", ns=8),
    )
    old = Record(case=A.id, label=A.label, phases=phases, wall_ns=500)
    whole = times.of_run(run_of(old, timed(B, measuring=2), sums={"measuring": 2}))
    assert whole.cases[0].ns == {"imports": 7, "builds": 20, "warmup": 11, "measuring": 7, "validation": 8}
    assert ([each.unknown for each in whole.cases], whole.unknown, whole.rest) == ([1, 0], 1, None)


@pytest.mark.parametrize(
    ("work", "phase", "category"),
    [
        ("preflight", "import", "start_up"),
        ("reference", "load", "imports"),
        ("reference", "run", "references"),
        ("weights", "save", "builds"),
        ("measure", "deserialize", "imports"),
        ("measure", "a backend's own", "builds"),
        ("measure", "compile: 3 of 4", "builds"),
    ],
)
def test_a_phase_counts_as_what_its_worker_does(work: str, phase: str, category: str) -> None:
    assert times.category(work, phase) == category


def test_a_category_of_a_later_version_is_other() -> None:
    assert times.add([{"teleporting": 3, "other": 1, "imports": 0}]) == {"other": 4}
