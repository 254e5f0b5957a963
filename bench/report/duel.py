"""A duel as text for a terminal, JSON and markdown."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from bench.analysis import sequential
from bench.analysis.duel import Match, matches
from bench.analysis.speed import is_undecided
from bench.model.run import Run
from bench.model.suite import BETWEEN_PARTS
from bench.report import cells, escape, table
from bench.report.table import Column
from bench.units import format_time

if TYPE_CHECKING:
    from rich.text import Text

JSON_SCHEMA = 1
# As in report.text: the highest leaves first.
DROP = {"time of": 40, "spread": 30, "A": 12, "B": 11}
_STYLES = {"SLOWER": "red", "FASTER": "green", "SAME": "", "INCONCLUSIVE": "", "NONE": "dim"}
LEGEND = "ratio is time of B / time of A with a 95% interval that allows for stopping early; spread is the sd of pairs"


def render(run: Run, *, width: int = 80, color: bool = False) -> str:
    """The matches of a duel and what has to be known of them, in lines of at most ``width`` characters."""
    lines: list[Text | str] = []
    for line in _heading(run):
        lines += table.wrap(line, width)
    return table.show([*lines, *block(run, width)], color)


def block(run: Run, width: int) -> list[Text | str]:
    """The table of matches with its notes, without a heading."""
    every = matches(run)
    columns, dropped = table.fit(_columns(every), width)
    styles = {index: _STYLES[match.kind] for index, match in enumerate(every)}
    lines: list[Text | str] = ["", *table.draw(columns, width, spans={}, styles=styles)]
    if dropped:
        lines += table.wrap(f"not shown at {width} columns: {', '.join(dropped)}", width)
    for note in notes(run, every):
        lines += table.wrap(note, width, " " * 4, "  - ")
    return [*lines, "", *table.wrap(LEGEND, width)]


def markdown(run: Run) -> str:
    """One table, its notes as a list below."""
    every = matches(run)
    lines = [*(f"{escape.markdown(line)}  " for line in _heading(run)), ""]
    lines += table.markdown(_columns(every))
    below = [f"- {escape.markdown(note)}" for note in notes(run, every)]
    lines += [*([""] if below else []), *below, "", f"{LEGEND[0].upper()}{LEGEND[1:]}."]
    return escape.lines("\n".join(lines), sys.maxsize) + "\n"


def json(run: Run) -> str:
    """One object: ``schema``, ``run``, ``duel`` as in the header, ``status``, and ``matches`` with a ratio per pair."""
    whole = {
        "schema": JSON_SCHEMA,
        "run": run.header.run,
        "status": run.footer.status if run.footer else "unfinished",
        "duel": run.header.duel,
        "matches": [_flat(match) for match in matches(run)],
    }
    return escape.in_json(msgspec.json.format(msgspec.json.encode(whole), indent=2).decode()) + "\n"


def verdicts(run: Run) -> list[str]:
    """What a page says of each match in place of marks: ``torchscript against eager: 0.551 [0.412, 0.735], FASTER``;
    nothing of a run that is no duel.
    """
    if run.header.duel is None:
        return []
    return [
        f"{_names(match)}: "
        + (f"not judged, {escape.line(match.why)}" if match.why else f"{_ratio(*_numbers(match))}, {match.kind}")
        for match in matches(run)
    ]


def notes(run: Run, every: Sequence[Match]) -> list[str]:
    """What a reader of the table has to know, one sentence each."""
    lines = [f"not judged, {match.why}: {_names(match)}" for match in every if match.why]
    for match in every:
        if match.failure:
            lines.append(f"{cells.failure(match.failure)}: {match.failure.text}")
            lines += [f"try: {match.failure.hint}"] if match.failure.hint else []
    lines += [_undecided(run, match) for match in every if match.kind == "INCONCLUSIVE"]
    duel = run.header.duel
    if duel is not None and duel.revision:
        lines.append(f"@{duel.revision} is the code of commit {duel.commit[:12]}; the other side is the working tree")
    return lines


# ------------------------------------------------------------------------------------------------------------------


def _undecided(run: Run, match: Match) -> str:
    """Why a match is not decided, and what would decide it."""
    standing, duel = match.standing, run.header.duel
    assert duel is not None
    what = f"INCONCLUSIVE after {cells.count(standing.pairs, 'pair')}"
    if run.footer is None or run.footer.status == "interrupted":
        what += ", interrupted"
    elif standing.pairs < duel.pairs:
        what += ", as the time was over"
    if standing.needed is None:
        more = (
            "too few to say what would decide" if standing.pairs < sequential.FIRST else "a difference of just 1% or 2%"
        )
        return f"{what}: {more}: {_names(match)}"
    if standing.needed <= sequential.MOST:
        limit = " without --max-time" if standing.pairs < duel.pairs else ""
        return f"{what}: about {standing.needed} would decide: --pairs {standing.needed}{limit}: {_names(match)}"
    return f"{what}: about {standing.needed} would decide, more than a duel has: a quieter host, or longer calls: " + (
        _names(match)
    )


def _names(match: Match) -> str:
    return escape.line(title(match.b_label, match.a_label))


def _heading(run: Run) -> list[str]:
    duel = run.header.duel
    assert duel is not None
    end = run.footer.status if run.footer else "unfinished"
    return [f"duel {run.header.run}: {duel.boundary}, at most {duel.pairs} pairs of processes, seed {duel.seed}; {end}"]


def _columns(every: Sequence[Match]) -> list[Column]:
    def column(title: str, texts: list[str], *, left: bool = False) -> Column:
        return Column(title=title, cells=tuple(texts), align_left=left, drop=DROP.get(title, 0))

    return [
        table.names("B against A", [escape.name(title(match.b_label, match.a_label)) for match in every], 70),
        column("time of", [match.boundary for match in every], left=True),
        column("A", [_time(match.a_ns) for match in every]),
        column("B", [_time(match.b_ns) for match in every]),
        column("ratio", ["-" if match.why else _ratio(*_numbers(match)) for match in every], left=True),
        column("spread", ["-" if match.why else _spread(match.standing.sd) for match in every]),
        column("pairs", [str(match.standing.pairs) for match in every]),
        column("verdict", ["-" if match.kind == "NONE" else match.kind for match in every], left=True),
    ]


def _numbers(match: Match) -> tuple[float | None, float | None, float | None]:
    return match.standing.ratio, match.standing.low, match.standing.high


def title(b: str, a: str) -> str:
    """``net/fp32/batch=1: inductor against eager``: what two labels share, and what of each they do not."""
    sides = [BETWEEN_PARTS.split(label) for label in (b, a)]
    shared = [part for part in sides[0] if part in sides[1]]
    own = ["/".join(part for part in side if part not in shared) or "@default" for side in sides]
    return f"{'/'.join(shared)}: {own[0]} against {own[1]}" if shared else f"{own[0]} against {own[1]}"


def ratio(centre: float | None, low: float | None, high: float | None) -> str:
    """``1.052 [1.013, 1.092]``, ``undecided [0.13, 2.07]`` where that leaves all open, or 1.052 alone without an
    interval.
    """
    if centre is None:
        return "-"
    if low is None or high is None:
        return f"{centre:.3f}"
    return cells.undecided(low, high) if is_undecided(low, high) else f"{centre:.3f} [{low:.3f}, {high:.3f}]"


def _ratio(centre: float | None, low: float | None, high: float | None) -> str:
    """As ratio(), of what has ended: ``0.523 ±unknown`` where no interval is known."""
    is_known = centre is None or (low is not None and high is not None)
    return ratio(centre, low, high) + ("" if is_known else f" {cells.UNKNOWN}")


def _time(ns: float | None) -> str:
    return format_time(ns) if ns is not None else "-"


def _spread(sd: float | None) -> str:
    return "-" if sd is None else f"{sd:.1%}"


def _flat(match: Match) -> dict[str, Any]:
    standing, (centre, low, high) = match.standing, (None, None, None) if match.why else _numbers(match)
    return {
        "a": match.a_label,
        "b": match.b_label,
        "a_case": match.a,
        "b_case": match.b,
        "boundary": match.boundary,
        "verdict": match.kind,
        "ratio": centre,
        "low": low,
        "high": high,
        "pairs": standing.pairs,
        "sd": standing.sd,
        "needed": standing.needed,
        "a_ns": match.a_ns,
        "b_ns": match.b_ns,
        "ratios": match.ratios,
        "why": match.why,
        "failure": match.failure,
    }
