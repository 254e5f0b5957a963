"""Whether a path is that of a plain file, and not of a pipe that one would wait for, a device or a link."""

from __future__ import annotations

import stat
from pathlib import Path


def other_kind(path: Path) -> str:
    """``a folder``, ``a pipe``, ``a device or a socket`` or ``a link``; empty for a plain file.

    OSError if there is none. What is at the end of a link counts first, so that a link to a pipe is a pipe.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISFIFO(mode):
        return "a pipe"
    if not stat.S_ISREG(mode):
        return "a device or a socket"
    return "a link" if path.is_symlink() else ""
