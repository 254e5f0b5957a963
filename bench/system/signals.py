"""Signals that end a run: interrupts while it works, nothing while it cleans up; and what those say that ended another
process.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What somebody else sends, with where each usually comes from, and what a process ends by that has gone wrong itself.
_FROM_OUTSIDE = {
    signal.SIGINT: "Ctrl-C, kill -INT",
    signal.SIGTERM: "kill, job scheduler, container stop",
    signal.SIGHUP: "terminal closed, kill -HUP",
    signal.SIGKILL: "out-of-memory killer, kill -KILL, container stop",
}
# SIGTRAP is that of __builtin_trap on arm64.
_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP)


def is_from_outside(number: int) -> bool:
    """Whether a process that the signal ``number`` ended was ended by another one, or by the kernel for its memory."""
    return number in _FROM_OUTSIDE


def is_request(number: int) -> bool:
    """Whether the signal ``number`` asks a process to end, which usually another one sends, or the terminal."""
    return number in SIGNALS


def is_crash(number: int) -> bool:
    """Whether the signal ``number`` tells of an error in native code."""
    return number in _CRASHES


def describe(number: int) -> str:
    """``SIGSEGV``, ``SIGTERM from outside (kill, job scheduler, container stop)``, or ``signal 40`` for the real-time
    ones, which have no names.
    """
    try:
        known = signal.Signals(number)
    except ValueError:
        return f"signal {number}"
    return f"{known.name} from outside ({_FROM_OUTSIDE[known]})" if known in _FROM_OUTSIDE else known.name


def raises_interrupts() -> bool:
    """Whether SIGINT can raise KeyboardInterrupt in this process; where not, a program has raised it by itself."""
    return callable(signal.getsignal(signal.SIGINT))


def end_by_interrupts() -> None:
    """Let SIGINT end this process at once, where Python would raise KeyboardInterrupt."""
    if raises_interrupts():
        signal.signal(signal.SIGINT, signal.SIG_DFL)


_blocks: list[list[bool]] = []  # of each `stoppable` of the main thread that has begun: whether it was interrupted


@contextlib.contextmanager
def stoppable() -> Iterator[Callable[[], None]]:
    """SIGTERM and SIGHUP interrupt the block as Ctrl-C does; what it yields is a function that ignores all three.

    One interrupts it: those that follow are ignored until the outermost of such blocks has ended, and with it what it
    does about the first. Outside the main thread, where Python runs no signal handlers, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        ignore()  # a second Ctrl-C must not interrupt the clean-up of the first
        for block in _blocks:
            block[0] = True
        raise KeyboardInterrupt

    def ignore() -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    # What the parent process ignores stays ignored: SIGHUP under nohup, SIGINT of a script's background job.
    before = {n: signal.getsignal(n) for n in SIGNALS if signal.getsignal(n) is not signal.SIG_IGN}
    interrupted = [False]
    _blocks.append(interrupted)
    try:
        for number in before:
            signal.signal(number, interrupt)
        yield ignore
    finally:
        _blocks.pop()
        if not (interrupted[0] and _blocks):
            for number, handler in before.items():
                signal.signal(number, handler)
