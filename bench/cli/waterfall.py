"""What stored profiles say, on the command line: `trtbench show --waterfall`, `trtbench kernels`, `trtbench trace`."""

from __future__ import annotations

import argparse
from collections.abc import Set
from typing import TYPE_CHECKING

from bench.cli import output, typed

if TYPE_CHECKING:
    from bench.api import Run
    from bench.model.profile import CaseProfile


def show(runs: list[Run], only: Set[str] | None, arguments: argparse.Namespace, form: str) -> int:
    """Print the waterfall of each run's cases, and what files of profiles could not be read."""
    from bench import api
    from bench.report import escape
    from bench.report import waterfall as view

    several = [api.waterfalls(run, store=arguments.store, select=only or "") for run in runs]
    for problem in dict.fromkeys(problem for each in several for problem in each.problems):
        output.complain(f"trtbench: {escape.lines(problem)}")
    output.say_all(form, view, several, render=view.show)
    return 0


def kernels(arguments: argparse.Namespace) -> int:
    """Print the kernels that take the time of each case."""
    from bench.report import kernels as view

    cases = _cases(arguments)
    if arguments.format in ("text", "markdown"):
        output.say_all(arguments.format, view, [cases], top=arguments.top)
    else:
        output.say(getattr(view, arguments.format)(cases), end="")
    return 0


def trace(arguments: argparse.Namespace) -> int:
    """Write the trace of one case, and say where to open it."""
    from bench import api
    from bench.errors import UsageError

    out = arguments.out
    typed.check_file(out, "trace.json")
    cases = _cases(arguments)
    if len(cases) > 1:
        labels = ", ".join(each.label for each in cases)
        fix = f"--case with one of: {labels}"
        raise UsageError(f"a trace is of one case, and there are {len(cases)} with a profile", fix=fix)
    path = api.write_trace(cases[0], out)
    output.say(f"{path}: {cases[0].label}; open it in ui.perfetto.dev or chrome://tracing")
    return 0


def _cases(arguments: argparse.Namespace) -> tuple[CaseProfile, ...]:
    from bench import api

    return api.cases_of(api.read_profiles(arguments.profiles, store=arguments.store), arguments.case or "")
