"""Interrupts of blocks within blocks: the first one ends the work, and none what is done about it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.model.events import End, Event, Stored
from bench.report import progress
from bench.system.signals import stoppable
from tests.conftest import Trtbench
from tests.runner.kit import started_with


def interrupt(number: signal.Signals = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_after_the_first_interrupt_none_disturbs_the_outer_block(number: signal.Signals) -> None:
    reached = []
    with started_with(number, signal.default_int_handler), stoppable():
        with contextlib.suppress(KeyboardInterrupt), stoppable():
            interrupt(number)
            reached.append("after the first")
        interrupt(number)
        reached.append("after the second")
    assert reached == ["after the second"]


def test_each_block_has_its_first_interrupt_and_leaves_handlers_as_they_were() -> None:
    with started_with(signal.SIGINT, signal.default_int_handler):
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt), stoppable(), stoppable():
                interrupt()
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        reached = []
        with contextlib.suppress(KeyboardInterrupt), stoppable():
            with stoppable() as ignore:
                ignore()
                interrupt()  # nothing: this block is past what may be interrupted
            reached.append("the end of the inner block")
            interrupt()
            reached.append("the end of the outer one")
        assert reached == ["the end of the inner block"]


def test_a_second_ctrl_c_leaves_a_run_its_tables_and_the_command_that_resumes_it(
    trtbench: Trtbench, fake_suite: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def view(_: progress.Json, event: Event) -> None:
        if isinstance(event, Stored | End):  # the file has its end when the last event is told
            interrupt()

    monkeypatch.setattr(progress.Json, "__call__", view)
    with started_with(signal.SIGINT, signal.default_int_handler):
        assert trtbench("run", fake_suite(replicates=2), "--progress", "json") == 130
    (run,) = trtbench.runs()
    assert len(run.records) == 1
    assert trtbench.err.endswith(f"interrupted; resume it with: trtbench run --resume {run.path}\n")
