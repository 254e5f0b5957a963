"""One child process: job in on stdin, messages out on a pipe of its own, a time limit, and nothing left behind."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import IO

from bench.model.data import Data
from bench.units import NS_PER_S

LOG_TAIL = 8192


class Outcome(Data, frozen=True, kw_only=True):
    """How a child ended: its exit code (negative: the signal), whether the limit was passed, the log's tail."""

    code: int
    timed_out: bool
    log: str


def run_child(
    command: Sequence[str],
    job: bytes,
    env: Mapping[str, str],
    limit_ns: int,
    on_line: Callable[[bytes], None],
) -> Outcome:
    """Start ``command``, give it ``job`` and wait for its end: a ``Child`` from start to finish."""
    with contextlib.closing(Child(command, env)) as child:
        return child.finish(job, limit_ns, on_line)


class Child:
    """A started child. It leads a process group, which ``close`` kills, so that nothing it forked lives on.

    The number of its reply pipe is appended to ``command``; ``keep`` are file descriptors that it inherits. Each line
    that it writes to the reply pipe is passed to a function; of stdout and stderr the tail is kept.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str], *, keep: Sequence[int] = ()) -> None:
        reply_r, reply_w = os.pipe()
        log_r, log_w = os.pipe()
        try:
            self._child = subprocess.Popen(
                [*command, str(reply_w)],
                stdin=subprocess.PIPE,
                stdout=log_w,
                stderr=log_w,
                pass_fds=[reply_w, *keep],
                env=dict(env),
                start_new_session=True,
            )
        except BaseException:
            for fd in (reply_r, log_r):
                os.close(fd)
            raise
        finally:
            os.close(reply_w)
            os.close(log_w)
        self._pipes = _Pipes(reply_r, log_r)

    def say(self, line: bytes) -> None:
        """Send it one line; more can follow."""
        _feed(self._child.stdin, line + b"\n", last=False)

    def hear(self, limit_ns: int, on_line: Callable[[bytes], None], enough: Callable[[], bool]) -> bool:
        """Wait until ``enough``; False if it ends or the limit passes first."""
        self._pipes.on_line = on_line
        late = _watch(self._child.pid, self._pipes, limit_ns, None, limit_ns, enough)
        return enough() and not late and self.alive

    def finish(
        self,
        job: bytes,
        limit_ns: int,
        on_line: Callable[[bytes], None],
        *,
        tick: Callable[[int], None] | None = None,
        tick_ns: int = NS_PER_S // 2,
    ) -> Outcome:
        """Send the last input and wait for its end, asleep unless it writes.

        ``tick`` is called with its process id at once and every ``tick_ns``.
        """
        self._pipes.on_line = on_line
        try:
            _feed(self._child.stdin, job, last=True)
            timed_out = _watch(self._child.pid, self._pipes, limit_ns, tick, tick_ns, lambda: False)
        finally:
            self._end()
        log = b"".join(self._pipes.tail)[-LOG_TAIL:].decode(errors="replace")
        return Outcome(code=self._child.returncode, timed_out=timed_out, log=log)

    @property
    def alive(self) -> bool:
        """Whether it still runs. It is not reaped: until ``close`` no other process can have its number."""
        if self._child.returncode is not None:
            return False
        return os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def close(self) -> None:
        """End it, however far it is, and close the pipes; a second time does nothing."""
        self._end()
        self._pipes.close()
        with contextlib.suppress(BrokenPipeError):
            assert self._child.stdin is not None
            self._child.stdin.close()

    def _end(self) -> None:
        if self._child.returncode is None:
            _kill_group(self._child.pid)
            self._child.wait()


class _Pipes:
    """The two pipes that a child writes to: whole lines of replies go to ``on_line``, of the log a tail is kept."""

    def __init__(self, reply: int, log: int) -> None:
        self.fds: tuple[int, ...] = (reply, log)
        self.tail: deque[bytes] = deque(maxlen=64)
        self.on_line: Callable[[bytes], None] = lambda line: None
        self._reply = reply
        self._partial_line = b""
        for fd in self.fds:
            os.set_blocking(fd, False)

    def drain(self, fd: int) -> bool:
        """Read once; False when there is nothing now or nothing ever again."""
        try:
            chunk = os.read(fd, 1 << 16)
        except BlockingIOError:
            return False
        if fd != self._reply:
            self.tail.append(chunk)
            return bool(chunk)
        *lines, self._partial_line = (self._partial_line + chunk).split(b"\n")
        for line in lines:
            self.on_line(line)
        return bool(chunk)

    def close(self) -> None:
        fds, self.fds = self.fds, ()
        for fd in fds:
            os.close(fd)


def _feed(stdin: IO[bytes] | None, line: bytes, *, last: bool) -> None:
    assert stdin is not None
    try:
        stdin.write(line)
        stdin.flush()
    except BrokenPipeError:
        return  # the exit code of a child that died at once says why
    finally:
        if last:
            with contextlib.suppress(BrokenPipeError):
                stdin.close()


def _watch(
    pid: int,
    pipes: _Pipes,
    limit_ns: int,
    tick: Callable[[int], None] | None,
    tick_ns: int,
    enough: Callable[[], bool],
) -> bool:
    """Wait for ``enough``, or the end of ``pid``, whatever its forks keep open; True if the limit passed first."""
    deadline = time.monotonic_ns() + limit_ns
    pidfd = os.pidfd_open(pid)
    try:
        with selectors.DefaultSelector() as selector:
            for fd in (*pipes.fds, pidfd):
                selector.register(fd, selectors.EVENT_READ)
            alive, due = True, time.monotonic_ns()
            while alive:
                now = time.monotonic_ns()
                if now >= deadline:
                    return True
                if tick is not None and now >= due:
                    tick(pid)
                    due = now + tick_ns
                remaining = min(deadline, due if tick is not None else deadline) - now
                ready = [key.fd for key, _ in selector.select(max(remaining, 0) / NS_PER_S)]
                for fd in ready:
                    if fd == pidfd:
                        alive = False
                    elif not pipes.drain(fd):
                        selector.unregister(fd)
                if enough():
                    return False
    finally:
        os.close(pidfd)
    for fd in pipes.fds:
        budget = 4096  # chunks; a surviving fork may write for ever
        while budget and pipes.drain(fd):
            budget -= 1
    return False


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
