"""Where the wall time of a run went: one line at its end, and a table by case as text, Markdown, CSV and JSON."""

from __future__ import annotations

import csv as csv_format
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from bench.analysis.times import CATEGORIES, RunTimes
from bench.report import cells, escape, table
from bench.report.table import Column
from bench.units import NS_PER_S

if TYPE_CHECKING:
    from rich.text import Text

JSON_SCHEMA = 1
_NAMES = {"start_up": "start-up", "builds": "exports and builds", "warmup": "warm-up"}
_SHORT = {"start_up": "start-up", "warmup": "warm-up"}
# Optional columns leave a narrow table in this order, the highest number first.
DROP = {"processes": 90, "validation": 80, "other": 70, "waiting": 60, "references": 50, "start_up": 40, "label": 10}
REST, TOTAL = "not of one case", "total"
LEGEND = (
    "seconds of wall time; where several workers are at work at once, each counts an equal part. imports: the start of "
    "the worker, its imports, loading the model; builds: exports, engines, packages, compiling; warm-up: with the "
    "first call; other: the runner itself. Not of one case: the start-up, what is made ahead, what lies between turns"
)
_UNITS = (("h", 3600 * NS_PER_S), ("min", 60 * NS_PER_S), ("s", NS_PER_S))
# A total is shown in the first unit of which it has so many.
_ENOUGH = 10
_FINE_NS = 100 * NS_PER_S


def line(times: Mapping[str, int]) -> str:
    """``time: 47.2 s: 15.1 measuring, 9.9 warm-up, 8.0 imports``: the largest first, without what rounds to nothing."""
    total = sum(times.values())
    unit, size = next((each for each in _UNITS if total >= _ENOUGH * each[1]), _UNITS[-1])
    parts = [(f"{ns / size:.1f}", name) for name, ns in sorted(times.items(), key=lambda each: -each[1])]
    shown = ", ".join(f"{value} {_NAMES.get(name, name)}" for value, name in parts if value != "0.0")
    return escape.line(f"time: {total / size:.1f} {unit}{': ' if shown else ''}{shown}")


def render(times: RunTimes, *, width: int = 80, color: bool = False) -> str:
    """A line per case, one for what is of no single case, and the total, in lines of at most ``width`` characters.

    Where the width is short, names take several lines and columns leave in the order of DROP.
    """
    rows = _rows(times)
    names = [table.names("case", [label for label, _, _ in rows], DROP["label"])]
    counts = Column(title="processes", cells=tuple(count for _, count, _ in rows), drop=DROP["processes"])
    sums = Column(title="total", cells=tuple(_seconds(sum(ns.values()), times) for _, _, ns in rows))
    columns = [
        Column(
            title=_SHORT.get(name, name),
            cells=tuple(_seconds(ns.get(name, 0), times) for _, _, ns in rows),
            drop=DROP.get(name, 0),
        )
        for name in times.total
    ]
    columns, omitted_titles = table.fit([*names, counts, sums, *columns], width)
    lines: list[Text | str] = [_text(times.run, "bold"), ""]
    lines += table.draw(columns, width, spans={}, styles={len(rows) - 1: "bold"})
    lines.append("")
    if omitted_titles:
        lines += _dim(f"not shown at {width} columns: {', '.join(omitted_titles)}", width)
    lines += _dim(LEGEND, width)
    for note in _notes(times):
        lines += [_text(part, "yellow") for part in table.wrap(note, width)]
    return table.show(lines, color)


def markdown(times: RunTimes) -> str:
    """The same table in GitHub's flavour, with all columns."""
    titles = ["case", "processes", "total", *(_SHORT.get(name, name) for name in times.total)]
    lines = [f"`{times.run}`: {LEGEND}.", "", f"| {' | '.join(titles)} |"]
    lines.append(f"|{'|'.join('---' if not place else '--:' for place in range(len(titles)))}|")
    for label, count, ns in _rows(times):
        figures = [_seconds(sum(ns.values()), times), *(_seconds(ns.get(name, 0), times) for name in times.total)]
        lines.append(f"| {' | '.join([_escape(label), count, *figures])} |")
    lines += [text for note in _notes(times) for text in ("", f"- {note}")]
    return "\n".join(escape.line(text, 10_000) for text in lines) + "\n"


def csv(several: Sequence[RunTimes]) -> str:
    """A line per case of all runs under a header line, then one without a case for what is of no single one:
    nanoseconds by category; empty where an earlier version did not record it.
    """
    buffer = io.StringIO()
    names = [f"{name}_ns" for name in CATEGORIES]
    writer = csv_format.writer(buffer, lineterminator="\n")
    writer.writerow(["run", "case", "label", "processes", *names])
    for times in several:
        for case in times.cases:
            absent = "" if case.unknown else 0
            figures = [case.ns.get(name, absent) for name in CATEGORIES]
            writer.writerow([*map(escape.cell, (times.run, case.case, case.label)), case.processes, *figures])
        if times.rest is not None:
            rest = [times.rest.get(name, 0) for name in CATEGORIES]
            writer.writerow([escape.cell(times.run), "", REST, "", *rest])
    return buffer.getvalue()


def json(several: Sequence[RunTimes]) -> str:
    """One object: ``schema`` and ``runs``, each with all fields of times.RunTimes."""
    document = {"schema": JSON_SCHEMA, "runs": [_whole(times) for times in several]}
    return escape.in_json(msgspec.json.format(msgspec.json.encode(document), indent=2).decode()) + "\n"


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _whole(times: RunTimes) -> dict[str, object]:
    """All fields, also those that equal their defaults."""
    cases = [{name: getattr(case, name) for name in case.__struct_fields__} for case in times.cases]
    return {"run": times.run, "cases": cases, "rest": times.rest, "total": times.total}


def _rows(times: RunTimes) -> list[tuple[str, str, dict[str, int]]]:
    """Name, number of processes and nanoseconds by category: of each case, of the rest, and the sum."""
    rows = [(escape.name(case.label), str(case.processes), case.ns) for case in times.cases]
    if times.rest is not None:
        rows.append((REST, "", times.rest))
    return [*rows, (TOTAL, str(sum(case.processes for case in times.cases)), times.total)]


def _notes(times: RunTimes) -> list[str]:
    """What the figures do not have."""
    if times.unknown:
        processes = cells.count(times.unknown, "process")
        what = "only their phases are here: start-up, references and what lies between phases are unknown"
        return [f"{processes} measured by a version that did not record times, {what}"]
    return []


def _seconds(ns: int, times: RunTimes) -> str:
    """Seconds with one decimal, with two in a short run."""
    if not ns:
        return cells.NONE
    return f"{ns / NS_PER_S:.{2 if sum(times.total.values()) < _FINE_NS else 1}f}"


def _dim(text: str, width: int) -> list[Text | str]:
    return [_text(part, "dim") for part in table.wrap(text, width)]


def _text(text: str, style: str) -> Text:
    from rich.text import Text

    return Text(text, style=style)
