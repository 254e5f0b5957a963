"""Figures and texts of runs: times, paybacks, tables, pages."""

from __future__ import annotations

import os
from collections.abc import Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING

from bench.api.results import RESULTS, read, selected
from bench.model.run import Run as Results

if TYPE_CHECKING:
    from bench.analysis.host_cost import RunHostCost
    from bench.analysis.payback import RunPayback
    from bench.analysis.times import RunTimes
    from bench.report.html.write import Report


def tables(
    run: Results,
    *,
    baseline: str = "",
    select: str = "",
    width: int = 120,
    verbose: bool = False,
    phases: bool = False,
    stats: bool = False,
) -> str:
    """The tables that ``trtbench show`` prints, as plain text of at most ``width`` columns.

    ``select`` names the cases to show, as in ``request``; speed and rank are those of the whole run.
    """
    from bench.report import text

    return text.render(
        run,
        baseline=baseline,
        width=width,
        verbose=verbose,
        phases=phases,
        stats=stats,
        only=selected(run, select),
        color=False,
        option="verbose=True",
    )


def times(run: Results, *, select: str | Set[str] = "") -> RunTimes:
    """Where the wall time of a run went: nanoseconds by category for each case, for what is of no single one, and in
    total. ``select`` names the cases to sum, as in ``selected``.
    """
    from bench.analysis import times

    return times.of_run(run, selected(run, select))


def payback(run: Results, *, baseline: str = "", select: str | Set[str] = "") -> RunPayback:
    """What each case costs before its first answer (build, start, first call), and after how many requests it has paid
    that back against ``baseline``. ``select`` names the cases, as in ``selected``.

    UsageError if no case has the ``baseline``.
    """
    from bench.analysis import payback

    return payback.of_run(run, baseline, selected(run, select))


def host_cost(run: Results, *, select: str | Set[str] = "") -> RunHostCost:
    """Python's share: each artifact that has a case with ``executor: cpp``, run by Python and by the C++ program, and
    what has one runner alone. ``select`` names the cases, as in ``selected``; the partner of one comes along.
    """
    from bench.analysis import host_cost

    return host_cost.of_run(run, selected(run, select))


def write_report(
    runs: Results | str | os.PathLike[str] | Sequence[Results | str | os.PathLike[str]] = (),
    out: str | os.PathLike[str] = "report.html",
    *,
    store: str | os.PathLike[str] = RESULTS,
    select: str = "",
    baseline: str = "",
    title: str = "",
    refresh: int = 0,
) -> Report:
    """Write one HTML file that shows ``runs`` and needs nothing else: the dashboard (docs/dashboard.md).

    Args:
        runs: runs, or such as are named in ``find``; without any all of the store but rehearsals, where a file that
            cannot be read is a problem that the page names.
        out: the file; one that is there is replaced when the page is whole.
        store: the folder of runs.
        select: which cases, as in ``request``; runs without a match are left out.
        baseline: as in ``rows``, for the runs that have it.
        title: of the page.
        refresh: after how many seconds the page loads itself again, 0 for never. Such a page may have no run yet,
            where none is there whose place it would take.

    Raises:
        StoreError: a run that is named cannot be read, or the store has none that can.
        SelectionError: no run has a case that ``select`` matches.
        UsageError: no run has the ``baseline``, or a run is named twice.
    """
    from bench.report.html import write

    named = [runs] if isinstance(runs, Results | str | os.PathLike) else list(runs)
    problems: list[str] = []
    if named:
        every: list[Results] = [
            run if isinstance(run, Results) else read(run, store=store, packed=True) for run in named
        ]
        write.refuse_twice(every)
    else:
        every, problems = write.read_store(Path(store))
        if not every and (not refresh or Path(out).exists()):
            write.refuse_nothing(Path(store), problems)
    return write.write(
        every,
        Path(out),
        problems=problems,
        only=selected(every, select) if every else None,
        baseline=baseline,
        title=title,
        place=os.fspath(store),
        refresh=refresh,
    )
