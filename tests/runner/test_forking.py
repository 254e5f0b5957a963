"""Whose threads a process has before it is forked, and how much memory a block may take."""

from __future__ import annotations

import mmap
import resource
import threading
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
    assert forking._owner("1", CODE) == owner


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
