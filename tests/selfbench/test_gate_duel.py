"""A commit with 30 % more work, found by a duel between two revisions on this CPU, busy or not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import bench

pytest.importorskip("torch")

ROOT = Path(bench.__file__).parent.parent
MODEL = """\
from torch import nn

DEPTH = 10


def make():
    return nn.Sequential(*(nn.Linear(512, 512) for _ in range(DEPTH)))
"""
SUITE = """\
schema: 1
name: net
device: cpu
models:
  net: {factory: "net.py:make", inputs: {input: {shape: [batch, 512], dtype: float32}}}
matrix: {model: [net], backend: [eager], batch: [32]}
measure: {boundaries: [latency]}
"""


@pytest.mark.selfbench
def test_thirteen_layers_are_slower_than_ten(tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE)
    (tmp_path / "net.py").write_text(MODEL)

    def git(*words: str) -> str:
        identity = ("-c", "user.name=T", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
        done = subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, text=True, capture_output=True)
        return done.stdout.strip()

    git("init", "--quiet", "--initial-branch=main")
    git("add", "--all")
    git("commit", "--quiet", "--message", "ten layers")
    (tmp_path / "net.py").write_text(MODEL.replace("DEPTH = 10", "DEPTH = 13"))
    git("commit", "--quiet", "--all", "--message", "thirteen")
    slower = git("rev-parse", "HEAD")
    git("checkout", "--quiet", "HEAD~1")

    words = ["duel", "suite.yaml", "--select", "eager", "--against-rev", slower, "--fail-on", "slower"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-m", "bench", *words], cwd=tmp_path, env=env, text=True, capture_output=True, check=False
    )
    print(ended.stdout)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "SLOWER" in ended.stdout
