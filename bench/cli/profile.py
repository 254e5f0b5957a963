"""Profiles on the command line: `trtbench profile`."""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING

from bench.cli import output, typed

if TYPE_CHECKING:
    from bench.api import Profiles


def profile(arguments: argparse.Namespace) -> int:
    """Profile the selected cases, print where their time went, and return the exit code."""
    from bench import api
    from bench.report import escape

    request = typed.request(arguments, store=arguments.store)
    with output.progress_view(arguments.progress, []) as on_event:
        profiles = api.profile(
            request,
            tool=arguments.tool,
            modules=arguments.modules,
            iterations=arguments.iterations,
            kernel=arguments.kernel or "",
            raw=arguments.raw or "",
            out=arguments.out or "",
            on_event=on_event,
        )
    _print(profiles, arguments)
    if profiles.interrupted:
        done, all_ = len(profiles.cases), len(request.plan.cases)
        output.complain(f"trtbench: interrupted; {done} of {all_} cases are in the file")
        return 130
    if profiles.missing_reports:
        what = f"trtbench: {profiles.missing_reports[0]}"
        more = f" ({len(profiles.missing_reports) - 1} more likewise)" if len(profiles.missing_reports) > 1 else ""
        output.complain(f"{escape.line(what + more)}\n  fix: free some disk space, or --raw DIR")
    return int(bool(profiles.missing_reports) or any(each.failure for each in profiles.cases))


def _print(profiles: Profiles, arguments: argparse.Namespace) -> None:
    """The tables and where they are stored; or the file as it is."""
    from pathlib import Path

    if arguments.format == "json":
        output.say(Path(profiles.path).read_text(encoding="utf-8"), end="")
        return
    from bench.report import profiles as view

    output.say(view.render(profiles, **output.screen()), end="")
    output.say(f"stored: {profiles.path}")
    if arguments.raw:
        output.say(view.viewer(profiles, shlex.quote(str(arguments.raw))))
