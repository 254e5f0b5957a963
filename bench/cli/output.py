"""Where the command line writes: streams whose reader may leave or whose disk may be full, and views of progress."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

# What a stream that cannot take any more says: no room, no quota, a file too large, a device that fails.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class Unwritten(OSError):
    """What a stream of ours refused to take."""

    def __str__(self) -> str:
        return f"the output cannot be written: {self.strerror}"


def say(text: str, end: str = "\n") -> None:
    """Print to stdout, now, so that a failure can still be told. Unwritten if that cannot take any more."""
    with _refusing():
        print(text, end=end, flush=True)


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    """OSErrors of writing to a stream become Unwritten, to be told from those of files."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise Unwritten(error.errno, error.strerror) from error


@contextlib.contextmanager
def unread(stream: TextIO, lost: list[OSError]) -> Iterator[None]:
    """The block writes to ``stream``; if nobody reads that any more it ends in silence, and what follows counts.

    What a full disk does not take is in ``lost``.
    """
    try:
        with _refusing():
            yield
            stream.flush()
    except BrokenPipeError:
        silence(stream)
    except Unwritten as error:
        silence(stream)
        lost.append(error)


def silence(stream: TextIO) -> None:
    """Nothing more is written to ``stream``, not what it has buffered either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def screen() -> dict[str, Any]:
    """The width of the terminal and whether it shows colours (NO_COLOR, dumb terminals and pipes do not)."""
    import shutil

    color = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    return {"width": shutil.get_terminal_size((120, 40)).columns, "color": color}


def progress_view(kind: str, lost: list[OSError]) -> Any:
    """Tells progress as ``kind`` asks; what stdout has no room for is in ``lost``."""
    from bench.report import progress

    if kind == "auto":
        kind = "live" if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else "plain"
    if kind == "live":
        from rich.console import Console

        return progress.Live(Console(stderr=True))
    if kind == "json":
        return progress.GuardedView(progress.Json(sys.stdout), lambda: unread(sys.stdout, lost))
    return progress.GuardedView(progress.Plain(sys.stderr), lambda: unread(sys.stderr, []))
