"""What exceptions in a worker are called: a lack of memory is no missing package, and an exit of Python says so."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bench.errors import MORE_MEMORY, SuiteError, Unavailable, Unsupported
from bench.runner.worker_failures import failure_of

UNMAPPED = "failed to map segment from shared object"


def exits(code: object) -> BaseException:
    try:
        sys.exit(code)  # type: ignore[arg-type]
    except SystemExit as error:
        return error


@pytest.mark.parametrize("kind", [Unavailable, ImportError, OSError])
@pytest.mark.parametrize("reason", ["", ": Cannot allocate memory"])
def test_a_library_that_memory_has_no_room_for_is_no_missing_package(
    tmp_path: Path, kind: type[Exception], reason: str
) -> None:
    text = f"transformers.BertModel cannot be imported: {tmp_path}: {UNMAPPED}{reason}"
    failure = failure_of(kind(text), "load")
    assert (failure.kind, failure.hint) == ("OutOfMemory", MORE_MEMORY)
    assert failure.message == f"host memory ran out: {text}"


def test_nor_is_one_that_finds_no_memory_while_it_is_imported() -> None:
    error = Unavailable("transformers is installed but cannot be imported: ", fix="pip install --upgrade transformers")
    assert failure_of(error, "load").kind == "Unavailable"
    error.__cause__ = RuntimeError("in a lazy import")
    error.__cause__.__cause__ = MemoryError()
    failure = failure_of(error, "load")
    assert (failure.kind, failure.hint) == ("OutOfMemory", MORE_MEMORY)
    assert failure.message == "host memory ran out: transformers is installed but cannot be imported"


def test_a_library_on_a_file_system_without_execution_is_not_available() -> None:
    if not os.statvfs("/proc").f_flag & os.ST_NOEXEC:
        pytest.skip("/proc may be executed here")
    assert failure_of(Unavailable(f"/proc/version: {UNMAPPED}", fix="mount"), "load").kind == "Unavailable"
    for text in ("the package 'timm' is not installed", "libcuda.so.1: cannot open shared object file"):
        assert failure_of(Unavailable(text), "load").kind == "Unavailable"


def test_equal_failures_of_two_processes_have_one_text_whatever_the_addresses_of_their_objects() -> None:
    def failure(error: BaseException) -> tuple[str, str, str]:
        try:
            raise error
        except type(error):
            found = failure_of(error, "build")
        return found.message, found.hint, found.log

    first, second = object(), object()
    assert repr(first) != repr(second)
    for kind in (Unsupported, ValueError):
        message, hint, log = failure(kind(f"cannot lower {first} [{first!r}]"))
        assert (message, hint, log) == failure(kind(f"cannot lower {second} [{second!r}]"))
        assert message.endswith("cannot lower <object object> [<object object>]")
        assert "0x" not in log
    for text in ("a fault at 0x", "a fault at 0x0", "no table at 0x1f40 of the file"):  # of no object
        assert failure_of(Unsupported(text), "run").message == text


@pytest.mark.parametrize("code", [0, 3, None])
def test_a_model_that_ends_python_says_so(code: int | None) -> None:
    failure = failure_of(exits(code), "run")
    assert (failure.kind, failure.stage) == ("SystemExit", "run")
    assert failure.message == f"the model, or a library, ended Python (exit code {code})"
    assert "sys.exit" in failure.hint


def test_a_failure_has_the_place_of_its_error() -> None:
    error = SuiteError("no input 'x'", where="mine.yaml:16: data", fix="another")
    assert failure_of(error, "load").text == "mine.yaml:16: data: no input 'x'"
    assert failure_of(ValueError("no"), "load").where == ""
