"""Ranges for a profiler's timeline: NVTX, domain ``trtbench``, where the nvtx package is; nothing where it is not."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

DOMAIN = "trtbench"
T = TypeVar("T")


def range_(name: str) -> AbstractContextManager[Any]:
    """A range called ``name`` on this thread's timeline for the block."""
    try:
        import nvtx
    except ImportError:
        return contextlib.nullcontext()
    annotation: AbstractContextManager[Any] = nvtx.annotate(name, domain=DOMAIN)
    return annotation


def each(call: Callable[[], T], name: str) -> Callable[[], T]:
    """``call`` with a range around every call: for profiled runs only, as it takes host time."""

    @functools.wraps(call)
    def in_range() -> T:
        with range_(name):
            return call()

    return in_range
