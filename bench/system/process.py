"""One child process: job in on stdin, messages out on a pipe of its own, a time limit, and nothing left behind."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, NamedTuple, Protocol

from bench.model.data import Data
from bench.system import keeper
from bench.system.channel import Channel, Descriptors, pipe
from bench.units import NS_PER_S

LOG_TAIL = 8192
# Bytes of one reply. A record has some ten kilobytes, what is counted of 10,000 cases a few megabytes.
LINE_LIMIT = 1 << 24
_LONGEST_SLEEP_NS = NS_PER_S  # a signal that comes to another thread does not wake the one which handles it
_KEEPER_LIMIT_S = 30


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
    stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Start ``command``, give it ``job`` and wait for its end: a ``Child`` from start to finish."""
    with contextlib.closing(Child(command, env)) as child:
        return child.finish(job, limit_ns, on_line, stop=stop)


class Pipes(NamedTuple):
    """The ends of its pipes that a child has (``stdin``, ``reply``, and ``log``, which is its stdout and stderr), and
    those that its keeper has: ``life`` is closed when the child is to end, ``ends`` takes what became of it.
    """

    stdin: int
    reply: int
    log: int
    life: int
    ends: int


class Keeper(Protocol):
    """The process between this one and a child, as a ``subprocess.Popen``."""

    returncode: int | Any

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. subprocess.TimeoutExpired after ``timeout`` seconds."""
        ...

    def kill(self) -> None:
        """End it, and leave what it keeps."""
        ...


class Child:
    """A started child, below a keeper (``bench.system.keeper``) that ends all processes which it leaves behind.

    The number of its reply pipe is appended to ``command``; ``keep`` are file descriptors that it inherits. Each line
    that it writes to the reply pipe is passed to a function, of one that is longer than ``LINE_LIMIT`` a part that is
    longer; of stdout and stderr the tail is kept. OSError if it cannot be started.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str], *, keep: Sequence[int] = ()) -> None:
        def start(pipes: Pipes) -> Keeper:
            words = [sys.executable, "-I", "-S", keeper.__file__, str(pipes.life), str(pipes.ends)]
            passed = (pipes.reply, *keep)
            return subprocess.Popen(
                [*words, ",".join(map(str, passed)), *command, str(pipes.reply)],
                stdin=pipes.stdin,
                stdout=pipes.log,
                stderr=pipes.log,
                pass_fds=[pipes.life, pipes.ends, *passed],
                start_new_session=True,
            )

        self._start(start, command[0], env)

    @classmethod
    def forked(cls, start: Callable[[Pipes], Keeper], program: str) -> Child:
        """A child whose keeper ``start`` has another process fork, given the ends of the pipes that are the child's;
        ``program`` is its name in errors.
        """
        child = cls.__new__(cls)
        child._start(start, program, None)
        return child

    def _start(self, start: Callable[[Pipes], Keeper], program: str, env: Mapping[str, str] | None) -> None:
        theirs, ours = Descriptors(), Descriptors()
        try:
            stdin, reply, log, life, ends = (pipe(theirs, ours, reads) for reads in (False, True, True, False, True))
            self._keeper = start(Pipes(*theirs.fds))
            theirs.close()
            try:
                if env is not None:
                    _send_environment(life, env)
                self._pid = _started(ends, program)
            except BaseException:
                ours.close()  # which ends the keeper
                self._keeper.wait()
                raise
        except BaseException:
            theirs.close()
            ours.close()
            raise
        self._life, self._ends = life, ends
        self._code: int | None = None
        self._channel = Channel(stdin, reply, log, line_limit=LINE_LIMIT, log_tail=LOG_TAIL)

    @property
    def log(self) -> str:
        """The end of what it has written to stdout and stderr."""
        return self._channel.log

    def say(self, line: bytes) -> None:
        """Send it one line; more can follow. What its pipe does not take now it gets while it is heard."""
        self._channel.send(line + b"\n", last=False)

    def hear(
        self,
        limit_ns: int,
        on_line: Callable[[bytes], None],
        enough: Callable[[], bool],
        *,
        tick: Callable[[int], None] | None = None,
    ) -> bool:
        """Wait until ``enough``; False if it ends or the limit passes first. ``tick`` is that of ``finish``."""
        self._channel.on_line = on_line
        late = self._watch(limit_ns, tick, NS_PER_S // 2 if tick else limit_ns, enough)
        return enough() and not late and self.alive

    def finish(
        self,
        job: bytes,
        limit_ns: int,
        on_line: Callable[[bytes], None],
        *,
        tick: Callable[[int], None] | None = None,
        tick_ns: int = NS_PER_S // 2,
        stop: Callable[[], bool] = lambda: False,
    ) -> Outcome:
        """Send the last input and wait for its end, asleep unless it writes; it is ended when ``stop`` becomes true.

        ``tick`` is called with its process id at once and every ``tick_ns``.
        """
        self._channel.on_line = on_line
        try:
            self._channel.send(job, last=True)
            timed_out = self._watch(limit_ns, tick, tick_ns, stop)
        finally:
            self._end()
        assert self._code is not None
        return Outcome(code=self._code, timed_out=timed_out, log=self._channel.log)

    def run_on(self, cores: Set[int]) -> None:
        """Let its main thread run on these cores alone, by the numbers of Linux; nothing if it has ended.

        Threads that it starts meanwhile are held to them too. OSError for cores that this machine does not lend.
        """
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(self._pid, cores)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._code is None and not select.select([self._ends], [], [], 0)[0]

    def close(self) -> None:
        """End it, however far it is, and close the pipes; a second time does nothing."""
        self._end()
        self._channel.close()

    def _watch(
        self, limit_ns: int, tick: Callable[[int], None] | None, tick_ns: int, enough: Callable[[], bool]
    ) -> bool:
        """Wait for ``enough``, or the end of the child and all it started; True if the limit passed first."""
        deadline = time.monotonic_ns() + limit_ns
        if enough():
            return False
        with selectors.DefaultSelector() as selector:
            for fd in (*self._channel.readable, self._ends):
                selector.register(fd, selectors.EVENT_READ)
            if self._channel.unsent:
                selector.register(self._channel.stdin, selectors.EVENT_WRITE)
            alive, due = True, time.monotonic_ns()
            while alive:
                now = time.monotonic_ns()
                if now >= deadline:
                    return True
                if tick is not None and now >= due:
                    tick(self._pid)
                    due = now + tick_ns
                remaining = min(deadline, due if tick is not None else deadline) - now
                ready = [key.fd for key, _ in selector.select(min(max(remaining, 0), _LONGEST_SLEEP_NS) / NS_PER_S)]
                for fd in ready:
                    if fd == self._ends:
                        alive = False
                    elif not self._channel.advance(fd):
                        selector.unregister(fd)
                if enough():
                    return False
        self._channel.drain()
        return False

    def _end(self) -> None:
        """End the keeper, and with it everything below it."""
        if self._code is not None:
            return
        life, self._life = self._life, -1
        if life >= 0:  # else an interrupt came while this waited before
            os.close(life)
        try:
            self._keeper.wait(_KEEPER_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._keeper.kill()
            self._keeper.wait()
        status = _read_number(self._ends)
        os.close(self._ends)
        if status is None:  # the keeper was killed, by what it keeps or a stranger: what is in reach is ended
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)
            self._code = self._keeper.returncode or -signal.SIGKILL
        else:
            self._code = os.waitstatus_to_exitcode(status)


def _send_environment(fd: int, env: Mapping[str, str]) -> None:
    data = b"\0".join(os.fsencode(name) + b"=" + os.fsencode(value) for name, value in env.items())
    data = len(data).to_bytes(keeper.NUMBER, "little") + data
    with contextlib.suppress(BrokenPipeError):  # what follows says why
        while data:
            data = data[os.write(fd, data) :]


def _started(ends: int, program: str) -> int:
    """The process id that the keeper tells. OSError if it could not start the program."""
    number = _read_number(ends)
    if number is None:
        raise OSError(errno.ECHILD, "its keeper ended at once", program)
    if number < 0:
        raise OSError(-number, os.strerror(-number), program)
    return number


def _read_number(fd: int) -> int | None:
    """What the keeper tells next; None if it tells no more."""
    data = os.read(fd, keeper.NUMBER)
    return int.from_bytes(data, "little", signed=True) if data else None
