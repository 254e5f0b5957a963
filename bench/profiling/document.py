"""The file of profiles as it grows: whole after each case, also while the disk has no room for one of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.errors import StoreError
from bench.model.profile import CaseProfile, ProfileRun
from bench.model.run import Failure
from bench.store import profiles
from bench.store.files import is_full


class Document:
    """The file at ``path``; ``run`` is what it has to have beside cases, ``total`` the number of these in the end.

    A profile that the disk has no room for is a failure in the file, until there is room at a later case or the end.
    """

    def __init__(self, path: Path, run: ProfileRun, total: int) -> None:
        self._path = path
        self._run = run
        self._total = total
        self._cases: list[CaseProfile] = []
        self._short: dict[int, CaseProfile] = {}  # by place, those that have, or had, no room as they are
        self._stored = 0
        self._error: StoreError | None = None  # why the file lacks the latest cases

    def add(self, case: CaseProfile) -> CaseProfile:
        """Write the file with one more case; the case as the file has it, or will at a later one.

        StoreError if it cannot be written, and not for want of room.
        """
        place = len(self._cases)
        self._cases.append(case)
        error = self._write_all()
        if error is None:
            return case
        if not is_full(error):
            raise error
        self._short[place] = _without_profile(case, error)
        self._write(self._with_short())
        return self._short[place]

    def end(self) -> ProfileRun:
        """What the file has in the end, once more with all that had no room.

        StoreError, which says how many cases the file has, if there is no room even for failures in place of profiles.
        """
        if self._short and self._write_all() is not None and self._error is not None:
            count = self._stored
            state = f"the file has {count} of {self._total} cases" if count else "no case is stored"
            raise StoreError(f"{self._error.what}; {state}", where=self._error.where, fix=self._error.fix)
        return self._run

    def _write_all(self) -> StoreError | None:
        """Write all profiles, or else those that had room before: why not even these can be written."""
        error = self._write(self._cases)
        if error is None:
            self._short.clear()
        elif self._short:
            error = self._write(self._with_short())
        return error

    def _with_short(self) -> list[CaseProfile]:
        return [self._short.get(place, case) for place, case in enumerate(self._cases)]

    def _write(self, cases: Sequence[CaseProfile]) -> StoreError | None:
        run = msgspec.structs.replace(self._run, cases=tuple(cases))
        try:
            profiles.write(self._path, run)
        except StoreError as error:
            if len(cases) > self._stored:
                self._error = error
            return error
        self._run, self._stored, self._error = run, len(cases), None
        return None


def _without_profile(case: CaseProfile, error: StoreError) -> CaseProfile:
    """The row of a case whose profile has no room."""
    if case.condensed is None:
        return case
    failure = Failure(kind="StoreError", stage="store", message=f"its profile {error.what}", hint=error.fix)
    return CaseProfile(case=case.case, label=case.label, failure=failure)
