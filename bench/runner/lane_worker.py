"""A lane in a process of its own: loads the case's model again, and calls it back to back when all the others do.

It is started by the worker that measures the case (``bench.runner.lane_processes``), below the worker's keeper. The job
comes on stdin, then for each loop a line with its policy and, once this process has said that it has ``Arrived``, one
with the time of the start on CLOCK_MONOTONIC. Replies go to a pipe of their own, samples to a file.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

import msgspec
import numpy as np

from bench import tensors
from bench.backends import base
from bench.errors import OutOfMemory
from bench.machine import gpu_faults
from bench.machine.host import HostTelemetry
from bench.measure import host
from bench.measure.loop import frozen, quiet
from bench.measure.together import Share, Start, wait_until
from bench.model.lanes import Lane, Prepared
from bench.model.seam import Clock
from bench.model.suite import Policy
from bench.runner import jobs, worker
from bench.runner.lane_processes import SHARE
from bench.runner.phase_log import PhaseLog, Wire
from bench.runner.worker_failures import refusal
from bench.runner.worker_jobs import context_of
from bench.runner.worker_measure import torch_peak_bytes
from bench.system import signals

if TYPE_CHECKING:
    from bench.measure.cuda import CudaClock


class _Signal:
    """The common start, as the worker tells it. This process ends where the worker has closed the pipe."""

    def __init__(self, wire: Wire, requests: IO[bytes]) -> None:
        self._wire = wire
        self._requests = requests
        self._start_ns = 0

    def gather(self) -> None:
        """Say that this process is ready, and hear when all begin."""
        self._wire.send(jobs.Arrived())
        line = self._requests.readline()
        if not line:
            os._exit(0)
        self._start_ns = int(line)

    def begin(self) -> None:
        """Return when all begin."""
        wait_until(self._start_ns)


def main() -> None:
    """Load the model, loop on request, and leave without the libraries' exit handlers."""
    parent, reply = map(int, sys.argv[-2:])
    worker.die_with(parent)
    signals.end_by_interrupts()
    wire = Wire(reply)
    requests = os.fdopen(os.dup(0), "rb", buffering=0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    log = PhaseLog(wire)
    try:
        job = jobs.decode_job(requests.readline())
        assert isinstance(job, jobs.Measure)
        wire.ticket = job.ticket
        _serve(job, log, wire, requests)
    except BaseException as error:  # noqa: BLE001 - told to the worker, whose row it becomes
        wire.send(refusal(error, log.current))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _serve(job: jobs.Measure, log: PhaseLog, wire: Wire, requests: IO[bytes]) -> None:
    """Loops until the pipe of requests is closed."""
    case, backend = job.case, base.load(job.case.backend)
    inputs = tensors.read(Path(job.artifacts["reference"]) / "inputs.safetensors")
    context = context_of(job, case, inputs, log, Path(job.scratch), job.artifacts)
    with backend.prepare(case, base.options_of(backend, case), context) as prepared, frozen():
        with log("first_call"):
            lanes = _lanes(prepared, job)
        wire.send(jobs.Arrived())
        while line := requests.readline():
            policy = msgspec.json.decode(line, type=Policy)
            watcher = HostTelemetry()
            watcher.start()
            with log("loop"):
                share = _loop(lanes, job, policy, context.clock, _Signal(wire, requests))
            watcher.stop()
            np.savez(Path(job.scratch) / SHARE, allow_pickle=False, **share)
            wire.send(jobs.Looped(host=watcher.finish(), torch_peak_bytes=torch_peak_bytes()))


def _lanes(prepared: Prepared, job: jobs.Measure) -> Sequence[Lane]:
    """The lanes of this process, each called once. OutOfMemory where there is no room for them."""
    needed = 1
    if job.device != "cpu":
        from bench.measure import gpu

        needed = gpu.lanes_needed(job.case, job.policy)
    try:
        lanes = prepared.lanes(min(needed, prepared.max_lanes or needed))
        for lane in lanes:
            lane.call()
            lane.read()
    except Exception as error:
        if not gpu_faults.out_of_memory(error):
            raise
        raise OutOfMemory(str(error)) from error
    return lanes


def _loop(lanes: Sequence[Lane], job: jobs.Measure, policy: Policy, clock: Clock, start: Start) -> Share:
    """What this process measures of one loop."""
    if job.device == "cpu":
        with quiet():
            return {"stamps": host.loop_beside(lanes[0], clock, policy, start)}
    from bench.measure import gpu_loop

    with _cuda_clock() as cuda_clock:
        return gpu_loop.loop_share(lanes, cuda_clock, clock, policy, start, transfers=job.case.transfers)


@contextlib.contextmanager
def _cuda_clock() -> Iterator[CudaClock]:
    """The GPU's clock of this process, which holds no stream."""
    from bench.measure import cuda
    from bench.measure.gate import create_gate

    with contextlib.closing(cuda.CudaClock(cuda.CudaDriver(), create_gate())) as clock:
        yield clock
