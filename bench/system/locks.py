"""One run at a time on a device: an advisory lock that the kernel releases when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path


def lock_path(device: str) -> Path:
    """Where the lock file of ``device`` lies: one per machine and device, shared by all users."""
    return Path(tempfile.gettempdir()) / f"trtbench-{device.replace(':', '')}.lock"


@contextlib.contextmanager
def hold(path: Path, who: str, on_wait: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock for the block; if another process has it, call ``on_wait`` with its name, then queue."""
    fd = _open(path)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait(os.pread(fd, 200, 0).decode(errors="replace").strip() or "another process")
            fcntl.flock(fd, fcntl.LOCK_EX)
        with contextlib.suppress(OSError):  # the name is a courtesy; a lock owned by another user may refuse it
            os.ftruncate(fd, 0)
            os.pwrite(fd, who.encode(), 0)
        yield
    finally:
        os.close(fd)


def _open(path: Path) -> int:
    """Open for locking; another user's file can be locked without being written."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except PermissionError:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    with contextlib.suppress(PermissionError):
        os.fchmod(fd, 0o666)  # the umask must not lock other users out
    return fd
