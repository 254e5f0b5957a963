"""Nsight Systems: runs a command under it, and reads CUDA graph times from its report."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from bench.errors import CaseError
from bench.profiling import programs

QUIET = ("--sample=none", "--cpuctxsw=none", "--force-overwrite=true")
_GRAPHS = 'SELECT "end" - start FROM CUPTI_ACTIVITY_KIND_GRAPH_TRACE ORDER BY start'


def profile(command: Sequence[str], env: Mapping[str, str], folder: Path, limit_s: float) -> Path:
    """Run ``command`` under ``nsys profile``, graphs traced as wholes; the report as SQLite, in ``folder``.

    Even if it ends early, no process of nsys's session keeps running. Unavailable without nsys, CaseError with its
    last line if a step fails or takes longer than ``limit_s``.
    """
    nsys = programs.find("nsys")
    report = folder / "report.nsys-rep"
    profiler = (nsys, "profile", "--trace=cuda,nvtx", "--cuda-graph-trace=graph", *QUIET, f"--output={report}")
    programs.run((*profiler, *command), env, limit_s)
    return export(nsys, report, env, limit_s)


def export(nsys: str, report: Path, env: Mapping[str, str], limit_s: float) -> Path:
    """The SQLite export of a report, beside it. CaseError with the telling line if nsys fails."""
    target = report.with_suffix(".sqlite")
    command = (nsys, "export", "--type=sqlite", "--force-overwrite=true", f"--output={target}", str(report))
    programs.run(command, env, limit_s)
    return target


def graph_replays(report: Path) -> list[int]:
    """Nanoseconds from the first kernel's start to the last one's end of each graph launch, in order (SQLite export).

    CaseError if the report holds no graph.
    """
    with closing(sqlite3.connect(f"file:{report}?mode=ro", uri=True)) as database:
        try:
            return [int(ns) for (ns,) in database.execute(_GRAPHS)]
        except sqlite3.OperationalError as error:
            raise CaseError(f"the profile holds no CUDA graph: {error}", where=str(report)) from error
