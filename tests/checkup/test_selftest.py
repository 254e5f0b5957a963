"""The self-test of the GPU's clock has the device for itself."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import subprocess
import sys
from collections.abc import Container, Iterator
from pathlib import Path

import pytest

from bench.checkup import selftest
from bench.errors import CaseError
from bench.measure.gate import create_gate
from bench.measure.selftest import readings
from bench.model import events
from bench.model.checkup import Reading
from bench.model.run import Environment
from bench.model.suite import Policy
from bench.report import progress
from bench.runner import jobs
from bench.runner.watch import Watch
from bench.system import locks
from tests.measure.simulated_api import SimulatedDriver
from tests.system.test_locks import HOLDER

READ = jobs.Read(readings=(Reading(name="floor", what="a call that does nothing", measured=1.0),))


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The device's lock in a folder of its own; the device is simulated and nsys is not there."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    here = Environment(kind="cuda", arch="sm_90", device="simulated", slug="simulated")
    monkeypatch.setattr(selftest.environment, "describe", lambda device: here)
    monkeypatch.setattr(selftest, "open_watch", lambda kind: contextlib.nullcontext(Watch()))
    return locks.lock_path("cuda:0")


def is_held(lock: Path) -> bool:
    lock.parent.mkdir(mode=0o700, exist_ok=True)
    fd = os.open(lock, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[SimulatedDriver]]:
    """A GPU that the self-test takes for the driver's; ``lets_go`` says at which holds the parent opens the gate."""
    gate = create_gate()

    class Driver(SimulatedDriver):
        lets_go: Container[int] = ()

        def __init__(self) -> None:
            super().__init__(gate)
            self.holds = 0
            self._rate = 1e-6  # ns a byte: it is polled for as long as the copy of 256 MiB takes

        def wait_value(self, stream: int, address: int, value: int) -> None:
            super().wait_value(stream, address, value)
            self.holds += 1
            if self.holds in self.lets_go:
                self.parent.trip()

        def can_hold(self) -> str:
            return ""

    monkeypatch.setattr(readings.cuda, "CudaDriver", Driver)
    quick = Policy(warmup_ns=0, warmup_calls=1, warmup_limit_ns=1_000_000, max_samples=5, min_samples=5)
    monkeypatch.setattr(readings, "POLICY", quick)
    yield Driver
    gate.close()


def test_a_hold_that_breaks_once_does_not_end_the_readings(simulated: type[SimulatedDriver]) -> None:
    simulated.lets_go = {3}
    names = [reading.name for reading in readings.readings(os.dup(simulated().gate.fd), 0, print)]
    assert names == ["floor", "copy", "floor", *["spin"] * len(readings.LENGTHS_NS)]


def test_holds_that_break_again_and_again_end_it_with_what_to_do(simulated: type[SimulatedDriver]) -> None:
    simulated.lets_go = range(1, 100)
    with pytest.raises(CaseError, match=r"released twice in a row.*\n? *fix: end other programs that keep the host"):
        readings.readings(os.dup(simulated().gate.fd), 0, print)


def test_the_device_is_locked_while_workers_and_the_profiler_use_it(
    lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    during: list[tuple[str, bool]] = []

    def ask(self: object, interpreter: object, job: jobs.Selftest, label: str, watch: Watch) -> jobs.Read:
        during.append((job.device, is_held(lock)))
        return READ

    def tell(event: events.Event) -> None:
        if isinstance(event, events.Started):
            during.append((event.label, is_held(lock)))

    monkeypatch.setattr(selftest.Dispatcher, "run", ask)
    here, found = selftest.run(1, 0, tell)
    assert (here.device, found) == ("simulated", READ.readings)
    assert during == [("process 1 of 1", True), ("cuda:0", True), ("graph replays under nsys", True)]
    assert not is_held(lock)


def test_a_log_says_how_far_it_has_come(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = jobs.Read(readings=tuple(Reading(name=name, what=name, measured=1.0) for name in ("copy", "spin")))
    monkeypatch.setattr(selftest.Dispatcher, "run", lambda *_: read)
    stream = io.StringIO()
    with progress.Plain(stream) as view:
        selftest.run(2, 0, view)
    assert stream.getvalue().splitlines()[:3] == [
        "[1/3] process 1 of 2 ...",
        "[2/3] process 2 of 2 ...",
        "[3/3] graph replays under nsys ...",
    ]


def test_a_device_that_a_run_holds_is_waited_for_and_the_run_is_named(
    lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selftest.Dispatcher, "run", lambda *_: READ)
    command = [sys.executable, "-c", HOLDER, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == "held\n"
        waited: list[events.Waiting] = []

        def tell(event: events.Event) -> None:
            if isinstance(event, events.Waiting):
                waited.append(event)
                child.stdin.close()  # the holder ends only once we wait

        selftest.run(1, 0, tell)
    assert waited == [events.Waiting(device="cuda:0", holder="run-1")]
