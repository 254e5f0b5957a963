"""Profiles: what happens inside an inference, and why one takes longer than another."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import msgspec

from bench.api.results import RESULTS, OnEvent, check_choice, ignore, selected
from bench.errors import UsageError, did_you_mean
from bench.model.profile import CaseProfile, ProfileRun
from bench.model.run import Run as Results
from bench.runner.request import Request

if TYPE_CHECKING:
    from bench.analysis.explain import Explanation, Gaps
    from bench.analysis.waterfalls import RunWaterfalls
    from bench.model.profile import Tool

# More cases are not named one by one in a command.
_NAMED = 4
# Digits of an id that are taken as one.
_LEAST_ID = 4


class Profiles(ProfileRun, frozen=True, kw_only=True):
    """Profiles as stored: ``cases`` has one for each case, or its failure; ``path`` is their file.

    ``interrupted`` says that Ctrl-C, SIGTERM or SIGHUP ended it before all cases had their turn. ``missing_reports``
    says why a tool's own report is not in the folder for them, a sentence for each.
    """

    path: str = ""
    interrupted: bool = False
    missing_reports: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Short, because a notebook prints it."""
        return f"Profiles({self.path!r}, {self.tool}, {len(self.cases)} cases)"


def profile(
    request: Request,
    *,
    tool: Tool = "torch",
    modules: bool = False,
    iterations: int = 10,
    kernel: str = "",
    raw: str | os.PathLike[str] = "",
    out: str | os.PathLike[str] = "",
    on_event: OnEvent | None = None,
) -> Profiles:
    """Let a profiler look at each case of a request, in a pass of its own; nothing of it is a measurement.

    Args:
        request: the cases, and ``store``, the folder that the file of profiles goes to.
        tool: ``"nsys"``, ``"torch"`` (torch.profiler, on a CPU too), ``"layers"`` (of engines) or ``"ncu"``.
        modules: give each module that a call runs in Python a range.
        iterations: how many calls are recorded; fewer of those that take long.
        kernel: the name of the kernel that ncu looks at.
        raw: a folder for the tool's own reports, for its viewer; by default they are removed.
        out: the file to write, in place of one in the store.
        on_event: as in ``run``.

    Raises:
        UsageError: the tool is not here or cannot look at any of the cases, before anything is made.
        SuiteError: a file or a function that the suite names is not there, before the device is waited for.
        StoreError: the file cannot be written. A profile that there is no room for is the failure of its case.
    """
    from bench.profiling import collect, tools
    from bench.profiling.options import ProfileOptions

    check_choice("tool", tool, tools.NAMES)
    options = ProfileOptions(
        tool=tool, iterations=iterations, modules=modules, kernel=kernel, raw=os.fspath(raw), path=os.fspath(out)
    )
    end = collect.collect(request, options, on_event or ignore)
    return _as_profiles(end.profiles, end.path, interrupted=end.interrupted, missing_reports=end.missing_reports)


def read_profiles(name: str | os.PathLike[str] | None = None, *, store: str | os.PathLike[str] = RESULTS) -> Profiles:
    """Stored profiles by their file, their name, or the beginning or last part of that; by default the newest in
    ``store``.

    StoreError if there are none, several fit, or they cannot be read.
    """
    from bench.store import profiles

    path = profiles.resolve(Path(store), os.fspath(name) if name is not None else None)
    return _as_profiles(profiles.read(path), str(path))


def cases_of(profiles: ProfileRun, case: str = "") -> tuple[CaseProfile, ...]:
    """The cases of stored profiles whose label is ``case``, else those whose label has it (``eager/*/batch=1``) or
    whose id begins with it; all that have a profile by default. Nodes of graphs are named after the same kernels of
    another case.

    UsageError if there is none, or none of them has a profile.
    """
    import re

    from bench.analysis import siblings

    labels = [each.label for each in profiles.cases]
    pattern = re.escape(case).replace(r"\*", ".*")
    named = siblings.with_names(profiles).cases
    several = [each for each in named if case in ("", each.label)] or [
        each
        for each in named
        if re.search(pattern, each.label) or (len(case) >= _LEAST_ID and each.case.startswith(case))
    ]
    if not several:
        what = f"there is no case {case!r} in the profiles.{did_you_mean(case, labels)}"
        raise UsageError(what, where="--case", fix=f"one of: {', '.join(labels) or 'none, the file is empty'}")
    if not (complete := tuple(each for each in several if each.condensed)):
        failures = "; ".join(f"{each.label}: {each.failure.kind}" for each in several if each.failure)
        raise UsageError(f"no case has a profile: {failures}", where="--case", fix="profile them again")
    return complete


def write_trace(profile: CaseProfile, out: str | os.PathLike[str]) -> Path:
    """Write what a tool saw of a case as a trace for ui.perfetto.dev or chrome://tracing; the file, which replaces one
    that is there. UsageError for a profile without events, or if it cannot be written.
    """
    from bench.report import trace
    from bench.store import output

    if profile.condensed is None:
        raise UsageError(f"{profile.label} has no profile", fix="profile it again")
    try:
        text = trace.trace(profile.condensed.profile)
    except ValueError as error:
        raise UsageError(f"{profile.label}: {error}", fix="trtbench profile SUITE --tool torch, or nsys") from error
    path = Path(out)
    output.write(path, text.encode())
    return path


def explain(
    a: str,
    b: str,
    *,
    file: str | os.PathLike[str] = "",
    across: str | Sequence[str] = (),
    gaps: Gaps = "auto",
    runs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    store: str | os.PathLike[str] = RESULTS,
) -> Explanation:
    """Why case ``b`` takes longer than case ``a``, or less long: by parts of the model, with causes and kernels.

    Args:
        a: ``FILE:CASE``, where FILE has profiles, or layers as ``trtbench layers --format json`` prints them; FILE
            alone if it has one case, CASE alone of ``file``. A CASE is a label, an id or the beginning of one, or a
            part of a label that no other case has.
        b: likewise; by default of the same file.
        file: a file of profiles by its path, its name, or the beginning or last part of that; by default the newest in
            ``store`` that has both cases, as the first of the notes says where that is not the newest of all.
        across: ``model`` or ``size``, in which the cases may differ.
        gaps: how long the times are in which the GPU is idle, as a profiler makes them longer. ``measured``: what
            ``latency`` of the newest run that has it of both cases leaves beside the work; ``gpu``: what ``gpu`` of
            the newest with that does, to which layers of an engine are shortened, too; ``unprofiled``: what the time
            before the profiler started does; ``profiled``: as it saw them, not of an engine beside kernels; ``auto``:
            the first of these that both cases have.
        runs: those whose times are taken, by path, name, or its beginning or last part, in place of the newest that
            have both cases.
        store: the folder of runs and profiles.

    Raises:
        UsageError: no case or several fit, the case failed, the two are of different models or sizes, the profile does
            not tell the time without a profiler, or one of ``runs`` has no time of both cases.
        StoreError: the file cannot be read.
    """
    from bench.analysis import explain
    from bench.profiling import sides

    check_choice("gaps", gaps, get_args(explain.Gaps))
    named = (across,) if isinstance(across, str) else tuple(across)
    from_runs = [runs] if isinstance(runs, str | os.PathLike) else runs
    pair = sides.find(a, b, Path(store), os.fspath(file), [os.fspath(each) for each in from_runs])
    whole = explain.explain(pair.a, pair.b, across=[name for name in named if name], gaps=gaps, run=pair.runs)
    return msgspec.structs.replace(whole, notes=(pair.source, *whole.notes)) if pair.source else whole


def waterfalls(run: Results, *, store: str | os.PathLike[str] = RESULTS, select: str | Set[str] = "") -> RunWaterfalls:
    """Where the time of an inference goes for each case of a run: from the newest profiles of its cases, beside the
    run's own medians. ``select`` names the cases, as in ``selected``.

    Profiles are those of the run's device in ``store``, and those beside the run's file.
    """
    from bench.analysis import waterfalls as view
    from bench.store import profiles, suite_here

    environment = run.header.environments.get("default")
    folders = [Path(run.path).absolute().parent] if run.path else []
    folders += [(Path(store) / environment.arch / environment.slug).absolute()] if environment else []
    problems: list[str] = []
    cases = view.of_run(run, profiles.newest(folders, problems), selected(run, select))
    missing = [each.label for each in cases if each.parts is None and each.failure is None]
    several = view.RunWaterfalls(run=run.header.run, cases=cases, problems=tuple(problems))
    if not missing:
        return several
    some = len(missing) < len(run.header.cases) and len(missing) <= _NAMED
    chosen = ["--select", " or ".join(f'label="{label}"' for label in missing)] if some else []
    rehearsal = all(case.backend == "fake" and not case.options for case in run.header.cases)
    also = ["--backend", "fake"] if rehearsal else []
    also += [] if Path(store) == RESULTS else ["--store", os.fspath(store)]
    make = " ".join(["trtbench profile", suite_here(run.header.suite_path), *map(shlex.quote, [*chosen, *also])])
    return msgspec.structs.replace(several, make=make)


def _as_profiles(
    run: ProfileRun, path: str, *, interrupted: bool = False, missing_reports: tuple[str, ...] = ()
) -> Profiles:
    fields = {name: getattr(run, name) for name in run.__struct_fields__}
    return Profiles(**fields, path=path, interrupted=interrupted, missing_reports=missing_reports)
