"""The results folder: runs are appended record by record, looked up by name, read back whole or as a frame.

A run is one file ``ROOT/ARCH/DEVICE/RUN.jsonl``. A line is appended with one write and synced, so that a crash can tear
the last line only. A torn line is skipped when read, and moved to ``RUN.torn`` when the run is resumed.
"""

from bench.store.files import (
    Writer,
    check_writable,
    create,
    read,
    reopen,
    resolve,
    resume_command,
    run_argument,
    run_id,
    run_path,
    runs,
)
from bench.store.table import frame, load_frame

__all__ = [
    "Writer",
    "check_writable",
    "create",
    "frame",
    "load_frame",
    "read",
    "reopen",
    "resolve",
    "resume_command",
    "run_argument",
    "run_id",
    "run_path",
    "runs",
]
