"""The doctor's report: every check by group, and the command that fixes what is not ready."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.model.checkup import Check
from bench.report import cells, table

if TYPE_CHECKING:
    from rich.text import Text

STYLES = {"ready": "green", "missing": "yellow", "broken": "red"}


def render(checks: Sequence[Check], *, width: int = 80, color: bool = False) -> str:
    """The checks in their order, under a title per group; a fix on the line below its check."""
    from rich.text import Text

    lines: list[Text | str] = []
    longest = max((len(check.name) for check in checks), default=0)
    for group in dict.fromkeys(check.group for check in checks):
        lines += ["", Text(group, style="bold")] if lines else [Text(group, style="bold")]
        for check in checks:
            if check.group == group:
                lines += _check(check, longest, width)
    ready = sum(check.state == "ready" for check in checks)
    lines += ["", f"{ready} of {cells.count(len(checks), 'check')} ready"]
    return table.show(lines, color)


def _check(check: Check, longest: int, width: int) -> list[Text | str]:
    from rich.text import Text

    lead = f"  {check.state:<7}  {check.name:<{longest}}  "
    first, *following = table.wrap(check.detail, width, " " * len(lead), lead)
    first_line = Text(first)
    first_line.stylize(STYLES[check.state], 2, 2 + len(check.state))
    lines: list[Text | str] = [first_line, *following]
    if check.fix and check.state != "ready":
        lines += table.wrap(f"fix: {check.fix}", width, " " * (len(lead) + 5), " " * len(lead))
    return lines
