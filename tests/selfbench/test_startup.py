"""How long `trtbench --help` takes in a fresh process (goal: at most 0.25 s)."""

import subprocess
import sys

import pytest
from pytest_benchmark.fixture import BenchmarkFixture


@pytest.mark.selfbench
def test_help(benchmark: BenchmarkFixture) -> None:
    command = [sys.executable, "-m", "bench", "--help"]
    benchmark.pedantic(lambda: subprocess.run(command, capture_output=True, check=True), rounds=20, warmup_rounds=1)
    print(f"\ntrtbench --help: median {benchmark.stats.stats.median:.3f} s (goal 0.25 s)")
