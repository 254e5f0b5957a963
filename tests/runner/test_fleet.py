"""Cards at work side by side: how many are at it, and how all of them end."""

from __future__ import annotations

import threading

import pytest

from bench.runner.fleet import Fleet


def test_one_card_needs_no_thread() -> None:
    threads: list[threading.Thread] = []
    Fleet(1).run([lambda: threads.append(threading.current_thread())], lambda: None)
    assert threads == [threading.current_thread()]


def test_cards_work_at_once_and_know_how_many_others_do() -> None:
    fleet, meeting, seen = Fleet(2), threading.Barrier(2), []

    def work() -> None:
        seen.append(fleet.others)
        meeting.wait(60)

    fleet.run([work, work], lambda: None)
    assert seen == [1, 1]
    assert fleet.others == -1  # none is left
    assert not fleet.halted


@pytest.mark.parametrize("error", [OSError(28, "no space"), KeyboardInterrupt()])
def test_the_error_of_one_ends_all_and_is_raised(error: BaseException) -> None:
    fleet, stopped = Fleet(2), threading.Event()
    seen = []

    def fails() -> None:
        raise error

    def waits() -> None:
        assert stopped.wait(60)  # as what halt ends
        seen.append(fleet.halted)

    with pytest.raises(type(error)):
        fleet.run([waits, fails], stopped.set)
    assert seen == [True]


def test_turns_of_all_cards_are_counted_together() -> None:
    fleet = Fleet(2)
    assert [fleet.count("a", 1), fleet.count("b", 2), fleet.count("a", 3)] == [1, 3, 5]
