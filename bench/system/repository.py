"""The commit of a folder that lies in a git repository."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_LIMIT_S = 20


def commit(folder: Path) -> str:
    """The commit that ``folder`` is at, 12 hex digits, with ``-dirty`` where a tracked file is not as in it; empty
    outside of a repository, before its first commit, and where git is not there or does not answer.
    """
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        ended = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"GIT_OPTIONAL_LOCKS": "0"},
            timeout=_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return ended.stdout.decode(errors="replace").strip() if ended.returncode == 0 else ""
