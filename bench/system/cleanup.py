"""Gives things back one by one, whatever goes wrong, without hiding what went wrong first."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Self


class Cleanup:
    """Gives things back, the latest first, and goes on where one of them cannot be.

    The first failure is raised when all is done, unless an exception is under way: that one stays. Either has the
    others as notes. After a kernel's fault every call of CUDA fails, and the fault is what has to be told.
    """

    def __init__(self) -> None:
        self._steps: list[Callable[[], object]] = []

    def callback(self, step: Callable[..., object], *arguments: object) -> None:
        """Call ``step`` at the end."""
        self._steps.append(functools.partial(step, *arguments))

    def pop_all(self) -> Cleanup:
        """What was to be given back here, to be given back elsewhere."""
        moved = Cleanup()
        moved._steps, self._steps = self._steps, []
        return moved

    def close(self) -> None:
        """Give everything back."""
        failed = []
        while self._steps:
            try:
                self._steps.pop()()
            except Exception as error:  # noqa: BLE001 - raised or noted below
                failed.append(error)
        if not failed:
            return
        told = sys.exception() or failed[0]
        for text in dict.fromkeys(str(error) for error in failed if error is not told):
            told.add_note(f"clean-up: {text}")
        if told is failed[0]:
            raise told

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
