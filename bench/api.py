"""The Python API of trtbench: suites, runs and results; the command line is built on it.

Every function raises ``bench.errors.InputError`` for bad input, before anything is measured or written. A case that
cannot be measured is no exception but a record with a ``failure``. Times are integer nanoseconds, sizes are bytes.

::

    import bench

    suite = bench.load("suites/smoke.yaml")
    run = bench.run(suite, select="model=resnet18", quick=True)
    print(bench.tables(run))
    frame = run.frame()
"""

from __future__ import annotations

import inspect
import os
import shlex
from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bench.errors import StoreError, SuiteError, UsageError, did_you_mean
from bench.model import folders
from bench.model.events import Event
from bench.model.profile import CaseProfile, ProfileRun
from bench.model.run import Run as Results
from bench.model.suite import Boundary, Case, Plan, Precision, Suite
from bench.runner.request import Request, Settings
from bench.units import parse_time

if TYPE_CHECKING:
    import pandas as pd

    from bench.analysis.compare import Comparison as Comparison
    from bench.analysis.compare import Pair
    from bench.analysis.duel import Match
    from bench.analysis.explain import Explanation
    from bench.analysis.history import History
    from bench.analysis.lint import Finding
    from bench.analysis.payback import RunPayback
    from bench.analysis.rows import Row
    from bench.analysis.times import RunTimes
    from bench.analysis.waterfalls import RunWaterfalls
    from bench.machine.environment import Device
    from bench.model.calibration import Calibration
    from bench.model.profile import Layers, Tool
    from bench.model.run import Environment, Failure
    from bench.model.seam import Check, Reading
    from bench.report.html.write import Report
    from bench.runner.session import Finished
    from bench.store.listing import Summary

__all__ = [
    "RESULTS",
    "Interrupted",
    "Profiles",
    "Request",
    "Rescued",
    "Run",
    "benchmark",
    "calibrate",
    "cases",
    "cases_of",
    "check_baseline",
    "compare",
    "confirm",
    "doctor",
    "duel",
    "estimate",
    "execute",
    "explain",
    "find",
    "history",
    "layers",
    "lint",
    "load",
    "matches",
    "nothing_available",
    "payback",
    "plan",
    "profile",
    "read",
    "read_profiles",
    "request",
    "resume",
    "resume_command",
    "rows",
    "run",
    "run_argument",
    "runs",
    "schema",
    "selected",
    "selftest",
    "succeeded",
    "tables",
    "times",
    "waterfalls",
    "write_report",
    "write_trace",
]

RESULTS = Path(folders.RESULTS)
# More cases are not named one by one in a command.
_NAMED = 4
# Digits of an id that are taken as one.
_LEAST_ID = 4
DEVICES = ("auto", "cpu", "cuda")
OnEvent = Callable[[Event], None]


class Run(Results, frozen=True, kw_only=True):
    """A run as stored: ``header`` (request and environment), ``records`` (one per process), ``footer`` (how it ended).

    ``path`` is its file, ``damage`` reports lines of it that could not be read.
    """

    def frame(self) -> pd.DataFrame:
        """One row per record and boundary, as a pandas frame.

        Times are float64 nanoseconds, ``qps`` is inferences per second; docs/results-format.md has every column.
        """
        from bench import store

        return store.frame([self])

    def __repr__(self) -> str:
        """Short, because a notebook prints it: samples are in ``records``."""
        status = self.footer.status if self.footer else "unfinished"
        return f"Run({self.header.run!r}, {len(self.header.cases)} cases, {len(self.records)} records, {status})"

    def _repr_html_(self) -> str:
        """The tables, for a notebook."""
        from bench.report.html import notebook

        return notebook.tables(self)


class Rescued(StoreError):
    """The file of a run was replaced, changed or removed while the run wrote it; ``run`` has all records, elsewhere."""

    def __init__(self, run: Run, rescues: Sequence[str]) -> None:
        super().__init__(
            "; ".join(rescues), fix=f"trtbench show {run_argument(run)} has all {len(run.records)} records"
        )
        self.run = run


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, SIGTERM or SIGHUP ended the run; ``run`` has the records stored until then, and can be resumed."""

    def __init__(self, run: Run) -> None:
        super().__init__(f"interrupted; resume it with: {resume_command(run)}")
        self.run = run


# ------------------------------------------------------------------------------------------------ suites and plans


def load(path: str | os.PathLike[str]) -> Suite:
    """The suite file at ``path``, checked against the options of every backend.

    SuiteError with the file's line for anything that is wrong in it, UsageError if it is a run.
    """
    from bench.backends import base
    from bench.suite import reader

    file = Path(path)
    if file.suffix == ".jsonl":
        name = shlex.quote(str(file))
        fix = f"trtbench show {name}, or to resume it: trtbench run --resume {name}"
        raise UsageError("a run, where a suite is expected", where=str(file), fix=fix)
    return reader.load(file, base.registry())


def plan(
    suite: Suite | str | os.PathLike[str], *, select: str = "", backend: str = "", device: Device | None = None
) -> Plan:
    """The cases that ``run`` would measure, in their order, and what is left out and why.

    No device is needed: if the suite's device is missing, the plan is for a CUDA device.
    """
    return request(suite, select=select, backend=backend, device=device, plan_only=True).plan


def request(
    suite: Suite | str | os.PathLike[str],
    *,
    select: str = "",
    backend: str = "",
    device: Device | None = None,
    baseline: str = "",
    quick: bool = False,
    replicates: int = 0,
    allow_large: bool = False,
    plan_only: bool = False,
    store: str | os.PathLike[str] = RESULTS,
    cache: str | os.PathLike[str] | None = None,
    cold: bool = False,
    rebuild: bool = False,
    prestart: int | None = None,
    fork: bool | None = None,
    devices: int | str = 1,
    seed: int = 0,
) -> Request:
    """The request that ``run`` would execute for the same arguments, to inspect first and then pass to ``execute``.

    Args:
        suite: a suite or its file.
        select: which cases, e.g. ``"model=resnet50 and precision=fp16"``.
        backend: takes the place of every backend of the suite, e.g. ``"fake"`` for a rehearsal.
        device: ``"cpu"``, ``"cuda"`` or ``"auto"``; by default the suite's.
        baseline: the backend that speed is set against; by default the suite's, else eager.
        quick: one process a case, looser intervals: for a first look.
        replicates: fresh processes per case; 0 is as the suite says.
        allow_large: allow a plan of more than 10,000 cases.
        plan_only: a device that is not here is no error, but ``Request.device_missing``.
        store: the folder of runs.
        cache: the folder of artifacts; by default ``$TRTBENCH_CACHE`` or ``~/.cache/trtbench``.
        cold: make every artifact and compile cache anew.
        rebuild: make engines and packages anew, with the caches of earlier builds.
        prestart: how many workers import their runtimes, and make what cases need, side by side while nothing is
            measured; by default as many as the machine has room for.
        fork: whether the workers that measure are forked from processes that have imported their runtimes; by default
            they are, unless the run is ``cold`` or only one worker is at work.
        devices: how many GPUs like the first measure side by side, or ``"all"``: cases that are compared share one.
        seed: of inputs and weights.

    Raises:
        SuiteError: the suite is wrong.
        SelectionError: ``select`` is wrong or matches nothing.
        UsageError: an unknown backend or baseline, a plan that is too large, a device that is not here.
    """
    from bench.backends import base
    from bench.runner.request import new_request

    if backend:
        base.load(backend)
    if device is not None and device not in (*DEVICES, "fake"):
        what = f"unknown device {device!r}.{did_you_mean(str(device), DEVICES)}"
        raise UsageError(what, where="device", fix=f"known: {', '.join(DEVICES)}")
    return new_request(
        suite if isinstance(suite, Suite) else load(suite),
        _settings(
            store,
            cache,
            needed=not plan_only,
            cold=cold,
            rebuild=rebuild,
            prestart=prestart,
            fork=fork,
            devices=_count(devices),
            seed=seed,
        ),
        select=select,
        backend=backend,
        device=device,
        baseline=baseline,
        quick=quick,
        replicates=replicates,
        allow_large=allow_large,
        plan_only=plan_only,
    )


def schema(*, toolchains: bool = False) -> dict[str, Any]:
    """The JSON Schema of suite files, or of a ``toolchains.yaml``."""
    from bench.backends import base
    from bench.suite import reader

    return reader.toolchains_schema() if toolchains else reader.json_schema(base.registry())


# ------------------------------------------------------------------------------------------------------- measuring


def run(suite: Suite | str | os.PathLike[str], *, on_event: OnEvent | None = None, **options: Any) -> Run:
    """Measure a suite, store every record as it finishes, and read the run back.

    ``options`` are those of ``request``. ``on_event`` is called with each event (a case started, a phase of it, a
    record stored), a struct of ``bench.model.events``; one at a time, also in threads that wait for workers.

    Raises:
        InputError: as ``request``; StoreError if the store or the cache cannot be written.
        SourceChanged: a model's file was edited meanwhile; what was measured before is stored.
        Rescued: the run's file was replaced or removed meanwhile; all records are in another one.
        Interrupted: a signal ended it; what was measured is stored.
    """
    return execute(request(suite, **options), on_event=on_event)


def execute(request: Request, *, on_event: OnEvent | None = None) -> Run:
    """Measure what was requested. As ``run``."""
    from bench.runner.run import run
    from bench.suite import plan

    plan.check_some(request.plan)
    finished = run(request, on_event or _ignore)
    return _finished(finished)


def resume(
    run: Results | str | os.PathLike[str],
    *,
    select: str = "",
    store: str | os.PathLike[str] = RESULTS,
    cache: str | os.PathLike[str] | None = None,
    rebuild: bool = False,
    prestart: int | None = None,
    devices: int | str = 1,
    replicates: int = 0,
    allow_large: bool = False,
    on_event: OnEvent | None = None,
) -> Run:
    """Measure what is missing of a run, or of the cases of it that ``select`` names, with its own plan and seed.

    ``replicates`` raises its number of processes per case, also of a complete run; 0 leaves it. More than 100,000
    processes need ``allow_large``.

    UsageError if this is another environment than it was made in, or a file that its cases name has changed;
    StoreError if this trtbench cannot run its cases. Else as ``run``.
    """
    from bench.backends import base
    from bench.runner import resume as resuming
    from bench.suite import plan

    path = find(run, store=store)
    selected = plan.select_cases(cases(path, cache=cache), base.registry(), select) if select else None
    settings = _settings(store, cache, rebuild=rebuild, prestart=prestart, devices=_count(devices))
    finished = resuming.resume(
        path, settings, on_event or _ignore, selected, replicates=replicates, allow_large=allow_large
    )
    return _finished(finished)


def benchmark(
    model: Any,
    inputs: Any,
    *,
    backends: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]] = ("eager", "inductor"),
    precision: Precision | Sequence[Precision] | None = None,
    name: str = "",
    measure: Mapping[str, Any] | None = None,
    cache: str | os.PathLike[str] | None = None,
    on_event: OnEvent | None = None,
    **options: Any,
) -> Run:
    """Benchmark a module or function without a suite file: same workers, clock, checks and record as ``run``.

    Workers are other processes, so ``model`` must be reachable from them: its class, or the function, is imported there
    by name, and its weights and plain attributes travel in a safetensors and a JSON file (nothing is pickled). What
    would be another model there is refused; docs/api.md has the list. It is measured in eval mode. A suite is written
    beside these files in the cache; ``run.header.suite_path`` is its place there, as ``$TRTBENCH_CACHE/models/...``.

    Args:
        model: an ``nn.Module`` (an instance), a function of tensors, or a factory as in a suite, e.g.
            ``"torchvision:resnet50"`` or ``"net.py:make"``.
        inputs: the arguments of ``forward``: tensors or arrays by name, a sequence of them in order, or one. Their
            shapes and dtypes count, and of integers the range; the values measured with are seeded random ones, floats
            at the case's precision. The first dimension is called ``batch`` if all inputs share its size.
        backends: a name, or a mapping with options, ``{"name": "inductor", "mode": "max-autotune"}``, or several.
        precision: one, or several: fp32, tf32, fp16, bf16, int8, fp8. By default that of the weights and buffers: fp32,
            fp16 or bf16; fp32 for a function or a factory. A module with several of them needs a choice.
        name: of the model in tables; by default that of its class or function.
        measure: the section ``measure`` of a suite, e.g. ``{"replicates": 7}``; by default one process a case.
        cache: the folder of artifacts, as in ``request``.
        on_event: as in ``run``.
        options: those of ``request`` that are left (``device``, ``quick``, ``store``, ...).

    Raises:
        UsageError: the model cannot reach a worker (defined in ``__main__`` or in a function, with hooks, compiled, or
            with attributes that are no plain data): the message says which part, and what to do. An argument is
            wrong: ``where`` is its name, and nothing is written.
        InputError, Interrupted: as ``run``.
    """
    from bench.runner import adhoc
    from bench.store import artifacts

    adhoc.check_options(options, _parameters(benchmark, request))
    draft = adhoc.draft(model, inputs, backends=backends, precision=precision, name=name, measure=measure)
    draft.check(lambda suite: request(suite, cache=cache, **options))
    suite = draft.write(Path(cache or artifacts.default_root()))
    try:
        return run(suite, cache=cache, on_event=on_event, **options)
    except SuiteError as error:  # a worker found another program by the model's names
        raise UsageError(error.what, where="model", fix=error.fix) from error


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
    if device is not None and device not in (*DEVICES, "fake"):
        what = f"unknown device {device!r}.{did_you_mean(str(device), DEVICES)}"
        raise UsageError(what, where="device", fix=f"known: {', '.join(DEVICES)}")
    challenge = duel.new_challenge(
        suite if isinstance(suite, Suite) else load(suite),
        _settings(store, cache, seed=seed),
        select=select,
        against=[against] if isinstance(against, str) else against,
        revision=against_rev,
        boundary=boundary,
        pairs=pairs,
        max_time_ns=max_time_ns,
        device=device,
    )
    return _finished(duel.run(challenge, on_event or _ignore))


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
                _settings(store, cache, seed=seed),
                [(pair.a.case, pair.b.case) for pair in pairs],
                boundary=boundary,
                pairs=min(max(2 * processes, sequential.FIRST), sequential.MOST),
                device=device,
            )
        )
    return tuple(_finished(duel.run(challenge, on_event or _ignore)) for challenge in challenges)


def matches(run: Results) -> tuple[Match, ...]:
    """The matches of a duel: ratio, repeated interval, verdict. UsageError for another run."""
    from bench.analysis import duel

    if run.header.duel is None:
        raise UsageError("this run is no duel", where=run.path, fix="trtbench duel SUITE --select A --against B")
    return duel.matches(run)


def layers(request: Request, *, on_event: OnEvent | None = None) -> list[tuple[Case, Layers | Failure]]:
    """The layers of each case's engine and their times, measured in a separate pass.

    UsageError for more than 8 cases, or for a backend that cannot list its layers.
    """
    from bench.profiling import layers

    return list(layers.layers(request, on_event or _ignore))


class Profiles(ProfileRun, frozen=True, kw_only=True):
    """Profiles as stored: ``cases`` has one for each case, or its failure; ``path`` is their file.

    ``interrupted`` says that Ctrl-C, SIGTERM or SIGHUP ended it before all cases had their turn.
    """

    path: str = ""
    interrupted: bool = False

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
        StoreError: the file, or a report, cannot be written.
    """
    from bench.profiling import collect, tools

    if tool not in tools.NAMES:
        what = f"unknown tool {tool!r}.{did_you_mean(str(tool), tools.NAMES)}"
        raise UsageError(what, where="tool", fix=f"known: {', '.join(tools.NAMES)}")
    asked = collect.Asked(
        tool=tool, iterations=iterations, modules=modules, kernel=kernel, raw=os.fspath(raw), path=os.fspath(out)
    )
    end = collect.collect(request, asked, on_event or _ignore)
    return _as_profiles(end.profiles, end.path, interrupted=end.interrupted)


def read_profiles(name: str | os.PathLike[str] | None = None, *, store: str | os.PathLike[str] = RESULTS) -> Profiles:
    """Stored profiles by their file, their name or the beginning of that; the newest in ``store`` by default.

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
    that is there. UsageError for a profile without events, OSError if it cannot be written.
    """
    from bench.report import trace

    if profile.condensed is None:
        raise UsageError(f"{profile.label} has no profile", fix="profile it again")
    try:
        text = trace.trace(profile.condensed.profile)
    except ValueError as error:
        raise UsageError(f"{profile.label}: {error}", fix="trtbench profile SUITE --tool torch, or nsys") from error
    path = Path(out)
    path.write_text(text, encoding="utf-8")
    return path


def explain(
    a: str,
    b: str,
    *,
    file: str | os.PathLike[str] = "",
    across: str | Sequence[str] = (),
    store: str | os.PathLike[str] = RESULTS,
) -> Explanation:
    """Why case ``b`` takes longer than case ``a``, or less long: by parts of the model, with causes and kernels.

    Args:
        a: ``FILE:CASE``, where FILE has profiles, or layers as ``trtbench layers --format json`` prints them; FILE
            alone if it has one case, CASE alone of ``file``. A CASE is a label, an id or the beginning of one, or parts
            of a label that no other case has.
        b: likewise; by default of the same file.
        file: a file of profiles by its path, its name or the beginning of that; the newest in ``store`` by default.
        across: ``model`` or ``size``, in which the cases may differ.
        store: the folder of runs and profiles.

    Raises:
        UsageError: no case or several fit, the case failed, or the two are of different models or sizes.
        StoreError: the file cannot be read.
    """
    from bench.analysis import explain
    from bench.profiling import sides

    named = (across,) if isinstance(across, str) else tuple(across)
    return explain.explain(*sides.find(a, b, Path(store), os.fspath(file)), across=[name for name in named if name])


# --------------------------------------------------------------------------------------------------------- results


def find(run: Results | str | os.PathLike[str] | None = None, *, store: str | os.PathLike[str] = RESULTS) -> Path:
    """The file of a run by its id, the beginning of that, or its path; the latest in ``store`` by default, which is
    never a rehearsal.

    StoreError if there is none, or several fit.
    """
    from bench import store as folder
    from bench.store import kinds

    if isinstance(run, Results):
        return Path(run.path)
    if run is not None:
        kinds.refuse_others(Path(run))
    path = folder.resolve(Path(store), os.fspath(run) if run is not None else None)
    kinds.refuse_others(path)
    return path


def read(
    run: str | os.PathLike[str] | None = None, *, store: str | os.PathLike[str] = RESULTS, packed: bool = False
) -> Run:
    """A stored run, named as in ``find``. StoreError if it cannot be read; lines that cannot are in ``damage``.

    ``packed`` is for tables of large runs: a fraction of the memory, the samples of each series in ascending order, and
    no ``parts``.
    """
    from bench import store as folder

    return _as_run(folder.read(find(run, store=store), packed=packed))


def rows(run: Results, *, baseline: str = "") -> tuple[Row, ...]:
    """The rows of a run's tables, one per case: medians with 95 % intervals, rates, speed against ``baseline``.

    UsageError if no case has the ``baseline``.
    """
    from bench.analysis import rows

    return rows.rows(run, baseline)


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
    from bench.analysis import calibration as spreads
    from bench.analysis import compare
    from bench.checkup import calibrate

    if boundary is not None:
        _check_boundary(boundary)
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
    from bench.store import histories

    boundaries = [boundary] if isinstance(boundary, str) else list(boundary)
    for each in boundaries:
        _check_boundary(each)
    of_case = histories.load(Path(store), case, history.matches, rehearsals=rehearsals)
    whole = []
    for bare, runs in history.histories(of_case.runs, of_case.cases, boundaries):
        chosen = calibrate.of_device(Path(store), runs[-1:], calibration) if runs else None
        with_steps = history.with_steps(bare, runs, chosen)
        whole.append(msgspec.structs.replace(with_steps, unread=of_case.unread))
    if not whole:
        what = f"no run has {' or '.join(boundaries)} of {case}" if boundaries else f"{case} has no times"
        raise UsageError(what, where="boundary", fix=f"trtbench history {shlex.quote(case)}")
    return whole


def tables(
    run: Results,
    *,
    baseline: str = "",
    select: str = "",
    width: int = 120,
    verbose: bool = False,
    phases: bool = False,
    stats: bool = False,
) -> str:
    """The tables that ``trtbench show`` prints, as plain text of at most ``width`` columns.

    ``select`` names the cases to show, as in ``request``; speed and rank are those of the whole run.
    """
    from bench.report import text

    return text.render(
        run,
        baseline=baseline,
        width=width,
        verbose=verbose,
        phases=phases,
        stats=stats,
        only=selected(run, select),
        color=False,
    )


def times(run: Results, *, select: str | Set[str] = "") -> RunTimes:
    """Where the wall time of a run went: nanoseconds by category for each case, for what is of no single one, and in
    total. ``select`` names the cases to sum, as in ``selected``.
    """
    from bench.analysis import times

    return times.of_run(run, selected(run, select))


def payback(run: Results, *, baseline: str = "", select: str | Set[str] = "") -> RunPayback:
    """What each case costs before its first answer (build, start, first call), and after how many requests it has paid
    that back against ``baseline``. ``select`` names the cases, as in ``selected``.

    UsageError if no case has the ``baseline``.
    """
    from bench.analysis import payback

    return payback.of_run(run, baseline, selected(run, select))


def waterfalls(run: Results, *, store: str | os.PathLike[str] = RESULTS, select: str | Set[str] = "") -> RunWaterfalls:
    """Where the time of an inference goes for each case of a run: from the newest profiles of its cases, beside the
    run's own medians. ``select`` names the cases, as in ``selected``.

    Profiles are those of the run's device in ``store``, and those beside the run's file.
    """
    from bench.analysis import waterfalls as view
    from bench.store import profiles

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
    make = shlex.join(["trtbench", "profile", run.header.suite_path, *chosen, *also])
    return msgspec.structs.replace(several, make=make)


def lint(run: Results, *, select: str | Set[str] = "") -> tuple[Finding, ...]:
    """Whether the cases of a run that are compared ran under equal conditions: each finding names the cases, what it
    does to times if the run has measured that, and the option that evens it out (docs/fairness.md). ``select`` names
    the cases to look at, as in ``selected``.
    """
    from bench.analysis import lint

    return lint.lint(run, selected(run, select))


def write_report(
    runs: Results | str | os.PathLike[str] | Sequence[Results | str | os.PathLike[str]] = (),
    out: str | os.PathLike[str] = "report.html",
    *,
    store: str | os.PathLike[str] = RESULTS,
    select: str = "",
    baseline: str = "",
    title: str = "",
    refresh: int = 0,
) -> Report:
    """Write one HTML file that shows ``runs`` and needs nothing else: the dashboard (docs/dashboard.md).

    Args:
        runs: runs, or such as are named in ``find``; without any all of the store but rehearsals, where a file that
            cannot be read is a problem that the page names.
        out: the file; one that is there is replaced when the page is whole.
        store: the folder of runs.
        select: which cases, as in ``request``; runs without a match are left out.
        baseline: as in ``rows``, for the runs that have it.
        title: of the page.
        refresh: after how many seconds the page loads itself again, 0 for never.

    Raises:
        StoreError: a run that is named cannot be read.
        SelectionError: no run has a case that ``select`` matches.
        UsageError: no run has the ``baseline``, or a run is named twice.
    """
    from bench.report.html import write

    named = [runs] if isinstance(runs, Results | str | os.PathLike) else list(runs)
    problems: list[str] = []
    if named:
        every: list[Results] = [
            run if isinstance(run, Results) else read(run, store=store, packed=True) for run in named
        ]
        write.refuse_twice(every)
    else:
        every, problems = write.read_store(Path(store))
    return write.write(
        every,
        Path(out),
        problems=problems,
        only=selected(every, select) if every else None,
        baseline=baseline,
        title=title,
        place=os.fspath(store),
        refresh=refresh,
    )


def selected(run: Results | Sequence[Results], select: str | Set[str]) -> frozenset[str] | None:
    """The ids of the cases that ``select`` names; None for an empty one, which names all.

    Args:
        run: a run, or several: an expression is then about the cases of all of them, of which some runs may have none.
        select: an expression as in ``request``, or the ids themselves.

    Raises:
        SelectionError: the expression is wrong, or matches no case.
    """
    from bench.backends import base
    from bench.suite import plan

    if not select:
        return None
    several = [run] if isinstance(run, Results) else run
    cases = {case.id: case for each in several for case in each.header.cases}
    if not isinstance(select, str):
        return frozenset(cases.keys() & select)
    return frozenset(case.id for case in plan.select_cases(tuple(cases.values()), base.registry(), select))


def runs(*, store: str | os.PathLike[str] = RESULTS, rehearsals: bool = False) -> list[Summary]:
    """The runs in ``store`` in short, newest first; rehearsals only if asked for."""
    from bench import store as folder

    return folder.summaries(Path(store), rehearsals=rehearsals)


def estimate(request: Request) -> tuple[int, int]:
    """The least and the most nanoseconds that the measurements of a request take, without exports and builds."""
    from bench.analysis import duration
    from bench.errors import DeviceUnavailable
    from bench.machine import environment

    try:
        gpu = environment.describe(request.device).kind != "cpu"
    except DeviceUnavailable:
        gpu = True
    processes, devices = len(request.plan.cases) * request.policy.replicates, request.settings.devices
    return duration.bounds(
        processes, request.policy, gpu=gpu, devices=max(devices, 1)
    )  # 0 is all, before they are listed


def cases(
    run: Results | str | os.PathLike[str],
    *,
    store: str | os.PathLike[str] = RESULTS,
    cache: str | os.PathLike[str] | None = None,
) -> tuple[Case, ...]:
    """The cases of a run that ``resume`` could measure. StoreError or UsageError if it cannot be resumed here."""
    from bench.runner import resume as resuming

    return resuming.resumable_cases(find(run, store=store), Path(cache) if cache else None)


def check_baseline(cases: Sequence[Case], baseline: str) -> None:
    """UsageError if none of ``cases`` is of the backend ``baseline``; nothing for an empty one."""
    from bench.analysis import speed

    speed.check_baseline(cases, baseline)


def succeeded(run: Results, *, strict: bool = False) -> bool:
    """Whether no case failed or is inaccurate; a missing package or device counts only if ``strict``."""
    from bench.analysis import status

    return status.succeeded(run, strict=strict)


def nothing_available(run: Results) -> bool:
    """Whether nothing was measured because every case lacks a package or a device."""
    from bench.analysis import status

    return status.nothing_available(run)


def run_argument(run: Results) -> str:
    """The run as an argument of a command: its name, or its file."""
    from bench import store

    return store.run_argument(Path(run.path))


def resume_command(run: Results) -> str:
    """The command that resumes a run."""
    from bench import store

    return store.resume_command(Path(run.path))


# --------------------------------------------------------------------------------------------------------- checkup


def doctor(file: str | os.PathLike[str] | None = None, *, store: str | os.PathLike[str] = RESULTS) -> list[Check]:
    """What this machine can run: the machine, folders, libraries, backends, and the command that fixes what is missing.

    ``file`` is a suite or a ``toolchains.yaml`` whose toolchains are examined too; ``suites/toolchains.yaml`` if there
    is one.
    """
    from bench.backends import base
    from bench.checkup import doctor
    from bench.suite import reader

    usual = Path("suites", reader.TOOLCHAINS)
    source = Path(file) if file is not None else usual if usual.is_file() else None
    toolchains = reader.toolchains_of(source, base.registry()) if source else {}
    checks = doctor.examine(_default_cache(needed=False), Path(store))
    return checks + (doctor.examine_toolchains(toolchains, source.parent) if source else [])


def selftest(
    *, processes: int = 3, holds: int = 10, on_event: OnEvent | None = None
) -> tuple[Environment, tuple[Reading, ...]]:
    """The GPU's clock against kernels of known length, in fresh processes.

    ``holds`` calls of each kind that is hard to hold are made. UsageError without a GPU, or if streams cannot be held.
    """
    from bench.checkup import selftest

    return selftest.run(processes, holds, on_event or _ignore)


def calibrate(
    suite: Suite | str | os.PathLike[str] | Request | None = None,
    *,
    runs: Results | str | os.PathLike[str] | Sequence[Results | str | os.PathLike[str]] = (),
    processes: int = 28,
    sittings: int = 2,
    replicates: int = 0,
    store: str | os.PathLike[str] = RESULTS,
    on_event: OnEvent | None = None,
    **options: Any,
) -> Calibration:
    """How identical code differs on this machine: the spread of processes, builds and sittings, how often ``compare``
    would call it different, and how many processes find a difference of 1 to 5 %. Stored beside the device's runs.

    Args:
        suite: a suite, its file or a request: its cases are measured. None: only the ``runs`` count.
        runs: stored runs that count as sittings too, named as in ``find``.
        processes: of each case, in all sittings that are measured now.
        sittings: runs of the suite, one after the other.
        replicates: processes a side of the comparisons to come; by default those of the suite, else 7.
        store: the folder of runs.
        on_event: as in ``run``.
        options: those of ``request`` that are left.

    Raises:
        UsageError: neither a suite nor runs, too few processes, or runs of different environments.
        InputError, Interrupted: as ``run``; what was measured is stored, and ``runs`` can name it.
    """
    from bench.checkup import calibrate
    from bench.store import calibrations

    names = [runs] if isinstance(runs, Results | str | os.PathLike) else list(runs)
    measured = [run if isinstance(run, Results) else read(run, store=store, packed=True) for run in names]
    if suite is None and not measured:
        raise UsageError("neither a suite nor a run is named", fix="trtbench calibrate suites/smoke.yaml")
    if replicates:
        calibrate.check_replicates(replicates)
    policy = None
    if suite is not None:
        sizes = calibrate.split(processes, sittings)
        planned = suite if isinstance(suite, Request) else request(suite, store=store, **options)
        policy = planned.policy
        calibrate.check(measured, planned)
        measured += calibrate.measure(planned, sizes, on_event or _ignore, _finished)
    calibration = calibrate.make(measured, replicates or calibrate.usual_replicates(policy))
    calibrations.write(Path(store), calibration)
    return calibration


# ------------------------------------------------------------------------------------------------------------------


def import_runner() -> None:
    """Import what plans and runs need, before something is started that an interrupt would have to end."""
    from bench.runner import run  # noqa: F401


def _check_boundary(boundary: str) -> None:
    from bench.model.suite import BOUNDARIES

    if boundary not in BOUNDARIES:
        what = f"unknown boundary {boundary!r}.{did_you_mean(str(boundary), BOUNDARIES)}"
        raise UsageError(what, where="boundary", fix=f"known: {', '.join(BOUNDARIES)}")


def _settings(
    store: str | os.PathLike[str], cache: str | os.PathLike[str] | None, *, needed: bool = True, **options: Any
) -> Settings:
    """The settings of a request; a plan, for which no cache is ``needed``, may have none."""
    return Settings(store=os.fspath(store), cache=os.fspath(cache or _default_cache(needed) or ""), **options)


def _count(devices: int | str) -> int:
    """The number of devices, 0 for all. UsageError for another word or number."""
    if devices == "all":
        return 0
    if not isinstance(devices, int) or isinstance(devices, bool) or devices < 1:
        raise UsageError(f"{devices!r} is no number of devices", where="devices", fix='1 or more, or "all"')
    return devices


def _default_cache(needed: bool) -> Path | None:
    """The usual folder of artifacts; None for a user without a home folder, or StoreError if it is ``needed``."""
    from bench.store import artifacts

    try:
        return artifacts.default_root()
    except StoreError:
        if needed:
            raise
        return None


def _parameters(*functions: Callable[..., Any]) -> list[str]:
    """The names of the arguments that a caller may give to the functions by keyword."""
    parameters = [each for function in functions for each in inspect.signature(function).parameters.values()]
    return [each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY]


def _finished(finished: Finished) -> Run:
    """The run as stored. Interrupted if a signal ended it, Rescued if its file was lost meanwhile."""
    run = read(finished.path)
    if finished.interrupted:
        raise Interrupted(run)
    if finished.rescues:
        raise Rescued(run, finished.rescues)
    return run


def _as_run(results: Results) -> Run:
    return Run(**{name: getattr(results, name) for name in results.__struct_fields__})


def _as_profiles(run: ProfileRun, path: str, *, interrupted: bool = False) -> Profiles:
    fields = {name: getattr(run, name) for name in run.__struct_fields__}
    return Profiles(**fields, path=path, interrupted=interrupted)


def _ignore(event: Event) -> None:
    """Nobody watches."""
