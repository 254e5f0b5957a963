"""A child that tests start with a signal ignored, or not, whatever started the tests."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def started_with(number: signal.Signals, handler: Any) -> Iterator[None]:
    """Processes that start in the block have this way of handling a signal."""
    usual = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, usual)
