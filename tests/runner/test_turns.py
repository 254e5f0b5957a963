"""The round robin over replicates and cases, and what of it is passed over."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from bench.model.run import Failure, Record
from bench.model.suite import Case
from bench.runner.turns import Turns
from tests.counting import assert_linear
from tests.store.kit import case

CASES = [case(symbols={"batch": size}) for size in (1, 2, 3)]
IDS = {each.id for each in CASES}


def record(number: int, replicate: int, failure: str = "") -> Record:
    of = CASES[number]
    kind = Failure(kind=failure, stage="measure", message="") if failure else None
    return Record(case=of.id, label=of.label, replicate=replicate, failure=kind)


def places(turns: Turns) -> list[tuple[int, int, int]]:
    return [(position, CASES.index(case), replicate) for position, case, replicate in turns]


def test_each_replicate_goes_over_all_cases() -> None:
    turns = Turns(CASES, 2, IDS)
    assert turns.total == 6
    assert places(turns) == [(0, 0, 0), (1, 1, 0), (2, 2, 0), (3, 0, 1), (4, 1, 1), (5, 2, 1)]
    assert turns.left == 0


def test_what_is_measured_or_has_failed_is_passed_over_but_not_what_a_lost_gpu_left() -> None:
    before = [record(0, 0), record(1, 0, "Crash"), record(2, 0, "DeviceLost")]
    assert places(Turns(CASES, 2, IDS, before)) == [(2, 2, 0), (3, 0, 1), (5, 2, 1)]


def test_what_is_not_wanted_is_left() -> None:
    turns = Turns(CASES, 2, IDS - {CASES[1].id}, [record(1, 0)])
    assert places(turns) == [(0, 0, 0), (2, 2, 0), (3, 0, 1), (5, 2, 1)]
    assert turns.left == 1


def test_a_case_that_is_dropped_has_no_further_turn_and_none_is_coming() -> None:
    turns = Turns(CASES, 2, IDS, [record(2, 1)])
    coming = []
    for position, case_, replicate in turns:
        coming.append([(CASES.index(each), n) for each, n in turns.coming()])
        assert coming[-1][0] == (CASES.index(case_), replicate)
        if position == 1:
            turns.drop(case_)
    assert coming == [
        [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1)],
        [(1, 0), (2, 0), (0, 1), (1, 1)],
        [(2, 0), (0, 1)],
        [(0, 1)],
    ]


def test_a_plan_of_twice_the_cases_takes_twice_the_work() -> None:
    def work(size: int) -> Callable[[], object]:
        cases = [case(symbols={"batch": number + 1}) for number in range(size)]
        wanted = {each.id for each in cases}

        def measure() -> None:
            turns = Turns(cases, 3, wanted)
            for position, of, _ in turns:
                next(itertools.islice(turns.coming(), 8, 9), None)
                if position % 16 == 0:
                    turns.drop(of)

        return measure

    assert_linear(work, 256)


def batches(groups: list[list[tuple[int, Case, int]]]) -> list[list[tuple[int, int]]]:
    return [[(CASES.index(case), replicate) for _, case, replicate in group] for group in groups]


def small(case: Case) -> bool:
    return case.symbols["batch"] < 3


def test_turns_of_one_key_and_replicate_that_follow_each_other_are_a_group() -> None:
    assert batches(list(Turns(CASES, 2, IDS).groups(small))) == [[(0, 0), (1, 0)], [(2, 0)], [(0, 1), (1, 1)], [(2, 1)]]
    alone = list(Turns(CASES, 1, IDS).groups(lambda case: case.id))
    assert [len(group) for group in alone] == [1, 1, 1]


def test_a_case_that_failed_in_a_group_is_in_none_that_follows() -> None:
    turns = Turns(CASES, 2, IDS, [record(1, 0)])
    seen = []
    for group in turns.groups(lambda case: 0):
        seen.append(group)
        turns.drop(CASES[0])
    assert batches(seen) == [[(0, 0), (2, 0)], [(1, 1), (2, 1)]]


def test_what_comes_begins_with_the_group_that_is_begun() -> None:
    turns = Turns(CASES, 2, IDS)
    groups = turns.groups(small)
    next(groups)
    next(groups)
    assert [(CASES.index(case), n) for case, n in turns.coming()] == [(2, 0), (0, 1), (1, 1), (2, 1)]
