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

from typing import TYPE_CHECKING

from bench.api.building import all_built, build, keep_code
from bench.api.checkup import calibrate, doctor, selftest
from bench.api.comparing import compare, confirm, duel, history, lint, matches
from bench.api.profiles import Profiles, cases_of, explain, profile, read_profiles, waterfalls, write_trace
from bench.api.programs import calibration_ranges, codegen, diverge, lint_qdq, lint_qdq_file, ops, quantization_cost
from bench.api.reporting import host_cost, payback, tables, times, write_report
from bench.api.results import (
    RESULTS,
    Interrupted,
    Rescued,
    Run,
    check_baseline,
    find,
    nothing_available,
    read,
    resume_command,
    rows,
    run_argument,
    runs,
    selected,
    succeeded,
)
from bench.api.results import OnEvent as OnEvent
from bench.api.running import benchmark, cases, execute, layers, resume, run
from bench.api.suites import DEVICES as DEVICES
from bench.api.suites import check_boundaries, estimate, load, plan, request, schema
from bench.api.suites import import_runner as import_runner
from bench.api.suites import interruptible as interruptible
from bench.runner.request import Request

if TYPE_CHECKING:
    from bench.analysis.compare import Comparison as Comparison

__all__ = [
    "RESULTS",
    "Interrupted",
    "Profiles",
    "Request",
    "Rescued",
    "Run",
    "all_built",
    "benchmark",
    "build",
    "calibrate",
    "calibration_ranges",
    "cases",
    "cases_of",
    "check_baseline",
    "check_boundaries",
    "codegen",
    "compare",
    "confirm",
    "diverge",
    "doctor",
    "duel",
    "estimate",
    "execute",
    "explain",
    "find",
    "history",
    "host_cost",
    "keep_code",
    "layers",
    "lint",
    "lint_qdq",
    "lint_qdq_file",
    "load",
    "matches",
    "nothing_available",
    "ops",
    "payback",
    "plan",
    "profile",
    "quantization_cost",
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
