"""The tool ``nsys``: the worker of a case runs under Nsight Systems, and its report becomes a Profile."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.errors import CaseError, Unavailable
from bench.measure.profilers import NODES, STARTS
from bench.model.profile import Profile
from bench.model.seam import Missing
from bench.profiling import nodes, nsys, nsys_reader, programs

REPORT = "report.nsys-rep"
_TRACES = ("cuda", "nvtx", "cublas", "cudnn")
# The worker opens and closes the capture, and goes on after it: nsys may neither end it then nor wait for processes
# that it leaves behind.
_NEEDED = {"capture-range": "cudaProfilerApi", "capture-range-end": "stop", "kill": "none", "cuda-graph-trace": "node"}
# Timing CUDA events would order streams that are independent.
_WISHED = {"wait": "primary", "cuda-event-trace": "false"}
_EXPORT_LIMIT_S = 300
_HELP_LIMIT_S = 60


class Nsys:
    """Nsight Systems, around the worker."""

    def missing(self) -> Missing | None:
        """That it is not installed, or too old."""
        try:
            _options(programs.find("nsys"))
        except CaseError as error:
            return Missing(reason=error.what, fix=error.fix)
        return None

    def prefix(self, folder: Path) -> Sequence[str]:
        """``nsys profile`` with what is needed; the report is written to ``folder`` when the worker has ended.

        Unavailable if nsys is not installed, or lacks an option.
        """
        program = programs.find("nsys")
        return (program, "profile", *_options(program), *nsys.QUIET, f"--output={folder / REPORT}")

    def read(self, folder: Path, case: str, label: str, log: str = "") -> Profile:
        """Export the report of ``folder`` and read it, with the nodes that a runtime wrote down; ``log`` is what the
        worker, and nsys around it, wrote.

        CaseError if there is no report, or it cannot be exported or read.
        """
        report = folder / REPORT
        _check_report(report, log)
        target = nsys.export(programs.find("nsys"), report, os.environ, _EXPORT_LIMIT_S)
        try:
            return _with_nodes(nsys_reader.read(target, case=case, label=label), folder)
        finally:
            target.unlink(missing_ok=True)  # the raw report has all of it, in a tenth of the size

    def raw(self, folder: Path) -> Sequence[Path]:
        """The report."""
        return [path for path in (folder / REPORT,) if path.exists()]


def _with_nodes(profile: Profile, folder: Path) -> Profile:
    """A profile with the nodes of the runtime: the worker's iterations began by its clock when they did by nsys's."""
    if not (folder / NODES).exists():
        return profile
    starts = msgspec.json.decode((folder / STARTS).read_bytes(), type=list[int])
    numbers = [int(each.name) for each in nodes.iterations(profile.ranges)]  # all but those that nsys has lost
    ranges = nodes.merge(profile.ranges, folder / NODES, [starts[number] for number in numbers])
    more = (nodes.ELSEWHERE,) if len(ranges) == len(profile.ranges) else ()
    return msgspec.structs.replace(profile, ranges=ranges, notes=(*profile.notes, *more))


def _check_report(report: Path, log: str) -> None:
    line, fix = programs.reason(log)
    because = f": {line}" if line else ""
    if report.exists():
        if not report.stat().st_size:
            raise CaseError(f"nsys wrote an empty report{because}", fix=fix or "free some disk space")
        return
    if report.with_suffix(".qdstrm").exists():
        what = f"nsys could not make a report of what it recorded{because}"
        raise CaseError(what, fix=fix or "an nsys whose host part is installed too, with nsys-importer")
    if "Capture range started" not in log and not fix:
        fix = "nsys status -e shows what nsys lacks here"
    raise CaseError(f"nsys wrote no report{because}", fix=fix)


@functools.cache
def _options(program: str) -> tuple[str, ...]:
    """The options that this nsys has, of those that are needed and wished for. Unavailable if it lacks a needed one."""
    text = programs.run((program, "profile", "--help"), os.environ, _HELP_LIMIT_S)
    known = set(re.findall(r"--([a-z][a-z-]*)", text))
    lacking = [name for name in _NEEDED if name not in known]
    if lacking:
        version = _version(program)
        fix = "Nsight Systems 2023 or later: developer.nvidia.com/nsight-systems"
        raise Unavailable(f"{version} is too old: it has no --{lacking[0]}", fix=fix)
    # nsys lists the values of --trace by their names; where it does not, it is asked for the two that all have.
    traces = [name for name in _TRACES if name in _TRACES[:2] or re.search(rf"\b{name}\b", text)]
    wished = {name: value for name, value in _WISHED.items() if name in known}
    return (f"--trace={','.join(traces)}", *(f"--{name}={value}" for name, value in (_NEEDED | wished).items()))


def _version(program: str) -> str:
    """``nsys 2025.3.1.90``, or its path."""
    match = re.search(r"\d{4}\.\d[\w.]*", programs.run((program, "--version"), os.environ, _HELP_LIMIT_S))
    return f"nsys {match[0]}" if match else program
