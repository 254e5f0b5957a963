"""What `history` of a case takes over 200 runs of 100 cases: printed, not asserted (goal: 10 s)."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import bench
from tests.selfbench.test_large_runs import write_run
from tests.selfbench.test_store_load import SERIES

RUNS, CASES = 200, 100


@pytest.mark.selfbench
def test_history_of_200_runs(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    first = write_run(tmp_path, SERIES["GPU"], CASES, 1)
    text = first.read_bytes()
    for number in range(1, RUNS):
        name = f"2026{number // 28 + 1:02}{number % 28 + 1:02}T000000Z-net-0000000"
        (first.parent / f"{name}.jsonl").write_bytes(text.replace(first.stem.encode(), name.encode(), 1))
    label = bench.read(first).header.cases[-1].label
    (whole,) = benchmark.pedantic(bench.history, (label,), {"store": tmp_path}, rounds=3)
    print(f"\n{len(whole.points)} points of {RUNS} files of {len(text):,} bytes: {benchmark.stats['median']:.2f} s")
    assert len(whole.points) == RUNS
