"""A program between the runner and one worker: it adopts what the worker leaves behind, and ends it with the worker.

It is started as a file, by the interpreter of the runner, and imports the standard library only. As a *subreaper* it
becomes the parent of every process below the worker whose own parent has ended, also of those that have left the
worker's group (``setsid``, a double fork). It lives while the runner does: when that closes its pipe, or is killed, the
keeper ends everything below it, and then itself.

Arguments: descriptors of the pipe from the runner and of the one to it; those of the worker, with commas; its command.
From the runner comes the worker's environment: its size as 8 bytes, then ``NAME=value`` with zero bytes between. To the
runner go numbers of 8 bytes: the worker's process id (or a negative errno if it cannot be started), then, when nothing
of it is left, its wait status.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
from types import FrameType

NUMBER = 8
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_PATIENCE_S = 10  # for what cannot be killed: another user's, or stuck in the kernel


def main() -> None:
    """Start the worker, wait for its end or the runner's, and leave nothing behind."""
    runner, answers = int(sys.argv[1]), int(sys.argv[2])
    inherited = [int(number) for number in sys.argv[3].split(",")]
    command = sys.argv[4:]
    os.set_inheritable(runner, False)
    os.set_inheritable(answers, False)
    ended = adopt(os.getppid())
    environment = dict(pair.split(b"=", 1) for pair in _read_environment(runner))
    try:
        # With what Python ignores back to the default, and a group of its own, so that it cannot end its keeper by it.
        worker = os.posix_spawn(
            command[0], command, environment, setsid=True, setsigdef=(signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM)
        )
    except OSError as error:
        tell(answers, -(error.errno or 1))
        return
    keep(worker, runner, answers, ended, inherited)


def adopt(parent: int) -> tuple[int, int]:
    """Make this process the parent of all below it that lose theirs. A pipe: its first end can be read when the process
    is asked to end, or ``parent``, which started it, has ended.
    """
    # A handler that raised could do so amid the ending of what is below.
    ended, alarm = os.pipe()
    signal.signal(signal.SIGTERM, lambda _signal, _frame: tell(alarm, 0))

    def parent_has_ended(_signal: int, _frame: FrameType | None) -> None:
        # The kernel tells of the end of the thread that started this process; the others may run on.
        if os.getppid() != parent:
            tell(alarm, 0)

    signal.signal(signal.SIGUSR1, parent_has_ended)
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_CHILD_SUBREAPER, 1)
    prctl(_PR_SET_PDEATHSIG, signal.SIGUSR1)
    parent_has_ended(0, None)  # it may have before it could be told
    return ended, alarm


def keep(worker: int, runner: int, answers: int, ended: tuple[int, int], inherited: list[int]) -> None:
    """Wait for the end of the child ``worker``, which alone shall have the ``inherited`` descriptors, or for that of
    the runner; leave nothing behind.
    """
    _let_go(inherited)
    tell(answers, worker)
    _wait(runner, ended[0], worker)
    tell(answers, _end(worker))


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit


def _read_environment(fd: int) -> list[bytes]:
    size = int.from_bytes(_read(fd, NUMBER), "little")
    return [pair for pair in _read(fd, size).split(b"\0") if pair]


def _read(fd: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = os.read(fd, size - len(data))
        if not chunk:
            raise SystemExit
        data += chunk
    return data


def tell(fd: int, number: int) -> None:
    """Write one number for the runner."""
    with contextlib.suppress(OSError):  # the runner is gone
        os.write(fd, number.to_bytes(NUMBER, "little", signed=True))


def _let_go(descriptors: list[int]) -> None:
    """Close what is the worker's: it alone holds the other ends of its pipes."""
    for fd in descriptors:
        os.close(fd)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)


def _wait(runner: int, ended: int, worker: int) -> None:
    """Until the worker has ended, or the runner, which closes its pipe or has a signal sent."""
    ends = select.poll()
    ends.register(runner, select.POLLIN)
    ends.register(ended, select.POLLIN)
    ends.register(os.pidfd_open(worker), select.POLLIN)
    ends.poll()


def _end(worker: int) -> int:
    """Kill every process below this one; the worker's wait status."""
    _kill(-worker)  # its group, while its number cannot be another's
    status = 0
    signal.signal(signal.SIGALRM, _stop)
    signal.alarm(_PATIENCE_S)
    with contextlib.suppress(ChildProcessError, SystemExit):
        while True:
            pid, ended = os.waitpid(-1, os.WNOHANG)
            if not pid:
                # The children of one that is killed become ours before its end is reported.
                for child in _children():
                    _kill(child)
                pid, ended = os.waitpid(-1, 0)
            if pid == worker:
                status = ended
    signal.alarm(0)
    return status


def _kill(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)


def _children() -> list[int]:
    """The processes whose parent is this one."""
    own = os.getpid()
    children = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat", "rb") as file:
                if int(file.read().rpartition(b")")[2].split()[1]) == own:
                    children.append(int(name))
    return children


if __name__ == "__main__":
    main()
