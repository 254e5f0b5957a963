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
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from bench.errors import StoreError
from bench.model.data import Data, digest
from bench.model.run import Phase
from bench.system import scratch as temporary

_MAKING = ".making-"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


class Meta(Data, frozen=True, kw_only=True):
    """What ``meta.json`` says: the key in full, a SHA-256 per file, and the phases that making it took."""

    kind: str
    key: dict[str, Any]
    files: dict[str, str]
    phases: tuple[Phase, ...] = ()
    created: str = ""


class Artifact(Data, frozen=True, kw_only=True):
    """A finished artifact: its folder and its metadata."""

    path: Path
    meta: Meta


def default_root() -> Path:
    """``$TRTBENCH_CACHE``, else ``$XDG_CACHE_HOME/trtbench``, else ``~/.cache/trtbench``."""
    if path := os.environ.get("TRTBENCH_CACHE"):
        return Path(path)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trtbench"


def folder(root: Path, kind: str, key: Mapping[str, Any]) -> Path:
    """The folder of the artifact of ``kind`` with ``key``, whether or not it exists."""
    return root / kind / digest(key)[:20]


def find(root: Path, kind: str, key: Mapping[str, Any]) -> tuple[Artifact | None, str]:
    """The artifact, checked against its checksums, and a message if a corrupt one was removed."""
    path = folder(root, kind, key)
    try:
        meta = msgspec.json.decode((path / "meta.json").read_bytes(), type=Meta)
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        raise _store_error(root, error) from error
    except msgspec.MsgspecError:
        meta = None
    if meta is not None and all(_checksum(path / name) == sum_ for name, sum_ in meta.files.items()):
        return Artifact(path=path, meta=meta), ""
    shutil.rmtree(path, ignore_errors=True)
    return None, f"the cached {kind} {path.name} was corrupt; it is made again"


def check_writable(root: Path) -> None:
    """StoreError if artifacts cannot be written under ``root``. Unfinished ones of killed processes are removed."""
    with scratch(root, "check"):
        pass
    with contextlib.suppress(OSError):  # another run looks too
        (root / "check").rmdir()
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
    root: Path, payload: Path, kind: str, key: Mapping[str, Any], phases: tuple[Phase, ...], created: str
) -> Artifact:
    """Checksum ``payload``, write ``meta.json`` and rename the folder to its place; the first of two writers wins."""
    files = {str(p.relative_to(payload)): _checksum(p) for p in sorted(payload.rglob("*")) if p.is_file()}
    meta = Meta(kind=kind, key=dict(key), files=files, phases=phases, created=created)
    (payload / "meta.json").write_bytes(msgspec.json.encode(meta))
    place = folder(root, kind, key)
    try:
        payload.rename(place)
    except OSError:
        artifact, _ = find(root, kind, key)
        if artifact is None:
            raise
        return artifact
    return Artifact(path=place, meta=meta)


def _store_error(root: Path, error: OSError) -> StoreError:
    what = f"the artifact cache cannot be used: {error.strerror}"
    return StoreError(what, where=str(root), fix="name a folder with room that you may write: --cache DIR")


def _checksum(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
