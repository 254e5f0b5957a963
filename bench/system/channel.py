"""The pipes between this process and a child: input that waits until it reads, its replies by line, its log's tail."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable

_CHUNK = 1 << 16


class Channel:
    """The pipes of a child: what is sent to it waits until it reads; whole lines of replies go to ``on_line``, of one
    longer than ``line_limit`` bytes a part that is longer; of the log the last ``log_tail`` bytes are kept.
    """

    def __init__(self, stdin: int, reply: int, log: int, *, line_limit: int, log_tail: int) -> None:
        self._line_limit, self._log_tail = line_limit, log_tail
        self.stdin = stdin
        self.readable: tuple[int, ...] = (reply, log)
        self.unsent = bytearray()
        self.on_line: Callable[[bytes], None] = lambda line: None
        self._last = False
        self._reply = reply
        self._partial_line = bytearray()
        self._tail: deque[bytes] = deque(maxlen=64)
        for fd in (stdin, *self.readable):
            os.set_blocking(fd, False)

    @property
    def log(self) -> str:
        """The end of what it wrote to stdout and stderr."""
        return b"".join(self._tail)[-self._log_tail :].decode(errors="replace")

    def send(self, data: bytes, *, last: bool) -> None:
        """Write what the pipe takes now; the rest is written by ``advance``."""
        self.unsent += data
        self._last = last
        self._write()

    def advance(self, fd: int) -> bool:
        """Read or write once; False when there is nothing more to do there."""
        return self._write() if fd == self.stdin else self._read(fd) is not False

    def drain(self) -> None:
        """Read what is there."""
        for fd in self.readable:
            budget = 4096  # chunks; what cannot be killed may write for ever
            while budget and self._read(fd):
                budget -= 1

    def close(self) -> None:
        """Close what is open."""
        fds, self.readable = self.readable, ()
        for fd in (*fds, self.stdin):
            if fd >= 0:
                os.close(fd)
        self.stdin = -1

    def _write(self) -> bool:
        if self.stdin < 0:
            return False
        try:
            while self.unsent:
                del self.unsent[: os.write(self.stdin, self.unsent[:_CHUNK])]
        except BlockingIOError:
            return True
        except BrokenPipeError:
            self.unsent.clear()  # the exit code of a child that died at once says why
        if self._last:
            os.close(self.stdin)
            self.stdin = -1
        return False

    def _read(self, fd: int) -> bool | None:
        """Read once; False at the end, None when there is nothing now."""
        try:
            chunk = os.read(fd, _CHUNK)
        except BlockingIOError:
            return None
        if fd != self._reply:
            self._tail.append(chunk)
            return bool(chunk)
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            self.on_line(bytes(self._partial_line + line))
            self._partial_line.clear()
        self._partial_line += rest
        if len(self._partial_line) > self._line_limit:
            self.on_line(bytes(self._partial_line))
            self._partial_line.clear()
        return bool(chunk)


class Descriptors:
    """Open file descriptors, closed together, once."""

    def __init__(self) -> None:
        self.fds: list[int] = []

    def close(self) -> None:
        """Close what is open."""
        while self.fds:
            os.close(self.fds.pop())


def pipe(theirs: Descriptors, ours: Descriptors, reads: bool) -> int:
    """A pipe that this process ``reads`` or writes: its own end; both are noted with whose they are."""
    r, w = os.pipe()
    own, other = (r, w) if reads else (w, r)
    ours.fds.append(own)
    theirs.fds.append(other)
    return own
