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

from bench.model import Data
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
    *,
    keep: Sequence[int] = (),
    tick: Callable[[int], None] | None = None,
    tick_ns: int = NS_PER_S // 2,
) -> Outcome:
    """Run ``command`` with the reply pipe's number appended and wait for it, asleep unless the child writes.

    ``keep`` are file descriptors that the child inherits; ``tick`` is called with its process id
    at once and every ``tick_ns``.
    Each line that the child writes to its reply pipe is given to ``on_line``; stdout and stderr are kept as a tail.
    The child leads a process group of its own, which is killed at the end, so that nothing it forked lives on.
    """
    reply_r, reply_w = os.pipe()
    log_r, log_w = os.pipe()
    try:
        child = subprocess.Popen(
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
    pipes = _Pipes(reply_r, log_r, on_line)
    try:
        _feed(child.stdin, job)
        timed_out = _watch(child.pid, pipes, limit_ns, tick, tick_ns)
    finally:
        _kill_group(child.pid)
        child.wait()
        os.close(reply_r)
        os.close(log_r)
    log = b"".join(pipes.tail)[-LOG_TAIL:].decode(errors="replace")
    return Outcome(code=child.returncode, timed_out=timed_out, log=log)


class _Pipes:
    """The two pipes that a child writes to: whole lines of replies go to ``on_line``, of the log a tail is kept."""

    def __init__(self, reply: int, log: int, on_line: Callable[[bytes], None]) -> None:
        self.fds = (reply, log)
        self.tail: deque[bytes] = deque(maxlen=64)
        self._reply = reply
        self._rest = b""
        self._on_line = on_line
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
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._on_line(line)
        return bool(chunk)


def _feed(stdin: IO[bytes] | None, job: bytes) -> None:
    assert stdin is not None
    try:
        stdin.write(job)
        stdin.flush()
    except BrokenPipeError:
        return  # a child that died at once is told by its exit code
    finally:
        with contextlib.suppress(BrokenPipeError):
            stdin.close()


def _watch(pid: int, pipes: _Pipes, limit_ns: int, tick: Callable[[int], None] | None, tick_ns: int) -> bool:
    """Wait for the end of ``pid``, whatever its forks keep open; True if the limit passed first."""
    deadline = time.monotonic_ns() + limit_ns
    pidfd = os.pidfd_open(pid)
    try:
        with selectors.DefaultSelector() as selector:
            for fd in (*pipes.fds, pidfd):
                selector.register(fd, selectors.EVENT_READ)
            ended, due = False, time.monotonic_ns()
            while not ended:
                now = time.monotonic_ns()
                if now >= deadline:
                    return True
                if tick is not None and now >= due:
                    tick(pid)
                    due = now + tick_ns
                left = min(deadline, due if tick is not None else deadline) - now
                ready = [key.fd for key, _ in selector.select(max(left, 0) / NS_PER_S)]
                for fd in ready:
                    if fd == pidfd:
                        ended = True
                    elif not pipes.drain(fd):
                        selector.unregister(fd)
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
