"""Nsight Systems: runs a command under it, and reads CUDA graph times from its report."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from bench.errors import CaseError, Unavailable

_QUIET = ("--sample=none", "--cpuctxsw=none", "--force-overwrite=true")
_GRAPHS = 'SELECT "end" - start FROM CUPTI_ACTIVITY_KIND_GRAPH_TRACE ORDER BY start'


def profile(command: Sequence[str], env: Mapping[str, str], folder: Path, limit_s: float) -> Path:
    """Run ``command`` under ``nsys profile``, graphs traced as wholes; the report as SQLite, in ``folder``.

    Even if it ends early, no process of nsys's session keeps running. Unavailable without nsys, CaseError with its
    last line if a step fails or takes longer than ``limit_s``.
    """
    nsys = shutil.which("nsys")
    if nsys is None:
        raise Unavailable("nsys is not on PATH", fix="install Nsight Systems: developer.nvidia.com/nsight-systems")
    report = folder / "report.nsys-rep"
    profiler = (nsys, "profile", "--trace=cuda,nvtx", "--cuda-graph-trace=graph", *_QUIET, f"--output={report}")
    _run((*profiler, *command), env, limit_s)
    target = folder / "report.sqlite"
    _run((nsys, "export", "--type=sqlite", "--force-overwrite=true", f"--output={target}", str(report)), env, limit_s)
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


def _run(command: Sequence[str], env: Mapping[str, str], limit_s: float) -> None:
    with subprocess.Popen(
        command,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as child:
        try:
            out, err = child.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired as error:
            raise CaseError(f"nsys {command[1]} took more than {limit_s:.0f} s") from error
        finally:
            if child.returncode is None:  # the limit, or Ctrl-C: the profiled command goes with nsys
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
    if child.returncode:
        lines = [line.strip() for line in (out + err).splitlines() if line.strip()]
        raise CaseError(f"nsys {command[1]} failed: {(lines or ['no output'])[-1]}")
