"""Where the command line writes: streams whose reader may leave or whose disk may be full, and views of progress."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from types import ModuleType

    from bench.errors import BenchError

# Errors of a stream that takes no more: no room, no quota, a file too large, a device that fails.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

_WIDTH = 120  # of what goes to no terminal


class OutputError(OSError):
    """A stream refused what was written to it."""

    def __str__(self) -> str:
        return f"the output cannot be written: {self.strerror}"


def open_streams() -> None:
    """Give the program the standard streams that it was started without (``>&-``): what is opened next would get their
    numbers, and what is printed would be written into it.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", errors="replace", closefd=False))  # noqa: SIM115


def flush_streams(code: int) -> int:
    """Write what is still buffered. The exit code: ``code``, or 2 in place of 0 if stdout cannot be written."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            silence(stream)
        except OSError:
            silence(stream)
            code = code or 2
    return code


def complain(text: str) -> None:
    """Print to stderr; in silence if it cannot be written."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        silence(sys.stderr)


def say(text: str, end: str = "\n") -> None:
    """Print to stdout and flush, so that a failure shows here: OutputError if it cannot be written."""
    with _refusing():
        print(text, end=end, flush=True)


def say_all(
    form: str,
    view: ModuleType,
    several: Sequence[Any],
    *,
    render: Callable[..., str] | None = None,
    markdown: Callable[..., str] | None = None,
    **options: Any,
) -> None:
    """Print what each run has to tell in the format ``form``, by ``view`` with its ``options``.

    Its functions are ``render`` (for ``text``) and ``markdown``, of one run, and those of the other formats, of all.
    """
    if form == "text":
        texts = [(render or view.render)(each, **options, **screen()) for each in several]
    elif form == "markdown":
        texts = [(markdown or view.markdown)(each, **options) for each in several]
    else:
        texts = [getattr(view, form)(several, **options)]
    say("\n".join(texts), end="")


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    """OSErrors of writing to a stream become OutputError, to tell them from those of files."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise OutputError(error.errno, error.strerror) from error


@contextlib.contextmanager
def reader_may_leave(stream: TextIO, errors: list[OSError]) -> Iterator[None]:
    """The block writes to ``stream``. If its reader has left, the block ends and the program goes on in silence; if the
    disk is full, the error is added to ``errors``.
    """
    try:
        with _refusing():
            yield
            stream.flush()
    except BrokenPipeError:
        silence(stream)
    except OutputError as error:
        silence(stream)
        errors.append(error)


# Options by the names that arguments of the API have in errors.
_OPTIONS = {"out": "--out"}


def error(error: BenchError) -> str:
    """An error as all are printed; nothing in it can steer the terminal or look like a line of another one."""
    from bench.report import escape

    where = _OPTIONS.get(error.where, error.where)
    what = f"{where}: {error.what}" if where else error.what
    texts = [escape.lines(text).replace("\n", "\n    ") for text in (what, error.fix)]
    return "\n  fix: ".join(["trtbench: " + texts[0], *filter(None, texts[1:])])


def silence(stream: TextIO) -> None:
    """Discard what is written to ``stream`` from now on, and what it has buffered."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def screen() -> dict[str, Any]:
    """The width of the terminal and whether it shows colours (NO_COLOR, dumb terminals and pipes do not).

    COLUMNS comes first. What is piped (``| head``, ``2>&1 | less``) is as wide as the terminal that stderr is, or
    stdin; a file, and a pipe beside neither, 120 characters.
    """
    import shutil

    color = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    return {"width": shutil.get_terminal_size((_width_beside_pipe() or _WIDTH, 40)).columns, "color": color}


def _width_beside_pipe() -> int:
    """The width of the terminal that stderr is, or stdin, if stdout is a pipe; else 0."""
    try:
        is_pipe = stat.S_ISFIFO(os.fstat(1).st_mode)
    except OSError:  # it is closed
        return 0
    for stream in (2, 0) if is_pipe else ():
        with contextlib.suppress(OSError):  # no terminal, or closed
            if columns := os.get_terminal_size(stream).columns:
                return columns
    return 0


def progress_view(kind: str, errors: list[OSError]) -> Any:
    """The view of progress of ``kind``; errors of writing to stdout are added to ``errors``."""
    from bench.report import progress

    if kind == "auto":
        kind = "live" if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else "plain"
    if kind == "live":
        from rich.console import Console

        return progress.Live(Console(stderr=True))
    if kind == "json":
        return progress.GuardedView(progress.Json(sys.stdout), lambda: reader_may_leave(sys.stdout, errors))
    return progress.GuardedView(progress.Plain(sys.stderr), lambda: reader_may_leave(sys.stderr, []))
