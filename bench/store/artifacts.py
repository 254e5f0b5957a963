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
    """A finished artifact: its folder and its meta data."""

    path: Path
    meta: Meta


def default_root() -> Path:
    """``$TRTBENCH_CACHE``, else ``$XDG_CACHE_HOME/trtbench``, else ``~/.cache/trtbench``."""
    if own := os.environ.get("TRTBENCH_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trtbench"


def folder(root: Path, kind: str, key: Mapping[str, Any]) -> Path:
    """Where the artifact of ``kind`` with ``key`` lies, made or not."""
    return root / kind / digest(key)[:20]


def find(root: Path, kind: str, key: Mapping[str, Any]) -> tuple[Artifact | None, str]:
    """The artifact, checked against its checksums, and a message if one was found corrupt and removed."""
    path = folder(root, kind, key)
    try:
        meta = msgspec.json.decode((path / "meta.json").read_bytes(), type=Meta)
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        raise _failed(root, error) from error
    except msgspec.MsgspecError:
        meta = None
    if meta is not None and all(_checksum(path / name) == sum_ for name, sum_ in meta.files.items()):
        return Artifact(path=path, meta=meta), ""
    shutil.rmtree(path, ignore_errors=True)
    return None, f"the cached {kind} {path.name} was corrupt; it is made again"


def check_writable(root: Path) -> None:
    """StoreError if artifacts cannot be kept under ``root``. What killed processes left half made there is removed."""
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
            raise _failed(root, error) from error
        try:
            yield path
        except OSError as error:
            own = error.filename is None or Path(str(error.filename)).is_relative_to(root)
            if error.errno not in _NO_ROOM or not own:
                raise
            raise _failed(root, error) from error


def keep(
    root: Path, made: Path, kind: str, key: Mapping[str, Any], phases: tuple[Phase, ...], created: str
) -> Artifact:
    """Checksum what lies in ``made``, write ``meta.json`` and rename it to its place; the first of two makers wins."""
    files = {str(p.relative_to(made)): _checksum(p) for p in sorted(made.rglob("*")) if p.is_file()}
    meta = Meta(kind=kind, key=dict(key), files=files, phases=phases, created=created)
    (made / "meta.json").write_bytes(msgspec.json.encode(meta))
    place = folder(root, kind, key)
    try:
        made.rename(place)
    except OSError:
        found, _ = find(root, kind, key)
        if found is None:
            raise
        return found
    return Artifact(path=place, meta=meta)


def _failed(root: Path, error: OSError) -> StoreError:
    what = f"the artifact cache cannot be used: {error.strerror}"
    return StoreError(what, where=str(root), fix="name a folder with room that you may write: --cache DIR")


def _checksum(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
