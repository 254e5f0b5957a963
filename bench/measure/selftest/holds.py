"""Calls that are hard to hold, many times: each must end held or released by the parent, never in a deadlock."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np

from bench.measure import gpu_samples
from bench.measure.cuda import CudaClock, CudaDriver, HoldBroken
from bench.measure.selftest.spin import GraphLane, SpinLane
from bench.model.checkup import Reading
from bench.model.lanes import Lane

LAUNCHES = 2_000  # a queue takes 1,024
_BLOCK = 64 << 20
_LENGTH_NS = 1_000

LaneContext = Iterator[Lane]


class ReadingBack(SpinLane):
    """Copies a result to pageable memory and waits for it in the middle of its call, as ``.item()`` does."""

    def call(self) -> None:
        """A kernel, the copy, a wait, a kernel."""
        super().call()
        result = np.zeros(1, np.uint64)
        self._driver.check(self._cu.cuMemcpyDtoHAsync(result.ctypes.data, self._out, 8, self.stream))
        self._driver.check(self._cu.cuStreamSynchronize(self.stream))
        super().call()


class Allocating(SpinLane):
    """Allocates and frees device memory in its call, as an allocator whose cache is too small does."""

    def call(self) -> None:
        """Allocate, run a kernel, and free, which waits for the device."""
        address = self._driver.allocate(_BLOCK)
        super().call()
        self._driver.free(address)


@contextlib.contextmanager
def _reading_back(driver: CudaDriver) -> LaneContext:
    with contextlib.closing(ReadingBack(driver, _LENGTH_NS)) as lane:
        lane.call()
        yield lane


@contextlib.contextmanager
def _allocating(driver: CudaDriver) -> LaneContext:
    with contextlib.closing(Allocating(driver, _LENGTH_NS)) as lane:
        lane.call()
        yield lane


@contextlib.contextmanager
def _many_launches(driver: CudaDriver) -> LaneContext:
    with contextlib.closing(SpinLane(driver, _LENGTH_NS, LAUNCHES)) as lane:
        lane.call()
        driver.synchronize()
        yield lane


@contextlib.contextmanager
def _new_graph(driver: CudaDriver) -> LaneContext:
    with contextlib.closing(SpinLane(driver, _LENGTH_NS, 20)) as inner:
        inner.call()
        driver.synchronize()
        with contextlib.closing(GraphLane(driver, inner)) as lane:
            yield lane


@contextlib.contextmanager
def _new_kernel(driver: CudaDriver) -> LaneContext:
    with contextlib.closing(SpinLane(driver, _LENGTH_NS)) as lane:
        yield lane


# What the call does, and the function that makes its lane; each run makes a new one.
KINDS: dict[str, Callable[[CudaDriver], contextlib.AbstractContextManager[Lane]]] = {
    "read a result back, as .item() does": _reading_back,
    "take and give back device memory": _allocating,
    f"make {LAUNCHES} launches": _many_launches,
    "launch a CUDA graph for the first time": _new_graph,
    "launch a kernel for the first time": _new_kernel,
}


def readings(driver: CudaDriver, clock: CudaClock, runs: int, tell: Callable[[str], None]) -> Iterator[Reading]:
    """``runs`` held calls of each kind: as many must end, held or released, as were started. Nothing for no runs.

    ``tell`` is called with the progress: a call whose hold is released by the parent takes up to a second.
    """
    for what, make in KINDS.items() if runs else ():
        held_calls = releases = 0
        for run in range(runs):
            if run % 10 == 0:
                tell(f"{run} of {runs} held calls that {what}")
            with make(driver) as lane:
                try:
                    gpu_samples.gpu(lane, clock, hold=True)()
                    held_calls += 1
                except HoldBroken:
                    driver.synchronize()
                    gpu_samples.gpu(lane, clock, hold=False)()
                    releases += 1
        text = f"calls that {what}: {held_calls} held, {releases} let go and timed unheld"
        yield Reading(name="ended", what=text, measured=held_calls + releases, expected=runs, limit=0.0)
