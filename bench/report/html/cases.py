"""The page's tables about cases: one row each, their times by boundary, phases, outputs and conditions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from bench.analysis.figures import Figure
from bench.analysis.pool import Pool
from bench.analysis.rows import Row, leads
from bench.model.run import Accuracy, Record
from bench.report import cells, escape

# Columns that every page has, whatever its runs recorded.
COLUMNS = (
    "run", "machine", "device", "id", "label", "model", "backend", "precision", "sizes", "batch", "setting",
    "toolchain", "status", "ranked", "processes", "boundary", "time", "time_low", "time_high", "time_text", "rate",
    "rate_text", "speed", "speed_low", "speed_high", "speed_text", "accuracy", "memory", "energy", "python_share",
    "light", "failure", "warnings", "rerun",
)  # fmt: skip
_LOG = 4_000  # characters of a failure's log


def fields(row: Row, pool: Pool) -> dict[str, Any]:
    """One row of ``cases``, but for its place among runs and machines."""
    shown, case, failure = cells.printable_row(row), pool.case, row.failure
    figure = row.times.get(row.primary) if row.primary else None
    score, speed, work = row.score, row.speed, next((r.work for r in pool.records if r.work), None)
    python = row.python_share
    return {
        "id": row.case,
        "label": escape.name(row.label),
        "model": shown.model,
        "backend": shown.backend,
        "precision": row.precision,
        "sizes": ", ".join(f"{name}={size}" for name, size in shown.symbols.items()),
        "batch": case.symbols.get("batch"),
        "setting": shown.setting,
        "toolchain": escape.name(case.toolchain),
        "status": status(row),
        "ranked": row.ranked,
        "tied": row.tied,
        "processes": row.processes,
        "builds": row.builds,
        "failed": row.failed,
        "boundary": row.primary if figure else None,
        **_figure("time", figure),
        "time_text": cells.time(figure),
        **_figure("rate", row.rate),
        "rate_text": cells.rate(row.rate),
        "speed": speed and speed.ratio,
        "speed_low": speed and speed.low,
        "speed_high": speed and speed.high,
        "speed_text": cells.ratio(speed, row.label),
        "against": escape.name(speed.against) if speed else None,
        "accuracy": cells.verdict(score),
        "accuracy_why": escape.line(score.why) if score and score.why else None,
        "flaw": escape.line(flaw.text) if (flaw := pool.flaw) else None,
        "cosine": score and score.cosine,
        "rel_l2": score and score.rel_l2,
        "max_abs": score and score.max_abs,
        "sqnr": score and score.sqnr,
        "quantized_cosine": score and score.quantized_cosine,
        "quantized_sqnr": score and score.quantized_sqnr,
        "rounding_cosine": score and score.rounding_cosine,
        "memory": row.memory,
        "memory_text": cells.memory(row),
        "memory_of": row.memory_of or None,
        "energy": row.energy,
        "energy_text": cells.energy(row.energy),
        "python_share": python and python.ns,
        "python_share_low": python and python.low_ns,
        "python_share_high": python and python.high_ns,
        "python_share_of": python and python.boundary,
        "python_share_text": cells.python_share(python),
        "light": row.light,
        "light_text": cells.share(row.light),
        "flops": work and work.flops,
        "bytes": work and work.bytes,
        "bound": work.bound if work and work.bound else None,
        "failure": escape.name(cells.failure(failure)) if failure else None,
        "failure_message": escape.lines(failure.text) if failure else None,
        "failure_hint": escape.lines(failure.hint) if failure and failure.hint else None,
        "failure_log": escape.lines(failure.log[-_LOG:]) if failure and failure.log else None,
        "warnings": " ".join(dict.fromkeys(escape.name(warning.kind) for warning in row.warnings)),
    }


def baseline(row: Row, pool: Pool, table: Mapping[str, Row]) -> str | None:
    """What the speed of a case is against, as a title has it: ``eager``, with the precision and the toolchain where
    they are not the case's own, ``eager/fp32``. ``table`` are the rows of its run by label. None without a speed.
    """
    if (speed := row.speed) is None:
        return None
    base = table.get(speed.against)
    precision = base.precision if base and base.precision != row.precision else speed.precision
    toolchain = f"@{speed.toolchain}" if speed.toolchain != pool.case.toolchain else ""
    return escape.name(speed.backend + (f"/{precision}" if precision else "") + toolchain)


def status(row: Row) -> str:
    """One word for how a case ended, the gravest first."""
    if row.failure:
        return "unavailable" if row.failure.kind == "Unavailable" else "failed"
    if row.score and not row.score.ok:
        return "varies" if row.score.varies else "inaccurate"
    if not row.processes:
        return "waiting"
    if leads(row):
        return "fastest"
    if row.tied and row.primary and row.times[row.primary].processes > 1:
        return "tied"
    return "ok" if row.ranked else "unranked"


def times(table: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows of ``times``: a line for each case and boundary."""
    return [
        {
            "case": case,
            "boundary": boundary,
            **_figure("time", figure),
            "time_text": cells.time(figure),
            "minimum": figure.minimum,
            "sd": figure.sd,
            **{f"p{percent}": figure.percentiles.get(percent) for percent in (50, 90, 95, 99)},
            "samples": figure.samples,
            "processes": figure.processes,
        }
        for case, row in enumerate(table)
        for boundary, figure in row.times.items()
    ]


def phases(table: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows of ``phases``, in the order in which they happen."""
    return [
        {"case": case, "name": escape.name(phase.name), "cold": phase.cold_ns, "warm": phase.warm_ns}
        for case, row in enumerate(table)
        for phase in row.phases
    ]


def outputs(pools: Sequence[Pool]) -> list[dict[str, Any]]:
    """The rows of ``outputs``: those of the case's least accurate process."""
    table = []
    for case, pool in enumerate(pools):
        for output in _least_accurate(pool.records):
            cosines = ("cosine", "quantized_cosine", "rounding_cosine")
            texts = {f"{of}_text": cells.similarity(output[of]) for of in cosines}
            table.append({"case": case, **output, **texts, "name": escape.name(output["name"])})
    return table


def _least_accurate(records: Iterable[Record]) -> list[dict[str, Any]]:
    several = [record.accuracy for record in records if record.accuracy]
    if not several:
        return []
    worst = min(several, key=_soundness)
    return [{name: getattr(output, name) for name in output.__struct_fields__} for output in worst.outputs]


def _soundness(accuracy: Accuracy) -> tuple[bool, float]:
    """Lower for worse: what is not ok first, then by the lowest cosine, where undefined is lowest of all."""
    compared = [output for output in accuracy.outputs if not output.empty]
    cosines = [-math.inf if output.cosine is None else output.cosine for output in compared]
    return accuracy.ok, min(cosines, default=1.0)


def conditions(table: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows of ``conditions``: what a case was measured under, as its runtime told."""
    return [
        {"case": case, "name": escape.name(name), "value": escape.line(" or ".join(map(_plain, values)))}
        for case, row in enumerate(table)
        for name, values in row.fairness.items()
    ]


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return value if isinstance(value, str) else msgspec.json.encode(value, order="sorted").decode()


def _figure(name: str, figure: Figure | None) -> dict[str, float | None]:
    if figure is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
