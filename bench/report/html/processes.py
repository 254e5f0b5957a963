"""The page's tables about processes: one row each, with their telemetry and the distributions of their samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench import stats
from bench.analysis.distribution import quantiles
from bench.analysis.pool import Pool
from bench.model.run import Record
from bench.model.samples import SortedSamples
from bench.report import cells, escape
from bench.report.html import columns

# The telemetry that a page shows, by group and field.
TELEMETRY = (
    ("gpu", ("sm_mhz_median", "sm_mhz_min", "memory_mhz", "power_w_max", "temperature_c_max", "gpu_memory_bytes",
             "process_memory_bytes", "foreign_processes", "saturated_power_w", "utilisation_percent")),
    ("host", ("peak_rss_bytes", "cores", "cpu_mhz", "load_average", "involuntary_switches", "longest_wait_ns",
              "thermal_throttles", "quota_throttles", "major_faults")),
    ("clock", ("gpu_floor_ns", "gpu_period_ns", "enqueue_added_ns", "throughput_of_bound")),
)  # fmt: skip
# The boundaries whose distributions a page shows; h2d, compute and d2h are parts of latency.
BOUNDARIES = ("gpu", "gpu_unheld", "enqueue", "latency", "throughput")


def tables(pools: Sequence[Pool], most: int) -> dict[str, Any]:
    """``processes`` and ``distributions``, these of at most ``most`` quantiles."""
    rows: list[dict[str, Any]] = []
    series: list[dict[str, Any]] = []
    for case, pool in enumerate(pools):
        for record in pool.records:
            series += _distributions(len(rows), record, most)
            rows.append({"case": case, **_process(record)})
    return {
        "processes": columns.table(rows, ("case", "replicate")),
        "distributions": columns.table(series, ("process", "boundary", "steps")),
    }


def _process(record: Record) -> dict[str, Any]:
    figures = {
        name: getattr(group, name)
        for of, names in TELEMETRY
        if (group := getattr(record.telemetry, of)) is not None
        for name in names
        if getattr(group, name) is not None
    }
    reasons = record.telemetry.gpu.throttle_reasons if record.telemetry.gpu else None
    throttled = ", ".join(f"{escape.name(name)} {share:.0%}" for name, share in (reasons or {}).items() if share)
    return {
        "replicate": record.replicate,
        "build": record.build,
        "started": escape.name(record.started),
        "card": escape.name(record.card) or None,
        "failure": escape.name(cells.failure(record.failure)) if record.failure else None,
        "inference_j": record.telemetry.inference_j,
        "torch_peak_bytes": record.telemetry.torch_peak_bytes,
        "throttled": throttled or None,
        **figures,
    }


def _distributions(process: int, record: Record, most: int) -> list[dict[str, Any]]:
    measured = [m for m in record.measurements if m.boundary in BOUNDARIES and m.samples]
    table = []
    for m in measured:
        samples = m.samples if isinstance(m.samples, SortedSamples) else SortedSamples(m.samples)
        table.append(
            {
                "process": process,
                "boundary": m.boundary,
                "samples": len(samples),
                "marked": len(m.marked) or None,
                "stop": escape.name(m.stop) or None,
                "median": float(stats.median(samples)),
                "steps": columns.steps(quantiles(samples, most)),
            }
        )
    return table
