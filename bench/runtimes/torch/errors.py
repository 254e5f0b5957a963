"""Translates exceptions of torch into the classes of ``bench.errors``."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from bench.errors import (
    LESS_MEMORY,
    MORE_MEMORY,
    OUT_OF_MEMORY,
    BenchError,
    CaseError,
    ModelError,
    OutOfMemory,
    SuiteError,
    Unavailable,
    Unsupported,
    class_and_text,
    text_of,
)
from bench.model.distributions import install
from bench.model.suite import Case

_NO_KERNEL = re.compile(
    r"not implemented for '|Low precision dtypes not supported|Could not run '\S+' with arguments from the|"
    r"Unsupported dtype|not supported for (Half|BFloat16)"
)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_NO_COMPILER = re.compile(r"No working C\+\+ compiler|Cannot find a working triton installation", re.IGNORECASE)


@contextlib.contextmanager
def translate(refusal: str = "", *, fix: str = "") -> Iterator[None]:
    """Translate what torch raises in the block into the classes of ``bench.errors``.

    Out of memory and a missing kernel, compiler or operator are recognised by type and message. With ``refusal``
    ("torch.export cannot take this model") any other exception is Unsupported, with ``fix``; without, it passes.
    """
    try:
        yield
    except (BenchError, MemoryError):
        raise
    except Exception as error:
        case_error = _translate(error)
        if case_error is None and refusal:
            case_error = Unsupported(f"{refusal}: {brief(error)}", fix=fix)
        if case_error is None:
            raise
        raise case_error from error


def _translate(error: Exception) -> CaseError | None:
    # By name: the exception classes moved between torch versions, and some modules are slow to import.
    names = {cls.__name__ for cls in type(error).__mro__}
    text = text_of(error)
    if out_of_memory(error):
        return OutOfMemory(brief(error), fix=LESS_MEMORY)
    if _NO_COMPILER.search(text) or names & {"InvalidCxxCompiler", "TritonMissing"}:
        return Unavailable(brief(error), fix=f"apt-get install g++, and for CUDA: {install('triton')}")
    if _NO_KERNEL.search(text) or names & {"TorchDynamoException", "OnnxExporterError", "UnsupportedOperatorException"}:
        return Unsupported(brief(error))
    return None


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception of Python or torch says that memory of the host or a device ran out."""
    names = {cls.__name__ for cls in type(error).__mro__}
    return bool(names & {"MemoryError", "OutOfMemoryError"} or OUT_OF_MEMORY.search(text_of(error)))


def of_import(case: Case, name: str, error: BaseException, line: str, *, fix: str = "") -> BenchError:
    """What ended the import of ``name``, the file or module that the factory of ``case`` names. ``line`` is that of the
    user's file where it was raised, empty if it is not known; ``fix`` what else to do than to correct it.

    OutOfMemory and ModelError are rows of the model's cases. A file that is no Python is a SuiteError.
    """
    if isinstance(error, SystemExit):
        text = f"it ended Python (exit code {error.code})"
    else:
        text = f"SyntaxError: {error.msg}" if isinstance(error, SyntaxError) else class_and_text(error)
    what = f"{name} cannot be imported: {text}" + (f" ({line})" if line else "")
    if out_of_memory(error):
        return OutOfMemory(what, where=case.source, fix=MORE_MEMORY)
    fix = fix or f"correct {line or f'the model {case.model!r}'}"
    no_python = isinstance(error, SyntaxError) and line.endswith(f"{Path(error.filename or '').name}:{error.lineno}")
    return (SuiteError if no_python else ModelError)(what, where=case.source, fix=fix)


def brief(error: BaseException) -> str:
    """The first three lines of the error's text, or its type's name, in at most 500 characters.

    The ONNX exporter's own error says only in which step it happened; the text is that of its cause.
    """
    names = {cls.__name__ for cls in type(error).__mro__}
    while "OnnxExporterError" in names and error.__cause__ is not None:
        error = error.__cause__
        names = {cls.__name__ for cls in type(error).__mro__}
    text = _COLOURS.sub("", text_of(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[:3])[:500]
