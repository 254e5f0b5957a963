"""Comparisons: of runs, by duels, over time."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench.api.results import RESULTS, OnEvent, Run, check_boundary, ignore, read, run_argument, selected, stored_run
from bench.api.suites import check_device, interruptible, load, settings_of
from bench.errors import UsageError
from bench.model.run import Run as Results
from bench.model.suite import Boundary, Suite
from bench.units import parse_time

if TYPE_CHECKING:
    from bench.analysis.compare import Comparison, Pair
    from bench.analysis.duel import Match
    from bench.analysis.history import History
    from bench.analysis.lint import Finding
    from bench.machine.environment import Device


def duel(
    suite: Suite | str | os.PathLike[str],
    select: str,
    against: str | Sequence[str] = (),
    *,
    against_rev: str = "",
    boundary: Boundary = "latency",
    pairs: int = 25,
    max_time: str = "",
    device: Device | None = None,
    store: str | os.PathLike[str] = RESULTS,
    cache: str | os.PathLike[str] | None = None,
    seed: int = 0,
    on_event: OnEvent | None = None,
) -> Run:
    """Compare cases in pairs of fresh processes that measure in turn, until it is decided which is faster.

    Args:
        suite: a suite or its file.
        select: the first side: parts of labels, ``"resnet18/eager"``, or an expression as in ``request``.
        against: the second side, or several, each compared with the first.
        against_rev: in place of ``against``: the same cases with the code of that revision of their git repository.
        boundary: ``"latency"``, ``"gpu"``, ``"throughput"``, ...
        pairs: the most pairs of processes, 3 to 200; fixed before the first, as the rule depends on it.
        max_time: no pair is begun after that, ``"10min"``; by default there is no limit.
        device: as in ``request``.
        store: the folder of runs.
        cache: the folder of artifacts, as in ``request``.
        seed: of inputs, weights and the order of blocks.
        on_event: as in ``run``; ``Compared`` says where each match stands.

    Returns:
        The run: ``bench.matches(run)`` has the verdicts.

    Raises:
        InputError: as ``request``; a side without a case, no opponents, no such revision.
        Interrupted, Rescued, SourceChanged: as ``run``.
    """
    from bench.runner import duel

    try:
        max_time_ns = parse_time(max_time) if max_time else 0
    except ValueError as error:
        raise UsageError(str(error), where="--max-time", fix="10min, or leave it out") from error
    check_device(device)
    challenge = duel.new_challenge(
        suite if isinstance(suite, Suite) else load(suite),
        settings_of(store, cache, seed=seed),
        select=select,
        against=[against] if isinstance(against, str) else against,
        revision=against_rev,
        boundary=boundary,
        pairs=pairs,
        max_time_ns=max_time_ns,
        device=device,
    )
    with interruptible():
        return stored_run(duel.run(challenge, on_event or ignore))


def confirm(
    comparison: Comparison,
    suite: Suite | str | os.PathLike[str],
    *,
    threshold: float = 0.0,
    device: Device | None = None,
    store: str | os.PathLike[str] = RESULTS,
    cache: str | os.PathLike[str] | None = None,
    seed: int = 0,
    on_event: OnEvent | None = None,
) -> tuple[Run, ...]:
    """Measure again, in duels, what a comparison of the cases of ``suite`` calls SLOWER by more than ``threshold``.

    Each has at most twice as many pairs as the side with more processes had. One duel per boundary; none if nothing is
    slower. The other options are those of ``duel``.

    Raises:
        UsageError: the sides are one case at two times, or a case is not in the suite.
        InputError, Interrupted: as ``duel``.
    """
    from bench.analysis import sequential
    from bench.runner import duel

    suite = suite if isinstance(suite, Suite) else load(suite)
    flagged: dict[Boundary, list[Pair]] = {}
    for pair in comparison.slower(threshold):
        assert pair.boundary is not None
        flagged.setdefault(pair.boundary, []).append(pair)
    challenges = []
    for boundary, pairs in flagged.items():
        processes = max(count for pair in pairs if pair.verdict for count in pair.verdict.processes)
        challenges.append(
            duel.confirmation(
                suite,
                settings_of(store, cache, seed=seed),
                [(pair.a.case, pair.b.case) for pair in pairs],
                boundary=boundary,
                pairs=min(max(2 * processes, sequential.FIRST), sequential.MOST),
                device=device,
            )
        )
    return tuple(stored_run(duel.run(challenge, on_event or ignore)) for challenge in challenges)


def matches(run: Results) -> tuple[Match, ...]:
    """The matches of a duel: ratio, repeated interval, verdict. UsageError for another run."""
    from bench.analysis import duel

    if run.header.duel is None:
        raise UsageError("this run is no duel", where=run.path, fix="trtbench duel SUITE --select A --against B")
    return duel.matches(run)


def compare(
    a: Results | str | os.PathLike[str] | Sequence[Results | str | os.PathLike[str]],
    b: Results | str | os.PathLike[str] | Sequence[Results | str | os.PathLike[str]] = (),
    *,
    store: str | os.PathLike[str] = RESULTS,
    boundary: Boundary | None = None,
    across: str | Sequence[str] = (),
    axis: str = "",
    baseline: str = "",
    select: str = "",
    calibration: str = "",
) -> Comparison:
    """The run ``b`` against the run ``a``: per case the ratio of times (b / a), its 95 % interval and a verdict.

    Args:
        a: a run, or one named as in ``find``; several are pooled as one side.
        b: as ``a``; without it the cases of ``a`` are compared with each other along ``axis``.
        store: the folder of runs.
        boundary: whose times are compared; by default the first of ``gpu``, ``latency`` and ``gpu_unheld`` that both
            sides of a pair have. ``throughput`` is compared as time per inference.
        across: what the environments may differ in: ``"driver"``, ``"toolchain"``, ``"library:torch"``; a pair that
            differs in something else is REFUSED.
        axis: ``"backend"``, ``"toolchain"``, ``"precision"`` or ``"cuda_graph"``: partners may differ in that.
        baseline: with one run and the axis backend, that which all others are compared with.
        select: an expression as in ``plan``: only pairs with such a case of ``a``.
        calibration: a calibration of this environment by its name or file, or ``"none"``; by default the newest in
            ``store`` that is of the environment of all runs.

    Raises:
        StoreError: there is no such run or calibration.
        SelectionError: ``select`` names no case of ``a``.
        UsageError: nothing has a partner, a run is named twice, an unknown axis, dimension or boundary, or the
            calibration is of another environment.
    """
    from bench.analysis import compare, spreads
    from bench.checkup import calibrate

    if boundary is not None:
        check_boundary(boundary)
    sides = [[side] if isinstance(side, Results | str | os.PathLike) else list(side) for side in (a, b)]
    runs = [
        [run if isinstance(run, Results) else read(run, store=store, packed=True) for run in side] for side in sides
    ]
    if not runs[0]:
        raise UsageError("there is no first run", where="a", fix="name one")
    if duels := [run for side in runs for run in side if run.header.duel is not None]:
        what = "this is a duel, whose processes are pairs, which a comparison of runs would not use"
        raise UsageError(what, where=duels[0].path, fix=f"trtbench show {run_argument(duels[0])}")
    ids = [run.header.run for side in runs for run in side]
    if twice := [name for name in ids if ids.count(name) > 1]:
        raise UsageError(f"the run {twice[0]} is named twice", fix="name each run once, on one of the sides")
    names = [across] if isinstance(across, str) else list(across)
    only = selected(runs[0], select)
    chosen, why = calibrate.suitable(Path(store), [run for side in runs for run in side], names, calibration)
    several = bool(runs[1])
    spread = spreads.spread_of(chosen, sittings=several) if chosen else None
    whole = compare.compare(
        *runs, boundary=boundary, across=names, axis=axis, baseline=baseline, only=only, spread=spread
    )
    return spreads.mark(whole, chosen, why, sittings=several)


def history(
    case: str,
    *,
    store: str | os.PathLike[str] = RESULTS,
    boundary: Boundary | Sequence[Boundary] = (),
    rehearsals: bool = False,
    calibration: str = "",
) -> list[History]:
    """One case over all runs in ``store``: a point per run, and the runs at which its time steps to another level.

    Args:
        case: its label, or its id or at least 4 digits of it. A label that several cases have had over time, as a suite
            was edited, has a history for each.
        store: the folder of runs.
        boundary: one or several; by default the first of ``gpu``, ``latency`` and ``gpu_unheld`` that was measured.
        rehearsals: also runs of the backend fake.
        calibration: as in ``compare``; by default the newest of the device, whatever its libraries are.

    Raises:
        UsageError: no run has the case, or the boundary of it; an unknown boundary.
        StoreError: there is no run.
    """
    from bench.analysis import history
    from bench.checkup import calibrate
    from bench.store import histories, store_option

    boundaries = [boundary] if isinstance(boundary, str) else list(boundary)
    for each in boundaries:
        check_boundary(each)
    of_case = histories.load(Path(store), case, history.matches, history.is_point, rehearsals=rehearsals)
    whole = []
    for bare, runs in history.histories(of_case.runs, of_case.cases, boundaries):
        chosen = calibrate.of_device(Path(store), runs[-1:], calibration) if runs else None
        with_steps = history.with_steps(bare, runs, chosen)
        whole.append(msgspec.structs.replace(with_steps, unread=of_case.unread))
    if not whole:
        what = f"no run has {' or '.join(boundaries)} of {case}" if boundaries else f"{case} has no times"
        options = f"{' --rehearsals' if rehearsals else ''}{store_option(Path(store))}"
        raise UsageError(what, where="boundary", fix=f"trtbench history {shlex.quote(case)}{options}")
    return whole


def lint(run: Results, *, select: str | Set[str] = "") -> tuple[Finding, ...]:
    """Whether the cases of a run that are compared ran under equal conditions: each finding names the cases, what it
    does to times if the run has measured that, and the option that evens it out (docs/fairness.md). ``select`` names
    the cases to look at, as in ``selected``.
    """
    from bench.analysis import lint

    return lint.lint(run, selected(run, select))
