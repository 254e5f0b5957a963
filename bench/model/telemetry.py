"""What the machine did while a case was measured; every figure may be absent, as systems and cards differ."""

from __future__ import annotations

from typing import Any

from bench.model.data import Data

Number = int | float


class HostFigures(Data, frozen=True, kw_only=True):
    """The worker's process and its host, over a window of ``window_ns``; where lanes are processes, memory, page faults
    and voluntary switches are the sums over these, the longest wait is that of any, and involuntary switches are those
    of the process that waited so long.

    ``rss_bytes`` and ``peak_rss_bytes`` are resident memory at the end and its peak in the window,
    ``process_peak_rss_bytes`` the peak since the process began. ``cpu_mhz`` is the fastest core, ``load_average`` that
    of 1 minute, both at the end, and at the beginning with ``_before``. The process may use ``cores``. Counted in the
    window: page faults, context switches, ``thermal_throttles`` of cores, ``quota_throttles`` (periods in which the
    control group had used up its CPU quota). ``longest_wait_ns`` is how long the thread that waited most waited for a
    core.
    """

    window_ns: Number | None = None
    cores: Number | None = None
    rss_bytes: Number | None = None
    peak_rss_bytes: Number | None = None
    process_peak_rss_bytes: Number | None = None
    cpu_mhz: Number | None = None
    cpu_mhz_before: Number | None = None
    load_average: Number | None = None
    load_average_before: Number | None = None
    major_faults: Number | None = None
    minor_faults: Number | None = None
    voluntary_switches: Number | None = None
    involuntary_switches: Number | None = None
    longest_wait_ns: Number | None = None
    thermal_throttles: Number | None = None
    quota_throttles: Number | None = None


class GpuFigures(Data, frozen=True, kw_only=True):
    """The GPU by NVML: ``readings`` in ``span_ns`` of the measurement, without the saturated loop.

    Clocks in MHz under load; ``throttle_reasons`` maps NVML's names to the fraction of readings. ``power_w_max`` (an
    average over up to 1 s), ``temperature_c_max`` and ``gpu_memory_bytes`` (most in use) are of measurement and loop.
    ``saturated_*`` are of the saturated loop, its power by the energy counter, or ``saturated_power_reason`` says why
    there is none. ``process_memory_bytes`` is the worker's process group, ``foreign_processes`` and
    ``foreign_memory_bytes`` are others with a compute context at that time. ``lost``: the GPU fell off the bus.
    """

    lost: bool = False
    span_ns: Number | None = None
    readings: Number | None = None
    sm_mhz_min: Number | None = None
    sm_mhz_median: Number | None = None
    sm_mhz_max: Number | None = None
    memory_mhz: Number | None = None
    power_w_median: Number | None = None
    power_w_max: Number | None = None
    temperature_c_max: Number | None = None
    utilisation_percent: Number | None = None
    throttle_reasons: dict[str, Number] | None = None
    energy_j: Number | None = None
    gpu_memory_bytes: Number | None = None
    process_memory_bytes: Number | None = None
    foreign_processes: Number | None = None
    foreign_memory_bytes: Number | None = None
    saturated_power_w: Number | None = None
    saturated_power_reason: str | None = None
    saturated_readings: Number | None = None
    saturated_sm_mhz_median: Number | None = None
    saturated_throttle_reasons: dict[str, Number] | None = None


class ClockFigures(Data, frozen=True, kw_only=True):
    """What the GPU's clock measured beside the boundaries.

    ``gpu_floor_ns`` is a held call that does nothing, ``gpu_period_ns`` the period of calls back to back,
    ``enqueue_bare_ns`` the runtime's own call, ``enqueue_added_ns`` what the lane adds to it, with its 95 % interval
    from ``enqueue_added_low_ns`` to ``enqueue_added_high_ns``. ``throughput_of_bound`` is the rate as a fraction of one
    call per longest part of ``latency``: 1 where copies hide behind calls. The saturated loop ran
    ``saturated_inferences`` in ``saturated_ns``.
    """

    gpu_floor_ns: Number | None = None
    gpu_period_ns: Number | None = None
    enqueue_bare_ns: Number | None = None
    enqueue_added_ns: Number | None = None
    enqueue_added_low_ns: Number | None = None
    enqueue_added_high_ns: Number | None = None
    throughput_of_bound: Number | None = None
    saturated_inferences: Number | None = None
    saturated_ns: Number | None = None


class Telemetry(Data, frozen=True, kw_only=True):
    """All of one process.

    ``torch_peak_bytes`` is the peak of torch's allocator on the GPU, of lanes in processes the sum; ``inference_j`` the
    joules of the whole card per inference in the saturated loop. ``gpu_reason`` says why nothing watched the GPU.
    ``resumed_on`` is the card, or the machine where cards are not known, that resumed the run, if another began it.
    ``loop_overhead_ns`` is what the loop of the C++ program adds to a call, the median of a call that does nothing.
    ``other`` has what earlier versions stored under names that are not known any more.
    """

    host: HostFigures | None = None
    gpu: GpuFigures | None = None
    clock: ClockFigures | None = None
    torch_peak_bytes: Number | None = None
    inference_j: Number | None = None
    loop_overhead_ns: Number | None = None
    gpu_reason: str = ""
    resumed_on: str = ""
    other: dict[str, Any] = {}
