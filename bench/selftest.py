"""Does the GPU's clock tell the truth here: kernels of known length, its floor, its spread, its escape hatch."""

from __future__ import annotations

import contextlib
import math
import statistics
from collections.abc import Iterator

from bench import jobs, toolchains
from bench.dispatch import Dispatcher, Tell
from bench.errors import UsageError
from bench.measure import cuda, device, gpu, spin
from bench.measure.clock import HostClock
from bench.measure.loop import sample, warm_up
from bench.measure.stop import StopRule
from bench.model import Failure, Policy
from bench.seam import Reading
from bench.units import format_time
from bench.watch import device as watched

LENGTHS_NS = (20_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000)
POLICY = Policy(max_time_ns=2_000_000_000, min_samples=50, max_samples=100)
LAUNCHES = 2_000
COPY_BYTES = 256 << 20


def readings(gate: int) -> tuple[Reading, ...]:
    """What a worker reads in one process, all by the clock that models are timed with."""
    with contextlib.closing(cuda.CudaClock(cuda.CudaDriver(), cuda.Gate(gate))) as clock:
        driver = clock.driver
        assert isinstance(driver, cuda.CudaDriver)
        if why := driver.can_hold():
            raise UsageError(f"streams cannot be held here: {why}", fix="see docs/measuring.md, `gpu_unheld`")
        with contextlib.closing(spin.CopyLane(driver, COPY_BYTES)) as lane:
            floor = _median(gpu.gpu(device.NullLane(lane.stream), clock, hold=True))
            found = [Reading(name="floor", what="a call that does nothing", measured=floor)]
            copied = _median(gpu.gpu(lane, clock, hold=True))
            found.append(Reading(name="copy", what=f"a copy of {COPY_BYTES >> 20} MiB", measured=copied))
        with contextlib.closing(spin.SpinLane(driver, 0)) as empty:
            launch = _median(gpu.gpu(empty, clock, hold=True))
        found.append(Reading(name="floor", what="a kernel that does nothing", measured=launch))
        found += _spins(driver, clock, launch)
        return (*found, *_escapes(driver, clock))


def _spins(driver: cuda.CudaDriver, clock: cuda.CudaClock, floor: float) -> Iterator[Reading]:
    """Kernels that spin for a known time, less the floor of a kernel: within max(0.5 %, 1 us) of their own reading."""
    for length in LENGTHS_NS:
        with contextlib.closing(spin.SpinLane(driver, length)) as lane:
            own: list[int] = []
            take = gpu.gpu(lane, clock, hold=True)

            def both(take: gpu.Take = take, lane: spin.SpinLane = lane, own: list[int] = own) -> int:
                taken = take()
                own.append(lane.took())
                return taken

            measured = _median(both)
            expected = statistics.median(own)
        yield Reading(
            name="spin",
            what=f"a kernel that spins for {format_time(length)}",
            expected=expected,
            measured=measured - floor,
            limit=max(0.005 * expected, 1_000),
        )


def _escapes(driver: cuda.CudaDriver, clock: cuda.CudaClock) -> Iterator[Reading]:
    """A call that cannot be held (more launches than a queue holds) is let go by the parent, and told."""
    with contextlib.closing(spin.SpinLane(driver, 1_000, LAUNCHES)) as lane:
        lane.call()
        try:
            gpu.gpu(lane, clock, hold=True)()
            let_go = 0.0
        except cuda.HoldBroken:
            let_go = 1.0
        unheld = gpu.gpu(lane, clock, hold=False)()
    yield Reading(
        name="released", what=f"{LAUNCHES} launches in one call, held", expected=1.0, measured=let_go, limit=0.0
    )
    yield Reading(name="unheld", what=f"{LAUNCHES} launches in one call, not held", measured=unheld)


def _median(take: gpu.Take) -> float:
    clock = HostClock()
    warm_up(take, POLICY, clock)
    return statistics.median(sample(take, StopRule(POLICY, clock)))


def run(processes: int, tell: Tell) -> tuple[Reading, ...]:
    """The readings of the first process, and over all of them the spread of floor and copy (sd of logs)."""
    import tempfile
    from pathlib import Path

    from bench import environment

    here = environment.describe("cuda")
    series: list[tuple[Reading, ...]] = []
    with tempfile.TemporaryDirectory(prefix="trtbench-") as scratch:
        interpreter = toolchains.Interpreter(
            name="default",
            command=toolchains.worker_command(""),
            env=toolchains.worker_env(toolchains.package_link(Path(scratch)), {}),
            environment=here,
        )
        dispatcher = Dispatcher(300_000_000_000, False, tell)
        for index in range(processes):
            with watched("cuda") as watch:
                job = jobs.Selftest(device="cuda:0", gate=watch.gate)
                reply = dispatcher.ask(interpreter, job, f"process {index + 1} of {processes}", watch)
            if isinstance(reply, Failure):
                raise UsageError(f"{reply.kind}: {reply.message}", where="selftest", fix=reply.hint)
            assert isinstance(reply, jobs.Read)
            series.append(reply.readings)
    return (*series[0], *_spread(series))


def _spread(series: list[tuple[Reading, ...]]) -> Iterator[Reading]:
    """A/A: the standard deviation of the logs of fresh processes' medians, as a fraction."""
    if len(series) < 2:
        return
    for name in ("copy", "spin"):
        medians = [next(r.measured for r in readings if r.name == name) for readings in series]
        deviation = statistics.stdev(math.log(median) for median in medians)
        what = f"{name}: sd of {len(series)} fresh processes' medians, parts per million"
        yield Reading(name="repeat", what=what, expected=0.0, measured=deviation * 1e6, limit=15_000)
