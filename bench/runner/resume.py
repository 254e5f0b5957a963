"""Going on with an earlier run: whether that can be, what is left of it, and doing that."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

import bench
from bench import store
from bench.analysis import differences
from bench.backends import base
from bench.errors import StoreError, UsageError
from bench.machine import environment
from bench.model.run import Environment, Footer, Header, Record, Run, Warning
from bench.model.suite import Case, Plan
from bench.runner import headers, sources
from bench.runner.dispatch import OnEvent
from bench.runner.refusals import refuse_contradictions, refuse_other_than_text
from bench.runner.request import Settings
from bench.runner.session import RunResult, Session
from bench.runner.turns import settled
from bench.store import artifacts
from bench.suite.plan import check_size

_SHOWN = 4  # differences that an error names


def remaining(cases: Iterable[Case], records: Sequence[Record], replicates: int) -> list[Case]:
    """Those of ``cases`` of which something is still to be measured."""
    done, failed = settled(records)
    return [
        case for case in cases if case.id not in failed and any((case.id, n) not in done for n in range(replicates))
    ]


def resumable(path: Path, cache: Path | None = None) -> Run:
    """The run at ``path``, with the place of its suite on this machine and the user's own toolchains.

    StoreError if this trtbench cannot run its cases; UsageError if a file that they name is not what it was, or if they
    name a program or a file that the user's suite does not. ``cache`` is that of artifacts, by default the usual one.
    """
    run = store.read(path, packed=True)
    return msgspec.structs.replace(run, header=_own(run.header, path, cache))


def resumable_cases(path: Path, cache: Path | None = None) -> tuple[Case, ...]:
    """The cases of the plan of a run that is ``resumable``, as far as its header tells: its records are not read."""
    return _own(store.read_header(path), path, cache).cases


def _own(header: Header, path: Path, cache: Path | None) -> Header:
    """The header with what it names on this machine, after all that is checked of it."""
    if header.duel is not None:
        what = "a duel cannot be resumed: where it stopped is part of its rule"
        raise UsageError(what, where=str(path), fix=f"start a new one: {store.continuation(path, header)}")
    _refuse_unknown(header, path)
    headers.refuse_impossible(header, path)
    header = headers.own(header, path, cache)
    _refuse_changed(header, path)
    return header


def _refuse_unknown(header: Header, path: Path) -> None:
    """StoreError if the run at ``path`` has cases that this trtbench cannot run."""
    fix = f"the trtbench that made it ({header.version}), or {_new_run(header)}"
    if "default" not in header.environments:
        raise StoreError("the run does not say where it was made", where=str(path), fix=fix)
    for case in header.cases:
        try:
            base.options_of(base.load(case.backend), case)
        except UsageError as error:
            what = f"this trtbench cannot run {case.label}: {error.what}"
            raise StoreError(what, where=str(path), fix=fix) from error


def _new_run(header: Header) -> str:
    return f"a new run: trtbench run {store.suite_here(header.suite_path)}"


def _refuse_changed(header: Header, path: Path) -> None:
    """UsageError if a file that the run's cases name is not what it was, or not there."""
    folder = Path(header.suite_path).parent
    name = sources.changed(header.sources, folder.resolve())
    if not name:
        return
    gone = not sources.digest_of(name, folder.resolve())
    state = "is not there" if gone else "has changed since"
    what = f"{sources.place(name, folder)}, which the run was begun with, {state}"
    again = _new_run(header)
    fix = f"go to the folder that the run was started in, or {again}" if gone else again
    raise UsageError(what, where=str(path), fix=fix)


def matching_device(header: Header, path: Path) -> Environment:
    """The device here that is to go on with the run at ``path``. UsageError if there is none of its kind."""
    before = header.environments["default"]
    try:
        return environment.describe(before.kind, base.distributions_of(sorted({case.backend for case in header.cases})))
    except UsageError as error:
        what = f"the run was begun on {before.device}, and {error.what}"
        raise UsageError(what, where=str(path), fix=f"go on with it on such a machine; or {error.fix}") from error


def refuse_another(header: Header, toolchain: str, here: Environment, path: Path) -> None:
    """UsageError if the run at ``path`` was made in another environment of that toolchain."""
    before = header.environments[toolchain]
    if here.fingerprint == before.fingerprint:
        return
    differ = [each.text for each in differences.differences(before, here)]
    more = f" and {len(differ) - _SHOWN} more" if len(differ) > _SHOWN else ""
    which = "" if toolchain == "default" else f" of the toolchain {toolchain!r}"
    raise UsageError(
        f"the run was made in another environment{which}: {', '.join(differ[:_SHOWN])}{more}",
        where=str(path),
        fix=f"go back to that environment, or {_new_run(header)}",
    )


def _with_replicates(header: Header, replicates: int, path: Path, allow_large: bool) -> Header:
    """The header with that number of processes per case. UsageError if it has more already, or they are too many."""
    before = header.policy.replicates
    if replicates < before:
        what = f"the run has {before} processes per case, and none is taken away"
        raise UsageError(what, where=str(path), fix=f"--replicates with more than {before}, or without it")
    check_size(Plan(cases=header.cases), replicates, allow_large)
    return msgspec.structs.replace(header, policy=msgspec.structs.replace(header.policy, replicates=replicates))


def place(before: Environment, here: Environment) -> str:
    """Which card, or machine where cards are not told, goes on with a run; empty if it is that of the beginning."""
    return str(here.observed.get("card") or here.host) if elsewhere(before, here) else ""


def elsewhere(before: Environment, here: Environment) -> tuple[Warning, ...]:
    """The warning for what is measured on another machine or card of the same kind than the run was begun on."""
    cards = before.observed.get("card"), here.observed.get("card")
    # Where cards are told the host's name is not asked: a container that was started again has another.
    other, same = ("machine", before.host == here.host) if None in cards else ("card", cards[0] == cards[1])
    if same:
        return ()
    return (Warning(kind="ResumedElsewhere", figures={"what": other}),)


def another_version(before: str, here: str) -> tuple[Warning, ...]:
    """The warning for what is measured by another version of trtbench than the run was begun by."""
    if before == here:
        return ()
    return (Warning(kind="ResumedByAnother", figures={"version": here, "begun_by": before}),)


def resume(
    path: Path,
    settings: Settings,
    on_event: OnEvent,
    wanted: Sequence[Case] | None = None,
    *,
    replicates: int = 0,
    allow_large: bool = False,
) -> RunResult:
    """Run what is missing of the run at ``path``, or of the ``wanted`` cases of its plan, with its seed and caches.

    ``replicates`` raises the number of processes per case. UsageError if that is no more than the run has, if this is
    another environment than it was made in, or a file that its cases name is another.
    """
    so_far = resumable(path, Path(settings.cache))
    header = so_far.header
    if replicates:
        header = _with_replicates(header, replicates, path, allow_large)
    artifacts.check_writable(Path(settings.cache))
    refuse_other_than_text(Path(header.suite_path).resolve(), settings)
    settings = msgspec.structs.replace(settings, seed=header.seed, cold=header.cold, fork=header.fork)
    refuse_contradictions(settings)
    wanted = header.cases if wanted is None else wanted
    here = matching_device(header, path)
    refuse_another(header, "default", here, path)
    places = dict.fromkeys(header.toolchains, str(path))
    with Session(header, settings, on_event, places) as session:
        session.wanted = remaining(wanted, so_far.records, header.policy.replicates)
        session.marks = (
            *elsewhere(header.environments["default"], here),
            *another_version(header.version, bench.__version__),
        )
        session.place = place(header.environments["default"], here)
        session.begun = True
        session.before = so_far.records
        session.open()
        for name, described in session.header.environments.items():
            refuse_another(header, name, described, path)
        session.prepare()
        writer, run = store.reopen(path)
        with contextlib.closing(writer):
            if replicates > run.header.policy.replicates:
                now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
                footer = Footer(finished=now, status="interrupted", records=writer.records, replicates=replicates)
                writer.amend(footer)
            return session.measure(writer, run.records, {case.id for case in wanted})
