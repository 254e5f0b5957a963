"""Suites as benchmarks of airspeed velocity (asv): every sample is what one fresh process measured.

In a project's folder of benchmarks, ``benchmarks/smoke.py``::

    from bench.integrations.asv import from_suite

    Smoke = from_suite("suites/smoke.yaml")

asv measures in rounds, each of which visits all benchmarks, and compares commits round by round. Here a round is one
process of each case, so that asv's samples are medians of processes, and its test is a test of processes.
``python -m bench.integrations.asv`` is asv behind checks of the repository.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import os
import re
import shutil
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

import bench
from bench.errors import BenchError, StoreError, UsageError
from bench.integrations.asv_command import CONFIGURATIONS, INSTALL, main
from bench.integrations.case_result import inaccuracy, reason
from bench.model.run import Record, Run
from bench.model.suite import BOUNDARIES, Boundary, Case, Plan, Suite, named
from bench.units import NS_PER_S

# Processes of a case. asv's Mann-Whitney test calls two sides different at p < 0.002, which 6 against 6 cannot reach.
PROCESSES = 7
# A case is made in up to three stages before it is measured, each within the time limit of the suite.
_STAGES = 4
# Commits whose engines, packages and runs are left in an environment's folder.
_COMMITS = 4
_ON_GPU: tuple[Boundary, ...] = ("gpu", "latency", "throughput")
_ON_CPU: tuple[Boundary, ...] = ("latency", "throughput")


def from_suite(
    suite: str | os.PathLike[str],
    *,
    select: str = "",
    backend: str = "",
    replicates: int = PROCESSES,
    qps: bool = False,
    name: str = "",
) -> type:
    """A class of asv benchmarks, one method per boundary of the suite, whose parameters are the suite's axes.

    ``time_gpu``, ``time_latency`` and the like are seconds per call, ``time_throughput`` seconds per inference in the
    closed loop. A combination that the plan leaves out, or whose package is missing, is skipped (``n/a``); a case that
    fails or is inaccurate fails, with the message that its row would have.

    Args:
        suite: its file; a relative path starts at the folder of asv.conf.json.
        select: which cases, as in ``bench.request``.
        backend: takes the place of every backend of the suite, e.g. ``"fake"`` for a rehearsal.
        replicates: fresh processes per case and commit, whatever the suite says; asv's test finds no difference between
            6 and 6, however large.
        qps: also ``track_qps``, in inferences per second. To asv more is always worse, so that its verdict on this
            one is the wrong way round: ``time_throughput`` is what to be judged by.
        name: of the class, by which asv knows its benchmarks; by default the suite's name. Two classes that are made
            of one suite need two names.

    Raises:
        InputError: as ``bench.request``. UsageError: asv_runner is not installed, or ``replicates`` is below 1.

    In a process that asv has started, an error ends it with the message alone.
    """
    caller = sys._getframe(1).f_globals.get("__file__")
    try:
        if importlib.util.find_spec("asv_runner") is None:
            raise UsageError("asv is not installed here", where="from_suite", fix=INSTALL)
        if replicates < 1:
            raise UsageError(f"{replicates} is no number of processes", where="replicates", fix="1 or more")
        cls = _benchmarks(_locate(suite, caller), select, backend, replicates, qps)
    except BenchError as error:
        if "asv_runner.discovery" in sys.modules:
            raise SystemExit(str(error)) from None
        raise
    if name:
        cls.__name__ = cls.__qualname__ = name
    return cls


def _locate(suite: str | os.PathLike[str], caller: str | None) -> Path:
    """The suite's file: a relative path starts at asv.conf.json, which lies beside or above the ``caller``'s file."""
    folder = Path(caller).resolve().parent if caller else Path.cwd()
    above = [each for each in (folder, *folder.parents) if any((each / name).is_file() for name in CONFIGURATIONS)]
    return (above[0] if above else folder) / suite


def _benchmarks(path: Path, select: str, backend: str, replicates: int, qps: bool) -> type:
    suite = bench.load(path)
    request = bench.request(suite, select=select, backend=backend, plan_only=True)
    cases = request.plan.cases
    if not cases:
        raise UsageError(
            "no case to measure", where=str(path), fix=f"trtbench list {path} says what is left out and why"
        )
    values = _axes(suite, cases)
    by_values = {tuple(each.values()): case for each, case in zip(values, cases, strict=True)}
    columns = [list(dict.fromkeys(column)) for column in zip(*by_values, strict=True)]
    measuring = _Measuring(path, select, backend, by_values)
    boundaries = suite.measure.boundaries or (_ON_GPU if _uses_gpu(suite) else _ON_CPU)
    members: dict[str, Any] = {f"time_{boundary}": _time(boundary, measuring) for boundary in boundaries}
    if qps and "throughput" in boundaries:
        members["track_qps"] = _qps(measuring, replicates)
    return type(
        re.sub(r"\W+", "", suite.name.title().replace("_", "")) or "Suite",
        (_Benchmarks,),
        members
        | {
            "__doc__": f"The suite {suite.name}.",
            "params": columns,
            "param_names": list(values[0]),
            "skip_params": _left_out(columns, by_values),
            "rounds": replicates,
            "timeout": _STAGES * suite.measure.timeout_ns / NS_PER_S,
        },
    )


def _uses_gpu(suite: Suite) -> bool:
    """Whether the suite's device, where it is ``auto`` that of this machine, is a GPU."""
    if suite.device == "auto":
        return not bench.request(suite, device="cuda", plan_only=True).device_missing
    return suite.device == "cuda"


def _axes(suite: Suite, cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Each case by the axes of the suite: those that its matrix names, and others with several values; a size that goes
    with the model is none.

    A backend has its options in its name only where there are several of it, so that a change of them is a change of
    what is measured and not another parameter.
    """
    variants: dict[str, set[str]] = {}
    for case in cases:
        variants.setdefault(case.backend, set()).add(named(case.backend, case.options))
    symbols = dict.fromkeys(name for case in cases for name in case.symbols)
    rows = []
    for case in cases:
        spans = (f"{name}={span.min}..{span.max}" for name, span in case.dynamic.items())
        rows.append(
            {
                "model": case.model,
                "backend": named(case.backend, case.options) if len(variants[case.backend]) > 1 else case.backend,
                "precision": case.precision,
                **{name: case.symbols.get(name) for name in symbols},
                "dynamic": " ".join(spans) or "off",
                "cuda_graph": "on" if case.cuda_graph else "off",
                "streams": case.streams,
                "lanes": case.lanes,
                "l2": case.l2,
                "transfers": "on" if case.transfers else "off",
                "toolchain": case.toolchain,
            }
        )

    def varies(axis: str) -> bool:
        values: dict[Any, set[Any]] = {}
        for row in rows:
            values.setdefault(row["model"] if axis in symbols else "", set()).add(row[axis])
        return any(len(each) > 1 for each in values.values())

    axes = [axis for axis in rows[0] if axis in suite.matrix or varies(axis)]
    return [{axis: row[axis] for axis in axes} for row in rows]


def _left_out(columns: Sequence[Sequence[Any]], cases: dict[tuple[Any, ...], Case]) -> list[tuple[Any, ...]]:
    """The combinations of asv's full product that are no cases."""
    product: list[tuple[Any, ...]] = [()]
    for column in columns:
        product = [(*head, value) for head in product for value in column]
    return [each for each in product if each not in cases]


# ------------------------------------------------------------------------------------------- what asv calls and reads


class _Clock:
    """What asv reads as its timer: 0, and after a call the sample, so that the difference is the sample unchanged."""

    seconds = 0.0

    def __call__(self) -> float:
        reading, self.seconds = self.seconds, 0.0
        return reading


class _Benchmarks:
    """What asv asks of a class of benchmarks beside its methods: one sample a round, of one call, without a warm-up.

    Results of another ``version`` are no longer compared: change it where a suite's model becomes another one.
    """

    number = 1
    repeat = 1
    min_run_count = 1
    warmup_time = 0
    version = hashlib.sha256(repr(BOUNDARIES).encode()).hexdigest()

    def __init__(self) -> None:
        self.timer = _Clock()

    def setup_cache(self) -> None:
        """With it all benchmarks of one commit and round share a folder, which asv removes when they are done."""
        _remove_old_commits()


def _time(boundary: Boundary, measuring: _Measuring) -> Callable[..., None]:
    def time(self: _Benchmarks, *values: Any) -> None:
        self.timer.seconds = measuring.sample(boundary, values)

    time.__doc__ = BOUNDARIES[boundary]
    return time


def _qps(measuring: _Measuring, replicates: int) -> Callable[..., dict[str, Any]]:
    def track(self: _Benchmarks, *values: Any) -> dict[str, Any]:
        # asv computes statistics of whatever has this form, and a tracked number alone would have none.
        return {"samples": [measuring.sample("qps", values)], "number": 1}

    track.__doc__ = "Inferences per second in the closed loop."
    track.unit = "inferences/s"  # type: ignore[attr-defined]
    track.rounds = replicates  # type: ignore[attr-defined]
    return track


# ----------------------------------------------------------------------------------------------------------- measuring


class _Sample(msgspec.Struct):
    """What one process measured: seconds by boundary and ``qps``, or why it is not to be used."""

    figures: dict[str, float] = {}
    error: str = ""
    unavailable: bool = False


class _Measuring:
    """The cases of a suite by their parameters, and the samples of them that this round of asv has."""

    def __init__(self, path: Path, select: str, backend: str, cases: dict[tuple[Any, ...], Case]) -> None:
        self._path, self._select, self._backend, self._cases = path, select, backend, cases

    def sample(self, figure: str, values: tuple[Any, ...]) -> float:
        """The figure of the case's next process: one that another benchmark has measured already, else a new one.

        A failure ends the process with its message, a missing package skips the benchmark.
        """
        case = self._cases[values]
        # In the folder that setup_cache makes, which all benchmarks have.
        file = Path(f"{_digest(self._path)}-{case.id}.json")
        samples, used = json.loads(file.read_bytes()) if file.is_file() else ([], {})
        index = used.get(figure, 0)
        if index < len(samples):
            sample = msgspec.convert(samples[index], _Sample)
        else:
            sample = self._measure(case)
            samples.append(msgspec.to_builtins(sample))
        file.write_text(json.dumps([samples, used | {figure: index + 1}]))
        if sample.unavailable:
            raise importlib.import_module("asv_runner.benchmarks.mark").SkipNotImplemented(sample.error)
        if not sample.error and figure not in sample.figures:
            sample.error = f"{case.label}: measured at {', '.join(sample.figures)}, and not at {figure}"
        if sample.error:
            raise SystemExit(sample.error)
        return sample.figures[figure]

    def _measure(self, case: Case) -> _Sample:
        try:
            return _sample_of(self._run(case).records[-1])
        except BenchError as error:
            return _Sample(error=f"{case.label}: {error}")

    def _run(self, case: Case) -> Run:
        """One more process of the case: another replicate of its run, if it has one that can be resumed."""
        suite = bench.load(self._path)
        folder = _folder() / _digest(suite.path, suite.text, os.environ.get("ASV_ENV_NAME"))
        store, cache = folder / case.id, folder.parent / "cache"
        if runs := sorted(store.rglob("*.jsonl"), key=lambda path: path.name):
            try:
                run = bench.read(runs[-1], store=store)
                complete = {record.replicate for record in run.records if record.failure is None}
                return bench.resume(runs[-1], store=store, cache=cache, replicates=len(complete) + 1)
            except (UsageError, StoreError):  # another environment, a changed file: a run of its own
                pass
        request = bench.request(
            suite, select=self._select, backend=self._backend, replicates=1, store=store, cache=cache
        )
        return bench.execute(msgspec.structs.replace(request, plan=Plan(cases=(case,))))


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def _folder() -> Path:
    """Where runs and artifacts of the installed commit lie: in its environment, else in that of the round.

    A commit has a cache of its own: two commits of a package often have one version, and artifacts go by that.
    """
    environment, commit = os.environ.get("ASV_ENV_DIR"), os.environ.get("ASV_COMMIT")
    return Path(environment, "trtbench", commit) if environment and commit else Path.cwd() / "trtbench"


def _remove_old_commits() -> None:
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    folder.touch()
    if folder.parent != Path.cwd():
        for old in sorted(folder.parent.iterdir(), key=lambda path: path.stat().st_mtime)[:-_COMMITS]:
            shutil.rmtree(old, ignore_errors=True)


def _sample_of(record: Record) -> _Sample:
    if failure := record.failure:
        return _Sample(error=reason(record.label, failure), unavailable=failure.kind == "Unavailable")
    if why := inaccuracy(record.label, record.accuracy):
        return _Sample(error=why)
    figures: dict[str, float] = {}
    for m in record.measurements:
        if m.window_ns:
            figures[m.boundary] = m.window_ns / (m.calls * m.batch) / NS_PER_S
            # asv shows all digits of a number that is no time.
            figures["qps"] = float(f"{m.calls * m.batch / m.window_ns * NS_PER_S:.6g}")
        elif m.samples:
            figures[m.boundary] = statistics.median(m.samples) / NS_PER_S
    return _Sample(figures=figures)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
