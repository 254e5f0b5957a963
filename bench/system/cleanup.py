"""Releases resources one by one, whatever goes wrong, without hiding the first error."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Self


class Cleanup:
    """Releases resources, the latest first, and continues when one release fails.

    The first error is raised after the last step, unless an exception is being handled: that one stays. Either has the
    other errors as notes. After a kernel's fault every CUDA call fails, and the fault is what has to be reported.
    """

    def __init__(self) -> None:
        self._steps: list[Callable[[], object]] = []

    def callback(self, step: Callable[..., object], *arguments: object) -> None:
        """Call ``step`` at the end."""
        self._steps.append(functools.partial(step, *arguments))

    def pop_all(self) -> Cleanup:
        """Move all steps to a new Cleanup, whose owner calls them."""
        target = Cleanup()
        target._steps, self._steps = self._steps, []
        return target

    def close(self) -> None:
        """Release everything."""
        errors = []
        while self._steps:
            try:
                self._steps.pop()()
            except Exception as error:  # noqa: BLE001 - raised or noted below
                errors.append(error)
        if not errors:
            return
        primary = sys.exception() or errors[0]
        for text in dict.fromkeys(str(error) for error in errors if error is not primary):
            primary.add_note(f"clean-up: {text}")
        if primary is errors[0]:
            raise primary

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
