"""An L2 cache without the case's data before each sample (``l2: cold``)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from bench.measure import gpu_samples
from bench.measure.cuda import CudaClock
from bench.measure.gpu_transfer import stream_of
from bench.model.lanes import Lane
from bench.model.suite import Case
from bench.system.cleanup import Cleanup


@contextlib.contextmanager
def cold(lane: Lane, clock: CudaClock, case: Case) -> Iterator[gpu_samples.Before]:
    """What to issue before each sample so that the L2 holds none of the case's data; None where the case does not ask
    for it.

    Fills twice the size of the L2, in bytes, on the lane's stream; the memory is freed after the block.
    """
    if case.l2 != "cold":
        yield None
        return
    driver, nbytes = clock.driver, 2 * clock.driver.l2_bytes()
    memory, stream = driver.allocate(nbytes), stream_of(lane)
    with Cleanup() as cleanup:
        cleanup.callback(driver.free, memory)
        cleanup.callback(driver.synchronize)
        yield lambda: driver.fill(memory, 0x5A, nbytes, stream)
