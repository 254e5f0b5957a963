"""The files of profiles that two cases are explained from, for the command and the dashboard alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, NamedTuple, TypeVar

import msgspec

from bench.analysis import attribution, explain_sides
from bench.model.profile import CaseProfile

File = TypeVar("File")


class Sources(NamedTuple, Generic[File]):
    """The files that the profiles of two cases are in; None where none has it."""

    a: File | None
    b: File | None

    @property
    def both(self) -> File | None:
        """The file that has the profiles of both, None if they are of two."""
        return self.a if self.a is self.b else None


def sources(files: Iterable[File], has_profile: Callable[[File, str], bool], a: str, b: str) -> Sources[File]:
    """The file of each of two cases: the first of ``files`` with a profile of both, as times of one sitting can be set
    against each other; where none has both the first that has each.

    ``files`` are in order of preference, the newest first, and read no further than needed. ``has_profile`` says
    whether a file has the profile of the case that ``a`` or ``b`` names.
    """
    of_a: File | None = None
    of_b: File | None = None
    for file in files:
        has_a, has_b = has_profile(file, a), has_profile(file, b)
        if has_a and has_b:
            return Sources(file, file)
        of_a = file if has_a and of_a is None else of_a
        of_b = file if has_b and of_b is None else of_b
    return Sources(of_a, of_b)


def side(case: CaseProfile) -> explain_sides.Side:
    """The side of an explanation that a profile is, its kernels with the names of the ranges around their launches.
    ValueError for a failure, which has no profile.
    """
    if case.condensed is None:
        raise ValueError(f"{case.label} has no profile")
    named = msgspec.structs.replace(case.condensed, profile=attribution.attribute(case.condensed.profile))
    return explain_sides.of_condensed(case.case, case.label, named)
