"""The tool ``ncu``: one kernel of a case under Nsight Compute, and its key figures."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.errors import CaseError
from bench.model.profile import KernelFigures, Profile
from bench.model.seam import Missing
from bench.profiling import programs

REPORT = "report.ncu-rep"
_SECTIONS = ("SpeedOfLight", "Occupancy", "LaunchStats")
_LIMIT_S = 120
# Each figure's metrics, the newest name first.
_FRACTIONS = {
    "sm": ("sm__throughput.avg.pct_of_peak_sustained_elapsed",),
    "memory": ("gpu__compute_memory_throughput.avg.pct_of_peak_sustained_elapsed",),
    "dram": (
        "gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed",
        "dram__throughput.avg.pct_of_peak_sustained_elapsed",
    ),
    "occupancy": ("sm__warps_active.avg.pct_of_peak_sustained_active",),
    "occupancy_limit": ("sm__maximum_warps_per_active_cycle_pct",),
}
_DURATION = ("gpu__time_duration.sum", "gpu__time_duration.avg")
_WHOLE = re.compile(r"void |\w*::|\w+<|\w+\([\w\s*&,:]*\)\Z")
_NS = {"ns": 1, "nsecond": 1, "us": 1e3, "usecond": 1e3, "ms": 1e6, "msecond": 1e6, "s": 1e9, "second": 1e9}


class Ncu:
    """Nsight Compute around the worker, looking at the first launch of ``kernel``: a regular expression for a part of
    its name, or its whole name as other tools show it.
    """

    def __init__(self, kernel: str) -> None:
        self._kernel = kernel

    def missing(self) -> Missing | None:
        """That it is not installed."""
        try:
            programs.find("ncu")
        except CaseError as error:
            return Missing(reason=error.what, fix=error.fix)
        return None

    def prefix(self, folder: Path) -> Sequence[str]:
        """``ncu`` with what is needed; clocks stay as they are, so that the duration compares with other tools'.

        Unavailable if it is not installed.
        """
        return (
            programs.find("ncu"),
            "--clock-control=none",
            f"--kernel-name=regex:{pattern(self._kernel)}",
            "--launch-count=1",
            "--profile-from-start=off",  # the worker opens the capture
            "--target-processes=all",
            *(f"--section={section}" for section in _SECTIONS),
            "--force-overwrite",
            f"--export={folder / REPORT}",
        )

    def read(self, folder: Path, case: str, label: str, log: str = "") -> Profile:
        """The figures of the report in ``folder``; ``log`` is what the worker, and ncu around it, wrote.

        CaseError without a report: no permission, no such kernel; and for one that cannot be read.
        """
        report = folder / REPORT
        if not report.exists():
            raise self._no_report(log)
        program = programs.find("ncu")
        words = (program, f"--import={report}", "--page=raw", "--csv", "--print-units=base")
        figures = read_csv(programs.run(words, os.environ, _LIMIT_S))
        if not figures:
            raise CaseError("the report of ncu has no kernel", where=str(report), fix="profile the case again")
        version = re.search(r"Version (\S+)", programs.run((program, "--version"), os.environ, _LIMIT_S))
        return Profile(tool="ncu", tool_version=version[1] if version else "", case=case, label=label, figures=figures)

    def raw(self, folder: Path) -> Sequence[Path]:
        """The report."""
        return [path for path in (folder / REPORT,) if path.exists()]

    def _no_report(self, log: str) -> CaseError:
        line, fix = programs.reason(log)
        if not fix and "No kernels were profiled" in log:
            return CaseError(
                f"no kernel of the case is called {self._kernel!r}",
                fix="--tool nsys or --tool torch show the names; --kernel takes a regular expression for a part of one",
            )
        return CaseError(f"ncu wrote no report{f': {line}' if line else ''}", fix=fix)


def pattern(kernel: str) -> str:
    """The regular expression that ncu compares with the bare name of a function, from a whole name
    (``void at::native::reduce_kernel<512, 1>(int)``), or from what is an expression already.
    """
    bare = re.sub(r"<unnamed>|\(anonymous namespace\)", "", kernel)
    if not _WHOLE.match(bare):
        return kernel
    return re.escape(re.split(r"[<(]", bare, maxsplit=1)[0].removeprefix("void ").rpartition("::")[2])


def read_csv(text: str) -> tuple[KernelFigures, ...]:
    """The figures of ``ncu --page raw --csv``: a row of names, a row of units, and a row for each launch.

    CaseError if there is no such table, or it lacks the kernel's name.
    """
    lines = [line for line in text.splitlines() if line.startswith('"')]  # others are ncu's own remarks
    rows = list(csv.DictReader(lines))
    if not rows or "Kernel Name" not in rows[0]:
        raise CaseError("ncu printed no table with a column Kernel Name: a layout that is not known here")
    units = rows[0] if not rows[0].get("ID") else {}
    return tuple(_figures(row, units) for row in rows if row.get("ID"))


def _figures(row: Mapping[str, str], units: Mapping[str, str]) -> KernelFigures:
    fractions = {name: value / 100 for name, metrics in _FRACTIONS.items() for value in _values(row, metrics)[:1]}
    durations = [
        round(value * _NS[units.get(metric, "") or "ns"])
        for metric in _DURATION
        for value in _values(row, (metric,))
        if (units.get(metric, "") or "ns") in _NS
    ]
    registers, waves = (
        _values(row, (metric,)) for metric in ("launch__registers_per_thread", "launch__waves_per_multiprocessor")
    )
    return KernelFigures(
        name=row["Kernel Name"],
        ns=durations[0] if durations else None,
        grid=tuple(_integers(row.get("Grid Size") or "")),
        block=tuple(_integers(row.get("Block Size") or "")),
        waves=waves[0] if waves else None,
        registers=round(registers[0]) if registers else None,
        **fractions,
    )


def _values(row: Mapping[str, str], metrics: Sequence[str]) -> list[float]:
    """The numbers that a row has for these metrics; ``n/a`` and the like are none."""
    values = []
    for metric in metrics:
        text = (row.get(metric) or "").replace(",", "")
        if re.fullmatch(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?", text):
            values.append(float(text))
    return values


def _integers(text: str) -> Iterator[int]:
    """``(256, 1, 1)`` -> 256, 1, 1."""
    return (int(number) for number in re.findall(r"\d+", text))
