"""asv whose exit code 1 says that a benchmark became slower: what it cannot do is one message and exit code 2."""

from __future__ import annotations

import importlib
import re
import sys
from typing import Any

from bench.errors import BenchError, UsageError

_ABSENT = re.compile(r"No matching distribution found for ([\w.-]+)")


def main() -> int:
    """Runs asv with the arguments of this process, as its script does; its exit code, but 2 where it has an error."""
    asv, util = importlib.import_module("asv.main"), importlib.import_module("asv.util")
    try:
        asv.main()
    except util.ProcessError as error:  # of a command, e.g. pip in a new environment; asv prints a traceback
        print(f"trtbench: {_problem(error)}", file=sys.stderr)
        return 2
    except SystemExit as end:
        if isinstance(end.__context__, util.UserError):  # which asv has printed
            return 2
        raise
    return 0


def _problem(error: Any) -> BenchError:
    """What a command of asv's printed that says why, as an error with what to do."""
    printed = [line.strip() for text in (error.stderr, error.stdout) for line in (text or "").splitlines()]
    reasons = [line for line in printed if line.lower().startswith("error:")]
    absent = _ABSENT.search(reasons[-1]) if reasons else None
    if absent:
        what = f"pip finds no {absent[1]!r}, which asv installs into the environments that it makes"
        return UsageError(
            what, fix=f"PIP_FIND_LINKS=FOLDER, where the wheel of {absent[1]} lies, or an index that has it"
        )
    return UsageError(reasons[-1] if reasons else str(error), fix="asv printed above what the command said")


if __name__ == "__main__":
    sys.exit(main())
