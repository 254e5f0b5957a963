"""A comparison as text for a terminal, JSON, CSV and markdown."""

from __future__ import annotations

import csv as csv_format
import io
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from bench.analysis.compare import Comparison, Pair
from bench.analysis.pool import Score
from bench.analysis.speed import VAGUE, is_undecided
from bench.report import cells, compare_notes, escape, table
from bench.report.table import Column
from bench.units import format_time

if TYPE_CHECKING:
    from rich.text import Text

JSON_SCHEMA = 2
# As in report.text: the highest leaves first.
DROP = {
    "build": 60, "energy": 50, "memory": 40, "QPS": 35, "processes": 33, "rel L2": 30, "cycles": 25, "CPU": 24,
    "time of": 20, "B": 12, "A": 11,
}  # fmt: skip
_STYLES = {"SLOWER": "red", "FASTER": "green", "SAME": "", "INCONCLUSIVE": "", "REFUSED": "yellow", "NONE": "dim"}
_UNCHANGED, _UNDECIDED = "No case changed.", "No case is known to have changed."
LEGEND = (
    "ratio is time of B / time of A with its 95% interval; a difference: the 99% interval excludes 1, by 1% or more;"
    " SAME: the 90% interval is within 2% of 1; CPU time, cycles, QPS, build, memory and energy are B / A"
)


def render(comparison: Comparison, *, width: int = 80, color: bool = False) -> str:
    """One table of all pairs in lines of at most ``width`` characters, and below it what could not be compared."""
    lines: list[Text | str] = []
    for line in _heading(comparison):
        lines += table.wrap(line, width)
    columns, dropped = table.fit(_columns(comparison.pairs), width)
    styles = {index: _STYLES[pair.kind] for index, pair in enumerate(comparison.pairs)}
    lines += ["", *table.draw(columns, width, spans={}, styles=styles)]
    for line in means(comparison):
        lines += table.wrap(line, width)
    if dropped:
        lines += table.wrap(f"not shown at {width} columns: {', '.join(dropped)}", width)
    for line in compare_notes.notes(comparison):
        lines += table.wrap(line, width, " " * 4, "  - ")
    lines += ["", *table.wrap(_legend(comparison), width)]
    return table.show(lines, color)


def markdown(comparison: Comparison) -> str:
    """One table, its notes as a list below."""
    legend = _legend(comparison)
    lines = [
        *(escape.markdown(line) + "  " for line in _heading(comparison)),
        "",
        *table.markdown(_columns(comparison.pairs)),
        "",
    ]
    if averages := means(comparison):
        lines += [*(escape.markdown(line) + "  " for line in averages), ""]
    lines += [
        *(f"- {escape.markdown(note)}" for note in compare_notes.notes(comparison)),
        "",
        f"{legend[0].upper()}{legend[1:]}.",
    ]
    return escape.lines("\n".join(lines), sys.maxsize) + "\n"


def github(comparison: Comparison) -> str:
    """A comment of a pull request: how many pairs have each verdict, what changed, and the whole table folded away."""
    changed = tuple(pair for pair in comparison.pairs if pair.kind in ("SLOWER", "FASTER", "REFUSED", "NONE"))
    grid = escape.lines("\n".join(table.markdown(_columns(changed))), sys.maxsize) if changed else _UNCHANGED
    open_ended = any(pair.kind == "INCONCLUSIVE" for pair in comparison.pairs)
    grid = _UNDECIDED if open_ended and not changed else grid
    why = [f"- {escape.markdown(note)}" for note in compare_notes.first_notes(comparison)]
    lines = [f"**trtbench: {counts(comparison)}**", "", grid, "", *why, *[""] * bool(why)]
    lines += [line for mean in means(comparison) for line in (escape.markdown(mean), "")]
    return "\n".join([*lines, "<details><summary>all cases</summary>", "", markdown(comparison), "</details>"]) + "\n"


def csv(comparison: Comparison) -> str:
    """One line per pair under a header line; raw numbers, empty where there is none."""
    buffer = io.StringIO()
    flat = [{name: escape.cell(value) for name, value in _flat(pair).items()} for pair in comparison.pairs]
    writer = csv_format.DictWriter(buffer, list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return buffer.getvalue()


def json(comparison: Comparison) -> str:
    """One object: ``schema``, ``a``, ``b``, ``pairs`` (as in CSV, with ``differences``), ``geometric_means`` of their
    ratios, ``sessions`` and ``builds`` (what they differ by), ``only_a``, ``only_b``, ``axis``, ``unfinished``,
    ``named_differences``, ``minor_differences``, ``calibration``, ``session_sd``, ``calibration_note``.
    """
    levels = comparison.levels
    whole = {
        "schema": JSON_SCHEMA,
        "a": comparison.a,
        "b": comparison.b,
        "pairs": [{**_flat(pair), "differences": pair.differences} for pair in comparison.pairs],
        "geometric_means": comparison.overall,
        "sessions": levels.session._asdict() if levels.session else None,
        "builds": {backend: component._asdict() for backend, component in levels.builds.items()},
        "only_a": comparison.only_a,
        "only_b": comparison.only_b,
        "axis": comparison.axis,
        "unfinished": comparison.unfinished,
        "named_differences": comparison.named_differences,
        "minor_differences": comparison.minor_differences,
        "calibration": comparison.calibration,
        "session_sd": comparison.session_sd,
        "calibration_note": comparison.calibration_note,
    }
    return escape.in_json(msgspec.json.format(msgspec.json.encode(whole), indent=2).decode()) + "\n"


def counts(comparison: Comparison) -> str:
    """``2 SLOWER, 10 SAME``."""
    names = {"NONE": "not judged"}
    counts = {kind: sum(pair.kind == kind for pair in comparison.pairs) for kind in _STYLES}
    return ", ".join(f"{number} {names.get(kind, kind)}" for kind, number in counts.items() if number)


def means(comparison: Comparison) -> list[str]:
    """``geometric mean of 12 ratios: 0.953 [0.948, 0.958]``; along an axis a line for each second side."""
    return [
        f"geometric mean of {cells.count(mean.pairs, 'ratio')}{f' of {escape.name(mean.of)}' if mean.of else ''}: "
        + _marked(mean.ratio, mean.low, mean.high, calibrated=bool(mean.calibrated))
        for mean in comparison.overall
    ]


# ------------------------------------------------------------------------------------------------------------------


def _heading(comparison: Comparison) -> list[str]:
    sides = [
        f"{side}: {', '.join(map(escape.line, runs))}" for side, runs in (("A", comparison.a), ("B", comparison.b))
    ]
    if comparison.a == comparison.b:
        sides = [f"{', '.join(map(escape.line, comparison.a))}: cases that differ in {comparison.axis}, as A -> B"]
    return [*sides, f"{cells.count(len(comparison.pairs), 'case')}: {counts(comparison)}"]


def _columns(pairs: tuple[Pair, ...]) -> list[Column]:
    def column(title: str, texts: list[str], *, left: bool = False) -> Column:
        return Column(title=title, cells=tuple(texts), align_left=left, drop=DROP.get(title, 0))

    return [
        table.names("case", [escape.name(compare_notes.label(pair)) for pair in pairs], 70),
        column("time of", [pair.boundary or "-" for pair in pairs], left=True),
        column("A", [_time(pair.a_ns) for pair in pairs]),
        column("B", [_time(pair.b_ns) for pair in pairs]),
        column("ratio", [_ratio(pair) for pair in pairs], left=True),
        *([column("CPU", [_cpu(pair) for pair in pairs])] if any(_cpu(pair) != "-" for pair in pairs) else []),
        column("verdict", [_verdict(pair) for pair in pairs], left=True),
        column("processes", [_processes(pair) for pair in pairs]),
        *([column("cycles", [_share(pair.cycles) for pair in pairs])] if any(pair.cycles for pair in pairs) else []),
        column("rel L2", [_change(pair) for pair in pairs]),
        *([column("QPS", [_share(pair.rate.ratio if pair.rate else None) for pair in pairs])] if _rates(pairs) else []),
        column("memory", [_of(pair.a.memory, pair.b.memory) if _alike(pair) else "-" for pair in pairs]),
        column("energy", [_of(pair.a.energy, pair.b.energy) for pair in pairs]),
        column("build", [_of(pair.a_made_ns, pair.b_made_ns) for pair in pairs]),
    ]


def _rates(pairs: tuple[Pair, ...]) -> bool:
    """Whether inferences per second are worth a column; they are the reciprocals of times of throughput."""
    return any(pair.rate and pair.boundary != "throughput" for pair in pairs)


def _cpu(pair: Pair) -> str:
    """CPU time of a call of ``latency``."""
    return _of(pair.a.cpu.value, pair.b.cpu.value) if pair.a.cpu and pair.b.cpu else "-"


def _share(ratio: float | None) -> str:
    return _quotient(ratio) if ratio is not None else "-"


def _alike(pair: Pair) -> bool:
    return pair.a.memory_of == pair.b.memory_of


def _time(ns: float | None) -> str:
    return format_time(ns) if ns is not None else "-"


def _ratio(pair: Pair) -> str:
    if not (decided := pair.verdict):
        return "-"
    return _marked(decided.ratio, decided.low, decided.high, calibrated=decided.basis == "calibration")


def _marked(ratio: float, low: float | None, high: float | None, *, calibrated: bool) -> str:
    shown = _interval(ratio, low, high)
    return f"{shown} {cells.ALONE}" if calibrated else shown


def _interval(ratio: float, low: float | None, high: float | None) -> str:
    """``0.953 [0.948, 0.958]``, ``0.500 ±unknown`` or ``undecided [0.34, 1.47]``."""
    if low is None or high is None:
        return f"{_quotient(ratio)} {cells.UNKNOWN}"
    if is_undecided(low, high):
        return cells.undecided(low, high)
    return f"{_quotient(ratio)} [{_quotient(low)}, {_quotient(high)}]"


def _legend(comparison: Comparison) -> str:
    """That of the table; of what stands in place of a ratio only where it does."""
    intervals = [(each.low, each.high) for each in (*(pair.verdict for pair in comparison.pairs), *comparison.overall)
                 if each is not None]  # fmt: skip
    parts = [LEGEND]
    if any(low is None or high is None for low, high in intervals):
        parts.append(f"{cells.UNKNOWN}: a side has one process, which does not show how processes differ")
    if any(is_undecided(low, high) for low, high in intervals if low is not None and high is not None):
        what = f"the interval contains 1, and its ends differ by more than a factor of {VAGUE:g}"
        parts.append(f"{cells.UNDECIDED}: {what}")
    return "; ".join(parts)


def _quotient(value: float) -> str:
    """Three decimals, or where these would say little or too much three significant digits."""
    return f"{value:.3f}" if 0.1 <= value < 100 else f"{value:.3g}"


def _processes(pair: Pair) -> str:
    a, b = pair.a.processes, pair.b.processes
    return str(a) if a == b else f"{a}, {b}"


def _verdict(pair: Pair) -> str:
    if pair.kind == "NONE":
        return "-"
    needed = pair.verdict.needed if pair.verdict else None
    return f"{pair.kind} (needs {needed})" if pair.kind == "INCONCLUSIVE" and needed else pair.kind


def _change(pair: Pair) -> str:
    a, b = (cells.small(score.rel_l2 if score else None) for score in (pair.a.score, pair.b.score))
    return a if a == b else f"{a} -> {b}"


def _of(a: float | None, b: float | None) -> str:
    return _quotient(b / a) if a and b is not None else "-"


def _flat(pair: Pair) -> dict[str, Any]:
    decided = pair.verdict
    sides: dict[str, Any] = {}
    for name, row, ns, made in (("a", pair.a, pair.a_ns, pair.a_made_ns), ("b", pair.b, pair.b_ns, pair.b_made_ns)):
        sides |= {
            f"{name}_case": row.case,
            f"{name}_ns": ns,
            f"{name}_processes": row.processes,
            f"{name}_cpu_ns": row.cpu.value if row.cpu else None,
            f"{name}_rate": row.rate.value if row.rate else None,
            **{f"{name}_{field}": value for field, value in _accuracy(row.score).items()},
            f"{name}_memory": row.memory,
            f"{name}_energy": row.energy,
            f"{name}_build_ns": made,
        }
    return {
        "label": pair.label,
        "boundary": pair.boundary,
        "verdict": pair.kind,
        "ratio": decided.ratio if decided else None,
        "low": decided.low if decided else None,
        "high": decided.high if decided else None,
        "needed": decided.needed if decided else None,
        "basis": decided.basis if decided else None,
        "rate_ratio": pair.rate.ratio if pair.rate else None,
        "rate_low": pair.rate.low if pair.rate else None,
        "rate_high": pair.rate.high if pair.rate else None,
        "cycles": pair.cycles,
        "why": pair.why or compare_notes.texts(pair.differences),
        **sides,
    }


def _accuracy(score: Score | None) -> dict[str, Any]:
    figures = {field: getattr(score, field) if score else None for field in ("cosine", "rel_l2", "max_abs")}
    return {"ok": score.accurate if score else None, **figures}
