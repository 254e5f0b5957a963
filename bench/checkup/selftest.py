"""Checks the GPU clock of this machine against kernels of known length, its floor, its spread and a profiler."""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.errors import CaseError, Unavailable, UsageError
from bench.machine import environment
from bench.measure.selftest.readings import GRAPH_KERNEL_NS, GRAPH_KERNELS
from bench.model.checkup import Reading
from bench.model.events import Note, Started, Waiting
from bench.model.run import Environment, Failure
from bench.profiling import nsys
from bench.runner import cards, jobs, toolchains
from bench.runner.dispatch import Dispatcher, OnEvent
from bench.runner.watch import open_watch
from bench.system import locks, scratch
from bench.units import format_time

_DEVICE = "cuda:0"
_PROFILE_LIMIT_S = 180
_LIMIT_NS = 1_200_000_000_000
_REPLAYS = (
    "import sys; sys.path[:] = [p for p in sys.path if p]; "
    "from bench.measure.selftest.readings import replays; replays(sys.argv[1])"
)


def run(processes: int, runs: int, tell: OnEvent) -> tuple[Environment, tuple[Reading, ...]]:
    """The device and its readings: of the first process, over all of them the spread of copy and spin (sd of logs), and
    a profiler's.

    ``runs`` calls of each kind that is hard to hold are made in the first process. The device is locked, as for any
    run; if another process holds it, ``tell`` gets a Waiting event and this one waits.
    """
    machine = environment.describe("cuda")
    series: list[tuple[Reading, ...]] = []
    who, queue = f"selftest (process {os.getpid()})", lambda holder: tell(Waiting(device=_DEVICE, holder=holder))
    with (
        locks.hold(locks.lock_path(cards.lock_of(machine.observed.get("card", ""))), who, queue),
        scratch.folder() as folder,
    ):
        interpreter = toolchains.Interpreter(
            name="default",
            command=toolchains.worker_command(""),
            env=toolchains.worker_env(toolchains.package_link(folder), {}),
            environment=machine,
        )
        dispatcher = Dispatcher(_LIMIT_NS, False, tell)
        for index in range(processes):
            label = f"process {index + 1} of {processes}"
            tell(Started(label=label, done=index, total=processes + 1))
            with open_watch("cuda") as watch:
                job = jobs.Selftest(device=_DEVICE, gate=watch.gate, runs=0 if index else runs)
                reply = dispatcher.run(interpreter, job, label, watch)
            if isinstance(reply, Failure):
                raise UsageError(f"{reply.kind}: {reply.message}", where="selftest", fix=reply.hint)
            assert isinstance(reply, jobs.Read)
            series.append(reply.readings)
        tell(Started(label="graph replays under nsys", done=processes, total=processes + 1))
        replays = tuple(_compare_replays(folder, interpreter.env, tell))
    return machine, (*series[0], *_spread(series), *replays)


def _compare_replays(folder: Path, env: dict[str, str], tell: OnEvent) -> Iterator[Reading]:
    """Held graph replays against Nsight Systems, within max(2 %, 10 us); a note if it cannot be used."""
    samples = folder / "replays.json"
    try:
        report = nsys.profile((sys.executable, "-c", _REPLAYS, str(samples)), env, folder, _PROFILE_LIMIT_S)
        profile = nsys.graph_replays(report)
    except (Unavailable, CaseError) as error:
        tell(Note(text=f"graph replays are not held against Nsight Systems: {error.what}"))
        return
    timings = json.loads(samples.read_text())
    expected = statistics.median(profile[-len(timings) :])
    yield Reading(
        name="replay",
        what=f"a graph of {GRAPH_KERNELS} kernels of {format_time(GRAPH_KERNEL_NS)}, against Nsight Systems",
        expected=expected,
        measured=statistics.median(timings),
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
