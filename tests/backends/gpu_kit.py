"""A suite run by the command line on a real GPU, each case in a process of its own, and its records."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bench import store
from bench.machine import nvml
from bench.model.run import Record

ROOT = Path(__file__).parents[2]


class Suite:
    """A finished run: its folder, which also has the cache of artifacts, and its records by label."""

    def __init__(self, folder: Path, name: str, text: str, factories: Path) -> None:
        """Run the suite of ``text``, whose models are in the file ``factories``; skip if there is no GPU."""
        if reason := nvml.GpuTelemetry(0).reason:
            pytest.skip(reason)
        self.folder = folder
        (folder / f"{name}.yaml").write_text(text)
        (folder / factories.name).write_text(factories.read_text())
        done = self.trtbench("run", "--progress", "plain", "--store", "results", f"{name}.yaml")
        print(done.stderr, done.stdout)
        assert done.returncode in (0, 1), done.stderr
        self.records = store.read(store.runs(folder / "results", rehearsals=True)[0]).records

    def __call__(self, *parts: str) -> Record:
        """The one record whose label has all of ``parts``."""
        (found,) = [record for record in self.records if all(part in record.label for part in parts)]
        return found

    def trtbench(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command line in the folder of the suite."""
        paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        return run([sys.executable, "-m", "bench", *arguments], self.folder, {"PYTHONPATH": paths})


def run(command: list[Any], folder: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """``command`` in ``folder``, with artifacts kept there."""
    env = {**os.environ, "TRTBENCH_CACHE": str(folder / "cache"), **env}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def measured(record: Record) -> dict[str, Any]:
    """The record's fairness report, once it is seen to be accurate and timed at every boundary."""
    assert record.failure is None, record.failure
    assert record.accuracy is not None
    assert record.accuracy.ok
    assert {"gpu", "enqueue", "latency", "h2d", "compute", "d2h", "throughput"} <= {
        measurement.boundary for measurement in record.measurements
    }
    return record.fairness
