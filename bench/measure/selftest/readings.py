"""The self-test's readings of the clock in a worker: kernels of known length, floors, a copy, calls hard to hold."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import statistics
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.errors import CaseError, UsageError
from bench.measure import cuda, gpu_samples
from bench.measure.clock import HostClock
from bench.measure.gate import Gate, create_gate
from bench.measure.loop import sample, warm_up
from bench.measure.selftest import holds, spin
from bench.measure.stop import StopRule
from bench.model.checkup import Reading
from bench.model.lanes import Lane
from bench.model.suite import Policy
from bench.units import format_time

LENGTHS_NS = (20_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000)
POLICY = Policy(max_time_ns=2_000_000_000, min_samples=50, max_samples=100)
COPY_BYTES = 256 << 20
# A graph for the profiler: kernels of this length, so many that gaps between them count too.
GRAPH_KERNELS, GRAPH_KERNEL_NS = 30, 20_000


def readings(gate: int, runs: int, progress: Callable[[str], None]) -> tuple[Reading, ...]:
    """All readings of one process, by the clock that times models; ``runs`` calls of each kind that is hard to hold."""
    with contextlib.closing(cuda.CudaClock(cuda.CudaDriver(), Gate(gate))) as clock:
        driver = clock.driver
        assert isinstance(driver, cuda.CudaDriver)
        if why := clock.can_hold():
            raise UsageError(f"streams cannot be held here: {why}", fix="see docs/measuring.md, `gpu_unheld`")
        try:
            return (*_kernels(driver, clock), *holds.readings(driver, clock, runs, progress))
        except cuda.HoldBroken:
            raise CaseError(
                "a held stream had to be released twice in a row: something kept this process from running",
                fix="end other programs that keep the host's processors busy, then: trtbench selftest --gpu",
            ) from None


def _kernels(driver: cuda.CudaDriver, clock: cuda.CudaClock) -> Iterator[Reading]:
    """Floors, a copy, and kernels of known length."""
    with contextlib.closing(spin.CopyLane(driver, COPY_BYTES)) as lane:
        floor = _median(gpu_samples.NullLane(lane.stream), clock)
        yield Reading(name="floor", what="a call that does nothing", measured=floor)
        yield Reading(name="copy", what=f"a copy of {COPY_BYTES >> 20} MiB", measured=_median(lane, clock))
    with contextlib.closing(spin.SpinLane(driver, 0)) as empty:
        launch = _median(empty, clock)
    yield Reading(name="floor", what="a kernel that does nothing", measured=launch)
    yield from _spins(driver, clock, launch)


def _spins(driver: cuda.CudaDriver, clock: cuda.CudaClock, floor: float) -> Iterator[Reading]:
    """Kernels that spin for a known time, less the floor of a kernel: within max(0.5 %, 1 us) of their own reading."""
    for length in LENGTHS_NS:
        with contextlib.closing(spin.SpinLane(driver, length)) as lane:
            device_times: list[int] = []

            def note(lane: spin.SpinLane = lane, device_times: list[int] = device_times) -> None:
                device_times.append(lane.measured_ns())

            measured = _median(lane, clock, note)
            expected = statistics.median(device_times)
        yield Reading(
            name="spin",
            what=f"a kernel that spins for {format_time(length)}",
            expected=expected,
            measured=measured - floor,
            limit=max(0.005 * expected, 1_000),
        )


def _median(lane: Lane, clock: cuda.CudaClock, after: Callable[[], None] = lambda: None) -> float:
    """The median (ns) of held calls of ``lane``, each followed by ``after``."""
    host_clock, take = HostClock(), gpu_samples.gpu(lane, clock, hold=True)

    def one() -> int:
        ns = clock.twice(take)
        after()
        return ns

    warm_up(one, POLICY, host_clock)
    return statistics.median(sample(one, StopRule(POLICY, host_clock)))


def replays(path: str) -> None:
    """Time the replays of a graph in this process, which a profiler watches; write the samples (ns) to ``path``."""
    end_with_parent()
    with contextlib.closing(cuda.CudaClock(cuda.CudaDriver(), create_gate())) as clock:
        driver = clock.driver
        assert isinstance(driver, cuda.CudaDriver)
        with (
            contextlib.closing(spin.SpinLane(driver, GRAPH_KERNEL_NS, GRAPH_KERNELS)) as inner,
            contextlib.closing(spin.GraphLane(driver, inner)) as lane,
        ):
            warm_up(gpu_samples.gpu(lane, clock, hold=False), POLICY, HostClock())
            take = gpu_samples.gpu(lane, clock, hold=True)
            Path(path).write_text(json.dumps([take() for _ in range(POLICY.max_samples)]))


def end_with_parent() -> None:
    """From now on, end this process when its parent has ended: a held replay would keep the GPU waiting for ever.

    A thread waits for that. The kernel's own signal (PR_SET_PDEATHSIG) would come as soon as the parent's thread that
    started this process ends, and a profiler has many.
    """
    parent = os.pidfd_open(os.getppid())

    def wait() -> None:
        select.select([parent], [], [])
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()
