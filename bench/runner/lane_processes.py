"""The processes of the other lanes, as the worker that measures a case sees them (``lanes: processes``).

The worker is the first lane's process. It starts the others when the closed loop comes, so that nothing of them is
there while other boundaries are measured, has all begin at one time, and ends them after it. They are below its keeper,
which ends them with it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np

from bench.errors import CaseError, Crash, CudaFailure, OutOfMemory, ProcessFailed, Timeout, Unavailable, Unsupported
from bench.machine import host
from bench.measure import result
from bench.measure.together import Share, wait_until
from bench.model.run import Warning
from bench.model.suite import Policy
from bench.model.telemetry import HostFigures
from bench.runner import jobs
from bench.runner.phase_log import PhaseLog
from bench.system import signals
from bench.units import NS_PER_S

AnyReply = TypeVar("AnyReply", bound=jobs.Reply)

SHARE = "share.npz"  # what a process measured, in its scratch folder
# From when all have arrived until they begin: as long as the slowest takes to be told.
_NOTICE_NS = 3_000_000
# The worker itself may take no longer than `timeout`: which process hangs is told this much earlier, at most.
_MARGIN_NS = 5 * NS_PER_S
_ENDING_S = 10
_CHUNK = 1 << 16
_THREADS = "lanes: threads runs all lanes in one process"
# Errors that a lane's process may tell of; others are of the model, or of a library.
_CASE_ERRORS: dict[str, type[CaseError]] = {
    kind.__name__: kind for kind in (Crash, CudaFailure, OutOfMemory, Timeout, Unavailable, Unsupported)
}
# As of a worker: the folder that it is started in is none to import from.
_START = "import sys; sys.path[:] = [p for p in sys.path if p]; from bench.runner.lane_worker import main; main()"


class Beside:
    """Opens the processes of the lanes beside the worker's own; what they used is known when they have ended.

    ``began_ns`` is when the worker began with the job, on CLOCK_MONOTONIC: it may take `timeout`, and they less.
    ``warnings`` says if memory had no room for all.
    """

    def __init__(self, job: jobs.Measure, log: PhaseLog, began_ns: int) -> None:
        self.warnings: tuple[Warning, ...] = ()
        self._job = job
        self._log = log
        self._deadline = began_ns + job.policy.timeout_ns - min(_MARGIN_NS, job.policy.timeout_ns // 4)
        self._used: list[jobs.Looped] = []

    @contextlib.contextmanager
    def __call__(self) -> Iterator[LaneProcesses]:
        """The processes, each with its model loaded and called; they have ended when the block has."""
        processes: list[_LaneProcess] = []
        count = self._job.case.streams
        try:
            for number in range(2, count + 1):
                processes.append(_LaneProcess(self._job, number, self._deadline))
            able = []
            for process in processes:
                self._log.tell(f"{process.name} starts")
                try:
                    process.hear(jobs.Arrived)
                    able.append(process)
                except OutOfMemory:
                    process.end()
            if len(able) < len(processes):
                self.warnings = (result.no_room(1 + len(able), count),)
            self._log.tell("loop")
            yield LaneProcesses(able, self._used)
            for process in able:
                process.leave()
        finally:
            for process in processes:
                process.end()

    def with_theirs(self, own: HostFigures, torch_peak_bytes: int | None) -> tuple[HostFigures, int | None]:
        """The figures of all processes of the case together."""
        peaks = [each.torch_peak_bytes for each in self._used if each.torch_peak_bytes is not None]
        whole = torch_peak_bytes if torch_peak_bytes is None else torch_peak_bytes + sum(peaks)
        return host.together(own, [each.host for each in self._used]), whole


class LaneProcesses:
    """Processes that wait with their lanes ready: ``bench.measure.together.Others``. ``used`` has what each used in the
    latest loop.
    """

    def __init__(self, processes: Sequence[_LaneProcess], used: list[jobs.Looped]) -> None:
        self._processes = processes
        self._used = used
        self._start_ns = 0

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._processes)

    def lead_in(self, policy: Policy) -> None:
        """Have each make its calls that do not count."""
        for process in self._processes:
            process.say(msgspec.json.encode(policy))

    def gather(self) -> None:
        """Wait until each has, and tell it when all begin."""
        for process in self._processes:
            process.hear(jobs.Arrived)
        self._start_ns = time.monotonic_ns() + _NOTICE_NS
        for process in self._processes:
            process.say(b"%d" % self._start_ns)

    def begin(self) -> None:
        """Return when all begin."""
        wait_until(self._start_ns)

    def shares(self) -> Sequence[Share]:
        """What each measured."""
        self._used[:] = [process.hear(jobs.Looped) for process in self._processes]
        return [process.share() for process in self._processes]


class _LaneProcess:
    """One process; ``deadline`` is the time of CLOCK_MONOTONIC by which it must have answered, ns."""

    def __init__(self, job: jobs.Measure, number: int, deadline: int) -> None:
        self.name = f"the process of lane {number} of {job.case.streams}"
        self._deadline = deadline
        self._ticket = job.ticket
        self._stage = "start"
        self._buffer = b""
        self._scratch = Path(job.scratch) / f"lane-{number}"
        self._scratch.mkdir()
        job = msgspec.structs.replace(job, scratch=str(self._scratch), rounds=0, gate=-1)
        self._replies, replies = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, str(os.getpid()), str(replies)],
                stdin=subprocess.PIPE,
                pass_fds=[replies],
                bufsize=0,
            )
        except OSError as error:
            os.close(self._replies)
            raise Crash(f"{self.name} cannot be started: {error.strerror}", fix=_THREADS) from error
        finally:
            os.close(replies)
        self.say(jobs.encode(job))

    def say(self, line: bytes) -> None:
        """Send a line. One that has ended is not told: what it does not answer says so."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            line += b"\n"
            while line:
                line = line[self._process.stdin.write(line) :]

    def hear(self, kind: type[AnyReply]) -> AnyReply:
        """Its next reply, past those that tell what it does. Crash if it ends, Timeout if it is silent for too long,
        else the error that it tells of.
        """
        while True:
            line = self._line()
            try:
                reply = jobs.decode_reply(line)
            except (ValueError, RecursionError):
                raise Crash(f"{self.name} wrote {line[:60]!r}, which is no reply", fix=_THREADS) from None
            if reply.ticket != self._ticket:  # that of the model's code, which has the pipe too
                raise Crash(f"{self.name} wrote a reply that is none to its job", fix=_THREADS)
            if isinstance(reply, kind):
                return reply
            if isinstance(reply, jobs.Failed):
                raise _error(self.name, reply)
            if not isinstance(reply, jobs.Doing):
                raise Crash(f"{self.name} answered {type(reply).__name__} for {kind.__name__}", fix=_THREADS)
            self._stage = reply.phase

    def share(self) -> Share:
        """What it wrote of its loop."""
        with np.load(self._scratch / SHARE) as arrays:
            return {name: arrays[name] for name in arrays.files}

    def leave(self) -> None:
        """Let it end by itself: it releases its model. Killed if it does not."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_ENDING_S)

    def end(self) -> None:
        """Kill it unless it has ended; a second time does nothing."""
        self._process.kill()
        self._process.wait()
        if self._replies >= 0:
            os.close(self._replies)
            self._replies = -1
        assert self._process.stdin is not None
        self._process.stdin.close()

    def _line(self) -> bytes:
        while b"\n" not in self._buffer:
            remaining = self._deadline - time.monotonic_ns()
            if remaining <= 0 or not select.select([self._replies], [], [], remaining / NS_PER_S)[0]:
                what = f"{self.name} has not answered in {self._stage!r} for so long that the case's time is over"
                raise Timeout(what, fix=f"raise `measure: {{timeout: ...}}` in the suite; {_THREADS}")
            chunk = os.read(self._replies, _CHUNK)
            if not chunk:
                raise self._crash()
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _crash(self) -> Crash:
        code = self._process.wait()
        stage = f"in {self._stage!r}"
        end = f"was ended {stage} by {signals.describe(-code)}" if code < 0 else f"ended with exit code {code} {stage}"
        memory = "the kernel's out-of-memory killer, most likely: fewer streams, or " if code == -signal.SIGKILL else ""
        return Crash(f"{self.name} {end}", fix=f"{memory}{_THREADS}; --verbose shows what it wrote")


def _error(name: str, failed: jobs.Failed) -> CaseError:
    """The error of this process that one of another stands for: of the same class, where it is one of a case."""
    sys.stderr.write(failed.trace)
    what, fix = f"{name} failed in {failed.stage!r}: {failed.message}", failed.hint or _THREADS
    kind = _CASE_ERRORS.get(failed.kind)
    if kind is not None:
        return kind(what, where=failed.where, fix=fix)
    return ProcessFailed(what, kind=failed.kind, where=failed.where, fix=fix)
