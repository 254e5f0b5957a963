"""What a worker tells while it does its job: replies on a pipe of its own, and the phases that it is in."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import BinaryIO

import msgspec

from bench.measure import nvtx
from bench.measure.clock import HostClock
from bench.model.run import Phase
from bench.runner import jobs

SATURATE = "saturate"
TIMED = ("measure", SATURATE, "unprofiled", "profile")


class Wire:
    """The reply pipe; only the process that opened it may write, so that a forked copy of the model stays silent.

    ``ticket`` is that of the job, which every reply repeats; ``fd`` is the pipe.
    """

    def __init__(self, fd: int) -> None:
        os.set_inheritable(fd, False)
        self.ticket = ""
        self.fd = fd
        self._pipe = os.fstat(fd)
        self._owner = os.getpid()

    def send(self, reply: jobs.Reply) -> None:
        """Write one line. A forked process that gets here ends, and so does one whose pipe the model has closed: what
        has its number now may be a file of the user's.
        """
        if os.getpid() != self._owner:
            os._exit(0)
        line = jobs.encode(msgspec.structs.replace(reply, ticket=self.ticket)) + b"\n"
        try:
            if not os.path.samestat(self._pipe, os.fstat(self.fd)):
                os._exit(jobs.PIPE_GONE)
            while line:
                line = line[os.write(self.fd, line) :]
        except OSError:
            os._exit(jobs.PIPE_GONE)


class PhaseLog:
    """The phases of one job: timed on the host, shown as NVTX ranges, told to the parent as they begin."""

    def __init__(self, wire: Wire) -> None:
        self.phases: list[Phase] = []
        self.current = "start"
        self.turns: BinaryIO | None = None  # a line gives this process its turn
        self._wire = wire
        self._clock = HostClock()
        self._paused_ns = 0

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time the block as phase ``name``; it is kept when the block raises, so that a failure shows where."""
        before, self.current = self.current, name
        self._wire.send(jobs.Doing(phase=name, timed=name in TIMED))
        start, paused = self._clock.now(), self._paused_ns
        with nvtx.range_(name):
            yield
        self.phases.append(Phase(name=name, ns=self._clock.now() - start - (self._paused_ns - paused)))
        self.current = before
        if name == SATURATE:  # the parent reads the energy counter at its end
            self._wire.send(jobs.Doing(phase="saturated"))

    def wait(self) -> None:
        """Wait for the turn, which is no part of the phase's time. A process that gets none any more ends."""
        assert self.turns is not None
        start = self._clock.now()
        self._wire.send(jobs.Paused())
        if not self.turns.readline():
            os._exit(0)
        self._paused_ns += self._clock.now() - start

    def tell(self, text: str) -> None:
        """Show how far the phase has come; with an empty ``text`` the phase alone."""
        phase = f"{self.current}: {text}" if text else self.current
        self._wire.send(jobs.Doing(phase=phase, timed=self.current in TIMED))

    def tell_layers(self, layers: Mapping[str, int], current: str) -> None:
        """Leave with the parent what layers of a build have taken, which has no other trace if it ends now."""
        self._wire.send(jobs.LayersTimed(layers=dict(layers), current=current))
