"""Warnings about the machine: its clocks, other programs, other cards and hosts."""

from __future__ import annotations

from bench.report.advice import Advice, Figures, Sentence
from bench.report.figures import enumeration, format_span, high, inside, low, number, time
from bench.units import format_size

_COOL = "better cooling, or a clock that the card can keep (nvidia-smi -lgc MHZ)"
_POWER = "a higher power limit (nvidia-smi -pl WATTS), or a clock that the card can keep (nvidia-smi -lgc MHZ)"
_THROTTLE_HINTS = {"SwPowerCap": _POWER, "HwSlowdown": _COOL, "SwThermalSlowdown": _COOL, "HwThermalSlowdown": _COOL}


def _noisy_host(f: Figures) -> Advice:
    """A wait is that of one thread; switches are those of all threads, yields among them; a load is the host's."""
    reasons, window = [], time(f["window_ns"])
    if "longest_wait_ns" in f:
        reasons.append(f"the thread that waited most had no core for {time(f['longest_wait_ns'])} of {window}")
    if "preemptions" in f:
        reasons.append(f"all threads together lost their core {number(f['preemptions'])} times in {window}")
    if "load_average" in f:
        cores = f"{number(f['cores'])} core{'s' * (f['cores'] != 1)}"
        load = number(f["load_average"], ".1f")
        reasons.append(f"the load average of the whole host was {load}, where the process may use {cores}")
    hint = "close other programs; fewer streams, or fewer threads per call (OMP_NUM_THREADS), if they are the load"
    return Advice(" and ".join(reasons), hint)


def _clocks(f: Figures) -> str:
    if "sm_mhz_max" not in f:
        return "the SM clock is not known"
    lowest, highest = f["sm_mhz_min"], f["sm_mhz_max"]
    if low(lowest) < low(highest):
        return f"the SM clock was between {number(low(lowest))} and {number(high(highest))} MHz"
    return f"the SM clock was at {number(highest)} MHz"


def _throttled(f: Figures) -> Advice:
    if "thermal_throttles" in f:
        text = f"a core was throttled {number(f['thermal_throttles'])} times"
        return Advice(text, "better cooling, or a lower fixed frequency")
    if "quota_throttles" in f:
        text = f"the CPU quota of the container was used up {number(f['quota_throttles'])} times"
        return Advice(text, "raise the CPU quota, or use as many threads as it has cores (OMP_NUM_THREADS)")
    reasons = ", ".join(
        f"{name} in {format_span(part, lambda x: f'{100 * x:.0f} %')}" for name, part in f["reasons"].items()
    )
    where, hits = "", f["boundaries"]
    if hits:
        clean = [boundary for boundary, hit in hits.items() if not hit]
        where = f" {inside(hits)}" + (f", not in {enumeration(clean, 'or')}" if clean else "")
    hint = "; ".join(dict.fromkeys(_THROTTLE_HINTS.get(name, "nvidia-smi -q -d PERFORMANCE") for name in f["reasons"]))
    text = f"the GPU was throttled ({reasons} of {number(f['readings'])} readings){where}; {_clocks(f)}"
    return Advice(text, hint)


def _clock_changed(f: Figures) -> Advice:
    # A reading is of one moment, so of boundaries without a low one nothing is said.
    seen = f", seen low {inside(f['boundaries'])}" if f["boundaries"] else ""
    hint = "lock the clock (nvidia-smi -lgc MHZ), and let nothing else set clocks during a run"
    return Advice(f"{_clocks(f)} under load{seen}", hint)


def _no_energy(f: Figures) -> Advice:
    return Advice(
        f"no energy of an inference: {f['reason']} in the saturated loop",
        "a whole card of the data centre kind; nvidia-smi -q -d POWER shows what this one reports",
    )


def _foreign_process(f: Figures) -> Advice:
    count = f["processes"]
    text = f"{number(count)} other process{'es were' if count != 1 else ' was'} on the GPU"
    if "memory_bytes" in f:
        text += f", with {format_span(f['memory_bytes'], format_size)} of its memory"
    return Advice(text, "end what else uses the GPU (nvidia-smi), or take another one (CUDA_VISIBLE_DEVICES)")


def _resumed_elsewhere(f: Figures) -> Advice:
    text = f"resumed on another {f['what']} of the same kind: its difference is part of the spread between processes"
    return Advice(text, "one sitting for a run that decides something")


def _shared_host(f: Figures) -> Advice:
    others = f["others"]
    cards = "1 other card was" if others == 1 else f"{number(others)} other cards were"
    text = (
        f"{cards} at work on this host meanwhile: enqueue, latency and throughput, which need the host, may be longer"
    )
    if "threads" in f:
        text += f"; a process had {number(f['threads'])} threads of the CPU, its share"
    return Advice(text, "--devices 1 for times that need the host; gpu is measured apart from it")


def _resumed_by_another(f: Figures) -> Advice:
    text = f"measured by trtbench {f['version']}, the run was begun by {f['begun_by']}"
    return Advice(f"{text}: what it does with a model may differ", "a new run for one that decides something")


SENTENCES: dict[str, Sentence] = {
    "ClockChanged": _clock_changed,
    "ForeignProcess": _foreign_process,
    "NoEnergy": _no_energy,
    "NoisyHost": _noisy_host,
    "ResumedByAnother": _resumed_by_another,
    "ResumedElsewhere": _resumed_elsewhere,
    "SharedHost": _shared_host,
    "Throttled": _throttled,
}
