"""An explanation as text for a terminal, JSON and Markdown: where two cases differ, why, and by which kernels."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from bench.analysis.causes import MEANINGS
from bench.analysis.explain import Explanation
from bench.analysis.explain_sides import Side
from bench.report import cells, document, escape, explain_tables, kernels, table
from bench.report.explain_groups import Group, groups
from bench.report.explain_words import kernels_of, sentence, signed
from bench.report.table import Column

if TYPE_CHECKING:
    from rich.text import Text

JSON_SCHEMA = 1
MOST, MOST_VERBOSE = 3, 10  # parts that are shown unless more are asked for
_CAUSES = 4  # kinds of causes in the short form
_NOTES = 3
_KERNELS = 3  # named for a cause and side
NOTHING = "nothing differs: the same kernels, the same times"


def render(
    explanation: Explanation, *, width: int = 80, color: bool = False, most: int = 0, verbose: bool = False
) -> str:
    """Both cases, the verdict, the causes and the ``most`` parts that differ most (0: MOST) with their kernels, in
    lines of at most ``width`` characters where names allow it: a screenful. ``verbose`` has all causes of a part, whole
    names of kernels, and all notes.
    """
    lines: list[Text | str] = []
    for line in explain_tables.heading(explanation):
        lines += table.wrap(line, width)
    if explanation.same:
        return table.show([*lines, NOTHING], color)
    for line in explain_tables.verdict(explanation):
        lines += table.wrap(line, width)
    several = groups(explanation)
    most = most or (MOST_VERBOSE if verbose else MOST)
    shown, rest = several[:most], several[most:]
    lines += ["", *_drawn(explain_tables.sides(explanation), width, "one inference")]
    lines += ["", *_drawn(explain_tables.totals(explanation, 0 if verbose else _CAUSES), width, "difference")]
    lines += ["", *_drawn(explain_tables.parts(explanation, shown, rest), width), ""]
    for number, group in enumerate(shown, 1):
        lines += _whole(explanation, number, group, width) if verbose else _short(explanation, number, group, width)
    lines += _endings(explanation, rest, len(several), width, verbose)
    return table.show([*lines, *table.wrap(legend(explanation), width)], color)


def legend(explanation: Explanation) -> str:
    """What times and shares are of: without a part that is a gap, as on a CPU, shares are of the whole difference."""
    gaps = any(part.kind == "gap" for part in explanation.parts)
    work = {"kernel": "kernels", "layer": "layers", "operator": "operators"}
    kinds = " or ".join(dict.fromkeys(work[side.kind] for side in (explanation.a, explanation.b)))
    of = "the difference without gaps" if gaps else "the whole difference"
    if any(part.kind == "remainder" for part in explanation.parts) and explanation.a.kind == "operator":
        of += ", with what is outside of operators"
    return f"times are of one inference, those of a cause of its {kinds}; shares are of {of}"


def markdown(explanation: Explanation, *, most: int = 0) -> str:
    """Three tables, and a list of the sentences of the ``most`` parts that differ most (0: MOST_VERBOSE)."""
    lines = [*(f"{escape.markdown(line)}  " for line in explain_tables.heading(explanation)), ""]
    if explanation.same:
        return escape.lines("\n".join([*lines, f"{_sentence(NOTHING)}."]), sys.maxsize) + "\n"
    several = groups(explanation)
    most = most or MOST_VERBOSE
    shown, rest = several[:most], several[most:]
    lines += [f"{_sentence(escape.markdown(line))}.  " for line in explain_tables.verdict(explanation)]
    for columns in (
        explain_tables.sides(explanation),
        explain_tables.totals(explanation),
        explain_tables.parts(explanation, shown, rest),
    ):
        lines += ["", *table.markdown(columns)]
    lines.append("")
    for number, group in enumerate(shown, 1):
        lines.append(f"{number}. {escape.markdown(group.name)}, {signed(group.difference)}")
        lines += [f"   - {escape.markdown(text)}" for text in _sentences(explanation, group)]
    lines += ["", *(f"- {escape.markdown(note)}" for note in explanation.notes)]
    lines += ["", f"{_sentence(legend(explanation))}."]
    return escape.lines("\n".join(lines), sys.maxsize) + "\n"


def json(explanation: Explanation) -> str:
    """One object: ``schema``, ``same``, the sides ``a`` and ``b`` with units and gaps, ``difference`` (ns, B - A),
    ``without_gaps`` (the same but for gaps), ``by``, ``gaps``, ``run``, ``runs`` (by boundary), ``totals`` of the
    causes, ``parts`` (largest difference first) and ``notes``.
    """
    whole = {
        "schema": JSON_SCHEMA,
        "a": _side(explanation.a),
        "b": _side(explanation.b),
        "difference": explanation.difference,
        "same": explanation.same,
        "by": explanation.by,
        "gaps": explanation.gaps,
        "without_gaps": explanation.without_gaps,
        "run": explanation.run,
        "runs": explanation.runs,
        "totals": [{"kind": kind, "ns": ns, "parts": count} for kind, ns, count in explanation.totals],
        "parts": [{**document.full(part), "difference": part.difference} for part in explanation.parts],
        "notes": explanation.notes,
    }
    return escape.in_json(msgspec.json.format(msgspec.json.encode(whole), indent=2).decode()) + "\n"


# ------------------------------------------------------------------------------------------------------------------


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _side(side: Side) -> dict[str, object]:
    return {**document.full(side), "busy": side.busy, "remainder": side.remainder}


def _drawn(columns: Sequence[Column], width: int, bold: str = "") -> list[Text | str]:
    """A table with the row ``bold`` in bold, and what is left out of it."""
    fitting, dropped = explain_tables.fit(columns, width)
    names = next(column.cells for column in columns if column.align_left)
    styles = {at: "bold" for at, name in enumerate(names) if name == bold}
    lines: list[Text | str] = [*table.draw(fitting, width, spans={}, styles=styles)]
    return lines + (table.wrap(f"not shown at {width} columns: {', '.join(dropped)}", width) if dropped else [])


def _short(explanation: Explanation, number: int, group: Group, width: int) -> list[str]:
    """The largest cause of a group in a sentence, and the kernel of each side that takes longest of it, in a line."""
    if not group.causes:
        return []
    cause = group.causes[0]
    lines = table.wrap(sentence(cause, group), width, " " * 4, f"{number:>3} ")
    for side, several in kernels_of(explanation, cause):
        longest, *others = several
        more = f" and {len(others)} more" if others else ""
        room = max(width - len(side) - len(longest.figures) - len(more) - 8, table.SHORTEST_NAME)
        lines.append(f"      {side}: {table.cut(kernels.short(longest.name), room)}{longest.figures}{more}")
    return lines


def _whole(explanation: Explanation, number: int, group: Group, width: int) -> list[str]:
    """Every cause of a group, with the whole names of its kernels."""
    lines = table.wrap(f"{group.name}, {signed(group.difference)}", width, " " * 4, f"{number:>3} ")
    for text in _sentences(explanation, group):
        lines += table.wrap(text, width, " " * 8, " " * 6)
    return lines


def _endings(explanation: Explanation, rest: Sequence[Group], count: int, width: int, verbose: bool) -> list[str]:
    """The notes, and how to see what is not shown."""
    notes = explanation.notes if verbose else explanation.notes[:_NOTES]
    lines = [line for note in notes for line in table.wrap(note, width, " " * 4, "  - ")]
    hidden = [f"{cells.count(len(rest), 'more row')}: --top {count}"] if rest else []
    if not verbose:
        more = len(explanation.notes) - len(notes)
        also = f", {cells.count(more, 'more note')}" if more else ""
        hidden.append(f"the sentences of all causes, whole names of kernels{also}: --verbose")
    return lines + (table.wrap("; ".join(hidden), width) if hidden else [])


def _sentences(explanation: Explanation, group: Group) -> list[str]:
    lines = []
    for cause in group.causes:
        lines.append(f"{MEANINGS[cause.kind]}, {signed(cause.ns)}: {sentence(cause, group)}")
        for name, several in kernels_of(explanation, cause):
            more = f" and {len(several) - _KERNELS} more" if len(several) > _KERNELS else ""
            names = [f"{table.cut(escape.name(each.name), 160)}{each.figures}" for each in several[:_KERNELS]]
            lines.append(f"{name}: {', '.join(names)}{more}")
    return lines
