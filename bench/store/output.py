"""A file that a user names, as a page or a trace: written whole, in the place of an earlier one, or left as it was."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from bench.errors import UsageError
from bench.store.files import is_full


def write(path: Path, content: bytes) -> None:
    """Write ``path``; who reads it sees the old file or the new one. Permissions of the old one stay.

    UsageError if it cannot be written, at ``out``, as the argument of the API is named.
    """
    try:
        _write(path, content)
    except OSError as error:
        fix = "free some disk space, or name another file" if is_full(error) else "name another file"
        raise UsageError(f"{path} cannot be written: {error.strerror or error}", where="out", fix=fix) from error


def _write(path: Path, content: bytes) -> None:
    if path.exists() and not path.is_file():  # a terminal, a pipe: nothing to replace
        path.write_bytes(content)
        return
    target = path.resolve()
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(name, target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_mask())
        os.replace(name, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _mask() -> int:
    """The process's mask of permissions, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
