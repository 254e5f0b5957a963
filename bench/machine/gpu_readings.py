"""What the readings of a GPU say together: its clocks under load, its power and memory, and what slowed it down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

# The bits of nvmlClocksEventReasons, lowest first, by the names that NVML gives them.
REASONS = (
    "GpuIdle", "ApplicationsClocksSetting", "SwPowerCap", "HwSlowdown", "SyncBoost", "SwThermalSlowdown",
    "HwThermalSlowdown", "HwPowerBrakeSlowdown", "DisplayClockSetting", "BoardLimit", "Reliability",
)  # fmt: skip
IDLE = 1
# Settings hold for the whole run: they are limits of the environment, nothing that befell a sample.
SETTINGS = 1 << 1 | 1 << 8

Reading = dict[str, Any]
Readings = list[tuple[int, Reading]]


def throttle_bits(reading: Reading) -> int:
    """The bits that slow a running GPU down; on an idle one they slow nothing."""
    bits: int = reading.get("reasons", 0)
    return 0 if bits & IDLE else bits & ~SETTINGS


def is_busy(reading: Reading) -> bool:
    """Something ran, as far as the card tells; utilisation is that of up to 1 s before, so it lags."""
    if "reasons" not in reading and "utilisation_percent" not in reading:
        return False
    return not reading.get("reasons", 0) & IDLE and reading.get("utilisation_percent", 1) > 0


def under_load(readings: Readings) -> Readings:
    """Those under load: without the first busy one, where the clock may still rise from idle."""
    return [after for before, after in pairwise(readings) if is_busy(before[1]) and is_busy(after[1])]


def figures_of(timeline: Readings) -> dict[str, Any]:
    """How many readings there are, and figures over them."""
    readings = [reading for _, reading in timeline]
    loaded = [reading for _, reading in under_load(timeline)]
    busy = [reading for reading in readings if is_busy(reading)]

    def values(key: str, *choices: list[Reading]) -> list[float]:
        """Of the first choice that has any."""
        return next(filter(None, ([r[key] for r in choice if key in r] for choice in choices)), [])

    best = (loaded, busy, readings)
    statistics: dict[str, tuple[Callable[[list[float]], float], list[float]]] = {
        "sm_mhz_min": (min, values("sm_mhz", loaded)),
        "sm_mhz_median": (median, values("sm_mhz", *best)),
        "sm_mhz_max": (max, values("sm_mhz", loaded)),
        "memory_mhz": (median, values("memory_mhz", *best)),
        "power_w_median": (median, values("power_w", *best)),
        "utilisation_percent": (median, values("utilisation_percent", readings)),
    }
    figures: dict[str, Any] = {"readings": len(readings)}
    figures |= {key: figure(of) for key, (figure, of) in statistics.items() if of} | _throttling(readings)
    if "energy_j" in readings[0] and "energy_j" in readings[-1]:
        figures["energy_j"] = readings[-1]["energy_j"] - readings[0]["energy_j"]
    return figures


def peaks_of(readings: Readings) -> dict[str, float]:
    """The highest of each figure whose highest matters."""
    names = {"power_w": "power_w_max", "temperature_c": "temperature_c_max", "gpu_memory_bytes": "gpu_memory_bytes"}
    seen = {name: [reading[key] for _, reading in readings if key in reading] for key, name in names.items()}
    return {name: max(values) for name, values in seen.items() if values}


def _throttling(readings: Sequence[Reading]) -> dict[str, Any]:
    """How often each throttle reason was seen; a bit that has no name here is told by its number."""
    reasons = [throttle_bits(reading) for reading in readings if "reasons" in reading]
    if not reasons:
        return {}
    names = (*REASONS, *(f"Reason{bit}" for bit in range(len(REASONS), 64)))
    counts = {name: sum(bits >> bit & 1 for bits in reasons) for bit, name in enumerate(names)}
    return {"throttle_reasons": {name: count / len(reasons) for name, count in counts.items() if count}}
