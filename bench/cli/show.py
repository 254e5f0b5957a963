"""Stored runs on the command line: `trtbench show`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Set
from typing import TYPE_CHECKING

from bench.cli import host_cost, output, typed, waterfall

if TYPE_CHECKING:
    from bench.api import Run


def show(arguments: argparse.Namespace) -> int:
    """Print runs as tables, or in the view or format that is asked for; the exit code."""
    from bench import api
    from bench.report import escape

    form = getattr(arguments, "as") or arguments.format
    _refuse_ignored(arguments, form)
    packed = form not in ("trtexec", "trtexec11")  # which are of single calls
    runs = [api.read(typed.run_file(arguments, name, "show"), packed=packed) for name in arguments.runs or [None]]
    for run in runs:
        if run.damage:
            output.complain(f"trtbench: {escape.line(run.damage)}")
    is_one = len(runs) == 1
    only = api.selected(runs, arguments.select or "")
    if only is not None:  # a run that has none of them has nothing to show
        runs = [run for run in runs if any(case.id in only for case in run.header.cases)]
    if view := _view(arguments):
        return view(runs, only, arguments, form)
    if form == "text":
        for run in runs:
            print_tables(run, arguments, only)
        return 0
    if form in ("trtexec", "trtexec11"):
        from bench.report import trtexec

        for run in runs:
            output.say(trtexec.render(run, arguments.case, transfers=form == "trtexec", only=only))
        return 0
    from bench.report import export

    if form == "markdown":
        output.say("\n".join(export.markdown(run, arguments.baseline, only=only) for run in runs), end="")
        return 0
    output.say(getattr(export, form)(runs[0] if is_one else runs, arguments.baseline, only=only), end="")
    return 0


def _view(arguments: argparse.Namespace) -> Callable[[list[Run], Set[str] | None, argparse.Namespace, str], int] | None:
    """What `show` prints in place of its tables, if it is asked to."""
    views = {
        "time": _show_times,
        "cold_start": _show_cold_starts,
        "waterfall": waterfall.show,
        "fairness": _show_fairness,
        "host_cost": host_cost.show,
    }
    return next((view for name, view in views.items() if getattr(arguments, name)), None)


def _show_times(runs: list[Run], only: Set[str] | None, _arguments: argparse.Namespace, form: str) -> int:
    from bench import api
    from bench.report import times as view

    several = [api.times(run, select=only or "") for run in runs]
    output.say_all(form, view, several)
    return 0


def _show_cold_starts(runs: list[Run], only: Set[str] | None, arguments: argparse.Namespace, form: str) -> int:
    from bench import api
    from bench.report import cold_start as view

    rate = arguments.rate or 0.0
    several = [api.payback(run, baseline=arguments.baseline, select=only or "") for run in runs]
    output.say_all(form, view, several, rate=rate)
    return 0


def _show_fairness(runs: list[Run], only: Set[str] | None, _arguments: argparse.Namespace, form: str) -> int:
    from bench import api
    from bench.report import lint as view

    several = [(run, api.lint(run, select=only or "")) for run in runs]
    output.say_all(
        form,
        view,
        several,
        render=lambda each, **screen: view.render(*each, **screen),
        markdown=lambda each: view.markdown(*each),
    )
    return 0


def _refuse_ignored(arguments: argparse.Namespace, form: str) -> None:
    """UsageError for options of `show` that the format ``form`` would ignore."""
    from bench.errors import UsageError

    names, in_words = arguments.runs, form in ("trtexec", "trtexec11")
    if arguments.case is not None and not in_words:
        fix = typed.command(arguments, "show", *names, "--as", "trtexec", "--case", arguments.case)
        raise UsageError("--case chooses the case that --as shows; tables show all", fix=fix)
    if arguments.rate and not arguments.cold_start:
        fix = typed.command(arguments, "show", *names, "--cold-start", "--rate", f"{arguments.rate:g}")
        raise UsageError("--rate is that of --cold-start", fix=fix)
    flags = ("--as", "--baseline", "--verbose", "--phases", "--stats")
    of_results = {flag: getattr(arguments, flag.strip("-")) for flag in flags}
    views = ("--time", "--cold-start", "--waterfall", "--fairness", "--host-cost")
    of_view = {flag: getattr(arguments, flag.strip("-").replace("-", "_")) for flag in views}
    for view in (flag for flag in reversed(views) if of_view[flag]):
        others = of_results if view != "--cold-start" else {**of_results, "--baseline": ""}
        beside = {**{flag: value for flag, value in of_view.items() if flag != view}, **others}
        if ignored := [flag for flag, value in beside.items() if value]:
            fix = typed.command(arguments, "show", *names, view)
            raise UsageError(f"{' and '.join(ignored)} would change nothing of {view}", fix=fix)
    tables = {"--verbose": arguments.verbose, "--phases": arguments.phases, "--stats": arguments.stats}
    of_text = {"--baseline": arguments.baseline, "--format": arguments.format != "text"} if in_words else {}
    if ignored := [flag for flag, value in (tables | of_text).items() if value and form != "text"]:
        fix = typed.command(arguments, "show", *names, *(["--as", form] if in_words else ["--format", form]))
        raise UsageError(f"{' and '.join(ignored)} would change nothing of {form}", fix=fix)


def print_tables(run: Run, arguments: argparse.Namespace, only: frozenset[str] | None = None) -> None:
    """The tables of a run; ``only`` names the cases, all by default."""
    from bench.report import text

    options = {name: getattr(arguments, name) for name in ("baseline", "verbose", "phases", "stats")}
    output.say(text.render(run, only=only, **options, **output.screen()))
