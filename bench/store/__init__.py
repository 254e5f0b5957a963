"""The results folder: runs are appended record by record, looked up by name, read back whole or as a frame.

A run is one file ``ROOT/ARCH/DEVICE/RUN.jsonl``. A line is appended with one write and synced, so that a crash can tear
the last line only. A torn line is skipped when read, and moved to ``RUN.torn`` when the run is resumed.
"""

from bench.store.continuation import continuation
from bench.store.files import (
    check_writable,
    resolve,
    resume_command,
    run_argument,
    run_id,
    run_path,
    runs,
    store_option,
    suite_argument,
    suite_here,
)
from bench.store.listing import summaries
from bench.store.reader import read, read_header
from bench.store.table import frame, load_frame
from bench.store.writer import Writer, create, reopen

__all__ = [
    "Writer",
    "check_writable",
    "continuation",
    "create",
    "frame",
    "load_frame",
    "read",
    "read_header",
    "reopen",
    "resolve",
    "resume_command",
    "run_argument",
    "run_id",
    "run_path",
    "runs",
    "store_option",
    "suite_argument",
    "suite_here",
    "summaries",
]
