"""Exceptions in a worker as what is told of them: a row of the run, or the reply to a job."""

from __future__ import annotations

import errno
import re
import traceback

import msgspec

from bench.errors import MORE_MEMORY, BenchError, ProcessFailed, Unavailable, class_and_text, is_unmapped, text_of
from bench.model.run import Failure
from bench.runner import jobs

LONGEST_MESSAGE = 2000
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MORE_ROOM = "free some disk space, or choose another place: TMPDIR=DIR, --cache DIR"
# Of an object, as its repr has it: another in each process, so that equal failures would look different.
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+(?=>|, file )")
_NO_EXIT = "raise an error, or return, where sys.exit is called"


def refusal(error: BaseException, stage: str) -> jobs.Failed:
    """The reply that tells of an exception."""
    failure = failure_of(error, stage)
    return jobs.Failed(
        kind=failure.kind,
        stage=failure.stage,
        message=failure.message,
        where=failure.where,
        hint=failure.hint,
        trace=failure.log,
    )


def failure_of(error: BaseException, stage: str) -> Failure:
    """An exception as a row: what the error tree knows, or the exception's class, first lines and traceback; without
    the addresses of objects.
    """
    failure = _failure_of(error, stage)
    texts = {name: _ADDRESS.sub("", getattr(failure, name)) for name in ("message", "hint", "log")}
    return msgspec.structs.replace(failure, **texts)


def _failure_of(error: BaseException, stage: str) -> Failure:
    trace = "".join(traceback.format_exception(error))[-LONGEST_MESSAGE * 2 :]
    if isinstance(error, Unavailable | ImportError | OSError) and _lacks_memory(error):
        message = f"host memory ran out: {error.what if isinstance(error, BenchError) else text_of(error)}"
        message = message[:LONGEST_MESSAGE].rstrip(": ")
        return Failure(kind="OutOfMemory", stage=stage, message=message, hint=MORE_MEMORY, log=trace)
    if isinstance(error, BenchError):
        kind = error.kind if isinstance(error, ProcessFailed) else type(error).__name__
        return Failure(kind=kind, stage=stage, message=error.what, hint=error.fix, log=trace, where=error.where)
    if isinstance(error, MemoryError):
        hint = "a smaller batch, or a machine with more memory"
        return Failure(kind="OutOfMemory", stage=stage, message="host memory ran out", hint=hint, log=trace)
    if isinstance(error, SystemExit):
        message = f"the model, or a library, ended Python (exit code {error.code})"
        return Failure(kind="SystemExit", stage=stage, message=message[:LONGEST_MESSAGE], hint=_NO_EXIT, log=trace)
    message = class_and_text(error)[:LONGEST_MESSAGE]
    hint = _MORE_ROOM if isinstance(error, OSError) and error.errno in _NO_ROOM else ""
    return Failure(kind=type(error).__name__, stage=stage, message=message, hint=hint, log=trace)


def _lacks_memory(error: BaseException) -> bool:
    """Whether what cannot be imported or opened lacks memory, as its text says, or what it comes from."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, MemoryError):
        cause = cause.__cause__
    return cause is not None or is_unmapped(text_of(error))
