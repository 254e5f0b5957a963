"""Temporary folders: removed when their block ends, or by the next process if theirs was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = "trtbench-"
_LOCK = ".held"  # `.lock` are those of devices


@contextlib.contextmanager
def folder(parent: Path | None = None, prefix: str = PREFIX) -> Iterator[Path]:
    """An empty folder in ``parent`` (default: the system's folder for temporary files), removed at the end.

    Beside it lies a lock file, which the kernel unlocks when its process dies; abandoned folders are removed first.
    OSError if no folder can be created.
    """
    parent = parent or Path(tempfile.gettempdir())
    sweep(parent, prefix)
    lock, fd = _create_lock(parent, prefix)
    path = _folder_of(lock)
    try:
        path.mkdir(mode=0o700)
        yield path
    finally:
        _remove(lock)
        os.close(fd)


def _create_lock(parent: Path, prefix: str) -> tuple[Path, int]:
    """A new lock file, locked. If a sweep removes it before it is locked, another is created."""
    while True:
        fd, name = tempfile.mkstemp(prefix=prefix, suffix=_LOCK, dir=parent)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if _is(fd, Path(name)):
                os.write(fd, _host())
                return Path(name), fd
        except OSError:  # a file system without locks: no sweep can know that this folder is abandoned
            return Path(name), fd
        os.close(fd)


def sweep(parent: Path, prefix: str) -> None:
    """Remove the folders of ``prefix`` in ``parent`` that killed processes of this user left on this host.

    The lock file contains the host's name, as a shared file system may not show one host the locks of another. The
    owner is checked because anybody can put a lock beside our folders where all may write.
    """
    try:
        locks = list(parent.glob(f"{prefix}*{_LOCK}"))
    except OSError:  # another process has removed the folder
        return
    for lock in locks:
        with contextlib.suppress(OSError):  # held, another user's, no file, or removed meanwhile
            fd = os.open(lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                host = os.pread(fd, 300, 0)
                # One that was killed before it wrote the name has no folder yet; if it lives, it creates another lock.
                is_abandoned = host == _host() or (not host and not _folder_of(lock).exists())
                if is_abandoned and os.fstat(fd).st_uid == os.geteuid() and _is(fd, lock):
                    _remove(lock)
            finally:
                os.close(fd)


def _host() -> bytes:
    return platform.node().encode()[:300]


def _is(fd: int, path: Path) -> bool:
    """Whether ``path`` still is the open file."""
    try:
        return os.path.samestat(os.fstat(fd), path.lstat())
    except FileNotFoundError:
        return False


def _folder_of(lock: Path) -> Path:
    return lock.with_name(lock.name.removesuffix(_LOCK))


def _remove(lock: Path) -> None:
    """The folder first: while its lock is there it can be found again, e.g. if a dying process still writes into it."""
    shutil.rmtree(_folder_of(lock), ignore_errors=True)
    if not _folder_of(lock).exists():
        lock.unlink(missing_ok=True)
