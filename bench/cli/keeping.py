"""`--keep-code` on the command line, after `trtbench run` and `trtbench build`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bench.cli import output

if TYPE_CHECKING:
    from bench.api import Request


def check(arguments: argparse.Namespace) -> None:
    """UsageError for a folder that cannot be used, before anything is made or measured."""
    if arguments.keep_code:
        from bench.report import code as view

        view.check(arguments.keep_code)


def keep(arguments: argparse.Namespace, request: Request) -> None:
    """Keep the code, if it is asked for, and say where it is."""
    if not arguments.keep_code:
        return
    from bench import api
    from bench.report import code as view

    with output.progress_view(arguments.progress, []) as on_event:
        index = api.keep_code(request, arguments.keep_code, on_event=on_event)
    output.complain(view.summary(index, arguments.keep_code))
