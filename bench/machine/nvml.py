"""What the GPU did while a worker was timed, read by NVML from the parent process; and warnings if it was disturbed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from bench.errors import Unavailable
from bench.machine import gpus
from bench.machine.gpu_readings import Readings, figures_of, peaks_of, throttle_bits, under_load
from bench.model.run import Warning
from bench.model.telemetry import GpuFigures
from bench.units import NS_PER_S

CLOCK_CHANGED = 0.05
# Listing processes takes milliseconds on some drivers, under a lock that launches need too: not at every tick.
SLOW_NS = 5 * NS_PER_S
FAST = ("sm_mhz", "reasons", "power_w", "utilisation_percent")
SLOW = ("memory_mhz", "temperature_c", "gpu_memory_bytes", "energy_j")
# What is told of a saturated loop by itself, with "saturated_" before it.
SATURATED = ("readings", "sm_mhz_median", "throttle_reasons")

# Codes of NVMLError for what is answered the same every time: NOT_SUPPORTED, NO_PERMISSION, FUNCTION_NOT_FOUND,
# ARGUMENT_VERSION_MISMATCH and DEPRECATED.
_NEVER = (3, 4, 13, 25, 26)


class GpuTelemetry:
    """Watches one GPU while one worker is timed. Make it before the worker, so that it knows who was there before.

    ``device`` is an NVML index or UUID, None where every GPU is hidden. Without NVML or the device, ``reason`` says
    why, ``finish`` is None, and the rest does nothing; ``lost`` is True from when the GPU was found lost. Of a
    MIG slice neither power, energy nor utilisation is told: NVML knows them of the whole card, which others share.
    Times are CLOCK_MONOTONIC nanoseconds. Close it.
    """

    def __init__(self, device: int | str | None, nvml: Any = None, group_of: Callable[[int], int] = os.getpgid) -> None:
        self.lost = False
        self._nvml = nvml
        self._open = contextlib.ExitStack()
        self._calls: dict[str, list[Callable[[], Any]]] = {}
        self._group_of = group_of
        self._worker: int | None = None
        self._readings: Readings = []
        self._loop: list[int] = []  # how many readings there were as a saturated loop began, and when it had ended
        self._slow_at = 0
        self._memory: dict[int, int] = {}  # the most bytes that each process was seen to use
        self._energy: list[tuple[int, float]] = []
        self._own: set[int] = set()
        self._at_start: set[int] = set()
        self._seen: set[int] = set()
        self.reason = self._find(device)
        self._before = self._processes()

    def close(self) -> None:
        """Give NVML back; what was read is kept."""
        self._worker = None
        self._calls = {}
        self._open.close()

    def start(self, worker: int, now_ns: int) -> None:
        """The measurement begins, once per object: ``worker`` (PID, leads its process group) is on the GPU by now."""
        if self._calls and not self._readings:
            self._worker = worker
            self._read(now_ns, slow=True)
            self._at_start = set(self._seen)

    def tick(self, now_ns: int) -> None:
        """Between start and stop four NVML calls, every 5 s nine; else nothing."""
        if self._worker is not None:
            self._read(now_ns, slow=now_ns - self._slow_at >= SLOW_NS)

    def look(self, now_ns: int) -> None:
        """Read everything now: other processes than before may be on the GPU."""
        if self._worker is not None:
            self._read(now_ns, slow=True)

    def begin_loop(self, now_ns: int) -> None:
        """The measurement has ended and a saturated loop begins, once per object: its energy is counted."""
        if self._worker is not None and not self._loop:
            self._count(now_ns)
            # The measurement's last: what was taken since the last tick is judged by it, not by a tick within the loop.
            self._read(now_ns, slow=True)
            self._loop.append(len(self._readings))

    def end_loop(self, now_ns: int) -> None:
        """The saturated loop has ended; nothing where none goes on."""
        if self._worker is not None and len(self._loop) == 1:
            self._count(now_ns)
            self._loop.append(len(self._readings))

    def stop(self, now_ns: int) -> None:
        """Nothing more is watched; the worker still lives, or its memory is not told."""
        if self._worker is not None:
            self._read(now_ns, slow=True)
            self._worker = None

    def finish(self) -> GpuFigures | None:
        """The figures that the card has; None if nothing was watched.

        Clocks, memory clock and median power are of readings under load (busy like the reading before); where there are
        none, of busy readings, or of all.
        """
        if not self._readings:
            return None
        measured, saturated = self._parts()
        figures: dict[str, Any] = {"lost": True} if self.lost else {}
        figures |= {"span_ns": measured[-1][0] - measured[0][0]} | figures_of(measured)
        if len(self._loop) == 2:
            figures |= self._power()
        if saturated:
            figures |= {f"saturated_{key}": value for key, value in figures_of(saturated).items() if key in SATURATED}
        return GpuFigures(**(figures | peaks_of(self._readings) | self._memory_users()))

    def throttled_spans(self) -> list[tuple[int, int]]:
        """From tick to tick of the measurement, joined where they touch: those with a throttle reason at either end."""
        spans: list[tuple[int, int]] = []
        for (start, before), (end, after) in pairwise(self._parts()[0]):
            if throttle_bits(before) or throttle_bits(after):
                first = spans.pop()[0] if spans and spans[-1][1] == start else start
                spans.append((first, end))
        return spans

    def low_clocks(self) -> list[int]:
        """When the measurement's SM clock was read, under load, as more than 5 % below its highest, and no throttle
        reason with it.
        """
        clocks = [(now, reading) for now, reading in under_load(self._parts()[0]) if "sm_mhz" in reading]
        highest = max((reading["sm_mhz"] for _, reading in clocks), default=0)
        return [now for now, reading in clocks if _changed(reading["sm_mhz"], highest) and not throttle_bits(reading)]

    def _parts(self) -> tuple[Readings, Readings]:
        """The readings of the measurement, and those of a saturated loop; what came after it is in neither."""
        first, last, *_ = *self._loop, len(self._readings), len(self._readings)
        return self._readings[:first], self._readings[first:last]

    def _power(self) -> dict[str, Any]:
        """``saturated_power_w``, or why there is none."""
        if len(self._energy) < 2:
            return {"saturated_power_reason": "the card tells no energy"}
        (start, before), (end, after) = self._energy
        if after <= before or end <= start:
            return {"saturated_power_reason": "the card's energy counter did not move"}
        return {"saturated_power_w": (after - before) / (end - start) * NS_PER_S}

    def _count(self, now_ns: int) -> None:
        if (joules := self._ask("energy_j")) is not None:
            self._energy.append((now_ns, joules))

    def _find(self, device: int | str | None) -> str:
        """Find the functions that tell of the device; why there are none, or an empty text."""
        if device is None:
            return "CUDA_VISIBLE_DEVICES hides every GPU"
        try:
            with contextlib.ExitStack() as stack:
                self._nvml = stack.enter_context(gpus.opened(self._nvml))
                self._calls = _calls(self._nvml, *gpus.find(self._nvml, device))
                self._open = stack.pop_all()
        except Unavailable as error:
            self.lost = isinstance(error, gpus.DeviceLost)
            return error.what
        return ""

    def _ask(self, what: str) -> Any:
        """NVML's answer or None; a call that can never be answered is not made again, on a lost GPU none is."""
        for call in tuple(self._calls.get(what, ())):
            if self.lost:
                break
            try:
                return call()
            except (AttributeError, self._nvml.NVMLLibraryMismatchError):  # nvidia-ml-py or the driver is too old
                self._calls[what].remove(call)
            except self._nvml.NVMLError as error:
                self.lost = error.value in gpus.LOST
                if error.value in _NEVER:
                    self._calls[what].remove(call)
        return None

    def _read(self, now_ns: int, *, slow: bool) -> None:
        keys = FAST + SLOW if slow else FAST
        self._readings.append((now_ns, {key: value for key in keys if (value := self._ask(key)) is not None}))
        if slow:
            self._seen |= self._processes()
            self._slow_at = now_ns

    def _processes(self) -> set[int]:
        """The PIDs with a compute context now; keeps which are the worker's, and what each uses."""
        pids = set()
        for process in self._ask("processes") or ():
            pids.add(process.pid)
            self._memory[process.pid] = max(process.usedGpuMemory or 0, self._memory.get(process.pid, 0))
            with contextlib.suppress(OSError):  # ended since, or of another PID namespace
                if self._worker is not None and self._group_of(process.pid) == self._worker:
                    self._own.add(process.pid)
        return pids

    def _memory_users(self) -> dict[str, int]:
        """The processes seen, told apart: where none is known as the worker's, any that came before start may be."""
        if not self._seen:
            return {}
        foreign = self._seen - self._own
        if not self._own:
            foreign -= self._at_start - self._before
        figures = {"foreign_memory_bytes": sum(self._memory[pid] for pid in foreign)}
        figures["process_memory_bytes"] = sum(self._memory[pid] for pid in self._own)
        return {"foreign_processes": len(foreign)} | {key: size for key, size in figures.items() if size}


def mark(
    samples_count: int, span_start_ns: int, span_end_ns: int, throttled_spans: Sequence[tuple[int, int]]
) -> tuple[int, ...]:
    """Indices of the samples, evenly spread from start to end, whose share of the time overlaps a throttled span."""
    n, start, width = samples_count, span_start_ns * samples_count, span_end_ns - span_start_ns
    return tuple(  # times n, so that the borders between samples are exact integers
        i
        for i in range(n)
        if any(first * n < start + width * (i + 1) and start + width * i < last * n for first, last in throttled_spans)
    )


def warnings(
    gpu: GpuFigures, throttled: Mapping[str, bool] | None = None, low: Mapping[str, bool] | None = None
) -> tuple[Warning, ...]:
    """``Throttled``, ``ClockChanged``, ``NoEnergy`` and ``ForeignProcess`` from the figures of GpuTelemetry.

    ``throttled`` and ``low`` say of each boundary whether samples of it are marked, and whether a low clock was read in
    its time. ClockChanged: under load the lowest SM clock was more than 5 % below the highest, and no throttle reason
    says why: none was given, or only while no sample was taken. A saturated loop makes neither: what a throttled card
    takes for long is what it takes. Nor does throttling in which no sample was taken.
    """
    warnings = []
    lowest, highest, reasons = gpu.sm_mhz_min or 0, gpu.sm_mhz_max or 0, gpu.throttle_reasons
    clocks = {"sm_mhz_min": lowest, "sm_mhz_max": highest} if highest else {}
    if reasons and (not throttled or any(throttled.values())):
        figures = {"reasons": reasons, "readings": gpu.readings, "boundaries": dict(throttled or {}), **clocks}
        warnings.append(Warning(kind="Throttled", figures=figures))
    elif _changed(lowest, highest) and (not reasons or any((low or {}).values())):
        # A reading is of one moment, so of boundaries without a low one nothing is said.
        seen_low = dict(low) if low and any(low.values()) else {}
        warnings.append(Warning(kind="ClockChanged", figures={**clocks, "boundaries": seen_low}))
    if gpu.saturated_power_reason:
        warnings.append(Warning(kind="NoEnergy", figures={"reason": gpu.saturated_power_reason}))
    if gpu.foreign_processes:
        figures = {"processes": gpu.foreign_processes}
        if gpu.foreign_memory_bytes:
            figures["memory_bytes"] = gpu.foreign_memory_bytes
        warnings.append(Warning(kind="ForeignProcess", figures=figures))
    return tuple(warnings)


def _changed(lowest: float, highest: float) -> bool:
    return highest - lowest > CLOCK_CHANGED * highest


def _calls(nvml: Any, gpu: Any, part: Any) -> dict[str, list[Callable[[], Any]]]:
    """The ways to ask for each figure of a GPU, of which ``part`` is a MIG slice: the current function first, then the
    one of older drivers.
    """
    own = gpu if part is None else part
    whole: dict[str, list[Callable[[], Any]]] = {
        "power_w": [lambda: nvml.nvmlDeviceGetPowerUsage(gpu) / 1e3],
        "energy_j": [lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(gpu) / 1e3],
        "utilisation_percent": [lambda: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu],
    }
    return {
        "sm_mhz": [lambda: nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM)],
        "memory_mhz": [lambda: nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_MEM)],
        "reasons": [
            lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(gpu),
            lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(gpu),
        ],
        "temperature_c": [
            lambda: nvml.nvmlDeviceGetTemperatureV(gpu, nvml.NVML_TEMPERATURE_GPU),
            lambda: nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU),
        ],
        "gpu_memory_bytes": [lambda: nvml.nvmlDeviceGetMemoryInfo(own).used],
        "processes": [
            lambda: nvml.nvmlDeviceGetComputeRunningProcesses(own),
            lambda: nvml.nvmlDeviceGetComputeRunningProcesses_v2(own),
        ],
        **(whole if part is None else {}),
    }
