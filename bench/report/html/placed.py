"""The profiles that a page shows, and at which of its cases."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.model.profile import CaseProfile, CondensedProfile, ProfileRun
from bench.model.run import Run


class PlacedProfile(NamedTuple):
    """A profile of a case: ``places`` are those of the case in all runs of the folder, ``place`` of the newest."""

    place: int
    places: tuple[int, ...]
    run: ProfileRun
    case: CaseProfile

    @property
    def condensed(self) -> CondensedProfile | None:
        """None for a failure."""
        return self.case.condensed

    @property
    def kind(self) -> str:
        """What it has: ``events`` of an inference, ``layers`` alone, or the ``failure`` of the profiler."""
        return _kind(self.case)


def select(
    runs: Sequence[Run], place: Mapping[tuple[str, str], int], profiles: Mapping[str, Sequence[ProfileRun]]
) -> list[PlacedProfile]:
    """The newest profile of each case that is shown, in the order of cases: one with events, one with layers, and a
    failure where there is neither. ``profiles`` are those beside runs, newest first, by folder.
    """
    chosen = []
    for folder, files in profiles.items():
        there = sorted(
            (run for run in runs if run.path and str(Path(run.path).parent) == folder),
            key=lambda run: run.header.created,
            reverse=True,
        )
        places: dict[str, list[int]] = defaultdict(list)
        for run in there:
            for case in run.header.cases:
                if (at := place.get((run.header.run, case.id))) is not None:
                    places[case.id].append(at)
        first: dict[tuple[str, str], PlacedProfile] = {}
        for file in files:
            for each in file.cases:
                if each.case in places:
                    of_case = tuple(places[each.case])
                    first.setdefault((each.case, _kind(each)), PlacedProfile(of_case[0], of_case, file, each))
        whole = {case for case, what in first if what != "failure"}
        chosen += [each for (case, what), each in first.items() if what != "failure" or case not in whole]
    return sorted(chosen, key=lambda each: each.place)


def _kind(case: CaseProfile) -> str:
    if case.condensed is None:
        return "failure"
    return "events" if case.condensed.parts or case.condensed.profile.kernels else "layers"
