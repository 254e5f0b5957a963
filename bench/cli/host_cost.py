"""What Python costs, on the command line: `trtbench show --host-cost`."""

from __future__ import annotations

import argparse
from collections.abc import Set
from typing import TYPE_CHECKING

from bench.cli import output

if TYPE_CHECKING:
    from bench.api import Run


def show(runs: list[Run], only: Set[str] | None, _arguments: argparse.Namespace, form: str) -> int:
    """Print the runners of each run's artifacts side by side."""
    from bench import api
    from bench.report import host_cost as view

    several = [api.host_cost(run, select=only or "") for run in runs]
    output.say_all(form, view, several)
    return 0
