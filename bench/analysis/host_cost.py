"""Python's share: what one artifact costs the host when Python runs it, and when a C++ program does; pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence, Set
from typing import Any

import msgspec

from bench import stats
from bench.analysis.pool import Pool, gather
from bench.analysis.sides import times
from bench.analysis.speed import CONFIDENCE
from bench.analysis.verdict import Verdict, verdict
from bench.model.data import Data, digest
from bench.model.run import Run
from bench.model.suite import Boundary, Case, named

# Options that say how an artifact is run, and not what it is.
_RUNNING = ("executor", "tensorrt_include")
# The boundaries at which the difference of the runners is Python's share.
HOST: tuple[Boundary, ...] = ("enqueue", "latency")
# The one at which there must be none: the same kernels.
DEVICE: Boundary = "gpu"


class Times(Data, frozen=True, kw_only=True):
    """The runners at one boundary: geometric means over processes, ns per call, or in ``throughput`` per inference.

    ``share_ns`` is Python's time less that of C++, from ``low_ns`` to ``high_ns`` with 95 % confidence (None with one
    process on a side); ``fraction`` is it over Python's time. ``verdict`` is C++ against Python: FASTER if C++ is.
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


class HostCost(Data, frozen=True, kw_only=True):
    """One artifact and its two runners; ``artifact`` is the backend with the options that it depends on.

    ``python`` and ``cpp`` are labels of the cases, empty where the run has none. ``times`` are those at the boundaries
    that both have; ``lanes`` is the number of them in ``throughput``, in threads of one process. ``why`` says why there
    are no times, empty where there are.
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
    why: str = ""

    @property
    def same_kernels(self) -> bool | None:
        """Whether the GPU takes the same time under both; None where that is not known."""
        of_device = self.times.get(DEVICE)
        kind = of_device.verdict.kind if of_device else "INCONCLUSIVE"
        return None if kind == "INCONCLUSIVE" else kind == "SAME"


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
    pools = gather(run) if pools is None else pools
    deployed = {pool.case.backend for pool in pools if is_cpp(pool.case)}
    groups: dict[str, list[Pool]] = {}
    for pool in pools:
        if pool.case.backend in deployed:
            groups.setdefault(_artifact(pool.case), []).append(pool)
    chosen = [each for each in groups.values() if only is None or any(pool.case.id in only for pool in each)]
    return RunHostCost(
        run=run.header.run,
        suite=run.header.suite_path,
        deployed=bool(deployed),
        artifacts=tuple(line for group in chosen for line in _lines(group)),
    )


def is_cpp(case: Case) -> bool:
    """Whether a C++ program runs it."""
    return case.options.get("executor") == "cpp"


# ------------------------------------------------------------------------------------------------------------------


def _settings(case: Case) -> dict[str, Any]:
    return {name: value for name, value in case.options.items() if name not in _RUNNING}


def _artifact(case: Case) -> str:
    """The same for cases that differ in the runner alone."""
    fields = msgspec.to_builtins(case)
    return digest({name: value for name, value in fields.items() if name != "source"} | {"options": _settings(case)})


def _lines(group: Sequence[Pool]) -> list[HostCost]:
    """Python's runner beside each C++ runner of one artifact; what has no partner by itself."""
    pythons = [pool for pool in group if not is_cpp(pool.case)]
    programs = [pool for pool in group if is_cpp(pool.case)]
    if not programs:
        return [_line(pool, None) for pool in pythons]
    return [_line(pythons[0] if pythons else None, program) for program in programs]


def _line(python: Pool | None, program: Pool | None) -> HostCost:
    known = python or program
    assert known is not None
    case = known.case
    alone = HostCost(
        model=case.model,
        artifact=named(case.backend, _settings(case)),
        precision=case.precision,
        symbols=dict(case.symbols),
        lanes=case.streams,
        label=msgspec.structs.replace(case, options=_settings(case)).label,
        python=python.case.label if python else "",
        cpp=program.case.label if program else "",
    )
    if why := _unsound("Python", python) or _unsound("C++", program):
        return msgspec.structs.replace(alone, why=why)
    assert python is not None
    assert program is not None
    several = {boundary: _times(python, program, boundary) for boundary in (*HOST, DEVICE, "throughput")}
    both = {boundary: each for boundary, each in several.items() if each is not None}
    return msgspec.structs.replace(alone, times=both, why="" if both else "no boundary that both runners have")


def _unsound(name: str, pool: Pool | None) -> str:
    """Why a runner has no figures; empty if it has."""
    if pool is None:
        return f"no case runs it in {name}"
    if not pool.records:
        return f"the {name} runner was not measured"
    if pool.failures:
        return f"the {name} runner failed: {pool.failures[0].kind}"
    if pool.score is not None and not pool.score.ok:
        return f"the {name} runner is inaccurate"
    return "" if pool.sound else f"the calls of the {name} runner are not alike"


def _times(python: Pool, program: Pool, boundary: Boundary) -> Times | None:
    """At one boundary; None if a side does not have it."""
    a, b = times(python, boundary), times(program, boundary)
    if not a or not b or min(*a, *b) <= 0:
        return None
    above, below = statistics.geometric_mean(a), statistics.geometric_mean(b)
    interval = stats.difference_interval(a, b, CONFIDENCE)
    return Times(
        python_ns=above,
        cpp_ns=below,
        share_ns=above - below,
        low_ns=interval.low if interval else None,
        high_ns=interval.high if interval else None,
        verdict=verdict(a, b),
    )
