"""Commands of trtbench, one after the other or beside each other, on a device that is lent for a limited time."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

# A command that is interrupted stores what it has; after this many seconds it is killed.
_GRACE = 15
_REPOSITORY = Path(__file__).resolve().parents[2]
# What plain progress writes when a case's reference is made and the making of its own artifacts begins.
_MAKING = (b"export", b"build", b"compile")


class Step(NamedTuple):
    """A command that has ended: its name, the seconds that it took, and how it ended."""

    name: str
    seconds: float
    end: str


class Sitting:
    """Steps within ``budget`` seconds, each with its own limit: one whose time is over is ended, the rest goes on."""

    def __init__(self, budget: float) -> None:
        self.place: Path | None = None  # where commands run; by default here
        self._deadline = time.monotonic() + budget
        self.steps: list[Step] = []

    def run(self, name: str, *words: object, limit: float, out: Path | None = None) -> bool:
        """One command, whose output goes to ``out``; whether it ended well, or with failed cases as rows."""
        with contextlib.ExitStack() as stack:
            target = stack.enter_context(out.open("w")) if out else None
            command = self._start(words, stdout=target)
            return self._end(name, command, time.monotonic(), limit)

    @contextlib.contextmanager
    def beside(self, name: str, *words: object, limit: float, log: Path) -> Iterator[None]:
        """A command that goes on while the block runs, which begins when the references of its first case are made;
        with the block it has to end. It has a folder for temporary files of its own, so that it holds its own lock of
        the device: the block may use the CPU alone.
        """
        with tempfile.TemporaryDirectory() as folder, log.open("wb") as target:
            began = time.monotonic()
            command = self._start(words, env={"TMPDIR": folder}, stdout=target, stderr=subprocess.PIPE)
            assert command.stderr is not None
            making = threading.Event()
            reader = threading.Thread(target=_copy, args=(command.stderr, target, making))
            reader.start()
            try:
                making.wait(self._left(limit, began))
                yield
            finally:
                self._end(name, command, began, limit)
                reader.join()
        print(log.read_text(errors="replace"), flush=True)

    def table(self) -> str:
        """A line for each step."""
        width = max((len(step.name) for step in self.steps), default=0)
        return "\n".join(f"{step.name:{width}}  {step.seconds:6.0f} s  {step.end}" for step in self.steps)

    def _start(
        self,
        words: Sequence[object],
        *,
        env: dict[str, str] | None = None,
        stdout: IO[str] | IO[bytes] | None = None,
        stderr: int | None = None,
    ) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "bench", *map(str, words)]
        print("$", shlex.join(command[2:]), flush=True)
        env = {**os.environ, "PYTHONPATH": str(_REPOSITORY), **(env or {})}
        return subprocess.Popen(command, cwd=self.place, env=env, stdout=stdout, stderr=stderr, start_new_session=True)

    def _left(self, limit: float, began: float) -> float:
        now = time.monotonic()
        return max(0.0, min(began + limit, self._deadline) - now)

    def _end(self, name: str, command: subprocess.Popen[bytes], began: float, limit: float) -> bool:
        """Wait for a command, or end it when its time is over."""
        try:
            code: int | None = command.wait(self._left(limit, began))
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _stop(command)
        end = {0: "ended", 1: "ended, some cases failed", None: "its time was over"}.get(code, f"exit code {code}")
        self.steps.append(Step(name, time.monotonic() - began, end))
        print(f"  {name}: {end} after {self.steps[-1].seconds:.0f} s", flush=True)
        return code in (0, 1)


def _stop(command: subprocess.Popen[bytes]) -> None:
    """End a command that has not ended: by a signal that it takes for an interrupt, else for good."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if command.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(command.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                command.wait(_GRACE)


def _copy(source: IO[bytes], target: IO[bytes], making: threading.Event) -> None:
    """Copy what a command writes, and say when it begins to make the artifacts of a case."""
    text = b""
    with source:
        while chunk := os.read(source.fileno(), 1 << 12):
            target.write(chunk)
            target.flush()
            text = (text + chunk)[-(1 << 13) :]
            if any(word in text.rpartition(b"...")[2] for word in _MAKING):
                making.set()
    making.set()
