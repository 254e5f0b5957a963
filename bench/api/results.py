"""Runs as stored: found, read, and what a caller asks of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import StoreError, UsageError, did_you_mean
from bench.model import folders
from bench.model.events import Event
from bench.model.run import Run as Results
from bench.model.suite import Case

if TYPE_CHECKING:
    import pandas as pd

    from bench.analysis.rows import Row
    from bench.runner.session import RunResult
    from bench.store.listing import Summary

RESULTS = Path(folders.RESULTS)
OnEvent = Callable[[Event], None]


class Run(Results, frozen=True, kw_only=True):
    """A run as stored: ``header`` (request and environment), ``records`` (one per process), ``footer`` (how it ended).

    ``path`` is its file, ``damage`` reports lines of it that could not be read.
    """

    def frame(self) -> pd.DataFrame:
        """One row per record and boundary, as a pandas frame.

        Times are float64 nanoseconds, ``qps`` is inferences per second; docs/results-format.md has every column.
        """
        from bench import store

        return store.frame([self])

    def __repr__(self) -> str:
        """Short, because a notebook prints it: samples are in ``records``."""
        status = self.footer.status if self.footer else "unfinished"
        return f"Run({self.header.run!r}, {len(self.header.cases)} cases, {len(self.records)} records, {status})"

    def _repr_html_(self) -> str:
        """The tables, for a notebook."""
        from bench.report.html import notebook

        return notebook.tables(self)


class Rescued(StoreError):
    """The file of a run was replaced, changed or removed while the run wrote it; ``run`` has all records, elsewhere."""

    def __init__(self, run: Run, rescues: Sequence[str]) -> None:
        super().__init__(
            "; ".join(rescues), fix=f"trtbench show {run_argument(run)} has all {len(run.records)} records"
        )
        self.run = run


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, SIGTERM or SIGHUP ended the run; ``run`` has the records stored until then, and can be resumed unless it
    is a duel.
    """

    def __init__(self, run: Run) -> None:
        what = "resume it with" if run.header.duel is None else "a duel cannot be resumed; start it again"
        super().__init__(f"interrupted; {what}: {resume_command(run)}")
        self.run = run


def find(run: Results | str | os.PathLike[str] | None = None, *, store: str | os.PathLike[str] = RESULTS) -> Path:
    """The file of a run by its id, the beginning or last part of that, or its path; the latest in ``store`` by
    default, which is never a rehearsal.

    StoreError if there is none, or several fit.
    """
    from bench import store as folder
    from bench.store import kinds

    if isinstance(run, Results):
        return Path(run.path)
    if run is not None:
        kinds.refuse_others(Path(run))
    path = folder.resolve(Path(store), os.fspath(run) if run is not None else None)
    kinds.refuse_others(path)
    return path


def read(
    run: str | os.PathLike[str] | None = None, *, store: str | os.PathLike[str] = RESULTS, packed: bool = False
) -> Run:
    """A stored run, named as in ``find``. StoreError if it cannot be read; lines that cannot are in ``damage``.

    ``packed`` is for tables of large runs: a fraction of the memory, the samples of each series in ascending order, and
    no ``parts``.
    """
    from bench import store as folder

    return _as_run(folder.read(find(run, store=store), packed=packed))


def rows(run: Results, *, baseline: str = "") -> tuple[Row, ...]:
    """The rows of a run's tables, one per case: medians with 95 % intervals, rates, speed against ``baseline``.

    UsageError if no case has the ``baseline``.
    """
    from bench.analysis import rows

    return rows.rows(run, baseline)


def selected(run: Results | Sequence[Results], select: str | Set[str]) -> frozenset[str] | None:
    """The ids of the cases that ``select`` names; None for an empty one, which names all.

    Args:
        run: a run, or several: an expression is then about the cases of all of them, of which some runs may have none.
        select: an expression as in ``request``, or the ids themselves.

    Raises:
        SelectionError: the expression is wrong, or matches no case.
    """
    from bench.backends import base
    from bench.suite.case_filter import select_cases

    if not select:
        return None
    several = [run] if isinstance(run, Results) else run
    cases = {case.id: case for each in several for case in each.header.cases}
    if not isinstance(select, str):
        return frozenset(cases.keys() & select)
    return frozenset(case.id for case in select_cases(tuple(cases.values()), base.registry(), select))


def runs(*, store: str | os.PathLike[str] = RESULTS, rehearsals: bool = False) -> list[Summary]:
    """The runs in ``store`` in short, newest first; rehearsals only if asked for."""
    from bench import store as folder

    return folder.summaries(Path(store), rehearsals=rehearsals)


def check_baseline(cases: Sequence[Case], baseline: str) -> None:
    """UsageError if none of ``cases`` is of the backend ``baseline``; nothing for an empty one."""
    from bench.analysis import speed

    speed.check_baseline(cases, baseline)


def succeeded(run: Results, *, strict: bool = False) -> bool:
    """Whether no case failed, is inaccurate or has only empty outputs; a missing package or device counts only if
    ``strict``.
    """
    from bench.analysis import status

    return status.succeeded(run, strict=strict)


def nothing_available(run: Results) -> bool:
    """Whether nothing was measured because every case lacks a package or a device."""
    from bench.analysis import status

    return status.nothing_available(run)


def run_argument(run: Results) -> str:
    """The run as an argument of a command: its name, or its file."""
    from bench import store

    return store.run_argument(Path(run.path))


def resume_command(run: Results) -> str:
    """The command that resumes a run, or starts a duel again, which cannot be resumed."""
    from bench import store

    return store.continuation(Path(run.path), run.header)


def check_boundary(boundary: str) -> None:
    """UsageError for a name that is none of the boundaries."""
    from bench.model.suite import BOUNDARIES

    check_choice("boundary", boundary, BOUNDARIES)


def check_choice(argument: str, value: object, known: Collection[str]) -> None:
    """UsageError, with the words known, if the ``argument`` has a value that is none of them."""
    if value not in known:
        what = f"unknown {argument} {value!r}.{did_you_mean(str(value), known)}"
        raise UsageError(what, where=argument, fix=f"known: {', '.join(known)}")


def stored_run(finished: RunResult) -> Run:
    """The run as stored. Interrupted if a signal ended it, Rescued if its file was lost meanwhile."""
    run = read(finished.path)
    if finished.interrupted:
        raise Interrupted(run)
    if finished.rescues:
        raise Rescued(run, finished.rescues)
    return run


def _as_run(results: Results) -> Run:
    return Run(**{name: getattr(results, name) for name in results.__struct_fields__})


def ignore(event: Event) -> None:
    """Nobody watches."""
