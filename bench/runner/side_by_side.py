"""Work of several threads at once, each of which waits for a worker: how many may be at it, and how all of it ends."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")
# Threads per slot: those that wait for an artifact that another makes hold no slot.
_THREADS = 4
_AWAKE_S = 1.0  # how long a signal may wait that the system gives to another thread than the one which handles it


class Slots:
    """How many workers may be at work at once: ``limit``, less where they have no room beside each other. None once
    they are ``halted``.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._taken = 0
        self.halted = False
        self._change = threading.Condition()

    @contextlib.contextmanager
    def one(self) -> Iterator[bool]:
        """A slot for the block, once there is one; False, and none, if all of it is to end."""
        with self._change:
            self._change.wait_for(lambda: self.halted or self._taken < self.limit)
            if self.halted:
                yield False
                return
            self._taken += 1
        try:
            yield True
        finally:
            with self._change:
                self._taken -= 1
                self._change.notify_all()

    def halve(self) -> int:
        """Let half as many work at once from now on; how many that are."""
        with self._change:
            self.limit = max(1, self.limit // 2)
            return self.limit

    def halt(self) -> None:
        """Give no further slot."""
        with self._change:
            self.halted = True
            self._change.notify_all()


class Threads:
    """Tasks of one kind side by side, in the order in which they are given; used in a ``with`` block.

    An error of one ends all, and is raised by ``results``. So does an exception in the block, as KeyboardInterrupt.
    ``halt`` is called then: it ends what the tasks wait for.
    """

    def __init__(self, slots: Slots, halt: Callable[[], None]) -> None:
        self._slots = slots
        self._halt = halt
        self._pool = ThreadPoolExecutor(_THREADS * slots.limit, thread_name_prefix="trtbench")
        self._futures: list[Future[object]] = []

    def submit(self, task: Callable[[], T]) -> Future[T]:
        """Begin a task as soon as a thread is free."""
        future = self._pool.submit(task)
        self._futures.append(future)  # type: ignore[arg-type]
        return future

    def results(self, futures: Sequence[Future[T]]) -> list[T]:
        """What the tasks return, once all have ended. The first error of any is raised."""
        # Python handles signals in the main thread alone, and one that comes to another thread does not wake it.
        while True:
            ended, pending = wait(futures, timeout=_AWAKE_S, return_when=FIRST_EXCEPTION)
            if not pending or any(future.exception() is not None for future in ended):
                break
        return [future.result() for future in sorted(futures, key=lambda future: not future.done())]

    def __enter__(self) -> Threads:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._slots.halt()
            self._halt()
        self._pool.shutdown(wait=True, cancel_futures=kind is not None)
