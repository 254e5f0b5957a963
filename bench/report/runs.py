"""The list of runs, as `trtbench runs` prints it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from bench.report import escape, table
from bench.report.table import Column
from bench.store.listing import Summary

if TYPE_CHECKING:
    from rich.text import Text

JSON_SCHEMA = 1
DROP = {"version": 40, "arch": 30, "made": 20, "device": 10}  # the name begins with the time


def render(runs: Sequence[Summary], *, width: int = 80, color: bool = False) -> str:
    """A line per run: name, time, device, cases, how many of its plan's processes are done, and state."""
    columns = [
        _column("run", [run.run for run in runs], left=True),
        _column("made", [run.created[:16].replace("T", " ") for run in runs], left=True),
        _column("device", [run.device for run in runs], left=True),
        _column("arch", [run.arch for run in runs], left=True),
        _column("version", [run.version for run in runs], left=True),
        _column("cases", [str(run.cases) if run.state != "unreadable" else "-" for run in runs]),
        _column("done", [f"{run.records}/{run.processes}" if run.processes else "-" for run in runs]),
        _column("state", [f"{run.state}, duel" if run.duel else run.state for run in runs], left=True),
    ]
    fitting, omitted_titles = table.fit(columns, width)
    styles = {index: "dim" for index, run in enumerate(runs) if run.state not in ("complete", "running")}
    lines: list[Text | str] = [*table.draw(fitting, width, spans={}, styles=styles)]
    lines += [f"  {run.run}: {run.problem}" for run in runs if run.problem]
    if omitted_titles:
        lines += table.wrap(f"not shown at {width} columns: {', '.join(omitted_titles)}", width)
    return table.show(lines, color)


def json(runs: Sequence[Summary]) -> str:
    """One object: ``schema`` and ``runs``, each with every field of Summary."""
    whole = {"schema": JSON_SCHEMA, "runs": [{f: getattr(run, f) for f in run.__struct_fields__} for run in runs]}
    return escape.in_json(msgspec.json.format(msgspec.json.encode(whole), indent=2).decode()) + "\n"


def _column(title: str, cells: Sequence[str], *, left: bool = False) -> Column:
    return Column(
        title=title, cells=tuple(escape.name(cell) for cell in cells), align_left=left, drop=DROP.get(title, 0)
    )
