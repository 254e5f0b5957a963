"""A process that forks workers from itself on request, and the side that asks: a worker without a start of its own.

A request comes on a socket: the ends of the pipes that a ``process.Child`` gives to its child and its keeper, and
further descriptors for the child, with the numbers that they have there. The template forks a keeper, and that the
worker; so both stand below the keeper of the template, and end with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.system import keeper, process

_REQUEST = 4096
_MOST_DESCRIPTORS = 64
# The highest of the numbers from which a process that is made by forking has its own descriptors: the kernel copies a
# table as long as the largest at each fork.
_HIGHEST_FIRST_OWN = 4096
_ANSWER_LIMIT_S = 60
_MIDDLING = 500  # the template's OOM score: the kernel ends a worker, which has 1000, before it


class Worker(NamedTuple):
    """Of a forked worker: the process id of its keeper, and the descriptor of its reply pipe."""

    keeper: int
    reply: int


class Template:
    """A process that serves requests on the other end of ``requests``; both are closed with this object."""

    def __init__(self, child: process.Child, requests: socket.socket) -> None:
        self._child = child
        self._requests = requests
        self._requests.settimeout(_ANSWER_LIMIT_S)
        self._lock = threading.Lock()

    def fork(self, keep: Sequence[int] = ()) -> process.Child:
        """A worker with the descriptors ``keep``, which can be asked for by several threads. OSError if it cannot be
        forked, or the template has other files under these numbers; ConnectionError if the template is lost.
        """
        return process.Child.forked(lambda pipes: self._ask(pipes, keep), "template")

    def close(self) -> None:
        """End it with all that it has forked; a second time does nothing."""
        with self._lock:
            self._requests.close()
            self._child.close()

    def _ask(self, pipes: process.Pipes, keep: Sequence[int]) -> process.Keeper:
        with self._lock:
            try:
                socket.send_fds(self._requests, [json.dumps([*keep]).encode()], [*pipes, *keep])
                data, fds, _, _ = socket.recv_fds(self._requests, keeper.NUMBER, 1, socket.MSG_CMSG_CLOEXEC)
            except OSError as error:
                self._requests.close()  # a late answer would be taken for that to another request
                raise ConnectionAbortedError(error.errno, error.strerror or str(error), "template") from error
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, "the template has ended", "template")
        if not fds:
            number = -int.from_bytes(data, "little", signed=True)
            raise OSError(number, os.strerror(number), "template")
        return _ForkedKeeper(fds[0])


class _ForkedKeeper:
    """The keeper of a worker, a child of the template, by its pidfd."""

    def __init__(self, pidfd: int) -> None:
        self.returncode: int | None = None
        self._pidfd = pidfd

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Its exit code is the template's to know: 0."""
        if self.returncode is None:
            poll = select.poll()
            poll.register(self._pidfd, select.POLLIN)
            if not poll.poll(None if timeout is None else timeout * 1000):
                raise subprocess.TimeoutExpired("keeper", timeout or 0.0)
            os.close(self._pidfd)
            self.returncode = 0
        return self.returncode

    def kill(self) -> None:
        """End it."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)


# ----------------------------------------------------------------------------------------------------- in the template


def serve(control: int, private: Sequence[int]) -> Worker:
    """Fork a worker for each request that comes on the socket ``control``; ends when that is closed.

    Returns in the workers only: with stdin, stdout and stderr of the request, signals at their defaults, and without
    the descriptors ``private``. ``sys.argv`` ends with the number of the reply pipe, as that of one that was started.
    """
    requests = socket.socket(fileno=_above(control))
    score = _oom_score(os.getppid())
    _set_oom_score(_MIDDLING)
    keepers: dict[int, int] = {}  # process ids by pidfd
    while True:
        _wait(requests, keepers)
        data, descriptors, _, _ = socket.recv_fds(requests, _REQUEST, _MOST_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
        if not data:
            os._exit(0)
        ctypes.CDLL(None).fflush(None)  # or each worker would write what a library has left there
        own = os.getpid()
        try:
            pid = fork()
        except OSError as error:
            _close(descriptors)
            requests.send(_number(-(error.errno or 1)))
            continue
        if not pid:
            _close([requests.detach(), *keepers, *private])
            return _keep(own, json.loads(data), descriptors, score)
        _close(descriptors)
        pidfd = _above(os.pidfd_open(pid))
        keepers[pidfd] = pid
        with contextlib.suppress(OSError):  # who asked is gone; the next turn ends this process
            socket.send_fds(requests, [_number(0)], [pidfd])


def _wait(requests: socket.socket, keepers: dict[int, int]) -> None:
    """Until there is a request; keepers that have ended meanwhile are removed."""
    poll = select.poll()
    for fd in (requests.fileno(), *keepers):
        poll.register(fd, select.POLLIN)
    while True:
        ready = [fd for fd, _ in poll.poll()]
        for pidfd in keepers.keys() & set(ready):
            poll.unregister(pidfd)
            os.waitpid(keepers.pop(pidfd), 0)
            os.close(pidfd)
        if requests.fileno() in ready:
            return


def _keep(parent: int, numbers: list[int], descriptors: list[int], score: int) -> Worker:
    """Be the keeper of a worker that has ``descriptors`` under ``numbers``, and end with it. Returns in the worker."""
    try:
        worker = _start_worker(parent, numbers, [_above(fd) for fd in descriptors], score)
    except BaseException:  # noqa: BLE001 - whatever it is, this process must not go on as the template
        traceback.print_exc()
        os._exit(1)
    if worker is None:
        os._exit(0)
    return worker


def _start_worker(parent: int, numbers: list[int], descriptors: list[int], score: int) -> Worker | None:
    """Fork the worker and keep it. None at its end; in the worker what it has to know."""
    os.setsid()
    pipes = process.Pipes(*descriptors[:5])
    _set_oom_score(score)
    own = os.getpid()
    try:
        _place(dict(zip(numbers, descriptors[5:], strict=True)))
        signals = keeper.adopt(parent)
        worker = fork()
    except OSError as error:
        keeper.tell(pipes.ends, -(error.errno or 1))
        return None
    if worker:
        keeper.keep(worker, pipes.life, pipes.ends, signals, [*pipes[:3], *numbers])
        return None
    _close([*signals, pipes.life, pipes.ends])
    _become_worker(pipes)
    return Worker(own, pipes.reply)


def _place(descriptors: dict[int, int]) -> None:
    """Give each of ``descriptors`` the number that it is to have. OSError if another file has it."""
    if any(_is_open(number) for number in descriptors):
        raise OSError(errno.EBUSY, "descriptor in use")
    for number, fd in descriptors.items():
        os.dup2(fd, number)
    _close([*descriptors.values()])


def _become_worker(pipes: process.Pipes) -> None:
    """Take the place of one that was started: with a session, signals, and standard streams of its own."""
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    os.dup2(pipes.stdin, 0)
    os.dup2(pipes.log, 1)
    os.dup2(pipes.log, 2)
    _close([pipes.stdin, pipes.log])
    # What the template's has read ahead, or the end that it has seen, is none of the worker's.
    sys.stdin = open(0, encoding=sys.stdin.encoding, errors=sys.stdin.errors, closefd=False)  # noqa: SIM115
    sys.argv[-1] = str(pipes.reply)


def fork() -> int:
    """``os.fork`` without its warning of threads, for who has looked at them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def first_own() -> int:
    """The number from which a process that is made by forking has its own descriptors. Those below are for workers,
    which have the numbers of the process that asks: three quarters of as many as it may have.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:  # -1
        return _HIGHEST_FIRST_OWN
    return min(limit * 3 // 4, _HIGHEST_FIRST_OWN)


def _above(fd: int) -> int:
    """``fd`` under a number that no worker needs."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, first_own())
    os.close(fd)
    return moved


def _is_open(fd: int) -> bool:
    try:
        fcntl.fcntl(fd, fcntl.F_GETFD)
    except OSError:
        return False
    return True


def _close(descriptors: Sequence[int]) -> None:
    for fd in descriptors:
        os.close(fd)


def _number(value: int) -> bytes:
    return value.to_bytes(keeper.NUMBER, "little", signed=True)


def _oom_score(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/oom_score_adj").read_text())
    except (OSError, ValueError):
        return 0


def _set_oom_score(score: int) -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(score))
