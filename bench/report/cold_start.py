"""Cold starts: what each case costs before its first answer, and when that pays back; text, Markdown, CSV and JSON."""

from __future__ import annotations

import csv as csv_format
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from bench.analysis.payback import Payback, RunPayback
from bench.report import cells, escape, table
from bench.report.table import Column
from bench.store import suite_here
from bench.units import format_time

if TYPE_CHECKING:
    from rich.text import Text

JSON_SCHEMA = 1
# Optional columns leave a narrow table in this order, the highest number first.
DROP = {"first call": 60, "start": 50, "first answer": 40, "case": 10}
LEGEND = (
    "build: export, engine, package or compiling; start: import, load, deserialize; first answer: all of these and the "
    "first call; steady: a later request, one in flight; pays back after: requests from which on all of it took "
    "less time than with the baseline"
)
NOTHING = "no case was measured, so there is no start to show: trtbench show says why"
# Names of cases that a note lists.
_LABELS = 8
_DERIVED = ("first_answer_ns", "hours")


def render(paybacks: RunPayback, *, rate: float = 0.0, width: int = 80, color: bool = False) -> str:
    """One table in lines of at most ``width`` characters; with ``rate``, requests per second, also how long it takes.

    Where the width is short, names take several lines and columns leave in the order of DROP.
    """
    lines: list[Text | str] = [_text(paybacks.run, "bold"), ""]
    if not paybacks.cases:
        return table.show([*lines, NOTHING], color)
    columns, omitted_titles = table.fit(_columns(paybacks.cases, rate), width)
    styles = {n: "bold" for n, each in enumerate(paybacks.cases) if each.outcome == "baseline"}
    lines += [*table.draw(columns, width, spans={}, styles=styles), ""]
    if omitted_titles:
        lines += _dim(f"not shown at {width} columns: {', '.join(omitted_titles)}", width)
    lines += _dim(LEGEND, width)
    for note in notes(paybacks):
        lines += [_text(part, "yellow") for part in table.wrap(note, width)]
    return table.show(lines, color)


def markdown(paybacks: RunPayback, *, rate: float = 0.0) -> str:
    """The same table in GitHub's flavour, with all columns that have something."""
    if not paybacks.cases:
        return f"`{paybacks.run}`: {NOTHING}.\n"
    lines = [f"`{paybacks.run}`: {LEGEND}.", "", *table.markdown(_columns(paybacks.cases, rate))]
    lines += [text for note in notes(paybacks) for text in ("", f"- {escape.markdown(note)}")]
    return "\n".join(escape.line(text, 10_000) for text in lines) + "\n"


def csv(several: Sequence[RunPayback], *, rate: float = 0.0) -> str:
    """A line per case of all runs under a header line: raw numbers, empty where there is none."""
    buffer = io.StringIO()
    writer = csv_format.DictWriter(
        buffer, ["run", *Payback.__struct_fields__, *_DERIVED], lineterminator="\n", restval=""
    )
    writer.writeheader()
    for one in several:
        for case in one.cases:
            flat = {"run": one.run, **_whole(case, rate)}
            writer.writerow({name: escape.cell(value) for name, value in flat.items()})
    return buffer.getvalue()


def json(several: Sequence[RunPayback], *, rate: float = 0.0) -> str:
    """One object: ``schema``, ``rate`` and ``runs``, each with all fields of payback.RunPayback, ``first_answer_ns``
    and, with a rate, ``hours``.
    """
    runs = [
        {
            "run": one.run,
            "suite": one.suite,
            "cold": one.cold,
            "baseline": one.baseline,
            "cases": [_whole(case, rate) for case in one.cases],
        }
        for one in several
    ]
    document = {"schema": JSON_SCHEMA, "rate": rate or None, "runs": runs}
    return escape.in_json(msgspec.json.format(msgspec.json.encode(document), indent=2).decode()) + "\n"


def notes(paybacks: RunPayback) -> list[str]:
    """What the figures do not have, and how to get it."""
    cases, lines = paybacks.cases, []
    making = [each for each in cases if each.making in ("cached", "beside")]
    if making:
        cold = f"trtbench run {suite_here(paybacks.suite)} --cold"
        states = {each.making for each in making}
        reasons = ["cached: made by an earlier run, or with caches that one has filled"] * ("cached" in states)
        reasons += ["beside: made while others were, so it has no time of its own"] * ("beside" in states)
        lines += [f"{'; '.join(reasons)}; the command that measures all builds: {cold}"]
    if any(each.ahead for each in cases):
        lines.append("start is without imports where these were made ahead of the turn; --cold has them")
    if any(each.ratio is not None and each.ratio_low is None and each.outcome != "baseline" for each in cases):
        lines.append("without an interval: one process does not show how processes differ, --replicates 7 does")
    reasons_of: dict[str, list[str]] = {}
    for each in cases:
        if each.why and each.why not in ("cached", "beside"):
            reasons_of.setdefault(each.why, []).append(escape.name(each.label))
    for why, labels in reasons_of.items():
        more = f" and {len(labels) - _LABELS} more" if len(labels) > _LABELS else ""
        lines.append(f"unknown, {escape.line(why)}: {', '.join(labels[:_LABELS])}{more}")
    return lines


# ------------------------------------------------------------------------------------------------------------------


def _columns(cases: Sequence[Payback], rate: float) -> list[Column]:
    def column(title: str, texts: list[str], *, left: bool = False) -> Column:
        return Column(title=title, cells=tuple(texts), align_left=left, drop=DROP.get(title, 0))

    columns = [
        table.names("case", [escape.name(each.label) for each in cases], DROP["case"]),
        column("build", [_build(each) for each in cases]),
        column("start", [_time(each.start_ns) for each in cases]),
        column("first call", [_time(each.first_ns) for each in cases]),
        column("first answer", [_time(each.first_answer_ns) for each in cases]),
        column("steady", [_time(each.steady_ns) for each in cases]),
        column("speed", [_speed(each) for each in cases]),
        column("pays back after", [outcome(each) for each in cases], left=True),
    ]
    return [*columns, column(f"at {rate:g}/s", [_duration(each, rate) for each in cases])] if rate else columns


def _build(case: Payback) -> str:
    return case.making if case.making in ("cached", "beside") else _time(case.build_ns or None)


def _speed(case: Payback) -> str:
    if case.outcome == "baseline":
        return "baseline"
    return cells.NONE if case.ratio is None else f"{case.ratio:.2f}x"


def outcome(case: Payback) -> str:
    """``12,400 [9,800, 16,000]``; an interval without an end has ``never`` for it."""
    span = ""
    if case.low is not None:
        span = f" [{_number(case.low)}, {'never' if case.high is None else _number(case.high)}]"
    match case.outcome:
        case "baseline":
            return cells.NONE
        case "at_once":
            return "the first"
        case "after":
            return f"{_number(case.requests)}{span}"
        case "until":
            return f"ahead until {_number(case.requests)}{span}"
        case "never":
            return f"never{span}"
        case _:
            return f"unknown ({case.why})" if case.why in ("cached", "beside") else "unknown"


def _number(number: int | None) -> str:
    """Three significant digits, thousands separated."""
    if number is None:
        return cells.NONE
    digits = len(str(number)) - 3
    return f"{round(number, -digits) if digits > 0 else number:,}"


def _duration(case: Payback, rate: float) -> str:
    """``42 s``, ``12 min`` or ``3.2 h``."""
    hours = case.hours(rate) if case.outcome in ("after", "until") else None
    if hours is None:
        return cells.NONE
    if hours >= 2:
        return f"{hours:,.3g} h" if hours < 1000 else f"{hours:,.0f} h"
    return f"{hours * 60:.3g} min" if hours * 60 >= 2 else f"{hours * 3600:.3g} s"


def _time(ns: float | None) -> str:
    return cells.NONE if ns is None else format_time(ns)


def _whole(case: Payback, rate: float) -> dict[str, Any]:
    """All fields, also those that equal their defaults."""
    fields: dict[str, Any] = {name: getattr(case, name) for name in case.__struct_fields__}
    return {**fields, "first_answer_ns": case.first_answer_ns, "hours": case.hours(rate) if rate else None}


def _dim(text: str, width: int) -> list[Text | str]:
    return [_text(part, "dim") for part in table.wrap(text, width)]


def _text(text: str, style: str) -> Text:
    from rich.text import Text

    return Text(text, style=style)
