"""The lines of what a checkup of a machine says: the doctor's checks, and the readings of the self-test."""

from __future__ import annotations

from typing import Literal

from bench.model.data import Data


class Check(Data, frozen=True, kw_only=True):
    """One line of the doctor's report: what was checked, its state, and the command that fixes it."""

    group: str
    name: str
    state: Literal["ready", "missing", "broken"]
    detail: str = ""
    fix: str = ""


class Reading(Data, frozen=True, kw_only=True):
    """One line of the self-test: a value in nanoseconds (or as ``what`` says), and if known, expected +- limit."""

    name: str
    what: str
    measured: float
    expected: float | None = None
    limit: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the measured value is within ``limit`` of the expected one; true if none is expected."""
        return self.expected is None or abs(self.measured - self.expected) <= (self.limit or 0.0)
