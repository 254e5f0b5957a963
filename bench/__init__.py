"""trtbench: one model, one suite file, every inference runtime, one clock.

The functions of ``bench.api`` are here too (``bench.load``, ``bench.run``, ...), imported when they are first used: a
worker in a foreign interpreter imports this package with the standard library, msgspec and NumPy alone. So are
``bench.errors`` and ``bench.model.events``, which a caller catches and reads.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as typing has it, whose import is a good part of the time until Ctrl-C is handled
if TYPE_CHECKING:
    from typing import Any

    from bench.api import (
        Interrupted,
        Profiles,
        Request,
        Rescued,
        Run,
        benchmark,
        build,
        calibrate,
        calibration_ranges,
        cases_of,
        codegen,
        compare,
        confirm,
        diverge,
        doctor,
        duel,
        estimate,
        execute,
        explain,
        find,
        history,
        host_cost,
        keep_code,
        layers,
        lint,
        lint_qdq,
        lint_qdq_file,
        load,
        matches,
        ops,
        payback,
        plan,
        profile,
        quantization_cost,
        read,
        read_profiles,
        request,
        resume,
        rows,
        run,
        runs,
        schema,
        selected,
        selftest,
        succeeded,
        tables,
        times,
        waterfalls,
        write_report,
        write_trace,
    )

__version__ = "0.2.0"
__all__ = [
    "Interrupted",
    "Profiles",
    "Request",
    "Rescued",
    "Run",
    "benchmark",
    "build",
    "calibrate",
    "calibration_ranges",
    "cases_of",
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
    "ops",
    "payback",
    "plan",
    "profile",
    "quantization_cost",
    "read",
    "read_profiles",
    "request",
    "resume",
    "rows",
    "run",
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

# Packages that are attributes of ``bench`` without an import of their own, and the module that each stands for.
_PACKAGES = {"errors": "bench.errors", "model": "bench.model.events"}


def __getattr__(name: str) -> Any:
    """A function of the public face, or one of the packages that belong to it, imported now."""
    import importlib

    if name in _PACKAGES:
        importlib.import_module(_PACKAGES[name])
        return importlib.import_module(f"bench.{name}")
    if name not in __all__:
        raise AttributeError(f"module 'bench' has no attribute {name!r}")
    return getattr(importlib.import_module("bench.api"), name)


def __dir__() -> list[str]:
    """The public names, also before they are imported."""
    return sorted({*globals(), *__all__, *_PACKAGES})
