"""An error says what, where and the next command; a misspelt word gets a suggestion."""

from __future__ import annotations

import pytest

from bench import errors


@pytest.mark.parametrize(
    ("where", "fix", "text"),
    [
        ("", "", "no backend"),
        ("s.yaml:14", "", "s.yaml:14: no backend"),
        ("", "trtbench doctor", "no backend\n  fix: trtbench doctor"),
        ("s.yaml:14", "trtbench doctor", "s.yaml:14: no backend\n  fix: trtbench doctor"),
    ],
)
def test_an_error_reads_as_place_message_and_fix(where: str, fix: str, text: str) -> None:
    assert str(errors.SuiteError("no backend", where=where, fix=fix)) == text


@pytest.mark.parametrize(("what", "text"), [("no run 'x'.", "no run 'x'"), ("a, b, ...", "a, b, ...")])
def test_a_message_ends_without_a_full_stop(what: str, text: str) -> None:
    assert errors.StoreError(what).what == text
    assert str(errors.StoreError(what, fix="trtbench runs")) == f"{text}\n  fix: trtbench runs"
    assert errors.CaseError(what).what == what  # it may quote a library


def test_the_users_mistakes_are_apart_from_what_ends_one_case_only() -> None:
    for kind in (errors.SuiteError, errors.SelectionError, errors.UsageError, errors.StoreError):
        assert issubclass(kind, errors.InputError)
        assert not issubclass(kind, errors.CaseError)
    for kind in (
        errors.Unavailable,
        errors.Unsupported,
        errors.ModelError,
        errors.OutOfMemory,
        errors.CudaFailure,
        errors.Crash,
        errors.ProcessFailed,
        errors.Timeout,
    ):
        assert issubclass(kind, errors.CaseError)
        assert not issubclass(kind, errors.InputError)


def test_the_docstring_draws_every_error() -> None:
    named = [name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)]
    assert len(named) == 18
    assert all(name in (errors.__doc__ or "") for name in named)


@pytest.mark.parametrize(
    ("word", "suggestion"),
    [
        ("tensort", " Did you mean 'tensorrt'?"),
        ("eagre", " Did you mean 'eager'?"),
        ("onnx", ""),
        ("", ""),
    ],
)
def test_a_suggestion_is_made_only_for_a_close_word(word: str, suggestion: str) -> None:
    assert errors.did_you_mean(word, iter(["eager", "tensorrt", "inductor"])) == suggestion


def test_no_suggestion_without_known_words() -> None:
    assert errors.did_you_mean("eager", []) == ""


@pytest.mark.parametrize(
    ("text", "of_a_device", "of_any"),
    [
        ("CUDA out of memory. Tried to allocate 2.00 GiB", True, True),  # torch
        ("CUDA error: out of memory", True, True),
        ("cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY", True, True),
        ("CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate", True, True),
        ("Failed to allocate memory for requested buffer of size 8192", True, True),  # ONNX Runtime
        ("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory", False, True),  # torch
        ("OutOfMemory (Could not find any implementation)", False, True),  # TensorRT
        ("Requested amount of GPU memory (8192 bytes) could not be allocated.", False, True),
        ("Cuda failure: 2", False, True),
        ("terminate called after throwing an instance of 'std::bad_alloc'", False, True),
        ("Cuda failure: 209", False, False),
        ("an illegal memory access was encountered", False, False),
        ("the memory format is channels_last", False, False),
    ],
)
def test_what_runtimes_write_of_memory_that_ran_out_is_known(text: str, of_a_device: bool, of_any: bool) -> None:
    assert bool(errors.OUT_OF_DEVICE_MEMORY.search(text)) == of_a_device
    assert bool(errors.OUT_OF_MEMORY.search(text)) == of_any
