"""Refuses what is no plain file in the place of a run."""

from __future__ import annotations

import shlex
from pathlib import Path

from bench.errors import StoreError
from bench.system import plainfile


def refuse_others(path: Path) -> None:
    """StoreError for a pipe, a device or a link; nothing for a file, a folder, or what is not there."""
    try:
        kind = plainfile.other_kind(path)
    except (OSError, ValueError):
        return  # a name, or what is reported where it is read
    if kind and kind != "a folder":
        fix = f"name the file: {shlex.quote(str(path.resolve()))}" if kind == "a link" else "name another run"
        raise StoreError(f"this is {kind}, a run is a file", where=str(path), fix=fix)
