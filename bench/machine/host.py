"""What the host did while a case was measured: memory, frequency, interruptions."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.model.telemetry import HostFigures

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
# Those that are of one process, so that those of several can be summed.
_OF_PROCESS = (
    "rss_bytes",
    "peak_rss_bytes",
    "process_peak_rss_bytes",
    "major_faults",
    "minor_faults",
    "voluntary_switches",
)
_BEFORE = ("cpu_mhz", "load_average")


class HostTelemetry:
    """Watches a process and its host between ``start`` and ``stop``; reads files only, and only then.

    ``process`` is this one, or the number of the one that runs the model.
    """

    def __init__(self, proc: Path = Path("/proc"), sys: Path = Path("/sys"), process: str = "self") -> None:
        self.process = process
        self._proc = proc
        self._sys = sys
        self._before: dict[str, float] = {}
        self._after: dict[str, float] = {}
        self._waits: dict[str, int] = {}
        self._longest: int | None = None

    def start(self) -> None:
        """The measurement begins: reset the mark of the peak, take the first snapshot."""
        self._before, self._after = snapshot(self._proc, self._sys, self.process), {}
        self._waits = waits(self._proc, self.process)
        with contextlib.suppress(OSError):  # not permitted everywhere; without O_CREAT, so that no file comes to be
            fd = os.open(self._proc / self.process / "clear_refs", os.O_WRONLY)
            with os.fdopen(fd, "wb", buffering=0) as marks:
                marks.write(b"5")

    def stop(self) -> None:
        """The measurement has ended."""
        self._after = snapshot(self._proc, self._sys, self.process)
        longest = [wait - self._waits.get(thread, 0) for thread, wait in waits(self._proc, self.process).items()]
        self._longest = max(longest, default=None)

    def finish(self) -> HostFigures:
        """The figures that the system has; without ``start`` only levels, without ``stop`` those of now."""
        after = self._after or snapshot(self._proc, self._sys, self.process)
        figures: dict[str, float] = {key: value for key, value in after.items() if key not in _COUNTERS}
        figures |= {key: after[key] - self._before[key] for key in _COUNTERS if key in after and key in self._before}
        figures |= {f"{key}_before": self._before[key] for key in _BEFORE if key in self._before}
        if self._longest is not None:
            figures["longest_wait_ns"] = self._longest
        if "peak_rss_bytes" in figures:
            figures["process_peak_rss_bytes"] = max(figures["peak_rss_bytes"], self._before.get("peak_rss_bytes", 0))
        return HostFigures(**figures)


def together(own: HostFigures, others: Sequence[HostFigures]) -> HostFigures:
    """The figures of several processes that worked on one thing: their memory, faults and voluntary switches summed,
    the longest wait of all with the involuntary switches of the process that waited, as one is judged by the other;
    the host's own as ``own`` has them.
    """
    figures = msgspec.structs.asdict(own)
    for name in _OF_PROCESS:
        values = [value for each in (own, *others) if (value := getattr(each, name)) is not None]
        figures[name] = sum(values) if values else None
    waited = max((own, *others), key=lambda each: -1 if each.longest_wait_ns is None else each.longest_wait_ns)
    figures |= {name: getattr(waited, name) for name in ("longest_wait_ns", "involuntary_switches")}
    return HostFigures(**figures)


def busy_cores(proc: Path = Path("/proc"), seconds: float = 0.2) -> float:
    """How many cores of the host all programs together use, over ``seconds``; 0 where the system does not tell."""
    try:
        before, start = busy_ticks((proc / "stat").read_text()), time.monotonic()
        time.sleep(seconds)  # nothing is waited for: this is the interval that is measured
        after, end = busy_ticks((proc / "stat").read_text()), time.monotonic()
    except (OSError, ValueError):
        return 0.0
    return (after - before) / os.sysconf("SC_CLK_TCK") / (end - start)


def busy_ticks(stat: str) -> int:
    """Ticks of all cores, less those that they were idle or waited for a device, from the text of ``/proc/stat``.
    ValueError if it is no such text.
    """
    _, user, nice, system, _, _, irq, softirq, steal = stat.partition("\n")[0].split()[:9]
    return sum(map(int, (user, nice, system, irq, softirq, steal)))


def snapshot(proc: Path, sys: Path, process: str = "self") -> dict[str, float]:
    """The levels and counters of now; what the system does not tell is left out."""
    values: dict[str, float | None] = {
        "window_ns": time.perf_counter_ns(),
        "cores": len(os.sched_getaffinity(0)),
        **(_own_usage() if process == "self" else _usage_of(proc / process)),
        "cpu_mhz": _mhz(proc, sys),
        "load_average": _first_number(proc / "loadavg"),
        "quota_throttles": _field(sys / "fs" / "cgroup" / "cpu.stat", "nr_throttled"),
        "thermal_throttles": _thermal_throttles(sys),
    }
    for key, field in (("rss_bytes", "VmRSS"), ("peak_rss_bytes", "VmHWM")):
        kib = _field(proc / process / "status", field)
        values[key] = None if kib is None else kib * 1024
    return {key: value for key, value in values.items() if value is not None}


def _own_usage() -> dict[str, float | None]:
    """Faults and switches of all threads of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "major_faults": usage.ru_majflt,
        "minor_faults": usage.ru_minflt,
        "voluntary_switches": usage.ru_nvcsw,
        "involuntary_switches": usage.ru_nivcsw,
    }


def _usage_of(folder: Path) -> dict[str, float | None]:
    """The same of another process, whose folder in /proc is ``folder``; switches are those of its living threads."""
    words = _text(folder / "stat").rpartition(")")[2].split()
    faults = [int(words[place]) if len(words) > place and words[place].isdigit() else None for place in (9, 7)]
    switches: list[int | None] = []
    for name in ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"):
        counts = [_field(path, name) for path in (folder / "task").glob("*/status")]
        switches.append(sum(count for count in counts if count is not None) if any(counts) else None)
    names = ("major_faults", "minor_faults", "voluntary_switches", "involuntary_switches")
    return dict(zip(names, (*faults, *switches), strict=True))


def waits(proc: Path, process: str = "self") -> dict[str, int]:
    """Nanoseconds that each thread of the process has waited for a core so far, by thread id."""
    values = {}
    for path in (proc / process / "task").glob("*/schedstat"):
        words = _text(path).split()
        if len(words) > 1 and words[1].isdigit():
            values[path.parent.name] = int(words[1])
    return values


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
