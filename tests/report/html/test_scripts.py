"""The page's scripts under Node, where there is one; the browser tests run them too."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def test_scripts_without_a_document() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node.js: apt-get install nodejs")
    tests = Path(__file__).with_name("scripts.test.js")
    done = subprocess.run([node, "--test", str(tests)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
