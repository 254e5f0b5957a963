"""Whether the host disturbed a process: the rule of ``NoisyHost``, for a measurement and for what was stored; pure.

A thread that is ready to run and gets no core waits: that is what other programs take from a measurement, and Linux
counts it (``longest_wait_ns``, from /proc/PID/task/TID/schedstat). Switches and the load say less. A thread that spins
and yields (``sched_yield``) is switched 100,000 times a second and loses nothing by it, and the load average is that of
the whole host, of which the process may use one core. docs/measuring.md has what the committed runs say of each.

Waits are of the thread that waited most, switches of all threads of its process, yields among them. So a process whose
threads yield 200,000 times a second gets no warning, whatever takes its cores: no thread can wait 5 us for each. And a
thread that computes nothing counts like one that does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.model.run import Record, Warning
from bench.model.telemetry import HostFigures
from bench.units import NS_PER_S

# A thread waits for a core 1 or 2 % of the time on a quiet host, and half of it beside one competitor.
NOISY_WAIT = 0.05
# Least wait per involuntary switch of the process, ns: a thread that another program took the core from waits for a
# part of that one's slice, 60 us and more in all committed runs, one that yielded for less than 1 us.
NOISY_SLICE_NS = 5_000
# Where waits are not counted. Two threads that fight over a core change places every few ms, 100 to 250 times a second.
NOISY_SWITCHES = 100


def host_warnings(figures: HostFigures) -> tuple[Warning, ...]:
    """``NoisyHost`` and ``Throttled`` from the figures of a measurement's window."""
    noise = _noise(figures)
    warnings = [Warning(kind="NoisyHost", figures={"window_ns": figures.window_ns or 0, **noise})] if noise else []
    for name in ("thermal_throttles", "quota_throttles"):
        if count := getattr(figures, name):
            warnings.append(Warning(kind="Throttled", figures={name: count}))
    return tuple(warnings)


def warnings_of(record: Record) -> Iterator[Warning]:
    """The warnings of a record, with ``NoisyHost`` judged by the rule of this version: earlier ones counted each switch
    and the load of the host. It stands as it is stored where the record has no telemetry of the host.
    """
    for warning in record.warnings:
        if warning.kind == "NoisyHost" and record.telemetry.host is not None:
            yield from (again for again in host_warnings(record.telemetry.host) if again.kind == "NoisyHost")
        else:
            yield warning


def _noise(figures: HostFigures) -> dict[str, Any]:
    """What disturbed the process, by the name of its figure; empty if nothing did."""
    seconds = max((figures.window_ns or 0) / NS_PER_S, 1)
    if figures.longest_wait_ns is not None:
        waits = figures.longest_wait_ns > NOISY_WAIT * seconds * NS_PER_S
        yields = figures.longest_wait_ns < NOISY_SLICE_NS * (figures.involuntary_switches or 0)
        return {"longest_wait_ns": figures.longest_wait_ns} if waits and not yields else {}
    return _noise_without_waits(figures, seconds)


def _noise_without_waits(figures: HostFigures, seconds: float) -> dict[str, Any]:
    """The load counts if it was above the cores both before and after: a compiler that has just ended is no noise."""
    noise: dict[str, Any] = {}
    cores = figures.cores or 0
    if (figures.involuntary_switches or 0) > NOISY_SWITCHES * cores * seconds:
        noise["preemptions"] = figures.involuntary_switches
    if (load := min(figures.load_average or 0, figures.load_average_before or 0)) > cores:
        noise |= {"load_average": load, "cores": cores}
    return noise
