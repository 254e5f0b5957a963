"""asv whose exit code 1 says that a benchmark became slower: what it cannot do is one message and exit code 2."""

from __future__ import annotations

import contextlib
import importlib
import re
import sys
import traceback
from collections.abc import Iterator
from typing import Any

from bench.errors import BenchError, UsageError

_ABSENT = re.compile(r"No matching distribution found for ([\w.-]+)")


def main() -> int:
    """Runs asv with the arguments of this process, as its script does; its exit code, but 2 where it has an error, so
    that 1 is that of a comparison alone.
    """
    asv, util = importlib.import_module("asv.main"), importlib.import_module("asv.util")
    unavailable = importlib.import_module("asv.environment").EnvironmentUnavailable  # which is no Exception
    with _comparisons() as comparisons:
        try:
            asv.main()
        except util.ProcessError as error:  # of a command, e.g. pip in a new environment; asv prints a traceback
            print(f"trtbench: {_problem(error)}", file=sys.stderr)
            return 2
        except SystemExit as end:
            # asv has printed what the user did wrong, or why it compares nothing.
            if isinstance(end.__context__, util.UserError) or (end.code == 1 and not comparisons):
                return 2
            raise
        except (Exception, unavailable) as error:  # noqa: BLE001 - whatever it is, asv's own exit code would be 1
            if {"-v", "--verbose"} & set(sys.argv):
                traceback.print_exc()
            what = f"asv failed with {type(error).__name__}: {error}"
            print(f"trtbench: {UsageError(what, fix='--verbose shows where in asv')}", file=sys.stderr)
            return 2
    return 0


@contextlib.contextmanager
def _comparisons() -> Iterator[list[object]]:
    """What asv's comparisons of two commits return in the block, one after the other."""
    compare = importlib.import_module("asv.commands.compare").Compare
    print_table, results = compare.print_table, []

    def watched(*arguments: Any, **options: Any) -> Any:
        results.append(print_table(*arguments, **options))
        return results[-1]

    compare.print_table = watched
    try:
        yield results
    finally:
        compare.print_table = print_table


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
