"""How many workers a machine has room for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.runner import capacity

GIB = 1 << 30


def machine(folder: Path, free: int, limit: str = "max", used: int = 0, cache: int = 0) -> tuple[Path, Path]:
    proc, cgroup = folder / "proc", folder / "cgroup"
    proc.mkdir()
    cgroup.mkdir()
    (proc / "meminfo").write_text(f"MemTotal: 99999999 kB\nMemAvailable: {free >> 10} kB\n")
    (cgroup / "memory.max").write_text(f"{limit}\n")
    (cgroup / "memory.current").write_text(f"{used}\n")
    (cgroup / "memory.stat").write_text(f"anon 1\ninactive_file {cache}\n")
    return proc, cgroup


@pytest.mark.parametrize(
    ("cores", "free", "workers"),
    [(1, 64 * GIB, 1), (2, 64 * GIB, 2), (64, 64 * GIB, 8), (64, 7 * GIB, 3), (64, GIB, 1), (16, 0, 1)],
)
def test_cores_and_memory_decide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int, free: int, workers: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
    assert capacity.workers(*machine(tmp_path, free)) == workers


def test_a_limit_of_the_control_group_counts_without_files_that_can_be_dropped(tmp_path: Path) -> None:
    places = machine(tmp_path, 64 * GIB, limit=str(8 * GIB), used=6 * GIB, cache=2 * GIB)
    assert capacity.available_bytes(*places) == 4 * GIB


def test_a_system_that_does_not_tell_leaves_it_to_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2})
    assert capacity.available_bytes(tmp_path, tmp_path) is None
    assert capacity.workers(tmp_path, tmp_path) == 3
