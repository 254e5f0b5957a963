"""A comparison as text for a terminal, JSON, CSV and markdown."""

from __future__ import annotations

import csv as csv_format
import io
import shlex
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from bench.analysis.compare import Comparison, Pair
from bench.analysis.differences import WHOLE, Difference
from bench.analysis.lint import lint_pairs
from bench.analysis.pool import Score
from bench.analysis.verdict import MOST, USUAL, Verdict
from bench.model.run import Warning
from bench.report import cells, escape, lint, table, warnings
from bench.report.table import Column
from bench.units import format_time

if TYPE_CHECKING:
    from rich.text import Text

JSON_SCHEMA = 1
# As in report.text: the highest leaves first.
DROP = {
    "build": 60, "energy": 50, "memory": 40, "QPS": 35, "processes": 33, "rel L2": 30, "cycles": 25, "CPU": 24,
    "time of": 20, "B": 12, "A": 11,
}  # fmt: skip
_STYLES = {"SLOWER": "red", "FASTER": "green", "SAME": "", "INCONCLUSIVE": "", "REFUSED": "yellow", "NONE": "dim"}
_UNSTEADY = ("TwoStates", "Drift")
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
    for line in notes(comparison):
        lines += table.wrap(line, width, " " * 4, "  - ")
    lines += ["", *table.wrap(LEGEND, width)]
    return table.show(lines, color)


def markdown(comparison: Comparison) -> str:
    """One table, its notes as a list below."""
    lines = [
        *(escape.markdown(line) + "  " for line in _heading(comparison)),
        "",
        *table.markdown(_columns(comparison.pairs)),
        "",
    ]
    if averages := means(comparison):
        lines += [*(escape.markdown(line) + "  " for line in averages), ""]
    lines += [*(f"- {escape.markdown(note)}" for note in notes(comparison)), "", f"{LEGEND[0].upper()}{LEGEND[1:]}."]
    return escape.lines("\n".join(lines), sys.maxsize) + "\n"


def github(comparison: Comparison) -> str:
    """A comment of a pull request: how many pairs have each verdict, what changed, and the whole table folded away."""
    changed = tuple(pair for pair in comparison.pairs if pair.kind in ("SLOWER", "FASTER", "REFUSED", "NONE"))
    grid = escape.lines("\n".join(table.markdown(_columns(changed))), sys.maxsize) if changed else _UNCHANGED
    open_ended = any(pair.kind == "INCONCLUSIVE" for pair in comparison.pairs)
    grid = _UNDECIDED if open_ended and not changed else grid
    why = [f"- {escape.markdown(note)}" for note in _first_notes(comparison)]
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
    ``crossed``, ``told``, ``calibration``, ``session_sd``, ``calibration_note``.
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
        "crossed": comparison.crossed,
        "told": comparison.told,
        "calibration": comparison.calibration,
        "session_sd": comparison.session_sd,
        "calibration_note": comparison.calibration_note,
    }
    return escape.in_json(msgspec.json.format(msgspec.json.encode(whole), indent=2).decode()) + "\n"


def counts(comparison: Comparison) -> str:
    """``2 SLOWER, 10 SAME``."""
    names = {"NONE": "not judged"}
    found = {kind: sum(pair.kind == kind for pair in comparison.pairs) for kind in _STYLES}
    return ", ".join(f"{number} {names.get(kind, kind)}" for kind, number in found.items() if number)


def means(comparison: Comparison) -> list[str]:
    """``geometric mean of 12 ratios: 0.953 [0.948, 0.958]``; along an axis a line for each second side."""
    return [
        f"geometric mean of {cells.count(mean.pairs, 'ratio')}{f' of {escape.name(mean.of)}' if mean.of else ''}: "
        + _interval(mean.ratio, mean.low, mean.high)
        for mean in comparison.overall
    ]


def notes(comparison: Comparison) -> list[str]:
    """What a reader of the table has to know, one sentence each."""
    lines = _first_notes(comparison)
    calibrated = sum(pair.verdict.basis == "calibration" for pair in comparison.pairs if pair.verdict)
    if calibrated:
        lines.append(f"the interval of {cells.count(calibrated, 'case')} is from the calibrated spread of processes")
    lines += [*_calibration(comparison), *_levels(comparison), *_unsteady(comparison)]
    for each in lint_pairs(comparison.pairs):
        pairs = cells.count(len(each.sides[-1].cases), "case")
        lines.append(f"unequal conditions ({pairs}): {lint.sentence(each)}")
    for side, labels in (("A", comparison.only_a), ("B", comparison.only_b)):
        if labels:
            lines.append(f"only in {side}: {_labels(labels)}")
    if comparison.crossed:
        lines.append(f"compared across {texts(comparison.crossed)}")
    if comparison.told:
        lines.append(f"the runs also differ in {texts(comparison.told)}")
    return lines


def _first_notes(comparison: Comparison) -> list[str]:
    """Why cases have no verdict, and what to do for one."""
    lines = []
    if refused := comparison.refused:
        lines.append(f"REFUSED: the environments differ in {texts(refused)}; try: {across(refused)}")
    lines += _unjudged(comparison)
    undecided = [pair.verdict for pair in comparison.pairs if pair.verdict and pair.verdict.kind == "INCONCLUSIVE"]
    if alone := [decided for decided in undecided if decided.basis == "none"]:
        what = f"{cells.count(len(alone), 'case')} INCONCLUSIVE: one process does not show how processes differ"
        lines.append(f"{what}: {_more(comparison, alone, USUAL)}")
    if needed := [decided for decided in undecided if decided.needed]:
        most = max(decided.needed or 0 for decided in needed)
        what = f"{cells.count(len(needed), 'case')} INCONCLUSIVE: {most} processes a side would decide"
        lines.append(f"{what} each with 90% probability: {_more(comparison, needed, most)}")
    if endless := len(undecided) - len(alone) - len(needed):
        what = f"{cells.count(endless, 'case')} INCONCLUSIVE: {MOST:,} processes a side would not decide"
        lines.append(f"{what}, as far as ratio and spread stay as they are")
    if comparison.unfinished:
        lines.append(f"did not finish, so processes may be missing: {', '.join(comparison.unfinished)}")
    return lines


def _more(comparison: Comparison, verdicts: list[Verdict], processes: int) -> str:
    """The commands that give each side so many processes, of the sides that have fewer."""
    sides = [comparison.a] if comparison.a == comparison.b else [comparison.a, comparison.b]
    short = [
        side[-1]
        for index, side in enumerate(sides)
        if any(min(v.processes) < processes if len(sides) == 1 else v.processes[index] < processes for v in verdicts)
    ]
    return ", ".join(f"trtbench run --resume {run} --replicates {processes}" for run in short)


def _calibration(comparison: Comparison) -> list[str]:
    """Which calibration the verdicts use, or why they use none that is stored."""
    note = escape.line(comparison.calibration_note)
    if not comparison.calibration:
        return [f"not calibrated: {note}"] if note else []
    sds = ", ".join(
        f"{low:.2%} of {boundary}" if low == high else f"{low:.2%} to {high:.2%} of {boundary}"
        for boundary, (low, high) in comparison.session_sd.items()
    )
    spread = f": session sd {sds}" if sds else ""
    return [f"calibrated by {comparison.calibration}{spread}" + (f"; {note}" if note else "")]


def across(differences: tuple[Difference, ...]) -> str:
    """The options that name the dimensions of ``differences``."""
    names = dict.fromkeys(each.dimension for each in differences)
    if "boundaries" in names:
        return "measure both again with one version: a boundary is defined otherwise"
    for whole, parts in WHOLE.items():
        inside = [name for name in names if name == whole or name.partition(":")[0] in parts]
        if whole in names or len(inside) > 2:
            names = dict.fromkeys([whole, *(name for name in names if name not in inside)])
    return " ".join(f"--across {shlex.quote(name)}" for name in names)


def texts(differences: tuple[Difference, ...], most: int = 6) -> str:
    """``torch 2.11.0 -> 2.13.0, driver 550 -> 570``."""
    more = f" and {len(differences) - most} more" if len(differences) > most else ""
    return ", ".join(escape.line(each.text) for each in differences[:most]) + more


# ------------------------------------------------------------------------------------------------------------------


def _unjudged(comparison: Comparison) -> list[str]:
    """Why pairs have no verdict, each reason once."""
    reasons: dict[str, list[str]] = {}
    for pair in comparison.pairs:
        if pair.why:
            reasons.setdefault(pair.why, []).append(_label(pair))
    return [f"not judged, {why}: {_labels(labels)}" for why, labels in reasons.items()]


def _levels(comparison: Comparison) -> list[str]:
    """What sessions and builds differ by, where the runs tell."""
    levels = comparison.levels
    parts = [("sessions", levels.session)] if levels.session else []
    parts += [(f"builds of {escape.name(backend)}", component) for backend, component in levels.builds.items()]
    lines = []
    for name, of in parts:
        told = f"by {100 * of.sd:.2g}% (sd): part of the intervals" if of.sd else "by no more than their processes do"
        lines.append(f"{name} differ {told} ({cells.count(of.dof, 'degree')} of freedom)")
    return lines


def _unsteady(comparison: Comparison) -> list[str]:
    """Where the times of a side have two states or drift, alike ones together."""
    groups: dict[tuple[str, ...], list[tuple[str, Warning]]] = {}
    for pair in comparison.pairs:
        for side, row in (("A", pair.a), ("B", pair.b)):
            for warning in row.warnings:
                if warning.kind in _UNSTEADY:
                    groups.setdefault((side, *warnings.key(warning)), []).append((row.label, warning))
    lines = []
    for (side, *_), members in groups.items():
        text, hint = warnings.describe(warnings.merge([warning for _, warning in members]))
        labels = list(dict.fromkeys(label for label, _ in members))
        lines.append(f"{side}, {_labels(labels, 3)}: {text}; try: {hint}")
    return lines


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
        table.names("case", [escape.name(_label(pair)) for pair in pairs], 70),
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
    return _interval(decided.ratio, decided.low, decided.high)


def _interval(ratio: float, low: float | None, high: float | None) -> str:
    return (
        _quotient(ratio) if low is None or high is None else f"{_quotient(ratio)} [{_quotient(low)}, {_quotient(high)}]"
    )


def _quotient(value: float) -> str:
    """Three decimals, or where these would say little or too much three significant digits."""
    return f"{value:.3f}" if 0.1 <= value < 100 else f"{value:.3g}"


def _processes(pair: Pair) -> str:
    a, b = pair.a.processes, pair.b.processes
    return str(a) if a == b else f"{a}, {b}"


def _label(pair: Pair) -> str:
    """What both cases have in common, and in what they differ: ``net/fp32/batch=1: eager -> inductor``."""
    a, b = pair.a.label.split("/"), pair.b.label.split("/")
    if a == b:
        return pair.label
    common = "/".join(part for part in a if part in b)
    left, right = ("/".join(part for part in side if part not in other) for side, other in ((a, b), (b, a)))
    return f"{common}: {left or _without(right)} -> {right or _without(left)}"


def _without(setting: str) -> str:
    """What the side is that does not have the ``setting`` of the other: ``@torch22``, ``graph``."""
    return "@default" if setting.startswith("@") else f"no {setting}"


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


def _labels(labels: tuple[str, ...] | list[str], most: int = 8) -> str:
    more = f" and {len(labels) - most} more" if len(labels) > most else ""
    return ", ".join(escape.line(label) for label in labels[:most]) + more


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
        "why": pair.why or texts(pair.differences),
        **sides,
    }


def _accuracy(score: Score | None) -> dict[str, Any]:
    fields = ("ok", "cosine", "rel_l2", "max_abs")
    return {field: getattr(score, field) if score else None for field in fields}
