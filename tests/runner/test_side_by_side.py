"""Threads that wait for workers, and how all of them end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence

import pytest

from bench.runner.side_by_side import Slots, Threads
from tests.runner.kit import started_with

LONGEST_S = 20  # tasks end by themselves then, so that a fault does not hang the tests


def results(tasks: Sequence[Callable[[], object]], halt: Callable[[], None], begin: threading.Event) -> list[object]:
    """Of the tasks, which wait for ``begin``."""
    with Threads(Slots(len(tasks)), halt) as threads:
        several = [threads.submit(task) for task in tasks]
        begin.set()
        return threads.results(several)


def test_a_signal_that_another_thread_takes_ends_the_work() -> None:
    """The system may give a signal to any thread, and Python handles it in the main thread, which it does not wake."""
    begin, over, halted = threading.Event(), threading.Event(), list[bool]()

    def take_signal() -> None:
        begin.wait(LONGEST_S)
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        halted.append(over.wait(LONGEST_S))

    with started_with(signal.SIGINT, signal.default_int_handler), pytest.raises(KeyboardInterrupt):
        results([take_signal], over.set, begin)
    assert halted == [True], "the task was not ended by halt"


def test_the_first_error_ends_the_others() -> None:
    begin, over, halted = threading.Event(), threading.Event(), list[bool]()

    def fail() -> None:
        begin.wait(LONGEST_S)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        results([fail, lambda: halted.append(over.wait(LONGEST_S))], over.set, begin)
    assert halted == [True]


def test_what_all_tasks_return_is_there() -> None:
    tasks: list[Callable[[], object]] = [lambda: 1, lambda: 2, lambda: 3]
    assert set(results(tasks, lambda: None, threading.Event())) == {1, 2, 3}
