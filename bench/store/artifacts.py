"""A content-addressed cache on disk: references, exported models, engines; checksummed, rebuilt when corrupt.

An artifact is a folder ``<root>/<kind>/<digest>/`` with the payload and a ``meta.json`` that is written last, so a
folder without one was never finished. Making one happens in a scratch folder that is renamed into place at the end.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any

import msgspec

from bench.errors import CaseError, StoreError
from bench.model.data import Data, digest
from bench.model.run import Phase
from bench.system import home
from bench.system import scratch as temporary

_MAKING = ".making-"
_ATTEMPTS = 5
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


class Meta(Data, frozen=True, kw_only=True):
    """What ``meta.json`` says: the key in full, a SHA-256 per file, and the phases that making it took, if it was made
    ``beside`` other work or alone.
    """

    kind: str
    key: dict[str, Any]
    files: dict[str, str]
    phases: tuple[Phase, ...] = ()
    created: str = ""
    beside: bool = False


class Artifact(Data, frozen=True, kw_only=True):
    """A finished artifact: its folder and its metadata."""

    path: Path
    meta: Meta


def default_root() -> Path:
    """``$TRTBENCH_CACHE``, else ``$XDG_CACHE_HOME/trtbench``, else ``~/.cache/trtbench``. StoreError without a home."""
    if path := os.environ.get("TRTBENCH_CACHE"):
        return Path(path)
    if path := os.environ.get("XDG_CACHE_HOME"):
        return Path(path) / "trtbench"
    own = home.folder()
    if own is None:
        raise StoreError(
            "this user has no home folder for the artifact cache", fix="--cache DIR, or TRTBENCH_CACHE=DIR"
        )
    return own / ".cache" / "trtbench"


def folder(root: Path, kind: str, key: Mapping[str, Any]) -> Path:
    """The folder of the artifact of ``kind`` with ``key``, whether or not it exists."""
    return root / kind / digest(key)[:20]


def find(root: Path, kind: str, key: Mapping[str, Any]) -> tuple[Artifact | None, str]:
    """The artifact, checked against its key and its checksums, and a message if a corrupt one was removed."""
    path = folder(root, kind, key)
    try:
        with _open(path / "meta.json") as file:
            meta = msgspec.json.decode(file.read(), type=Meta)
    except (FileNotFoundError, NotADirectoryError):
        if not os.path.lexists(path):
            return None, ""
        meta = None
    except _NotPlain:
        meta = None
    except OSError as error:
        raise _store_error(root, error) from error
    except (ValueError, RecursionError):
        meta = None
    if meta is not None and meta.kind == kind and digest(meta.key) == digest(key) and _is_whole(path, meta.files):
        return Artifact(path=path, meta=meta), ""
    _remove(path)
    return None, f"the cached {kind} {path.name} was corrupt; it is made again"


def _is_whole(path: Path, files: Mapping[str, str]) -> bool:
    """Whether the folder has these files, each inside of it and with its checksum, and no links, pipes or devices."""
    try:
        present = _plain_files(path)
        return present.keys() >= files.keys() and all(_checksum(present[name]) == sum_ for name, sum_ in files.items())
    except (OSError, ValueError, CaseError):
        return False


def _remove(path: Path) -> None:
    """Remove what is in an artifact's place, whatever it is."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    shutil.rmtree(path, ignore_errors=True)


def check_writable(root: Path) -> None:
    """StoreError if artifacts cannot be written under ``root``. Unfinished ones of killed processes are removed."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with temporary.folder(root, _MAKING):  # no folder that another run, which looks too, could remove meanwhile
            pass
    except OSError as error:
        raise _store_error(root, error) from error
    for kind in root.glob("*"):  # nothing where it may not be listed
        temporary.sweep(kind, _MAKING)


def drop(root: Path, kind: str, key: Mapping[str, Any]) -> None:
    """Remove an artifact, if it is there."""
    shutil.rmtree(folder(root, kind, key), ignore_errors=True)


@contextlib.contextmanager
def scratch(root: Path, kind: str) -> Iterator[Path]:
    """An empty folder on the cache's file system, for ``keep`` to rename; removed if it was not kept."""
    with contextlib.ExitStack() as stack:
        try:
            (root / kind).mkdir(parents=True, exist_ok=True)
            path = stack.enter_context(temporary.folder(root / kind, _MAKING))
        except OSError as error:
            raise _store_error(root, error) from error
        try:
            yield path
        except OSError as error:
            in_root = error.filename is None or Path(str(error.filename)).is_relative_to(root)
            if error.errno not in _NO_ROOM or not in_root:
                raise
            raise _store_error(root, error) from error


def keep(
    root: Path,
    payload: Path,
    kind: str,
    key: Mapping[str, Any],
    phases: tuple[Phase, ...],
    created: str,
    *,
    beside: bool = False,
) -> Artifact:
    """Checksum ``payload``, write ``meta.json`` and rename the folder to its place; the first of two writers wins.

    CaseError if the payload has anything but files and folders.
    """
    files = {name: _checksum(path) for name, path in _plain_files(payload).items()}
    meta = Meta(kind=kind, key=dict(key), files=files, phases=phases, created=created, beside=beside)
    (payload / "meta.json").write_bytes(msgspec.json.encode(meta))
    place = folder(root, kind, key)
    for _ in range(_ATTEMPTS):
        try:
            payload.rename(place)
        except OSError as error:
            if not os.path.lexists(place):
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST):  # it was there just now: another process removed it
                    continue
                raise
            artifact, _ = find(root, kind, key)  # which removes what is no artifact
            if artifact is not None:
                return artifact
        else:
            return Artifact(path=place, meta=meta)
    raise StoreError("another process removes each artifact from the cache", where=str(place), fix="--cache DIR")


def _plain_files(folder: Path) -> dict[str, Path]:
    """The files of an artifact's folder by relative name. CaseError for a link, a pipe or a device among them."""
    files: dict[str, Path] = {}
    folders = [folder]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                path = Path(entry.path)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(path)
                elif entry.is_file(follow_symlinks=False):
                    files[str(path.relative_to(folder))] = path
                else:
                    raise CaseError(f"an artifact holds files and folders, and {entry.name!r} is neither")
    files.pop("meta.json", None)
    return dict(sorted(files.items()))


def _store_error(root: Path, error: OSError) -> StoreError:
    what = f"the artifact cache cannot be used: {error.strerror}"
    return StoreError(what, where=str(root), fix="name a folder with room that you may write: --cache DIR")


class _NotPlain(Exception):
    """There is something, and no plain file."""


def _open(path: Path) -> BufferedReader:
    """A plain file, opened to read: no link is followed, and no pipe waited for."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link, a socket
            raise _NotPlain from error
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise _NotPlain
    return os.fdopen(fd, "rb")


def _checksum(path: Path) -> str:
    try:
        with _open(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, _NotPlain):
        return ""
