"""Runs on the command line: `trtbench run`, of a suite or of what is missing of a run."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from typing import TYPE_CHECKING

from bench.cli import keeping, output, show, typed

if TYPE_CHECKING:
    from bench import api
    from bench.api import Request, Run
    from bench.model.events import Event


def run(arguments: argparse.Namespace) -> int:
    """Measure a suite, or what is missing of a run, print its tables, and return the exit code."""
    from bench import api

    with api.interruptible():  # a second Ctrl-C beside the first one, as tmux may send, ends neither
        return _run(arguments)


def _run(arguments: argparse.Namespace) -> int:
    from bench import api
    from bench.model.events import Begin, Stored

    errors: list[OSError] = []
    if arguments.resume:
        _refuse_beside_resume(arguments)
        path = typed.run_file(arguments, arguments.resume, "run", "--resume")
        api.check_baseline(api.cases(path, cache=arguments.cache), arguments.baseline)
        caches = {name: getattr(arguments, name) for name in ("cache", "rebuild", "prestart", "devices")}

        def measure(on_event: api.OnEvent) -> api.Run:
            size = {"replicates": arguments.replicates or 0, "allow_large": arguments.yes}
            return api.resume(path, select=arguments.select or "", on_event=on_event, **size, **caches)
    else:
        request = typed.request(
            arguments,
            plan_only=arguments.dry_run,
            store=arguments.store,
            prestart=arguments.prestart,
            fork=arguments.fork,
            devices=arguments.devices,
        )
        if arguments.dry_run:
            return print_plan(request)

        keeping.check(arguments)

        def measure(on_event: api.OnEvent) -> api.Run:
            return api.execute(request, on_event=on_event)

    interrupted = False
    rescued: api.Rescued | None = None
    with output.progress_view(arguments.progress, errors) as view:
        counted: Counter[type[Event]] = Counter()

        def on_event(event: Event) -> None:
            counted[type(event)] += 1
            view(event)

        try:
            run = measure(on_event)
        except api.Rescued as error:
            run, rescued = error.run, error
        except api.Interrupted as error:
            run, interrupted = error.run, True
        except KeyboardInterrupt:
            if counted[Begin]:
                raise
            output.complain("trtbench: interrupted before the first case; nothing new is stored")
            return 130
    if arguments.progress != "json":
        with output.reader_may_leave(sys.stdout, errors):
            show.print_tables(run, arguments)
            _print_times(run)
    if not arguments.resume and not interrupted:
        keeping.keep(arguments, request)
    _tell_of_end(arguments, run, errors, stored=counted[Stored], interrupted=interrupted, rescued=rescued)
    return 130 if interrupted else int(bool(errors or rescued) or not api.succeeded(run, strict=arguments.strict))


def _tell_of_end(
    arguments: argparse.Namespace,
    run: Run,
    errors: list[OSError],
    *,
    stored: int,
    interrupted: bool,
    rescued: api.Rescued | None,
) -> None:
    """What went wrong in a run as a whole, or that there was nothing to do, on stderr; ``stored`` are new records."""
    from bench import api

    with output.reader_may_leave(sys.stderr, []):
        if errors:
            output.complain(
                f"trtbench: {errors[0]}; the run is stored\n  fix: {typed.command(arguments, 'show', run.path)}"
            )
        if rescued:
            output.complain(output.error(rescued))
        if interrupted:
            output.complain(f"interrupted; resume it with: {api.resume_command(run)}")
        elif arguments.resume and not stored:
            part = "what is selected of " if arguments.select else ""
            more = "more processes of each case: --replicates N"
            output.complain(f"nothing is missing of {part}{run.header.run}; {more}")
        elif api.nothing_available(run):
            what = "nothing was measured: every case lacks a package or a device"
            output.complain(f"trtbench: {what}\n  fix: trtbench doctor says what to install")


_FIXED = ("suite", "backend", "device", "quick", "yes", "seed", "cold", "fork", "dry_run", "keep_code")


def _refuse_beside_resume(arguments: argparse.Namespace) -> None:
    """UsageError for options that a run has from its plan."""
    from bench.errors import UsageError

    for name in _FIXED:
        value = getattr(arguments, name)
        if name == "yes" and arguments.replicates:
            continue  # it allows that many of them
        if value is not None and (value is not False or name == "fork"):
            words = {"suite": "SUITE", "fork": "--fork" if value else "--no-fork"}
            word = words.get(name, f"--{name.replace('_', '-')}")
            fix = typed.command(arguments, "run", "--resume", arguments.resume)
            if name == "dry_run":
                fix = f"{typed.command(arguments, 'show', arguments.resume)}, which says what is missing of it"
            raise UsageError(f"--resume takes the run as it was planned, without {word}", fix=fix)


def print_plan(request: Request) -> int:
    """Print the cases of a plan and what is left out of it; the exit code."""
    from bench import api
    from bench.report import plan as view

    replicates, estimate = request.policy.replicates, api.estimate(request)
    output.say(view.render(request.plan, replicates=replicates, estimate=estimate, verbose=True, **output.screen()))
    return 0


def _print_times(run: Run) -> None:
    """Where the wall time of what was run just now went."""
    from bench.report import table, times

    if run.footer and run.footer.times:
        output.say("\n".join(table.wrap(times.line(run.footer.times), output.screen()["width"])))
