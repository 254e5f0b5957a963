"""Signals that end a run: interrupts while it works, nothing while it cleans up."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def stoppable() -> Iterator[Callable[[], None]]:
    """SIGTERM and SIGHUP interrupt like Ctrl-C; the yielded function makes the rest of the block ignore all three."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        ignore()  # a second Ctrl-C must not interrupt the clean-up of the first
        raise KeyboardInterrupt

    def ignore() -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    # Signals that the parent process ignores stay ignored: SIGHUP under nohup, SIGINT of a script's background job.
    before = {n: signal.getsignal(n) for n in SIGNALS if signal.getsignal(n) is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, interrupt)
    try:
        yield ignore
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
