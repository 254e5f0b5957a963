"""One run at a time on a device: an advisory lock that the kernel releases when its holder dies."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.errors import UsageError

_NAME = 200  # bytes of a lock file, which hold its holder's name


def lock_path(device: str) -> Path:
    """Where the lock file of ``device`` lies: one for all processes of a user, in a folder of the user's own."""
    return Path(tempfile.gettempdir()) / f"trtbench-{os.geteuid()}" / f"{device.replace(':', '')}.lock"


@contextlib.contextmanager
def hold(path: Path, who: str, on_wait: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock for the block; if another process has it, call ``on_wait`` with its name, then queue.

    UsageError if the lock, or its folder, is another user's or no plain file: in a folder where all may write, anybody
    can put something in its place.
    """
    try:
        fd = _open(path)
    except OSError as error:
        what = f"the lock of the device cannot be used: {error.strerror}"
        raise UsageError(
            what, where=str(error.filename or path), fix="remove it, or choose a folder: TMPDIR=DIR"
        ) from error
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait(os.pread(fd, _NAME, 0).decode(errors="replace").strip() or "another process")
            fcntl.flock(fd, fcntl.LOCK_EX)
        os.pwrite(fd, who.encode(errors="replace")[: _NAME - 1].ljust(_NAME - 1) + b"\n", 0)
        yield
    finally:
        os.close(fd)


def _open(path: Path) -> int:
    """The lock file, created if necessary in a folder that nobody else may write to."""
    with contextlib.suppress(FileExistsError):
        path.parent.mkdir(mode=0o700)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _check(os.fstat(folder), path.parent, 0o022)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        fd = os.open(path.name, flags, 0o600, dir_fd=folder)
    finally:
        os.close(folder)
    try:
        about = os.fstat(fd)
        _check(about, path, 0)
        if not stat.S_ISREG(about.st_mode) or about.st_nlink != 1:
            raise _refusal(path)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _check(about: os.stat_result, path: Path, forbidden: int) -> None:
    if about.st_uid != os.geteuid() or about.st_mode & forbidden:
        raise _refusal(path)


def _refusal(path: Path) -> PermissionError:
    return PermissionError(errno.EPERM, "it is not this user's alone", str(path))
