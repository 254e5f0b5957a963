"""The history of a case as text for a terminal, JSON, CSV and markdown."""

from __future__ import annotations

import csv as csv_format
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench.analysis import steps
from bench.analysis.history import LEAST_RUNS, History, Point, Step
from bench.model.folders import RESULTS
from bench.report import cells, compare_notes, document, escape, table
from bench.report.table import Column
from bench.store import store_option, suite_here
from bench.units import format_time

if TYPE_CHECKING:
    from rich.text import Text

JSON_SCHEMA = 1
# As in report.text: the highest leaves first.
DROP = {"version": 60, "processes": 50, "plot": 40, "commit": 30, "interval": 20}
_BARS = "▁▂▃▄▅▆▇█"
_PLOT = 24
_STYLES = {True: "red", False: "green"}  # of a step to a longer time, and to a shorter one


def render(history: History, *, store: Path | str = RESULTS, width: int = 80, color: bool = False) -> str:
    """A heading with a curve, one line per run in lines of at most ``width`` characters, and a note per step; ``store``
    is that of its commands.
    """
    lines: list[Text | str] = []
    for line in _heading(history):
        lines += table.wrap(line, width)
    if history.points:
        columns, omitted = table.fit(_columns(history), width)
        styles = {step.index: _STYLES[step.ratio > 1] for step in history.steps}
        lines += ["", *table.draw(columns, width, spans={}, styles=styles)]
        lines += table.wrap(f"not shown at {width} columns: {', '.join(omitted)}", width) if omitted else []
    for note in notes(history, store):
        lines += table.wrap(note, width, " " * 4, "  - ")
    return table.show(lines, color)


def markdown(histories: Sequence[History], *, store: Path | str = RESULTS) -> str:
    """A table per history, its notes as a list below; ``store`` as in ``render``."""
    parts = []
    for history in histories:
        lines = [*(escape.markdown(line) + "  " for line in _heading(history)), ""]
        lines += [*table.markdown(_columns(history)), ""] if history.points else []
        lines += [f"- {escape.markdown(note)}" for note in notes(history, store)]
        parts.append("\n".join(lines) + "\n")
    return escape.lines("\n".join(parts), sys.maxsize)


def csv(histories: Sequence[History]) -> str:
    """One line per point under a header line; times are nanoseconds, ``step`` is the ratio at a new level."""
    buffer = io.StringIO()
    fields = [*_OF_ALL, *_POINT, "step"]
    writer = csv_format.DictWriter(buffer, fields, lineterminator="\n")
    writer.writeheader()
    for history in histories:
        at = {step.index: step.ratio for step in history.steps}
        for index, point in enumerate(history.points):
            flat = {name: getattr(history, name) for name in _OF_ALL}
            flat |= {name: getattr(point, name) for name in _POINT} | {"step": at.get(index)}
            writer.writerow({name: escape.cell(value) for name, value in flat.items()})
    return buffer.getvalue()


def json(histories: Sequence[History]) -> str:
    """One object: ``schema`` and ``histories``, each with every field of History."""
    whole = {"schema": JSON_SCHEMA, "histories": [document.full(each) for each in histories]}
    return escape.in_json(msgspec.json.format(msgspec.json.encode(whole), indent=2).decode()) + "\n"


def notes(history: History, store: Path | str = RESULTS) -> list[str]:
    """Why it does not go on with the history before, each step with what changed, what no point stands for, and why
    there are no steps; ``store`` as in ``render``.
    """
    lines = []
    if history.redefined:
        lines.append(
            f"{compare_notes.texts(history.redefined)}: {compare_notes.REDEFINED}, so these times do not continue "
            "the history above, and trtbench compare refuses the two"
        )
    lines += [_sentence(step) for step in history.steps]
    if history.basis == "none" and history.points:
        runs = cells.count(len(history.points), "run")
        what = f"{runs}: steps are looked for from {LEAST_RUNS} runs on with a calibration, from {steps.LEAST} without"
        command = f"trtbench calibrate {suite_here(history.suite)}{store_option(store)}"
        lines.append(f"{what}: {escape.line(command)}")
    apart = [point.run for point in history.points if point.apart]
    if apart:
        lines.append(f"apart from their level, and no step: {', '.join(map(escape.line, apart))}")
    lines += [f"no point, {escape.line(why)}: {escape.line(run)}" for run, why in history.gaps]
    lines += [f"not read: {escape.line(problem)}" for problem in history.unread]
    return lines


# ------------------------------------------------------------------------------------------------------------------

_OF_ALL = ("case", "label", "device", "arch", "boundary", "definition")
_POINT = ("run", "created", "commit", "version", "fingerprint", "processes", "ns", "low", "high", "level_ns", "apart")


def _heading(history: History) -> list[str]:
    device = f"{escape.line(history.device)} ({escape.line(history.arch)})"
    lines = [f"{escape.name(history.label)} ({history.case}): {history.boundary} on {device}"]
    if history.points:
        times = [point.ns for point in history.points]
        span = " to ".join(dict.fromkeys((format_time(min(times)), format_time(max(times)))))
        lines.append(f"{curve(times)}  {cells.count(len(times), 'run')}, {span}{_noise(history)}")
    return lines


def _noise(history: History) -> str:
    if history.sd is None:
        return ""
    of = history.calibration if history.basis == "calibration" else "of these runs"
    return f", noise of a run {history.sd:.2%} ({of}), {cells.count(len(history.steps), 'step')}"


def curve(values: Sequence[float]) -> str:
    """A bar of one character per value, in the order given, between the least and the greatest."""
    low, high = min(values), max(values)
    top = len(_BARS) - 1
    return "".join(_BARS[round((value - low) / (high - low) * top) if high > low else 0] for value in values)


def _columns(history: History) -> list[Column]:
    points, at = history.points, {step.index: step for step in history.steps}
    return [
        _column("run", [escape.name(point.run) for point in points], left=True),
        _column("commit", [escape.name(point.commit) or "-" for point in points], left=True),
        _column("version", [escape.name(point.version) for point in points], left=True),
        _column("processes", [str(point.processes) for point in points]),
        _column("time", [format_time(point.ns) for point in points]),
        _column("interval", [_interval(point) for point in points], left=True),
        _column("plot", _plot(points), left=True),
        _column("step", [_change(at.get(index)) for index in range(len(points))], left=True),
    ]


def _plot(points: Sequence[Point]) -> list[str]:
    """A point between the least and the greatest time of all, and a stroke at its level."""
    times = [point.ns for point in points]
    low, high = min(times), max(times)

    def place(ns: float) -> int:
        return round((ns - low) / (high - low) * (_PLOT - 1)) if high > low else 0

    lines = []
    for point in points:
        line = ["·"] * _PLOT
        line[place(point.level_ns)] = "│"
        line[place(point.ns)] = "○" if point.apart else "●"
        lines.append("".join(line))
    return lines


def _interval(point: Point) -> str:
    return cells.within(point.ns, point.low, point.high).strip() or "-"


def _change(step: Step | None) -> str:
    return f"{step.ratio - 1:+.1%}" if step else ""


def _sentence(step: Step) -> str:
    within = f" [{step.low:.3f}, {step.high:.3f}]" if step.low is not None and step.high is not None else ""
    times = f"{format_time(step.before_ns)} -> {format_time(step.after_ns)}, {step.ratio:.3f}x{within}"
    shown = step.changes[:6]
    more = f" and {len(step.changes) - len(shown)} more" if len(step.changes) > len(shown) else ""
    changes = ", ".join(escape.line(each.text) for each in shown) + more
    return (
        f"step at {escape.line(step.run)}: {times}; changed since the run before: {changes or 'nothing that is known'}"
    )


def _column(title: str, texts: list[str], *, left: bool = False) -> Column:
    return Column(title=title, cells=tuple(texts), align_left=left, drop=DROP.get(title, 0))
