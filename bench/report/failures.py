"""How the failure of a case reads where a command prints one text for each case."""

from __future__ import annotations

import sys

from bench.errors import is_input
from bench.model.run import Failure
from bench.report import cells, escape, table


def reason(failure: Failure) -> str:
    """``Timeout in build: no result within 60 s``; of wrong input its place and the message alone, as the errors of a
    command have them.
    """
    return failure.text if is_input(failure.kind) else f"{cells.failure(failure)}: {failure.text}"


def lines(heading: str, failure: Failure, width: int = sys.maxsize) -> list[str]:
    """The heading with the reason, and what to do, each in lines of at most ``width``."""
    fix = table.wrap(escape.line(failure.hint), width, " " * 7, "  fix: ") if failure.hint else []
    return [*table.wrap(f"{heading}: {escape.line(reason(failure))}", width, " " * 4), *fix]
