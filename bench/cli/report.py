"""`trtbench report`: writes the dashboard, once or as often as runs change."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from bench.cli import output, typed

if TYPE_CHECKING:
    from bench.report.html.write import Report

# Seconds between two looks at the files of runs, and after which a page that is watched loads itself again.
PERIOD = 2.0
REFRESH = 10


def main(arguments: argparse.Namespace) -> int:
    """Write the page, say where it lies and what it lacks."""
    from bench.errors import NoRuns

    out = arguments.out
    typed.check_file(out, "report.html")
    try:
        _say(_write(arguments, REFRESH if arguments.watch else 0))
    except NoRuns as error:
        if not arguments.watch:
            raise
        from bench.report import escape

        output.complain(f"trtbench: note: {escape.line(error.what)}; {escape.line(str(out))} stays until there is one")
    if arguments.open:
        import webbrowser

        webbrowser.open(out.absolute().as_uri())
    if arguments.watch:
        pause = threading.Event()
        watch(arguments, lambda: not pause.wait(PERIOD))
    return 0


def watch(arguments: argparse.Namespace, wait: Callable[[], bool]) -> None:
    """Write the page again whenever a file of a run has changed; ``wait`` returns when it is time to look again, False
    to stop. A page that stays, after that or Ctrl-C, does not load itself again.
    """
    from bench.errors import BenchError, StoreError

    before = _state(arguments)
    try:
        while wait():
            now = _state(arguments)
            if now == before:
                continue
            try:
                report = _write(arguments, REFRESH)
            except BenchError as error:  # a file that is written just now, or was removed
                output.complain(output.error(error))
            else:
                output.say(_line(report))
            before = now
    finally:
        try:
            _write(arguments, 0)
        except StoreError as error:  # there is still no run
            output.complain(output.error(error))


def _write(arguments: argparse.Namespace, refresh: int) -> Report:
    from bench import api

    return api.write_report(
        arguments.runs,
        arguments.out,
        store=arguments.store,
        select=arguments.select or "",
        baseline=arguments.baseline,
        title=arguments.title or "",
        refresh=refresh,
    )


def _state(arguments: argparse.Namespace) -> list[tuple[str, int, int]]:
    """The files of the runs and beside them, with their sizes and times of change."""
    from bench import api
    from bench.errors import StoreError
    from bench.report.html import write

    paths = [] if arguments.runs else write.run_files(arguments.store)
    for name in arguments.runs:
        try:
            paths.append(api.find(name, store=arguments.store))
        except StoreError:
            continue
    states = []
    for path in [*paths, *write.files_beside(paths)]:
        try:
            file = path.stat()
        except OSError:
            continue
        states.append((str(path), file.st_size, file.st_mtime_ns))
    return states


def _say(report: Report) -> None:
    from bench.report import escape

    for problem in report.problems:
        output.complain(f"trtbench: {escape.lines(problem)}")
    output.say(_line(report))


def _line(report: Report) -> str:
    from bench.report import cells
    from bench.units import format_size

    shows = f"{cells.count(report.cases, 'case')} of {cells.count(report.runs, 'run')}"
    return f"{report.path}: {shows}, {format_size(report.bytes)}"
