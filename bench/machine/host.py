"""What the host did while a case was measured: memory, frequency, interruptions; and a warning if it was noisy."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Mapping
from pathlib import Path

from bench.model.run import Warning
from bench.units import NS_PER_S

# Counters, told as the difference over the measurement; all else are levels, told as they were at its end.
_COUNTERS = (
    "window_ns",
    "major_faults",
    "minor_faults",
    "voluntary_switches",
    "involuntary_switches",
    "thermal_throttles",
    "quota_throttles",
)
_BEFORE = ("cpu_mhz", "load_average")
# Two threads that fight over a core change places every few ms, 100 to 250 times a second.
NOISY_SWITCHES = 100
# A thread waits for a core 1 or 2 % of the time on a quiet host, and half of it beside one competitor.
NOISY_WAIT = 0.05


class HostTelemetry:
    """Watches this process and its host between ``start`` and ``stop``; reads files only, and only then.

    ``finish`` tells, where the system does: ``rss_bytes``, ``peak_rss_bytes`` (between start and stop, or since the
    process began where the kernel does not let the mark be reset), ``process_peak_rss_bytes`` (since it began),
    ``cpu_mhz`` and ``cpu_mhz_before`` (the fastest core), ``load_average`` and ``load_average_before`` (1 minute),
    ``cores`` (that this process may use), and over the window of ``window_ns``: ``major_faults``, ``minor_faults``,
    ``voluntary_switches``, ``involuntary_switches``, ``longest_wait_ns`` (for a core, of the thread that waited most),
    ``thermal_throttles`` (times a core was throttled) and ``quota_throttles`` (periods in which the control group had
    used up its CPU quota).
    """

    def __init__(self, proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> None:
        self._proc = proc
        self._sys = sys
        self._before: dict[str, float] = {}
        self._after: dict[str, float] = {}
        self._waits: dict[str, int] = {}
        self._longest: int | None = None

    def start(self) -> None:
        """The measurement begins: reset the mark of the peak, take the first snapshot."""
        self._before, self._after = snapshot(self._proc, self._sys), {}
        self._waits = waits(self._proc)
        with contextlib.suppress(OSError):  # not permitted everywhere; without O_CREAT, so that no file comes to be
            fd = os.open(self._proc / "self" / "clear_refs", os.O_WRONLY)
            with os.fdopen(fd, "wb", buffering=0) as marks:
                marks.write(b"5")

    def stop(self) -> None:
        """The measurement has ended."""
        self._after = snapshot(self._proc, self._sys)
        longest = [wait - self._waits.get(thread, 0) for thread, wait in waits(self._proc).items()]
        self._longest = max(longest, default=None)

    def finish(self) -> dict[str, float]:
        """The figures; without ``start`` only levels, without ``stop`` those of now."""
        after = self._after or snapshot(self._proc, self._sys)
        told: dict[str, float] = {key: value for key, value in after.items() if key not in _COUNTERS}
        told |= {key: after[key] - self._before[key] for key in _COUNTERS if key in after and key in self._before}
        told |= {f"{key}_before": self._before[key] for key in _BEFORE if key in self._before}
        if self._longest is not None:
            told["longest_wait_ns"] = self._longest
        if "peak_rss_bytes" in told:
            told["process_peak_rss_bytes"] = max(told["peak_rss_bytes"], self._before.get("peak_rss_bytes", 0))
        return told

    def warnings(self) -> tuple[Warning, ...]:
        """What a reader must know of the host."""
        return host_warnings(self.finish())


def host_warnings(told: Mapping[str, float]) -> tuple[Warning, ...]:
    """``NoisyHost`` and ``Throttled`` from what HostTelemetry told.

    The load counts if it was above the cores both before and after: a compiler that has just ended is no noise.
    """
    found = []
    seconds, switches, cores = told.get("window_ns", 0) / NS_PER_S, told.get("involuntary_switches", 0), told["cores"]
    load = min(told.get("load_average", 0), told.get("load_average_before", 0))
    wait = told.get("longest_wait_ns", 0) / NS_PER_S
    reasons = []
    if wait > NOISY_WAIT * max(seconds, 1):
        reasons.append(f"a thread waited {wait:.1f} s of {seconds:.1f} s for a core")
    if switches > NOISY_SWITCHES * cores * max(seconds, 1):
        reasons.append(f"the process was preempted {switches:.0f} times in {seconds:.1f} s")
    if load > cores:
        reasons.append(f"the load average was {load:.1f} on {cores:.0f} core{'s' * (cores != 1)}")
    if reasons:
        hint = "close other programs; fewer streams, or fewer threads per call (OMP_NUM_THREADS), if they are the load"
        found.append(Warning(kind="NoisyHost", message=" and ".join(reasons), hint=hint))
    if told.get("thermal_throttles", 0):
        message = f"a core was throttled {told['thermal_throttles']:.0f} times"
        found.append(Warning(kind="Throttled", message=message, hint="better cooling, or a lower fixed frequency"))
    if told.get("quota_throttles", 0):
        message = f"the CPU quota of the container was used up {told['quota_throttles']:.0f} times"
        hint = "raise the CPU quota, or use as many threads as it has cores (OMP_NUM_THREADS)"
        found.append(Warning(kind="Throttled", message=message, hint=hint))
    return tuple(found)


def snapshot(proc: Path, sys: Path) -> dict[str, float]:
    """The levels and counters of now; what the system does not tell is left out."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    found: dict[str, float | None] = {
        "window_ns": time.perf_counter_ns(),
        "cores": len(os.sched_getaffinity(0)),
        "major_faults": usage.ru_majflt,
        "minor_faults": usage.ru_minflt,
        "voluntary_switches": usage.ru_nvcsw,
        "involuntary_switches": usage.ru_nivcsw,
        "cpu_mhz": _mhz(proc, sys),
        "load_average": _first_number(proc / "loadavg"),
        "quota_throttles": _field(sys / "fs" / "cgroup" / "cpu.stat", "nr_throttled"),
        "thermal_throttles": _thermal_throttles(sys),
    }
    for key, field in (("rss_bytes", "VmRSS"), ("peak_rss_bytes", "VmHWM")):
        kib = _field(proc / "self" / "status", field)
        found[key] = None if kib is None else kib * 1024
    return {key: value for key, value in found.items() if value is not None}


def waits(proc: Path) -> dict[str, int]:
    """Nanoseconds that each thread of this process has waited for a core so far, by thread id."""
    found = {}
    for path in (proc / "self" / "task").glob("*/schedstat"):
        words = _text(path).split()
        if len(words) > 1 and words[1].isdigit():
            found[path.parent.name] = int(words[1])
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _first_number(path: Path) -> float | None:
    words = _text(path).split()
    try:
        return float(words[0])
    except (IndexError, ValueError):
        return None


def _field(path: Path, name: str) -> int | None:
    """The integer after ``name`` in lines like ``VmRSS:  1704 kB`` or ``nr_throttled 0``."""
    for line in _text(path).splitlines():
        words = line.replace(":", " ").split()
        if len(words) > 1 and words[0] == name and words[1].isdigit():
            return int(words[1])
    return None


def _mhz(proc: Path, sys: Path) -> float | None:
    """The frequency of the fastest core: of cpufreq (kHz), else of /proc/cpuinfo (MHz)."""
    paths = (sys / "devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq")
    cores = [khz / 1000 for path in paths if (khz := _first_number(path)) is not None]
    if not cores:
        lines = [line.partition(":") for line in _text(proc / "cpuinfo").splitlines() if line.startswith("cpu MHz")]
        cores = [float(value) for _, _, value in lines]
    return max(cores, default=None)


def _thermal_throttles(sys: Path) -> float | None:
    """How often cores were throttled since the machine started, summed over cores."""
    paths = (sys / "devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/core_throttle_count")
    counts = [count for path in paths if (count := _first_number(path)) is not None]
    return sum(counts) if counts else None
