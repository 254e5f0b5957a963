"""Does the GPU's clock tell the truth here: kernels of known length, its floor, its spread, its escape hatch."""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import signal
import statistics
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import environment, jobs, locks, scratch, toolchains
from bench.dispatch import Dispatcher, Tell
from bench.errors import CaseError, Unavailable, UsageError
from bench.events import Note, Started, Waiting
from bench.measure import cuda, device, gpu, holds, spin
from bench.measure.clock import HostClock
from bench.measure.loop import sample, warm_up
from bench.measure.stop import StopRule
from bench.model import Environment, Failure, Policy
from bench.profile import nsys
from bench.seam import Lane, Reading
from bench.units import format_time
from bench.watch import device as watched

LENGTHS_NS = (20_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000)
POLICY = Policy(max_time_ns=2_000_000_000, min_samples=50, max_samples=100)
COPY_BYTES = 256 << 20
# A graph for the profiler: kernels of this length, so many that gaps between them count too.
GRAPH_KERNELS, GRAPH_KERNEL_NS = 30, 20_000
_DEVICE = "cuda:0"
_PROFILE_LIMIT_S = 180
_LIMIT_NS = 1_200_000_000_000
_REPLAYS = (
    "import sys; sys.path[:] = [p for p in sys.path if p]; from bench.selftest import replays; replays(sys.argv[1])"
)


def readings(gate: int, runs: int, progress: Callable[[str], None]) -> tuple[Reading, ...]:
    """What a worker reads in one process by the clock of models; ``runs`` calls of each kind that is hard to hold."""
    with contextlib.closing(cuda.CudaClock(cuda.CudaDriver(), cuda.Gate(gate))) as clock:
        driver = clock.driver
        assert isinstance(driver, cuda.CudaDriver)
        if why := clock.can_hold():
            raise UsageError(f"streams cannot be held here: {why}", fix="see docs/measuring.md, `gpu_unheld`")
        try:
            return (*_kernels(driver, clock), *holds.readings(driver, clock, runs, progress))
        except cuda.HoldBroken:
            raise CaseError(
                "a held stream had to be let go twice in a row: something kept this process from running",
                fix="end what else keeps the host's processors busy, then: trtbench selftest --gpu",
            ) from None


def _kernels(driver: cuda.CudaDriver, clock: cuda.CudaClock) -> Iterator[Reading]:
    """Floors, a copy, and kernels of known length."""
    with contextlib.closing(spin.CopyLane(driver, COPY_BYTES)) as lane:
        floor = _median(device.NullLane(lane.stream), clock)
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
            own: list[int] = []

            def note(lane: spin.SpinLane = lane, own: list[int] = own) -> None:
                own.append(lane.took())

            measured = _median(lane, clock, note)
            expected = statistics.median(own)
        yield Reading(
            name="spin",
            what=f"a kernel that spins for {format_time(length)}",
            expected=expected,
            measured=measured - floor,
            limit=max(0.005 * expected, 1_000),
        )


def _median(lane: Lane, clock: cuda.CudaClock, after: Callable[[], None] = lambda: None) -> float:
    """The median (ns) of held calls of ``lane``, each followed by ``after``."""
    host, take = HostClock(), gpu.gpu(lane, clock, hold=True)

    def one() -> int:
        taken = clock.twice(take)
        after()
        return taken

    warm_up(one, POLICY, host)
    return statistics.median(sample(one, StopRule(POLICY, host)))


def replays(path: str) -> None:
    """Time the replays of a graph in this process, which a profiler watches; write the samples (ns) to ``path``."""
    end_with_parent()
    with contextlib.closing(cuda.CudaClock(cuda.CudaDriver(), cuda.create_gate())) as clock:
        driver = clock.driver
        assert isinstance(driver, cuda.CudaDriver)
        with (
            contextlib.closing(spin.SpinLane(driver, GRAPH_KERNEL_NS, GRAPH_KERNELS)) as inner,
            contextlib.closing(spin.GraphLane(driver, inner)) as lane,
        ):
            warm_up(gpu.gpu(lane, clock, hold=False), POLICY, HostClock())
            take = gpu.gpu(lane, clock, hold=True)
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


def run(processes: int, runs: int, tell: Tell) -> tuple[Environment, tuple[Reading, ...]]:
    """The device and its readings: of the first process, over all of them the spread of copy and spin (sd of logs), and
    a profiler's.

    ``runs`` calls of each kind that is hard to hold are made in the first process. The device is locked meanwhile, as
    by any run; who holds it is told and waited for.
    """
    here = environment.describe("cuda")
    series: list[tuple[Reading, ...]] = []
    who, queue = f"selftest (process {os.getpid()})", lambda holder: tell(Waiting(device=_DEVICE, holder=holder))
    with (
        locks.hold(locks.lock_path(_DEVICE), who, queue),
        scratch.folder() as own,
    ):
        interpreter = toolchains.Interpreter(
            name="default",
            command=toolchains.worker_command(""),
            env=toolchains.worker_env(toolchains.package_link(own), {}),
            environment=here,
        )
        dispatcher = Dispatcher(_LIMIT_NS, False, tell)
        for index in range(processes):
            label = f"process {index + 1} of {processes}"
            tell(Started(label=label, done=index, total=processes + 1))
            with watched("cuda") as watch:
                job = jobs.Selftest(device=_DEVICE, gate=watch.gate, runs=0 if index else runs)
                reply = dispatcher.ask(interpreter, job, label, watch)
            if isinstance(reply, Failure):
                raise UsageError(f"{reply.kind}: {reply.message}", where="selftest", fix=reply.hint)
            assert isinstance(reply, jobs.Read)
            series.append(reply.readings)
        tell(Started(label="graph replays under nsys", done=processes, total=processes + 1))
        profiled = tuple(_profiled(own, interpreter.env, tell))
    return here, (*series[0], *_spread(series), *profiled)


def _profiled(folder: Path, env: dict[str, str], tell: Tell) -> Iterator[Reading]:
    """Held graph replays against Nsight Systems, within max(2 %, 10 us); a note where it cannot be asked."""
    samples = folder / "replays.json"
    try:
        report = nsys.profile((sys.executable, "-c", _REPLAYS, str(samples)), env, folder, _PROFILE_LIMIT_S)
        traced = nsys.graph_replays(report)
    except (Unavailable, CaseError) as error:
        tell(Note(text=f"graph replays are not held against Nsight Systems: {error.what}"))
        return
    own = json.loads(samples.read_text())
    expected = statistics.median(traced[-len(own) :])
    yield Reading(
        name="replay",
        what=f"a graph of {GRAPH_KERNELS} kernels of {format_time(GRAPH_KERNEL_NS)}, against Nsight Systems",
        expected=expected,
        measured=statistics.median(own),
        limit=max(0.02 * expected, 10_000),
    )


def _spread(series: list[tuple[Reading, ...]]) -> Iterator[Reading]:
    """A/A: the standard deviation of the logs of fresh processes' medians, as a fraction."""
    if len(series) < 2:
        return
    for name in ("copy", "spin"):
        medians = [next(r.measured for r in readings if r.name == name) for readings in series]
        deviation = statistics.stdev(math.log(median) for median in medians)
        what = f"{name}: sd of {len(series)} fresh processes' medians, parts per million"
        yield Reading(name="repeat", what=what, expected=0.0, measured=deviation * 1e6, limit=15_000)
