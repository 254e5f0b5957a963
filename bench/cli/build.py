"""Builds on the command line: `trtbench build`."""

from __future__ import annotations

import argparse

from bench.cli import keeping, output, typed
from bench.errors import is_input


def build(arguments: argparse.Namespace) -> int:
    """Make the artifacts of the selected cases, print what was built and what failed, and return the exit code."""
    from bench import api
    from bench.report import build as view

    if arguments.compute_capability and arguments.device is None:
        arguments.device = "cuda"  # a capability is that of a GPU, which need not be here
    request = typed.request(arguments, plan_only=True)
    keeping.check(arguments)
    with output.progress_view(arguments.progress, []) as on_event:
        run = api.build(request, compute_capability=arguments.compute_capability or (), on_event=on_event)
    if arguments.format == "text":
        output.say(view.render(run, verbose=arguments.verbose, **output.screen()), end="")
    else:
        output.say(getattr(view, arguments.format)(run), end="")
    if run.interrupted:
        done = f"{len(run.cases)} of {run.total} cases"
        if arguments.cold:  # nothing of which is in the cache
            rest = "begins anew, as --cold does"
        elif arguments.rebuild:
            rest = "without --rebuild goes on: what was made is in the cache"
        else:
            rest = "goes on: what was made is in the cache"
        output.complain(f"trtbench: interrupted after {done}; the same command {rest}")
        return 130
    keeping.keep(arguments, request)
    if any(case.failure and is_input(case.failure.kind) for case in run.cases):
        return 2
    return int(not api.all_built(run, strict=arguments.strict))
