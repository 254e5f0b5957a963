"""Stand-ins for interpreters, and suites in two toolchains."""

from __future__ import annotations

import sys
from pathlib import Path


def script(folder: Path, text: str, name: str = "python") -> Path:
    """An executable that stands for an interpreter; ``PYTHON`` in its text is the running one."""
    path = folder / name
    path.write_text("#!/bin/sh\n" + text.replace("PYTHON", sys.executable) + "\n")
    path.chmod(0o755)
    return path


def both(suite: Path, toolchains_yaml: str) -> Path:
    """The suite in two toolchains, of which the file beside it defines ``old``."""
    suite.write_text(suite.read_text().replace("batch: [1, 8]", "batch: 1\n  toolchain: [default, old]"))
    (suite.parent / "toolchains.yaml").write_text(toolchains_yaml + "\n")
    return suite
