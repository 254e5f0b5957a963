"""The scripts of examples/ run as a user would run them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import bench

pytestmark = pytest.mark.workers

ROOT = Path(__file__).parents[1]


def run(script: str, folder: Path, *arguments: str) -> str:
    env = os.environ | {"PYTHONPATH": str(ROOT), "TRTBENCH_CACHE": str(folder / "cache")}
    command = [sys.executable, str(ROOT / "examples" / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_suite_is_rehearsed_and_nothing_is_kept(tmp_path: Path) -> None:
    shown = run("rehearse_a_suite.py", tmp_path, str(ROOT / "suites" / "vision.yaml"))
    assert "resnet50/fake/fp16/batch=32: " in shown
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_a_stored_run_is_read(tmp_path: Path, fake_suite: Callable[..., Path]) -> None:
    done = bench.run(fake_suite(), store=tmp_path / "results", cache=tmp_path / "cache")
    shown = run("read_results.py", tmp_path, done.header.run)  # by name: a rehearsal is never the latest run
    assert done.records[0].label in shown
    assert "0 records failed" in shown


@pytest.mark.long
def test_a_module_is_compared_between_backends(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    shown = run("compare_backends.py", tmp_path)
    assert "smallnet · fp32 · batch=8" in shown
    assert "fastest accurate runtime: " in shown


def test_every_example_is_run_here() -> None:
    scripts = {path.name for path in (ROOT / "examples").glob("*.py")}
    assert scripts == {"rehearse_a_suite.py", "read_results.py", "compare_backends.py", "small_net.py"}
