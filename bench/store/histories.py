"""One case in all runs of a store: only its own records are read."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.errors import StoreError, UsageError
from bench.model.run import Header, Run
from bench.model.suite import Case
from bench.store.files import run_argument, runs, store_option, suite_here
from bench.store.reader import read, read_header

_MAX_NAMES = 3
_LONGEST_NAME = 200


class CaseRuns(NamedTuple):
    """The runs that have one of ``cases``, with its records alone; ``unread`` says which files or
    lines could not be read.
    """

    runs: list[Run]
    cases: list[Case]
    unread: tuple[str, ...]


def load(
    root: Path,
    name: str,
    matches: Callable[[Sequence[Case], str], list[Case]],
    is_point: Callable[[Header], bool],
    *,
    rehearsals: bool = False,
) -> CaseRuns:
    """All runs under ``root`` that ``is_point`` accepts, with a case that ``matches`` finds by ``name``; the others are
    duels.

    StoreError without any run, UsageError with the nearest names if none has such a case.
    """
    paths = runs(root, rehearsals=rehearsals)
    if not paths:
        raise StoreError(f"there are no runs in {root}", fix="trtbench run suites/smoke.yaml, or --store DIR")
    labels: dict[str, None] = {}
    cases: dict[str, Case] = {}
    whole: list[Run] = []
    unread: list[str] = []
    duels: list[Header] = []
    for path in paths:
        try:
            header = read_header(path)
            every = header.cases
            if not is_point(header):
                duels += [header] if matches(every, name) else []
                continue
            labels |= dict.fromkeys(case.label for case in every)
            if wanted := {case.id: case for case in matches(every, name)}:
                run = read(path, packed=True, only=wanted.keys())
                whole.append(run)
                unread += [run.damage] if run.damage else []
                cases |= wanted
        except StoreError as error:
            unread.append(f"{error.where or path}: {error.what}")
    if not cases:
        close = difflib.get_close_matches(name[:_LONGEST_NAME], list(labels), n=_MAX_NAMES, cutoff=0.3)
        guess = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        if duels:
            what = f"only duels in {root} have the case {name[:_LONGEST_NAME]!r}, and they are no points of a history"
            command = f"trtbench run {suite_here(duels[0].suite_path)}{store_option(root)}"
            raise UsageError(what, fix=f"measure it in a run: {command}")
        what = f"no run in {root} has the case {name[:_LONGEST_NAME]!r}.{guess}"
        command = f"trtbench show {run_argument(paths[0])}"
        raise UsageError(what, fix=f"name a case as `{command}` does, by its whole label, or by its id")
    return CaseRuns(whole, list(cases.values()), tuple(unread))
