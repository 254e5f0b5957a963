"""Finds Nsight's programs, runs them, and says what a person can do about the reasons why they fail."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.errors import CaseError, Unavailable

# Where their packages put them without changing PATH; several versions lie side by side.
PLACES = {
    "nsys": (
        "usr/local/cuda/bin/nsys",
        "opt/nvidia/nsight-systems*/*/bin/nsys",
        "opt/nvidia/nsight-compute/*/host/target-linux-*/nsys",
    ),
    "ncu": ("usr/local/cuda/bin/ncu", "opt/nvidia/nsight-compute/*/ncu"),
}
ROOT = Path("/")
_SITES = {
    "nsys": "Nsight Systems: developer.nvidia.com/nsight-systems",
    "ncu": "Nsight Compute: developer.nvidia.com/nsight-compute",
}
# What their output and their reports say, and what to do about it.
_CAUSES = (
    (
        r"ERR_NVGPUCTRPERM|CUPTI_ERROR_INSUFFICIENT_PRIVILEGES",
        "run as root, in a container with --cap-add=SYS_ADMIN, or let all users profile "
        "(NVreg_RestrictProfilingToAdminUsers=0): developer.nvidia.com/ERR_NVGPUCTRPERM",
    ),
    (r"No space left on device|Disk quota exceeded", "free some disk space, or TMPDIR=DIR with more of it"),
    (r"Permission denied", "TMPDIR=DIR of your own, which this user may write to"),
    (
        r"driver resource was unavailable|CUPTI_ERROR_(UNKNOWN|MULTIPLE_SUBSCRIBERS\w*|HARDWARE_BUSY)",
        "end other profilers of this GPU (DCGM: dcgmi profile --pause), then profile the case again",
    ),
    (r"unrecogni[sz]ed option|Wrong value|unknown option", "a newer version of the program"),
    (r"CUDA driver version is insufficient|not compatible with|driver.*not supported", "a version for this driver"),
)
_NOISE = re.compile(r"No reports were generated|Generated:?\Z|Processing events|Collecting data|[=\[\]\d%\s./-]*\Z")


def find(name: str) -> str:
    """The path of ``nsys`` or ``ncu``: on PATH, else the newest version in the first of PLACES that has any.

    Unavailable if it is nowhere.
    """
    program = shutil.which(name)
    if program is not None:
        return program
    for place in PLACES[name]:
        if versions := sorted(ROOT.glob(place), key=_version):
            return str(versions[-1])
    raise Unavailable(f"{name} is not on PATH", fix=f"install {_SITES[name]}")


def _version(path: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", str(path)))


def run(command: Sequence[str], env: Mapping[str, str], limit_s: float) -> str:
    """What a command writes to stdout, or else to stderr; it and its session are ended with this call.

    CaseError with the telling line if it fails or takes longer than ``limit_s``.
    """
    name = f"{Path(command[0]).name} {command[1].lstrip('-').partition('=')[0]}"
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
            raise CaseError(f"{name} took more than {limit_s:.0f} s") from error
        finally:
            if child.returncode is None:  # the limit, or Ctrl-C: the profiled command goes with it
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
    if child.returncode:
        line, fix = reason(out + err)
        raise CaseError(f"{name} failed: {line or 'no output'}", fix=fix)
    return out or err


def reason(output: str) -> tuple[str, str]:
    """The line of a program's output that tells why it failed, and what to do: of a known cause, else the last line
    that says anything; empty texts where there is none.
    """
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for pattern, fix in _CAUSES:
        for line in lines:
            if re.search(pattern, line):
                return line, fix
    return next((line for line in reversed(lines) if not _NOISE.match(line)), ""), ""
