"""Duels on the command line: `trtbench duel`, and what `trtbench compare --confirm` measures again."""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING

from bench.cli import output

if TYPE_CHECKING:
    from bench.api import Comparison


def duel(arguments: argparse.Namespace) -> int:
    """Measure a duel, print where its matches stand, and return the exit code."""
    from bench import api

    with api.interruptible():
        return _duel(arguments)


def _duel(arguments: argparse.Namespace) -> int:
    from bench import api
    from bench.report import duel as view

    names = ("against", "against_rev", "boundary", "pairs", "max_time", "device", "store", "cache", "seed")
    options = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    errors: list[OSError] = []
    interrupted = False
    with output.progress_view(arguments.progress, errors) as on_event:
        try:
            run = api.duel(arguments.suite, arguments.select, on_event=on_event, **options)
        except api.Interrupted as error:
            run, interrupted = error.run, True
    if arguments.progress != "json":  # whose reader has had the events
        text = view.render(run, **output.screen()) if arguments.format == "text" else ""
        output.say(text or getattr(view, arguments.format)(run), end="")
    if interrupted:
        output.complain(f"interrupted; what it has is stored: {shlex.join(['trtbench', 'show', run.path])}")
        return 130
    matches = api.matches(run)
    slower = arguments.fail_on is not None and any(match.slower(arguments.fail_on) for match in matches)
    return int(slower or bool(errors) or any(match.why for match in matches))


def confirm(arguments: argparse.Namespace, comparison: Comparison) -> int:
    """Measure what is slower again, in duels; 1 if any of it is again, or cannot be judged."""
    from bench import api
    from bench.report import duel as view

    with output.progress_view("auto", []) as on_event:
        runs = api.confirm(
            comparison, arguments.confirm, threshold=arguments.fail_on.slower, store=arguments.store, on_event=on_event
        )
    for run in runs:  # what other programs read is the comparison
        text = view.render(run, **output.screen())
        output.say(f"\n{text}", end="") if arguments.format == "text" else output.complain(text.rstrip())
    every = [match for run in runs for match in api.matches(run)]
    confirmed = [match for match in every if match.why or match.slower(arguments.fail_on.slower)]
    output.complain(f"trtbench: confirmed: {len(confirmed)} of {len(every)} that were SLOWER")
    return int(bool(confirmed))
