"""An explanation as text for a terminal, JSON and Markdown: where two cases differ, why, and by which kernels."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from bench.analysis.causes import MEANINGS
from bench.analysis.explain import Explanation, Part
from bench.analysis.explain_sides import Side
from bench.report import cells, document, escape, table
from bench.report.table import Column
from bench.units import format_time

if TYPE_CHECKING:
    from rich.text import Text

JSON_SCHEMA = 1
MOST = 10  # parts that are shown unless more are asked for
_SHORTEST_NAME = 30
_KERNELS = 3  # named for a cause and side
_DROP = {"A": 12, "B": 11, "parts": 10, "share": 5, "cause": 20}
LEGEND = "times are of one inference; B - A is how much longer B takes, and its share is of the whole difference"
NOTHING = "nothing differs: the same kernels, the same times"


def render(explanation: Explanation, *, width: int = 80, color: bool = False, most: int = MOST) -> str:
    """Both cases, the causes, the ``most`` parts that differ most with their sentences, in lines of at most ``width``
    characters where names allow it.
    """
    lines: list[Text | str] = []
    for line in _heading(explanation):
        lines += table.wrap(line, width)
    if explanation.same:
        return table.show([*lines, NOTHING], color)
    shown, rest = _shown(explanation, most)
    for columns in (_totals(explanation), _parts(explanation, shown, rest)):
        fitting, dropped = _fit(columns, width)
        lines += ["", *table.draw(fitting, width, spans={}, styles={len(columns[0].cells) - 1: "bold"})]
        if dropped:
            lines += table.wrap(f"not shown at {width} columns: {', '.join(dropped)}", width)
    lines.append("")
    for number, part in enumerate(shown, 1):
        lines += table.wrap(f"{part.name}, {signed(part.difference)}", width, " " * 4, f"{number:>3} ")
        for text in _sentences(part):
            lines += table.wrap(text, width, " " * 8, " " * 6)
    for note in explanation.notes:
        lines += table.wrap(note, width, " " * 4, "  - ")
    return table.show([*lines, *table.wrap(LEGEND, width)], color)


def markdown(explanation: Explanation, *, most: int = MOST) -> str:
    """Two tables, and a list of the sentences."""
    lines = [*(f"{escape.markdown(line)}  " for line in _heading(explanation)), ""]
    if explanation.same:
        return escape.lines("\n".join([*lines, f"{NOTHING[0].upper()}{NOTHING[1:]}."]), sys.maxsize) + "\n"
    shown, rest = _shown(explanation, most)
    lines += [*table.markdown(_totals(explanation)), "", *table.markdown(_parts(explanation, shown, rest)), ""]
    for number, part in enumerate(shown, 1):
        lines.append(f"{number}. {escape.markdown(part.name)}, {signed(part.difference)}")
        lines += [f"   - {escape.markdown(text)}" for text in _sentences(part)]
    lines += ["", *(f"- {escape.markdown(note)}" for note in explanation.notes)]
    lines += ["", f"{LEGEND[0].upper()}{LEGEND[1:]}."]
    return escape.lines("\n".join(lines), sys.maxsize) + "\n"


def json(explanation: Explanation) -> str:
    """One object: ``schema``, ``same``, the sides ``a`` and ``b`` with units and gaps, ``difference`` (ns, B - A),
    ``by``, ``gaps``, ``totals`` of the causes, ``parts`` (largest difference first) and ``notes``.
    """
    whole = {
        "schema": JSON_SCHEMA,
        "a": _side(explanation.a),
        "b": _side(explanation.b),
        "difference": explanation.difference,
        "same": explanation.same,
        "by": explanation.by,
        "gaps": explanation.gaps,
        "totals": [{"kind": kind, "ns": ns, "parts": count} for kind, ns, count in explanation.totals],
        "parts": [{**document.full(part), "difference": part.difference} for part in explanation.parts],
        "notes": explanation.notes,
    }
    return escape.in_json(msgspec.json.format(msgspec.json.encode(whole), indent=2).decode()) + "\n"


def signed(ns: int) -> str:
    """``+55.0 us``, ``-1.20 ms``, ``0 ns``."""
    return f"{'+' if ns > 0 else '-' if ns < 0 else ''}{format_time(abs(ns))}"


# ------------------------------------------------------------------------------------------------------------------


def _heading(explanation: Explanation) -> list[str]:
    a, b, difference = explanation.a, explanation.b, explanation.difference
    lines = [
        f"{name}  {side.label}: {format_time(side.window)}, {_consists(side)}" for name, side in (("A", a), ("B", b))
    ]
    if difference:
        word = "longer" if difference > 0 else "less"
        ratio = f", {b.window / a.window:.2f} times A" if a.window else ""
        lines.append(f"B takes {format_time(abs(difference))} {word}{ratio}")
    return lines


def _consists(side: Side) -> str:
    return f"{cells.count(len(side.units), side.kind)} ({side.tool})"


def _side(side: Side) -> dict[str, object]:
    return {**document.full(side), "busy": side.busy, "remainder": side.remainder}


def _shown(explanation: Explanation, most: int) -> tuple[list[Part], list[Part]]:
    differing = [part for part in explanation.parts if part.difference or part.causes]
    return differing[:most], differing[most:]


def _totals(explanation: Explanation) -> list[Column]:
    totals = explanation.totals
    whole = explanation.difference
    return [
        Column(title="cause", cells=(*(MEANINGS[kind] for kind, _, _ in totals), "difference"), align_left=True),
        Column(title="B - A", cells=(*(signed(ns) for _, ns, _ in totals), signed(whole))),
        Column(title="share", cells=(*(_share(ns, whole) for _, ns, _ in totals), ""), drop=_DROP["share"]),
        Column(title="parts", cells=(*(str(count) for _, _, count in totals), ""), drop=_DROP["parts"]),
    ]


def _parts(explanation: Explanation, shown: Sequence[Part], rest: Sequence[Part]) -> list[Column]:
    """The parts that are shown, the sum of those left out, and the whole."""
    whole = explanation.difference
    rows = [(part.name, part.a, part.b) for part in shown]
    if rest:
        rows.append((f"{len(rest)} more", sum(part.a for part in rest), sum(part.b for part in rest)))
    a = explanation.a.window - sum(row[1] for row in rows)
    b = explanation.b.window - sum(row[2] for row in rows)
    if a or b:
        rows.append(("what does not differ", a, b))
    rows.append(("one inference", explanation.a.window, explanation.b.window))
    empty = [""] * (len(rows) - len(shown))
    differences = [b - a for _, a, b in rows]
    return [
        Column(title="#", cells=(*(str(number) for number in range(1, len(shown) + 1)), *empty)),
        Column(title="where", cells=tuple(name for name, _, _ in rows), align_left=True),
        Column(title="A", cells=tuple(format_time(a) for _, a, _ in rows), drop=_DROP["A"]),
        Column(title="B", cells=tuple(format_time(b) for _, _, b in rows), drop=_DROP["B"]),
        Column(title="B - A", cells=tuple(map(signed, differences))),
        Column(title="share", cells=(*(_share(ns, whole) for ns in differences[:-1]), ""), drop=_DROP["share"]),
        Column(title="cause", cells=(*map(_why, shown), *empty), align_left=True, drop=_DROP["cause"]),
    ]


def _fit(columns: Sequence[Column], width: int) -> tuple[list[Column], list[str]]:
    """The columns that fit beside names of some length, the names as wide as these leave them; the titles of others."""
    names = next(column for column in columns if column.title in ("where", "cause"))
    least = _cut(names, min(names.width, _SHORTEST_NAME))
    fitting, dropped = table.fit([least if column is names else column for column in columns], width)
    beside = sum(column.width + table.GAP for column in fitting if column is not least)
    room = max(width - beside, table.SHORTEST_NAME)
    return [_cut(names, room) if each is least else each for each in fitting], dropped


def _cut(column: Column, room: int) -> Column:
    return msgspec.structs.replace(column, cells=tuple(table.cut(cell, room) for cell in column.cells))


def _why(part: Part) -> str:
    """The kind of the largest cause; a gap and the remainder are their own."""
    return MEANINGS[part.causes[0].kind] if part.causes and part.kind == "block" else ""


def _share(ns: int, whole: int) -> str:
    return cells.share(ns / whole + 0.0) if whole else cells.NONE


def _sentences(part: Part) -> list[str]:
    lines = []
    for cause in part.causes:
        lines.append(f"{MEANINGS[cause.kind]}, {signed(cause.ns)}: {cause.text}")
        for name, kernels in (("A", cause.kernels_a), ("B", cause.kernels_b)):
            if kernels:
                more = f" and {len(kernels) - _KERNELS} more" if len(kernels) > _KERNELS else ""
                names = ", ".join(table.cut(escape.name(kernel), 160) for kernel in kernels[:_KERNELS])
                lines.append(f"{name}: {names}{more}")
    return lines
