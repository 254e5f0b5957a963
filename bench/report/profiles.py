"""Profiles for a terminal: where the time of each case goes, the cases that failed, and where to look on."""

from __future__ import annotations

from collections.abc import Sequence

from bench.analysis.waterfalls import profile_notes
from bench.model.profile import CaseProfile, CondensedProfile, ProfileRun
from bench.model.run import Failure
from bench.report import escape, failures, layers, ncu, table, waterfall

_VIEWERS = {
    "torch": "ui.perfetto.dev or chrome://tracing opens the .json files in {raw}",
    "nsys": "nsys-ui opens the .nsys-rep files in {raw}",
    "ncu": "ncu-ui opens the .ncu-rep files in {raw}",
    "layers": "layers have no report of their own",
}


def render(run: ProfileRun, *, width: int = 80, color: bool = False) -> str:
    """A table of the cases, notes on each, and what failed."""
    seen = [(case, case.condensed) for case in run.cases if case.condensed is not None]
    lines = [_tables(run, seen, width, color)] if seen else []
    for text in _notes(seen):
        lines += table.wrap(text, width)
    lines += [text for case in run.cases if case.failure for text in _failure(case)]
    return "\n".join(line.rstrip("\n") for line in lines) + "\n"


def viewer(run: ProfileRun, raw: str) -> str:
    """How to look at the reports that were kept in the folder ``raw``."""
    return _VIEWERS[run.tool].format(raw=raw)


def _tables(run: ProfileRun, seen: Sequence[tuple[CaseProfile, CondensedProfile]], width: int, color: bool) -> str:
    if run.tool == "layers":
        several = [(case, condensed.profile.layers) for case, condensed in seen]
        return "\n".join(layers.render(case, each, width=width, color=color) for case, each in several if each)
    if any(condensed.profile.figures for _, condensed in seen):
        return "\n".join(ncu.render(condensed.profile.figures, width=width) for _, condensed in seen)
    return waterfall.render(run, width=width, color=color)


def _notes(seen: Sequence[tuple[CaseProfile, CondensedProfile]]) -> list[str]:
    """Each note once, with the cases that it is of."""
    labels: dict[str, list[str]] = {}
    for case, condensed in seen:
        for note in profile_notes(condensed):
            labels.setdefault(escape.line(note), []).append(escape.name(case.label))
    every = [escape.name(case.label) for case, _ in seen]
    return [f"{waterfall.whom(own, every)}: {text}" for text, own in labels.items()]


def _failure(case: CaseProfile) -> list[str]:
    assert isinstance(case.failure, Failure)
    return failures.lines(escape.line(case.label), case.failure)
