"""Whether an earlier run can be gone on with, and what is left of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from bench import sources, store
from bench.backends import base
from bench.errors import StoreError, UsageError
from bench.model import Case, Environment, Header, Record, Run, Warning


def settled(records: Sequence[Record]) -> tuple[set[tuple[str, int]], set[str]]:
    """What is not measured again: processes by case and replicate, and the cases that failed. Those that a lost GPU
    left are neither: their records say nothing of them.
    """
    telling = [record for record in records if not (record.failure and record.failure.kind == "DeviceLost")]
    return {(r.case, r.replicate) for r in telling}, {r.case for r in telling if r.failure}


def left(cases: Iterable[Case], records: Sequence[Record], replicates: int) -> list[Case]:
    """Those of ``cases`` of which something is still to be measured."""
    done, failed = settled(records)
    return [
        case for case in cases if case.id not in failed and any((case.id, n) not in done for n in range(replicates))
    ]


def resumable(path: Path) -> Run:
    """The run at ``path``.

    StoreError if this trtbench cannot run its cases, UsageError if a file that they name is not what it was.
    """
    run = store.read(path)
    _refuse_unknown(run.header, path)
    _refuse_changed(run.header, path)
    return run


def _refuse_unknown(header: Header, path: Path) -> None:
    """StoreError if the run at ``path`` has cases that this trtbench cannot run."""
    fix = f"the trtbench that made it ({header.version}), or a new run: trtbench run {header.suite_path}"
    if "default" not in header.environments:
        raise StoreError("the run does not say where it was made", where=str(path), fix=fix)
    for case in header.cases:
        try:
            base.options_of(base.load(case.backend), case)
        except UsageError as error:
            what = f"this trtbench cannot run {case.label}: {error.what}"
            raise StoreError(what, where=str(path), fix=fix) from error


def _refuse_changed(header: Header, path: Path) -> None:
    """UsageError if a file that the run's cases name is not what it was, or not there."""
    folder = Path(header.suite_path).parent
    now = sources.of_all(header.cases, folder.resolve())
    for name, was in header.sources.items():
        if now.get(name) != was:
            gone = not now.get(name)
            what = f"{folder / name}, which the run was begun with, {'is not there' if gone else 'has changed since'}"
            again = f"a new run: trtbench run {header.suite_path}"
            fix = f"go to the folder that the run was started in, or {again}" if gone else again
            raise UsageError(what, where=str(path), fix=fix)


def refuse_another(header: Header, toolchain: str, here: Environment, path: Path) -> None:
    """UsageError if the run at ``path`` was made in another environment of that toolchain."""
    before = header.environments[toolchain]
    if here.fingerprint == before.fingerprint:
        return
    differ = [name for name in here.__struct_fields__ if getattr(here, name) != getattr(before, name)]
    differ = [name for name in differ if name not in ("host", "observed")]
    which = "" if toolchain == "default" else f" of the toolchain {toolchain!r}"
    raise UsageError(
        f"the run was made in another environment{which} ({', '.join(differ)} differ)",
        where=str(path),
        fix="start a new run: trtbench run " + header.suite_path,
    )


def elsewhere(before: Environment, here: Environment) -> tuple[Warning, ...]:
    """The warning for what is measured on another machine or card of the same kind than the run was begun on."""
    cards = before.observed.get("card"), here.observed.get("card")
    other = "card" if None not in cards and cards[0] != cards[1] else "machine" if before.host != here.host else ""
    if not other:
        return ()
    message = f"resumed on another {other} of the same kind: its difference is part of the spread between processes"
    return (Warning(kind="ResumedElsewhere", message=message, hint="one sitting for a run that decides something"),)
