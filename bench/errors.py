"""The error tree: every error says what is wrong, where, and the next command to type.

::

    BenchError                    what, where, fix
    ├── InputError                the user's input; the command ends with exit code 2, nothing written
    │   ├── SuiteError            a suite file, or a factory that it names wrongly (where = file:line)
    │   ├── SelectionError        a --select expression (where = the expression and a column)
    │   ├── UsageError            a command line that does not fit together
    │   │   ├── DeviceUnavailable the requested device is not here
    │   │   └── SourceChanged     a model's file was edited while its run went on
    │   └── StoreError            a results file or folder that cannot be read or written
    │       └── NoRuns            a folder of results has no run that can be shown
    └── CaseError                 one case cannot continue; becomes a Failure row, the run goes on
        ├── Unavailable           a package, compiler or device is not there
        ├── Unsupported           the runtime cannot do what the case asks for
        ├── ModelError            the factory, or its file, raises, or returns no module: the case has no model
        ├── OutOfMemory           the device or the host has no memory left
        ├── CudaFailure           a CUDA call failed; after an illegal access every later one of its process fails too
        ├── Crash                 a process of the case ended by itself
        ├── ProcessFailed         a process of the case met an error of the model or a library
        └── Timeout               a process of the case did not answer in time
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Sequence

# What to do about a file of a schema that is newer than this trtbench.
UPGRADE = "a newer trtbench: git pull in its checkout, then pip install -e . there"


class BenchError(Exception):
    """Base of all errors raised on purpose.

    Args:
        what: one sentence that says what is wrong.
        where: the place, e.g. ``suites/vision.yaml:14``; empty if there is none.
        fix: what to type or change next; empty if unknown.
    """

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  fix: {self.fix}" if self.fix else text


class InputError(BenchError):
    """The user's input is wrong: exit code 2, nothing written."""

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        if what.endswith(".") and not what.endswith(".."):  # where did_you_mean has no suggestion to follow it
            what = what[:-1]
        super().__init__(what, where=where, fix=fix)


class SuiteError(InputError):
    """A suite file, or a factory that it names, is wrong."""


class SelectionError(InputError):
    """A ``--select`` expression does not parse or names an unknown key."""


class UsageError(InputError):
    """Command-line arguments do not fit together."""


class DeviceUnavailable(UsageError):
    """The device that a run asks for is not here, or cannot be used."""


class SourceChanged(UsageError):
    """A file that decides what the cases compute is not what it was when the run began; what is measured is stored."""


class StoreError(InputError):
    """A results file or folder cannot be read or written."""


class NoRuns(StoreError):
    """A folder of results has no run that can be shown: a page that is watched waits for the first one."""


class ProgramsInterrupted(KeyboardInterrupt):
    """Ctrl-C, SIGTERM or SIGHUP ended `codegen`: ``folders`` have the programs written until then, of ``total``."""

    def __init__(self, folders: Sequence[str], total: int) -> None:
        super().__init__(f"interrupted; {len(folders)} of {total} programs are written")
        self.folders = tuple(folders)
        self.total = total


class CaseError(BenchError):
    """One case cannot continue: the worker turns this into a Failure row."""


class Unavailable(CaseError):
    """A package, compiler or device that the case needs is not there."""


class Unsupported(CaseError):
    """The runtime is there but cannot do what the case asks for."""


class ModelError(CaseError):
    """The factory of a model is there, and it or its file raises, or it returns no module: the model has no case that
    can run.
    """


class OutOfMemory(CaseError):
    """Host or device memory ran out."""


class CudaFailure(CaseError):
    """A CUDA call failed; after an illegal access every later call of the process fails too."""


class Crash(CaseError):
    """A process that the case needs ended by itself, or wrote what is no reply."""


class ProcessFailed(CaseError):
    """A process that the case needs met an error of the model or a library, a ``kind`` that is none of these."""

    def __init__(self, what: str, *, kind: str, where: str = "", fix: str = "") -> None:
        super().__init__(what, where=where, fix=fix)
        self.kind = kind


class Timeout(CaseError):
    """A process that the case needs did not answer in time."""


# What runtimes and the driver write where a device's memory ran out, and where that of the device or the host did.
_DEVICE_MEMORY = (
    r"CUDA_ERROR_OUT_OF_MEMORY|CUDA error: out of memory|CUDA out of memory|Failed to allocate memory|"
    r"(CUBLAS|CUDNN|CUSPARSE)_STATUS_ALLOC_FAILED"
)
_ANY_MEMORY = (
    rf"{_DEVICE_MEMORY}|out\s*_?of\s*_?memory|could not be allocated|can't allocate memory|bad_alloc|"
    r"cuda failure: 2\b|failure with error: 2\b"
)
OUT_OF_DEVICE_MEMORY = re.compile(_DEVICE_MEMORY, re.IGNORECASE)
OUT_OF_MEMORY = re.compile(_ANY_MEMORY, re.IGNORECASE)
LESS_MEMORY = "a smaller batch, a narrower precision, or a device with more memory"
# Where a library or a model alone does not fit: no batch has been made yet.
MORE_MEMORY = "end other programs, raise the limit (ulimit -v, or the container's), or use a machine with more memory"
# What the loader writes of a library for which no memory could be mapped, or that lies where none may be executed.
_UNMAPPED = re.compile(r"(\S+): failed to map segment from shared object(: Cannot allocate memory)?")


def is_unmapped(text: str) -> bool:
    """Whether ``text`` says that a shared library was not loaded for want of memory; a file system without execution
    has the loader write the same.
    """
    match = _UNMAPPED.search(text)
    if match is None or match[2]:
        return match is not None
    try:
        return not os.statvfs(match[1]).f_flag & os.ST_NOEXEC
    except OSError:  # its name is not whole
        return True


def is_input(kind: str) -> bool:
    """Whether ``kind``, that of a Failure, is the name of an InputError."""
    member = globals().get(kind)
    return isinstance(member, type) and issubclass(member, InputError)


def text_of(error: BaseException) -> str:
    """The text of any exception; empty where it has none, or cannot make it."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a class of a model's file may do anything in __str__; its name is left
        return ""


def class_and_text(error: BaseException) -> str:
    """``ValueError: no such size``, or the class alone, as of most MemoryErrors."""
    return f"{type(error).__name__}: {text_of(error)}".strip().removesuffix(":")


_LONGEST_WORD = 200


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """A suggestion for a misspelt name: `` Did you mean 'tensorrt'?`` (leading blank) or an empty string."""
    if len(word) > _LONGEST_WORD:  # comparing takes the product of the lengths
        return ""
    close = difflib.get_close_matches(word, [name for name in names if len(name) <= _LONGEST_WORD], n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""
