"""Where the time of a run goes: each moment counts once, by what is at work then."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.times import CATEGORIES
from bench.measure.clock import FakeClock
from bench.model.events import Ended, Event, Locked, Note, Started, Step, Waiting
from bench.runner.timeline import PRELOAD, Timeline, at_work


def step(worker: int, phase: str, label: str = "a", work: str = "measure", *, timed: bool = False) -> Step:
    return Step(label=label, phase=phase, worker=worker, work=work, timed=timed)


def start(label: str = "a") -> Started:
    return Started(label=label, done=0, total=2)


class Told:
    """A timeline that is told of events, each after some nanoseconds."""

    def __init__(self, *story: tuple[int, Event]) -> None:
        self.clock = FakeClock()
        self.timeline = Timeline(self.clock)
        self.tell(*story)

    def tell(self, *story: tuple[int, Event]) -> None:
        for ns, event in story:
            self.clock.advance(ns)
            self.timeline.take(event)


def test_a_run_of_one_case_after_the_other() -> None:
    told = Told(
        (7, step(1, "start", "models", "preflight")),
        (5, step(1, "inspect", "models", "preflight")),
        (3, Ended(label="models", worker=1)),
        (2, start()),
        (1, step(2, "start", work="reference")),
        (10, step(2, "import", work="reference")),
        (20, step(2, "run", work="reference")),
        (30, Ended(label="a", worker=2)),
        (1, step(3, "start", work="build")),
        (4, step(3, "build: 1 of 2", work="build")),
        (40, Ended(label="a", worker=3)),
        (1, step(4, "start")),
        (10, step(4, "load")),
        (20, step(4, "compile")),
        (30, step(4, "first_call")),
        (40, step(4, "warmup")),
        (50, step(4, "measure", timed=True)),
        (60, step(4, "saturate", timed=True)),
        (70, step(4, "saturated")),
        (2, step(4, "validate")),
        (80, Ended(label="a", worker=4)),
        (6, Note(text="x")),
    )
    own = {
        "imports": 10 + 20 + 4 + 10 + 20,
        "references": 30,
        "builds": 40 + 30,
        "warmup": 40 + 50,
        "measuring": 60 + 70 + 2,
        "validation": 80,
        "other": 3 * 1 + 6,
    }
    assert told.timeline.end_turn() == own
    told.clock.advance(9)
    assert told.timeline.end() == {"start_up": 17, **own, "other": own["other"] + 9}


def test_what_follows_the_end_does_not_count() -> None:
    told = Told((5, start()))
    assert told.timeline.end() == {"start_up": 5}
    told.tell((3, Note(text="late")))
    assert told.timeline.end() == {"start_up": 5}


def test_a_moment_is_split_among_the_workers_at_work_to_the_nanosecond() -> None:
    told = Told(
        (0, start("a")),
        (0, step(1, "import", "a")),
        (0, step(2, "build", "b", "build")),
        (0, step(3, "run", "c", "reference")),
        (11, Ended(label="b", worker=2)),
        (5, Ended(label="a", worker=1)),
        (1, Ended(label="c", worker=3)),
    )
    assert told.timeline.end_turn() == {"imports": 4 + 3}  # the others' part is of no case's turn
    assert told.timeline.end() == {"imports": 7, "references": 3 + 2 + 1, "builds": 4}


def test_a_moment_in_which_one_is_timed_is_that_ones() -> None:
    told = Told(
        (0, start("a")),
        (0, step(1, "import", "b", PRELOAD)),
        (0, step(2, "measure", "a", timed=True)),
        (10, step(2, "validate", "a")),
        (4, Ended(label="a", worker=2)),
    )
    assert told.timeline.end() == {"imports": 2, "measuring": 10, "validation": 2}


def test_a_worker_that_waits_has_time_only_if_nobody_works() -> None:
    told = Told(
        (0, start()),
        (0, step(1, "waiting")),
        (0, step(2, "build", "b", "build")),
        (10, Ended(label="b", worker=2)),
        (3, step(1, "measure", timed=True)),
    )
    assert told.timeline.end() == {"builds": 10, "waiting": 3}


def test_the_device_is_waited_for_until_it_is_held_but_not_while_others_work() -> None:
    told = Told(
        (1, Waiting(device="cpu", holder="another")),
        (50, step(1, "import", "a", PRELOAD)),
        (8, Ended(label="a", worker=1)),
        (20, Locked(device="cpu")),
        (2, start()),
    )
    assert told.timeline.end() == {"start_up": 3, "imports": 8, "waiting": 70}


def test_what_is_started_ahead_is_of_no_turn() -> None:
    told = Told(
        (0, start("a")),
        (0, step(0, "prestart: 4 workers", "a", "")),
        (9, step(1, "import", "a", PRELOAD)),
        (5, Ended(label="a", worker=1)),
        (1, step(2, "start", "a")),
        (2, Ended(label="a", worker=2)),
    )
    assert told.timeline.end_turn() == {"imports": 2}
    assert told.timeline.end() == {"imports": 17}


def test_workers_import_ahead_beside_others_until_the_first_is_measured() -> None:
    told = Told(
        (0, step(0, "prestart: 4 workers", "a", "")),
        (1, step(1, "start", "models", "preflight")),
        (5, Ended(label="models", worker=1)),
        (30, start("a")),
        (2, step(2, "build", "a", "build")),
        (7, Ended(label="a", worker=2)),
        (20, step(3, "load", "a")),
        (3, Ended(label="a", worker=3)),
        (4, Note(text="x")),
    )
    assert told.timeline.end_turn() == {"imports": 3, "builds": 7, "other": 4}
    assert told.timeline.end() == {"start_up": 5, "imports": 1 + 30 + 2 + 20 + 3, "builds": 7, "other": 4}


def test_a_block_at_work_has_a_number_of_its_own_and_ends_whatever_happens() -> None:
    told: list[Event] = []
    with at_work(told.append, "a", "build") as one, at_work(told.append, "b", "measure") as other:
        assert one != other
    assert told[0] == Step(label="a", phase="start", worker=one, work="build")
    assert told[2:] == [Ended(label="b", worker=other), Ended(label="a", worker=one)]
    with pytest.raises(KeyboardInterrupt), at_work(told.append, "c", "measure") as last:
        raise KeyboardInterrupt
    assert told[-1] == Ended(label="c", worker=last)


LABELS = st.sampled_from("ab")
WORKERS = st.integers(0, 3)
EVENTS = st.one_of(
    st.builds(
        Step,
        label=LABELS,
        phase=st.sampled_from(["start", "import", "build: 3", "waiting", "measure", "prestart: 2 workers", "own"]),
        worker=WORKERS,
        work=st.sampled_from(["preflight", "measure", "reference", PRELOAD]),
        timed=st.booleans(),
    ),
    st.builds(Ended, label=LABELS, worker=WORKERS),
    st.builds(start, LABELS),
    st.just(Waiting(device="cpu", holder="x")),
    st.just(Locked(device="cpu")),
)


@given(st.lists(st.tuples(st.integers(0, 10), EVENTS), max_size=30))
def test_the_sums_are_the_wall_time_and_no_turn_has_more(story: list[tuple[int, Event]]) -> None:
    told = Told(*story)
    wall = told.clock.now()
    turn, sums = told.timeline.end_turn(), told.timeline.end()
    assert sum(sums.values()) == wall == sum(ns for ns, _ in story)
    assert set(sums) <= set(CATEGORIES)
    assert all(0 < ns <= sums[name] for name, ns in turn.items())


def test_turns_of_several_cards_overlap_and_each_has_its_own_share() -> None:
    told = Told(
        (5, Started(label="a", done=0, total=2, card="x")),
        (1, Started(label="b", done=0, total=2, card="y")),
        (2, step(1, "import")),
        (4, step(2, "import", "b")),
        (6, step(2, "measure", "b", timed=True)),
        (7, Ended(label="b", worker=2)),
    )
    told.clock.advance(3)
    # b is started after 4 ns of a alone; then both import for 6 ns, and while b is timed the moment is its own.
    assert told.timeline.end_turn("y") == {"imports": 3, "measuring": 7, "other": 1}
    told.tell((1, Ended(label="a", worker=1)))
    assert told.timeline.end_turn("x") == {"imports": 4 + 3 + 3 + 1, "other": 1 + 1}
    assert sum(told.timeline.end().values()) == 5 + 1 + 2 + 4 + 6 + 7 + 3 + 1


def test_cases_that_are_measured_in_turn_have_each_the_time_of_their_worker() -> None:
    told = Told(
        (0, Started(label="a", done=0, total=2, beside=("b",))),
        (0, step(1, "import", "a")),
        (5, step(1, "waiting", "a")),
        (0, step(2, "import", "b")),
        (7, step(2, "waiting", "b")),
        (0, step(1, "measure", "a", timed=True)),
        (3, step(1, "validate", "a")),
        (2, Ended(label="a", worker=1)),
        (0, step(2, "validate", "b")),
        (4, Ended(label="b", worker=2)),
    )
    assert told.timeline.end_turn("", "b") == {"imports": 7, "validation": 4}
    assert told.timeline.end_turn("", "a") == {"imports": 5, "measuring": 3, "validation": 2}
    assert told.timeline.end_turn("", "a") == {}
