"""Python's share: what one artifact costs the host when Python runs it, and when a C++ program does; pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence, Set
from typing import Any

import msgspec

from bench import stats
from bench.analysis.intervals import difference_interval
from bench.analysis.pool import Pool, gather
from bench.analysis.sides import times
from bench.analysis.verdict import Verdict, verdict
from bench.model.data import Data, digest
from bench.model.run import Run
from bench.model.samples import SortedSamples
from bench.model.suite import Boundary, Case, named

# Options that say how an artifact is run, and not what it is.
_RUNNING = ("executor", "tensorrt_include")
# The boundaries at which the difference of the runners is Python's share.
HOST: tuple[Boundary, ...] = ("enqueue", "latency")
# The one at which there must be none: the same kernels.
DEVICE: Boundary = "gpu"
# Boundaries that only a case on a GPU has.
_OF_GPU: tuple[Boundary, ...] = ("gpu", "gpu_unheld", "enqueue", "compute")


class Times(Data, frozen=True, kw_only=True):
    """The runners at one boundary: geometric means over processes, ns per call, or in ``throughput`` per inference.

    ``share_ns`` is Python's time less that of C++, from ``low_ns`` to ``high_ns`` with 95 % confidence (None with one
    process on a side); ``fraction`` is it over Python's time. ``verdict`` is C++ against Python: FASTER if C++ is.

    The interval says how large the share is, the verdict whether there is one: it asks for 99 %, and for a difference
    that is rare among all deals of the processes. Near the limit the interval may have no 0 while the verdict is
    INCONCLUSIVE.
    """

    python_ns: float
    cpp_ns: float
    share_ns: float
    low_ns: float | None = None
    high_ns: float | None = None
    verdict: Verdict

    @property
    def fraction(self) -> float:
        """Of Python's time."""
        return self.share_ns / self.python_ns

    @property
    def shows_a_share(self) -> bool:
        """Whether the interval has no 0."""
        return self.low_ns is not None and self.high_ns is not None and not self.low_ns <= 0 <= self.high_ns

    @property
    def is_decided(self) -> bool:
        """Whether the verdict says that the runners differ, or that they are alike."""
        return self.verdict.kind != "INCONCLUSIVE"


class Loop(Data, frozen=True, kw_only=True):
    """The closed loop of ``throughput`` of one runner: ``threads`` of the host call the lanes (0: not recorded), in
    ``lane_processes``.

    ``rate`` is inferences per second, the geometric mean over processes. ``p50_ns`` and ``p99_ns`` are of the latencies
    of calls in the loop, of all ``processes`` together; None where these are too few (stats.percentiles).
    """

    threads: int
    rate: float
    p50_ns: float | None
    p99_ns: float | None
    processes: int
    lane_processes: int = 1


class HostCost(Data, frozen=True, kw_only=True):
    """One artifact and its two runners; ``artifact`` is the backend with the options that it depends on.

    ``python`` and ``cpp`` are labels of the cases, empty where the run has none. ``times`` are those at the boundaries
    that both have; ``lanes`` is the number of them in ``throughput``, and ``loops`` says by ``python``, ``processes``
    (Python with a process for each lane) and ``cpp`` who calls them and how fast. ``why`` says why there are no times,
    ``why_no_processes`` why the case with processes, if there is one, has no loop; empty where there are.
    ``overhead_ns`` is what the loop of the C++ program adds to a call, the median over its processes.
    """

    model: str
    artifact: str
    precision: str
    symbols: dict[str, int]
    lanes: int
    label: str
    python: str = ""
    cpp: str = ""
    times: dict[Boundary, Times] = {}
    loops: dict[str, Loop] = {}
    why: str = ""
    why_no_processes: str = ""
    overhead_ns: float | None = None

    @property
    def same_kernels(self) -> bool | None:
        """Whether the GPU takes the same time under both; None where that is not known."""
        of_device = self.times.get(DEVICE)
        kind = of_device.verdict.kind if of_device else "INCONCLUSIVE"
        return None if kind == "INCONCLUSIVE" else kind == "SAME"


class PythonShare(Data, frozen=True, kw_only=True):
    """What a table says of a case that Python runs, and a C++ program too: ``ns`` of its time per call, with the
    interval and the ``fraction`` of Times, at one ``boundary``: ``enqueue`` on a GPU, where kernels run beside the
    host, else ``latency``.
    """

    boundary: Boundary
    ns: float
    low_ns: float | None
    high_ns: float | None
    fraction: float


class RunHostCost(Data, frozen=True, kw_only=True):
    """The artifacts of a run in the order of its plan, also those with one runner: their ``why`` says so.

    ``suite`` is its file; ``deployed`` says whether any case asked for C++.
    """

    run: str
    suite: str
    deployed: bool
    artifacts: tuple[HostCost, ...]


def of_run(run: Run, only: Set[str] | None = None, pools: Sequence[Pool] | None = None) -> RunHostCost:
    """Each artifact of a backend that has a case with ``executor: cpp``; of ``only`` (ids) if one of its cases is.

    ``pools`` are those of ``gather``, for who has them.
    """
    groups = _groups(gather(run) if pools is None else pools)
    chosen = [each for each in groups if only is None or any(pool.case.id in only for pool in each)]
    return RunHostCost(
        run=run.header.run,
        suite=run.header.suite_path,
        deployed=bool(groups),
        artifacts=tuple(_line(*runners) for group in chosen for runners in _runners(group)),
    )


def shares(pools: Sequence[Pool]) -> dict[str, PythonShare]:
    """Python's share by the id of the case that Python runs; of several C++ runners the first with one counts.

    A case has none without a sound partner, and where the GPU takes another time under C++, so that kernels differ.
    """
    by_case: dict[str, PythonShare] = {}
    for group in _groups(pools):
        for python, program, _ in _runners(group):
            if python is None or program is None or python.case.id in by_case:
                continue
            if share := _share(_line(python, program), any(each in python.samples for each in _OF_GPU)):
                by_case[python.case.id] = share
    return by_case


def is_cpp(case: Case) -> bool:
    """Whether a C++ program runs it."""
    return case.options.get("executor") == "cpp"


# ------------------------------------------------------------------------------------------------------------------


def _settings(case: Case) -> dict[str, Any]:
    return {name: value for name, value in case.options.items() if name not in _RUNNING}


def _artifact(case: Case) -> str:
    """The same for cases that differ in the runner alone, or in whether lanes are processes."""
    fields = msgspec.to_builtins(case)
    return digest(
        {name: value for name, value in fields.items() if name not in ("source", "lanes")}
        | {"options": _settings(case)}
    )


def _groups(pools: Sequence[Pool]) -> list[list[Pool]]:
    """The cases of each artifact of a backend that has a case with ``executor: cpp``; none if no backend has."""
    deployed = {pool.case.backend for pool in pools if is_cpp(pool.case)}
    groups: dict[str, list[Pool]] = {}
    for pool in pools:
        if pool.case.backend in deployed:
            groups.setdefault(_artifact(pool.case), []).append(pool)
    return list(groups.values())


def _runners(group: Sequence[Pool]) -> list[tuple[Pool | None, Pool | None, Pool | None]]:
    """Python's runner beside each C++ runner of one artifact, and Python's with processes; what has no partner by
    itself.
    """
    pythons = [pool for pool in group if not is_cpp(pool.case)]
    programs = [pool for pool in group if is_cpp(pool.case)]
    processes = next((pool for pool in pythons if pool.case.lanes == "processes"), None)
    pythons = [pool for pool in pythons if pool is not processes] or pythons
    if not programs:
        return [(pool, None, processes) for pool in pythons]
    return [(pythons[0] if pythons else None, program, processes) for program in programs]


def _share(line: HostCost, on_gpu: bool) -> PythonShare | None:
    boundary: Boundary = "enqueue" if on_gpu else "latency"
    times = line.times.get(boundary)
    if times is None or line.same_kernels is False:
        return None
    return PythonShare(
        boundary=boundary, ns=times.share_ns, low_ns=times.low_ns, high_ns=times.high_ns, fraction=times.fraction
    )


def _line(python: Pool | None, program: Pool | None, processes: Pool | None = None) -> HostCost:
    known = python or program
    assert known is not None
    case = known.case
    alone = HostCost(
        model=case.model,
        artifact=named(case.backend, _settings(case)),
        precision=case.precision,
        symbols=dict(case.symbols),
        lanes=case.streams,
        label=msgspec.structs.replace(case, options=_settings(case), lanes="threads").label,
        python=python.case.label if python else "",
        cpp=program.case.label if program else "",
        why_no_processes=_unsound("multi-process Python", processes) if processes else "",
        overhead_ns=_overhead(program) if program else None,
    )
    if why := _unsound("Python", python) or _unsound("C++", program):
        return msgspec.structs.replace(alone, why=why)
    assert python is not None
    assert program is not None
    several = {boundary: _times(python, program, boundary) for boundary in (*HOST, DEVICE, "throughput")}
    both = {boundary: each for boundary, each in several.items() if each is not None}
    why = "" if both else "no boundary that both runners have"
    by_name = {
        "python": python if python is not processes else None,
        "processes": processes if not alone.why_no_processes else None,
        "cpp": program,
    }
    loops = {name: loop for name, pool in by_name.items() if pool is not None and (loop := _loop(pool))}
    return msgspec.structs.replace(alone, times=both, loops=loops, why=why)


def _unsound(name: str, pool: Pool | None) -> str:
    """Why a runner has no figures; empty if it has."""
    if pool is None:
        return f"no case runs it in {name}"
    return f"the {name} runner {flaw.text}" if (flaw := pool.flaw) else ""


def _loop(pool: Pool) -> Loop | None:
    """That of one runner; None if it has none."""
    rates = [rate for rate in pool.rates if rate > 0]
    if not rates:
        return None
    samples = pool.samples.get("throughput", ())
    ranked = stats.percentiles(SortedSamples.join(samples)) if samples else {}
    return Loop(
        threads=max(m.threads for record in pool.records for m in record.measurements if m.window_ns),
        rate=statistics.geometric_mean(rates),
        p50_ns=ranked.get(50),
        p99_ns=ranked.get(99),
        processes=len(rates),
        lane_processes=max(m.processes for record in pool.records for m in record.measurements if m.window_ns),
    )


def _overhead(pool: Pool) -> float | None:
    """The median of the processes' medians; None of records that have none."""
    several = [ns for record in pool.records if (ns := record.telemetry.loop_overhead_ns) is not None]
    return statistics.median(several) if several else None


def _times(python: Pool, program: Pool, boundary: Boundary) -> Times | None:
    """At one boundary; None if a side does not have it."""
    a, b = times(python, boundary), times(program, boundary)
    if not a or not b or min(*a, *b) <= 0:
        return None
    above, below = statistics.geometric_mean(a), statistics.geometric_mean(b)
    interval = difference_interval(a, b)
    return Times(
        python_ns=above,
        cpp_ns=below,
        share_ns=above - below,
        low_ns=interval.low if interval else None,
        high_ns=interval.high if interval else None,
        verdict=verdict(a, b),
    )
