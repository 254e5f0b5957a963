"""The tree of templates: what each has that the one above it has not, and the thread that makes it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from bench.runner.toolchains import Interpreter
from bench.system.template import Template

TURN_S = 0.25  # how soon what makes a template looks if it is to give up


class Key(NamedTuple):
    """What makes templates equal: the command and environment of their interpreter, what they have imported, and the
    model that they have built, empty without one.
    """

    command: tuple[str, ...]
    env: frozenset[tuple[str, str]]
    imports: tuple[str, ...]
    model: str = ""


def key_of(interpreter: Interpreter, imports: tuple[str, ...], model: str = "") -> Key:
    """The key of a template of ``interpreter``."""
    return Key(tuple(interpreter.command), frozenset(interpreter.env.items()), imports, model)


class Node:
    """A template that ``make``, called in a thread of its own, makes. It gives up soon after the function that it is
    given returns true.
    """

    def __init__(self, make: Callable[[Callable[[], bool]], Template | None]) -> None:
        self._template: Template | None = None
        self._lost = False
        self._halted = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(make,), name="template", daemon=True)
        self._thread.start()

    def _run(self, make: Callable[[Callable[[], bool]], Template | None]) -> None:
        self._template = make(self._halted.is_set)

    def result(self, over: Callable[[], bool] | None = None) -> Template | None:
        """Wait for it; None if there can be none, or soon after ``over`` has become true before."""
        while self._thread.is_alive():
            self._thread.join(None if over is None else TURN_S)
            if over is not None and over():
                return None
        return None if self._lost else self._template

    def give_up(self) -> bool:
        """Have none from now on, though workers of it may still be at work; False if there was none."""
        if self._lost:
            return False
        self._lost = True
        return True

    def halt(self) -> None:
        """Have it given up if it is still being made, without waiting for that; nobody has it any more."""
        self._lost = True
        self._halted.set()

    def close(self) -> None:
        """End it, or what is making it; a second time does nothing."""
        self.halt()
        self._thread.join()
        if self._template is not None:
            self._template.close()
