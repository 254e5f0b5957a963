"""A calibration as text for a terminal, JSON and markdown."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench.model.calibration import Alarms, Calibration, Component, Level, Need
from bench.model.run import Run
from bench.report import cells, document, escape, notes, table
from bench.report.table import Column
from bench.store import suite_here

if TYPE_CHECKING:
    from rich.text import Text

# As in report.text: the highest leaves first.
DROP = {"builds": 60, "build sd": 50, "processes": 40, "median": 30, "for 1%": 25, "without": 20}
LEGEND = (
    "sd: standard deviation of logs of process medians; session sd of a case: what compare adds for two runs; finds: "
    "the smallest slowdown that is called SLOWER in 9 of 10 comparisons; for 2%: processes a side that find 2%; in "
    "round brackets: sides from two sittings; [ ]: 95% intervals; without: the false alarms if no session sd were added"
)
# Cases that are left out for one reason are named up to this many.
_NAMED = 3
# With fewer sittings than this the interval of the session sd is too wide to lean on.
_FEW_SITTINGS = 5


def render(
    calibration: Calibration, store: Path | str | None = None, *, more: str = "", width: int = 80, color: bool = False
) -> str:
    """A table of cases and one of boundaries in lines of at most ``width`` characters; ``store`` says where it lies,
    ``more`` is the command that adds sittings.
    """
    lines: list[Text | str] = []
    for line in _heading(calibration):
        lines += table.wrap(line, width)
    for columns in (_of_cases(calibration), _of_boundaries(calibration)):
        fitting, omitted = table.fit(columns, width)
        lines += ["", *table.draw(fitting, width, spans={}, styles={})]
        lines += table.wrap(f"not shown at {width} columns: {', '.join(omitted)}", width) if omitted else []
    for line in remarks(calibration, more):
        lines += table.wrap(line, width, " " * 4, "  - ")
    lines += ["", *table.wrap(LEGEND, width)]
    if store is not None:
        here = calibration.environment
        path = Path(store, here.arch, here.slug, f"{calibration.calibration}.json")
        lines += table.wrap(f"stored in {path}; compare uses it", width)
    return table.show(lines, color)


def markdown(calibration: Calibration, more: str = "") -> str:
    """The tables, and the remarks as a list; ``more`` as in ``render``."""
    lines = [*(f"{escape.markdown(line)}  " for line in _heading(calibration)), ""]
    for columns in (_of_cases(calibration), _of_boundaries(calibration)):
        lines += [*table.markdown(columns), ""]
    lines += [
        *(f"- {escape.markdown(remark)}" for remark in remarks(calibration, more)),
        "",
        f"{LEGEND[0].upper()}{LEGEND[1:]}.",
    ]
    return escape.lines("\n".join(lines), sys.maxsize) + "\n"


def json(calibration: Calibration) -> str:
    """One object: the calibration as its file has it, every field written out."""
    return (
        escape.in_json(msgspec.json.format(msgspec.json.encode(document.full(calibration)), indent=2).decode()) + "\n"
    )


def suite_of(sitting: Run) -> str:
    """The suite of a sitting as an argument of a command."""
    return suite_here(sitting.header.suite_path)


def remarks(calibration: Calibration, more: str = "") -> list[str]:
    """What a reader of the tables has to know, one sentence each; ``more`` as in ``render``."""
    more = escape.line(more) or f"trtbench calibrate SUITE --from {','.join(map(escape.line, calibration.sittings))}"
    labels: dict[str, list[str]] = {}
    for label, why in calibration.left_out.items():
        labels.setdefault(why, []).append(escape.line(label))
    lines = [f"left out, {why}: {_some(several)}" for why, several in labels.items()]
    sittings = len(calibration.sittings)
    if sittings == 1:
        what = "one sitting does not show how sittings differ: only cases of one run are compared by it"
        lines.append(f"{what}: {more}")
    elif sittings < _FEW_SITTINGS:
        what = f"{sittings} sittings say little of how sittings differ (see the interval of session sd)"
        lines.append(f"{what}; more: {more}")
    for name, several in (("cards", calibration.cards), ("hosts", calibration.hosts)):
        if len(several) > 1:
            lines.append(f"the sittings are of {len(several)} {name}: the session sd has what these differ by")
    if calibration.minor_differences:
        differences = ", ".join(calibration.minor_differences)
        lines.append(f"the sittings also differ, and the session sd has what that changes: {differences}")
    never = [need.effect for level in calibration.levels for need in level.needs if need.one_sitting is None]
    if 0.01 in never:
        lines.append("1% is never found in 9 of 10: the verdict calls nothing below 1%, and half of such ratios are")
    short = [level for level in calibration.levels if level.within and level.within.replicates < calibration.replicates]
    if short:
        fewest = min(level.within.replicates for level in short if level.within)
        what = f"false alarms within a sitting are of {fewest} processes a side where no sitting has 2 x"
        lines.append(f"{what} {calibration.replicates}")
    return lines


# ------------------------------------------------------------------------------------------------------------------


def _some(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - _NAMED} more" if len(labels) > _NAMED else ""
    return ", ".join(labels[:_NAMED]) + more


def _heading(calibration: Calibration) -> list[str]:
    here = calibration.environment
    return [
        calibration.calibration,
        f"{escape.line(notes.describe_device(here))}, fingerprint {here.fingerprint}",
        f"{cells.count(len(calibration.sittings), 'sitting')}: {', '.join(map(escape.line, calibration.sittings))}; "
        f"{calibration.replicates} processes a side",
    ]


def _of_cases(calibration: Calibration) -> list[Column]:
    levels = calibration.levels
    return [
        table.names("case", [escape.name(level.label) for level in levels], 35),
        _column("time of", [level.boundary for level in levels], left=True),
        _column("processes", ["+".join(map(str, level.processes)) for level in levels]),
        _column("builds", [str(level.builds) if level.builds > 1 else "-" for level in levels]),
        _column("median", [cells.bare(level.centre_ns) for level in levels]),
        _column("process sd", [_bare(level.process) for level in levels]),
        _column("build sd", [_bare(level.build) for level in levels]),
        _column("session sd", [f"{x.session_sd:.2%}" if x.session_sd is not None else "-" for x in levels]),
        *_effects(calibration, levels),
    ]


def _of_boundaries(calibration: Calibration) -> list[Column]:
    levels = calibration.boundaries
    return [
        _column("all cases", [level.boundary for level in levels], left=True),
        _column("process sd", [_sd(level.process) for level in levels], left=True),
        _column("build sd", [_sd(level.build) for level in levels], left=True),
        _column("session sd", [_sd(level.session) for level in levels], left=True),
        _column("false alarms", [_alarms(level.within) for level in levels], left=True),
        _column("two sittings", [_alarms(level.across) for level in levels], left=True),
        _column("without", [_alarms(level.without) for level in levels], left=True),
    ]


def _effects(calibration: Calibration, levels: Sequence[Level]) -> list[Column]:
    several = len(calibration.sittings) > 1
    columns = [_column("finds", [_either(_share(x.one_sitting), _share(x.two_sittings), several) for x in levels])]
    for number, need in enumerate(levels[0].needs):
        texts = [_number(level.needs[number], several and level.two_sittings is not None) for level in levels]
        columns.append(_column(f"for {need.effect:.0%}", texts))
    return columns


def _number(need: Need, several: bool) -> str:
    one, two = (str(each) if each is not None else "never" for each in (need.one_sitting, need.two_sittings))
    return _either(one, two, several)


def _either(one: str, two: str, several: bool) -> str:
    return f"{one} ({two})" if several else one


def _share(effect: float | None) -> str:
    return f"{effect:.1%}" if effect is not None else "never"


def _bare(component: Component | None) -> str:
    return f"{component.sd:.2%}" if component else "-"


def _sd(component: Component | None) -> str:
    if component is None:
        return "-"
    high = f"{component.high:.2%}" if component.high < 1 else ">100%"
    return f"{component.sd:.2%} [{component.low:.2%}, {high}]"


def _alarms(alarms: Alarms | None) -> str:
    if alarms is None:
        return "-"
    return f"{alarms.rate:.1%} [{alarms.low:.1%}, {alarms.high:.0%}]"


def _column(title: str, texts: list[str], *, left: bool = False) -> Column:
    return Column(title=title, cells=tuple(texts), align_left=left, drop=DROP.get(title, 0))
