"""What was built, and what was not, as a table for a terminal, JSON and markdown."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from bench.analysis.status import nothing_to_build_with
from bench.model.build import BuildRun, BuiltStage, CaseBuild
from bench.model.run import Failure
from bench.report import cells, document, escape, notes, plan, table
from bench.report.table import Column
from bench.report.warnings import mask_numbers
from bench.units import format_size, format_time

if TYPE_CHECKING:
    from rich.text import Text

JSON_SCHEMA = 1
# As in report.text: the highest leaves first.
DROP = {"kind": 30, "layers": 20, "size": 10}
LEGEND = (
    "took: making it, also of one from the cache, unless that was made beside other work; size: its files; layers: "
    "those of the network that an engine was built from"
)
NOTHING = "nothing to build"


class _Line(NamedTuple):
    """A line of the table: an artifact, a failure, or that a case needs none."""

    label: str
    stage: str = ""
    built: BuiltStage | None = None
    result: str = ""
    failed: bool = False


def render(run: BuildRun, *, verbose: bool = False, width: int = 80, color: bool = False) -> str:
    """A line per case and artifact, then the failures with what to do: those that differ in numbers alone once, with
    ``verbose`` each, and its log.
    """
    from rich.text import Text

    several = _lines(run.cases)
    lines: list[Text | str] = [*table.wrap(_heading(run), width), ""]
    if several:
        fitting, omitted = table.fit(_columns(several, repeat=False), width)
        styles = {index: "red" for index, line in enumerate(several) if line.failed}
        lines += table.draw(fitting, width, spans={}, styles=styles)
        lines += table.wrap(f"not shown at {width} columns: {', '.join(omitted)}", width) if omitted else []
        lines.append("")
    for alike in _failures(run.cases, each_alone=verbose):
        for text in _failure(alike):
            lines += table.wrap(text, width, " " * 4)
        if verbose and (case := alike[0]).failure and case.failure.log:
            lines += [Text(f"    {line}", style="dim") for line in escape.lines(case.failure.log).splitlines()]
    lines += table.wrap(_summary(run), width)
    lines += plan.left_out(run.left_out, width, verbose=verbose, reasons=True)
    lines += [Text(line, style="dim") for line in table.wrap(LEGEND, width)]
    return table.show(lines, color)


def markdown(run: BuildRun) -> str:
    """The table, and what failed as a list: for a summary of a workflow, or a comment."""
    lines = [f"**{escape.markdown(_summary(run))}**", "", f"{escape.markdown(_heading(run))}", ""]
    if several := _lines(run.cases):
        lines += [*table.markdown(_columns(several, repeat=True)), ""]
    lines += [f"- {escape.markdown('; '.join(_failure(alike)))}" for alike in _failures(run.cases)]
    return escape.lines("\n".join(lines).rstrip("\n"), sys.maxsize) + "\n"


def json(run: BuildRun) -> str:
    """One object: ``schema``, and all fields of ``bench.model.build.BuildRun``."""
    full = {"schema": JSON_SCHEMA, **document.full(run)}
    return escape.in_json(msgspec.json.format(msgspec.json.encode(full), indent=2).decode()) + "\n"


def _lines(cases: Sequence[CaseBuild]) -> list[_Line]:
    lines = []
    for case in cases:
        own = [_Line(case.label, built.stage, built, "made" if built.cold else "cache") for built in case.stages]
        if case.failure is not None:
            own.append(_Line(case.label, case.failed, None, _result(case.failure, case.failed), True))
        lines += own or [_Line(case.label, result=NOTHING)]
    return lines


def _result(failure: Failure, failed: str) -> str:
    """``FAILED: Unsupported in parse``; the phase only where it is not the stage itself."""
    return f"FAILED: {failure.kind if failure.stage == failed else cells.failure(failure)}"


def _columns(lines: Sequence[_Line], *, repeat: bool) -> list[Column]:
    """The columns; a case is named once, or with ``repeat`` in each of its lines."""
    labels = [line.label for line in lines]
    shown = [label if repeat or not index or labels[index - 1] != label else "" for index, label in enumerate(labels)]
    built = [line.built for line in lines]
    sizes = [format_size(each.bytes) if each and each.bytes is not None else cells.NONE for each in built]
    layers = [f"{each.layers:,}" if each and each.layers is not None else cells.NONE for each in built]
    return [
        table.names("case", [escape.name(label) for label in shown], 5),
        _column("stage", [escape.name(line.stage) or cells.NONE for line in lines], left=True),
        _column("kind", [escape.name(each.kind) if each else cells.NONE for each in built], left=True),
        _column("took", [format_time(each.ns) if each and not each.beside else cells.NONE for each in built]),
        _column("size", sizes),
        _column("layers", layers),
        _column("result", [escape.name(line.result) for line in lines], left=True),
    ]


def _column(title: str, texts: Sequence[str], *, left: bool = False) -> Column:
    return Column(title=title, cells=tuple(texts), align_left=left, drop=DROP.get(title, 0))


def _failures(cases: Sequence[CaseBuild], *, each_alone: bool = False) -> list[list[CaseBuild]]:
    """The cases that failed, together those whose failures differ in numbers alone."""
    groups: dict[tuple[str, ...], list[CaseBuild]] = {}
    for case in cases:
        if (failure := case.failure) is not None:
            key = case.failed, failure.kind, failure.stage, mask_numbers(failure.text), failure.hint
            groups.setdefault((case.case,) if each_alone else key, []).append(case)
    return list(groups.values())


def _failure(alike: Sequence[CaseBuild]) -> list[str]:
    """What failed and where, in the words of the first of those ``alike``, and what to do."""
    case = alike[0]
    failure = case.failure
    assert failure is not None
    others = f" and {len(alike) - 1} more" if len(alike) > 1 else ""
    place = f"{case.failed}: " if case.failed not in ("", failure.stage) else ""
    texts = [f"{case.label}{others}: {place}{cells.failure(failure)}: {failure.text}"]
    texts += [f"  fix: {failure.hint}"] if failure.hint else []
    return [escape.line(text) for text in texts]


def _heading(run: BuildRun) -> str:
    text = f"{run.suite}, built on {notes.describe_device(run.environments['default'])}"
    if run.compute_capabilities:
        text += f" for compute capability {', '.join(run.compute_capabilities)}"
    if run.device_missing:
        text += f" ({run.device_missing})"
    return escape.line(text)


def _summary(run: BuildRun) -> str:
    """``6 of 8 cases are built, 1 failed, 1 lacks a package or a device``."""
    failures = [case.failure for case in run.cases if case.failure is not None]
    lacking = sum(failure.kind == "Unavailable" for failure in failures)
    text = f"{len(run.cases) - len(failures)} of {cells.count(run.total, 'case')} built"
    if failed := len(failures) - lacking:
        text += f", {failed} failed"
    if lacking:
        text += f", {lacking} without a package or a device"
    if run.interrupted:
        text += f", {run.total - len(run.cases)} not finished: interrupted"
    if nothing_to_build_with(run):
        text += "; trtbench doctor says what to install"
    return text
