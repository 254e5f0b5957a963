"""Files under numbers that tests choose."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def open_at(number: int) -> Iterator[int]:
    """A file under ``number`` in the block: one that the process has there already, which stays, or its input."""
    if os.path.exists(f"/proc/self/fd/{number}"):
        yield number
        return
    os.dup2(0, number)
    try:
        yield number
    finally:
        os.close(number)
