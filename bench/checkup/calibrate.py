"""Measures identical code on one machine again and again, and makes a calibration of it or of stored runs."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

import bench
from bench.analysis import calibration as analysis
from bench.analysis import differences
from bench.analysis.spreads import mismatch
from bench.analysis.verdict import USUAL
from bench.errors import StoreError, UsageError
from bench.model.calibration import Calibration, Level
from bench.model.data import digest
from bench.model.run import Environment, Run
from bench.model.suite import Policy
from bench.runner.dispatch import OnEvent
from bench.runner.request import Request
from bench.runner.run import describe_environment
from bench.runner.run import run as run_plan
from bench.runner.session import RunResult
from bench.store import calibrations, resume_command

# What sittings may differ in: how many processes each has, and the card, which is told by itself.
_NO_MATTER = ("measure.replicates", "card")
LEAST = 2 * analysis.LEAST_PROCESSES


def split(processes: int, sittings: int) -> list[int]:
    """The processes of each sitting. UsageError for fewer than 3 in one, or fewer than 6 in all."""
    least = max(LEAST, sittings * analysis.LEAST_PROCESSES)
    if sittings < 1 or processes < least:
        what = f"{processes} processes in {max(sittings, 0)} sittings are too few to see how they differ"
        raise UsageError(what, where="processes", fix=f"--processes {least} at least; 40 in 2 sittings are good")
    return [processes // sittings + (n < processes % sittings) for n in range(sittings)]


def measure(request: Request, sizes: Sequence[int], on_event: OnEvent, ended: Callable[[RunResult], Run]) -> list[Run]:
    """A run of the plan per sitting, one after the other, of so many processes per case; stored as any run is.

    ``ended`` makes a run of what the runner returns, or raises what ended it.
    """
    runs = []
    for size in sizes:
        policy = msgspec.structs.replace(request.policy, replicates=size)
        runs.append(ended(run_plan(msgspec.structs.replace(request, policy=policy), on_event)))
    return runs


def check_replicates(replicates: int) -> None:
    """UsageError for fewer than 2."""
    if replicates < 2:
        raise UsageError("one process a side gives no verdict", where="replicates", fix="--replicates 2 or more")


def usual_replicates(policy: Policy | None) -> int:
    """The processes a side that effects are stated for: those of a suite, but of one that is not for verdicts 7."""
    return policy.replicates if policy and policy.replicates > 1 else USUAL


def check(runs: Sequence[Run], request: Request) -> None:
    """UsageError if no calibration can be made of stored runs, or none of them with what ``request`` would measure."""
    if not runs:
        return
    there, here = make(runs, USUAL).environment, describe_environment(request, request.device)
    if (there.arch, there.slug) != (here.arch, here.slug):
        what = f"the runs were made on {there.device}, and this is {here.device}"
        raise UsageError(what, where="--from", fix="name runs of this device, or leave the suite out")


def make(runs: Sequence[Run], replicates: int, seed: int = 0) -> Calibration:
    """The calibration of what runs have measured, each of which is a sitting, in the order of time.

    UsageError if they were made in different environments, share no case, or have too few processes, and for a duel.
    """
    check_replicates(replicates)
    runs = sorted(runs, key=lambda run: (run.header.created, run.header.run))
    names = [run.header.run for run in runs]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise UsageError(f"the run {twice} is named twice", where="--from", fix="name each sitting once")
    if duel := next((run.header.run for run in runs if run.header.duel is not None), ""):
        what = "this is a duel, whose processes are measured in turn, as those of no run are"
        raise UsageError(what, where=duel, fix="leave it out, and name runs")
    here = _environment(runs)
    levels, boundaries, left_out = analysis.levels(runs, replicates, seed)
    if not levels:
        why = "; ".join(f"{label}: {reason}" for label, reason in list(left_out.items())[:3])
        what = f"nothing to calibrate by: {why or 'no case was measured'}"
        raise UsageError(what, where=", ".join(names), fix=f"measure more: --processes {LEAST} or more")
    _check_shares(runs, boundaries)
    created = datetime.datetime.now(datetime.UTC)
    environments = [default_environment(run) for run in runs]
    name = f"calibration-{created:%Y%m%dT%H%M%SZ}-{digest([names, replicates, seed])[:7]}"
    return Calibration(
        schema=calibrations.SCHEMA,
        calibration=name,
        created=created.isoformat(timespec="seconds"),
        version=bench.__version__,
        environment=here,
        sittings=tuple(names),
        replicates=replicates,
        levels=tuple(levels),
        boundaries=tuple(boundaries),
        cards=_distinct(each.observed.get("card", "") for each in environments),
        hosts=_distinct(each.host for each in environments),
        left_out=left_out,
        minor_differences=_distinct(
            each.text for each in differences.minor_differences(runs) if each.what not in _NO_MATTER
        ),
        seed=seed,
    )


def suitable(root: Path, runs: Sequence[Run], across: Sequence[str], name: str = "") -> tuple[Calibration | None, str]:
    """The calibration for a comparison of ``runs``, by name or the newest that is of their environment; and a note on
    what it does not cover, or why there is none where one of their device is stored.

    ``none`` names none. UsageError if the named one is of another environment; StoreError if it cannot be read.
    """
    if name == "none":
        return None, ""
    environments = [default_environment(run) for run in runs if run.header.environments]
    if name:
        calibration = calibrations.read(calibrations.resolve(root, name))
        if differ := mismatch(calibration, environments, across):
            what = f"the calibration was made in another environment: {_texts(differ)}"
            raise UsageError(what, where=calibration.calibration, fix="calibrate here: trtbench calibrate SUITE")
        return calibration, _uncovered(calibration, environments)
    why = ""
    folders = {(here.arch, here.slug) for here in environments}
    for path in calibrations.files(root):
        if path.parts[-3:-1] not in folders:
            continue
        try:
            calibration = calibrations.read(path)
        except StoreError as error:  # the comparison can do without it
            why = why or str(error)
            continue
        differ = mismatch(calibration, environments, across)
        if not differ:
            return calibration, _uncovered(calibration, environments)
        why = why or f"{calibration.calibration} was made in another environment: {_texts(differ)}"
    return None, why


def of_device(root: Path, runs: Sequence[Run], name: str = "") -> Calibration | None:
    """As ``suitable``, for a history, over which libraries and drivers change: of the device, whatever they are."""
    return suitable(root, runs, ("toolchain", "driver"), name)[0]


def _environment(runs: Sequence[Run]) -> Environment:
    """That of all runs. UsageError if there are several: they are no sittings of one machine."""
    first, *others = (default_environment(run) for run in runs)
    for run, here in zip(runs[1:], others, strict=True):
        if differ := differences.differences(first, here):
            what = f"the runs were made in different environments: {_texts(differ)}"
            where = f"{runs[0].header.run} and {run.header.run}"
            raise UsageError(what, where=where, fix="name runs of one machine with the same versions")
    return first


def _check_shares(runs: Sequence[Run], boundaries: Sequence[Level]) -> None:
    """UsageError if a sitting gives no case a spread, or if two of them share no case: they would count for nothing."""
    names = [run.header.run for run in runs]
    for number, (name, run) in enumerate(zip(names, runs, strict=True)):
        if not any(level.processes[number] for level in boundaries):
            what = f"no case of this run has {analysis.LEAST_PROCESSES} processes of one build, so it shows no spread"
            more = f"{resume_command(Path(run.path or name))} --replicates {USUAL}"
            raise UsageError(what, where=name, fix=f"leave it out, or measure more: {more}")
    if len(names) > 1 and not any(level.session for level in boundaries):
        what = "the runs share no case, so they do not show how sittings differ"
        raise UsageError(what, where=", ".join(names), fix="name runs of one suite")


def _uncovered(calibration: Calibration, environments: Sequence[Environment]) -> str:
    """What runs differ in though the sittings of the calibration do not; empty where there is nothing."""
    for name, known, used in (
        ("card", calibration.cards, _distinct(here.observed.get("card", "") for here in environments)),
        ("host", calibration.hosts, _distinct(here.host for here in environments)),
    ):
        if len(known) == 1 and len(used) > 1:
            return f"its sittings are of one {name}, these runs of {len(used)}"
        if len(known) == 1 and used and used != known:
            return f"its sittings are of another {name}"
    return ""


def default_environment(run: Run) -> Environment:
    """The environment that a run was made in, toolchains aside. StoreError if its header has none."""
    every = run.header.environments
    if not every:
        raise StoreError("the run has no environment", where=run.header.run, fix="name another run")
    return every.get("default") or next(iter(every.values()))


def _texts(differ: Sequence[differences.Difference]) -> str:
    more = f" and {len(differ) - 4} more" if len(differ) > 4 else ""
    return ", ".join(each.text for each in differ[:4]) + more


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in names if name))
