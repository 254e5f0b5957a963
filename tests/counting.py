"""How often a function calls others, which tells how its work grows without a clock."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType


def calls(function: Callable[[], object]) -> int:
    """The calls of functions, of Python and of C, while ``function`` runs once; each step of a generator is one."""
    number = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal number
        number += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return number


def assert_linear(work: Callable[[int], Callable[[], object]], size: int) -> None:
    """``work(n)`` prepares and returns what is to be run on n items: twice as many may take twice as many calls.

    Even one call for each pair of items would make it more by a few percent.
    """
    work(8)()  # imports, and what is made once
    once, twice = calls(work(size)), calls(work(2 * size))
    assert once > size
    assert twice <= 2.02 * once
