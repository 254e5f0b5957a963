"""How many workers this machine has room for side by side."""

from __future__ import annotations

import os
from pathlib import Path

# Host memory of a worker that has imported torch and compiles or exports a model; what fails is made again alone.
WORKER_BYTES = 2 << 30
MOST = 8


def workers(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """One per core that this process may use and per 2 GiB of memory that is free to it, from 1 to 8."""
    cores = len(os.sched_getaffinity(0))
    room = available_bytes(proc, cgroup)
    return max(1, min(MOST, cores, MOST if room is None else room // WORKER_BYTES))


def available_bytes(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes of memory that are free to this process: of the system, and within the limit of its control group. None
    where the system does not tell.
    """
    rooms = []
    for line in _text(proc / "meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            rooms.append(int(line.split()[1]) << 10)
    limit, used = _text(cgroup / "memory.max").strip(), _text(cgroup / "memory.current").strip()
    if limit.isdecimal() and used.isdecimal():
        rooms.append(int(limit) - int(used) + _file_cache(_text(cgroup / "memory.stat")))
    return max(0, min(rooms)) if rooms else None


def _file_cache(stat: str) -> int:
    """Bytes of files that the kernel keeps and would drop first."""
    fields = dict(line.split() for line in stat.splitlines() if len(line.split()) == 2)
    return int(fields.get("inactive_file", 0))


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
