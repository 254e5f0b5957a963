"""Whose threads a process has before it is forked, how much memory a block may take, and what it leaves."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import mmap
import platform
import resource
import threading
import weakref
from collections.abc import Iterator

import pytest

from bench.runner import forking

# A library that lies across a 4 GiB boundary, and one of threads that may be left behind.
CODE = [(0x7F35FC800000, 0x7F3604000000, "libtorch_cpu.so"), (0x7F3710000000, 0x7F3712000000, "libscipy_openblas.so")]
FUTEX, ZERO, CALL = 0x7F3600000189, 0x7F3600000000, 0x7F371036D3EB


@pytest.mark.parametrize(
    ("words", "owner"),
    [
        ((5, FUTEX, ZERO, CALL), "libscipy_openblas.so"),  # halves of words, which a stack's slots have beside old ones
        ((5, FUTEX + 0x10000, CALL), "libtorch_cpu.so"),
        ((5, CALL, FUTEX + 0x10000), "libscipy_openblas.so"),
    ],
)
def test_a_thread_is_that_of_the_first_address_on_its_stack(
    monkeypatch: pytest.MonkeyPatch, words: tuple[int, ...], owner: str
) -> None:
    monkeypatch.setattr(forking, "_stack", lambda thread: iter(words))
    monkeypatch.setattr(forking, "follows_call", lambda address: True)
    assert forking._owner("1", CODE) == owner


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the encodings are those of x86-64")
@pytest.mark.parametrize(
    ("code", "calls"),
    [
        ("0000e844332211", True),  # call rel32
        ("0000000000ffd0", True),  # call rax
        ("000000000041ffd2"[2:], True),  # call r10
        ("00000000ff5018", True),  # call [rax + 0x18]
        ("00ff1544332211", True),  # call [rip + 0x11223344]
        ("90909090909090", False),
        ("00000000ffe0c3", False),  # jmp rax; ret
        ("ffffffffffffff", False),
    ],
)
def test_an_address_to_return_to_lies_behind_a_call(code: str, calls: bool) -> None:
    memory = ctypes.create_string_buffer(bytes.fromhex(code), 7)
    assert forking.follows_call(ctypes.addressof(memory) + 7) is calls


def test_what_lies_before_an_address_without_memory_decides_nothing() -> None:
    assert forking.follows_call(64)


@pytest.fixture
def waiting_thread() -> Iterator[None]:
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.mark.usefixtures("waiting_thread")
def test_what_has_started_a_thread_is_named() -> None:
    assert forking.obstacle("building it").startswith("building it has started ")


def test_memory_has_a_limit_in_the_block_alone() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    size = 1 << 30
    with forking.memory_limit(64 << 20):
        mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
        with pytest.raises(OSError, match="Cannot allocate memory"):
            mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    with forking.memory_limit(0):
        mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()


class Cycle:
    """An object that refers to itself, so that the collector alone frees it."""

    def __init__(self) -> None:
        self.own = self


def test_a_block_that_collects_leaves_no_garbage_and_no_collector_however_it_ends() -> None:
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        for error in (None, MemoryError):
            with contextlib.suppress(MemoryError), forking.collecting():
                assert gc.isenabled()
                left = weakref.ref(Cycle())
                if error:
                    raise error
            assert not gc.isenabled()
            assert left() is None
    finally:
        if was_enabled:
            gc.enable()
