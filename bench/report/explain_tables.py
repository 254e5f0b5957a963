"""The tables of an explanation, and the sentence that sums it up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from bench.analysis.causes import MEANINGS, Kind
from bench.analysis.explain import Explanation
from bench.analysis.explain_sides import Side
from bench.report import cells, table
from bench.report.explain_groups import CauseSum, Group
from bench.report.explain_words import signed
from bench.report.table import Column
from bench.units import format_time

_SHORTEST_NAME = 30
_DROP = {"A": 12, "B": 11, "parts": 10, "share": 5}
# Causes of a row that have one of their own: so many, and at least this of the sum of all.
_CAUSES, _LEAST_CAUSE = 3, 0.08
# Shares of a difference that is less than this of what it is the balance of say nothing.
_LEAST_BALANCE = 0.25
# What the units of each kind of side are, in the words of a table.
WORK = {"kernel": "work on the GPU", "layer": "layers", "operator": "operators"}


def heading(explanation: Explanation) -> list[str]:
    """A line for each side: what it is, and what of."""
    return [
        f"{name}  {side.label}: {_count(side)} ({side.tool})"
        for name, side in (("A", explanation.a), ("B", explanation.b))
    ]


def _count(side: Side) -> str:
    """``383 kernels and 9 copies``, as the sentences count them."""
    copies = sum(unit.family == "copy" for unit in side.units) if side.kind == "kernel" else 0
    work = cells.count(len(side.units) - copies, side.kind)
    return f"{work} and {copies} {'copy' if copies == 1 else 'copies'}" if copies else work


def verdict(explanation: Explanation) -> list[str]:
    """How much longer B takes, where, by what above all, and what a run measured."""
    a, b, whole = explanation.a, explanation.b, explanation.difference
    sentences = [f"B takes {_longer(whole)}{_ratio(explanation, a.window, b.window)}"]
    if a.idle or b.idle:
        work, gaps = explanation.without_gaps, whole - explanation.without_gaps
        sentences[0] += f": its gaps without work {_longer(gaps)}, all else {_longer(work)}"
        if explanation.gaps == "profiled":
            sentences[0] += " (under the profiler, which makes gaps longer)"
    if largest := _largest(explanation):
        sentences.append(largest)
    if measured := _measured(explanation):
        sentences.append(measured)
    if flaws := [f"{name} {side.flaw}" for name, side in (("A", a), ("B", b)) if side.flaw]:
        sentences.append(f"no ratio is given: {', and '.join(flaws)}")
    return sentences


def _largest(explanation: Explanation) -> str:
    """The largest cause in the work; on a CPU, after what lies outside of operators where that is larger."""
    totals = [(kind, ns, count) for kind, ns, count in explanation.totals if kind != "gap"]
    causes = [each for each in totals if each[0] != "remainder"]
    before = ""
    if explanation.a.kind == "operator" and totals and totals[0][0] == "remainder":
        before = f"the largest cause: {cause_name(explanation, 'remainder')}, {signed(totals[0][1])}"
    if not causes:
        return before
    kind, ns, count = causes[0]
    cause = f"{MEANINGS[kind]}, {signed(ns)} in {cells.count(count, 'part')}"
    return f"{before}; in the operators: {cause}" if before else f"the largest cause in the work: {cause}"


def _longer(ns: float) -> str:
    return f"{format_time(abs(ns))} {'longer' if ns > 0 else 'less'}" if ns else "as long"


def _ratio(explanation: Explanation, a: float, b: float) -> str:
    """``, 1.23 times A``; empty where a run cannot judge one of the cases."""
    is_judged = not (explanation.a.flaw or explanation.b.flaw)
    return f", {b / a:.2f} times A" if is_judged and a and a != b else ""


def _measured(explanation: Explanation) -> str:
    a, b = explanation.a.measured, explanation.b.measured
    if not a or not b:
        return ""
    texts: dict[str, list[str]] = {}
    for boundary in a:
        text = f"{boundary} {_longer(b[boundary] - a[boundary])}{_ratio(explanation, a[boundary], b[boundary])}"
        texts.setdefault(explanation.runs.get(boundary, ""), []).append(text)
    return "; ".join(f"run {run} measured: {'; '.join(several)}" for run, several in texts.items())


def cause_name(explanation: Explanation, kind: Kind) -> str:
    """A kind of cause in the words of a table: what is left of the whole on a CPU is outside of operators."""
    if kind == "remainder" and explanation.a.kind == "operator":
        return "outside of operators"
    return MEANINGS[kind]


def sides(explanation: Explanation) -> list[Column]:
    """What an inference of each side consists of, and what a run measured of it."""
    a, b = explanation.a, explanation.b
    kind = WORK[a.kind] if a.kind == b.kind else "work"
    outside = cause_name(explanation, "remainder")
    rows: list[tuple[str, float, float]] = [(kind, a.work, b.work)]
    rows += [("copies from and to the host", a.busy - a.work, b.busy - b.work)]
    rows += [("gaps without work", a.idle, b.idle), (outside, a.remainder, b.remainder)]
    rows = [row for at, row in enumerate(rows) if at == 0 or row[1] or row[2]]
    rows.append(("one inference", a.window, b.window))
    for boundary in a.measured:
        if boundary != "latency" or explanation.gaps != "measured":  # else it is the row above
            rows.append((f"measured: {boundary}", a.measured[boundary], b.measured[boundary]))
    return [
        Column(title="where the time goes", cells=tuple(row[0] for row in rows), align_left=True),
        Column(title="A", cells=tuple(format_time(row[1]) for row in rows)),
        Column(title="B", cells=tuple(format_time(row[2]) for row in rows)),
        Column(title="B - A", cells=tuple(signed(row[2] - row[1]) for row in rows)),
    ]


def totals(explanation: Explanation, most: int = 0) -> list[Column]:
    """Each kind of cause, the largest ``most`` of them (0: all) and the sum of the others."""
    rows = [(cause_name(explanation, kind), ns, str(count), str(kind)) for kind, ns, count in explanation.totals]
    if most and len(rows) > most + 1:
        rest = [row for row in rows[most:] if row[3] != "gap"]  # which has a row of its own, as it has no share
        gaps = [row for row in rows[most:] if row[3] == "gap"]
        several = (cells.count(len(rest), "other cause"), sum(row[1] for row in rest), "", "")
        rows = [*rows[:most], *([several] if len(rest) > 1 else rest), *gaps]
    rows.append(("difference", explanation.difference, "", "gap"))
    shares = [_share(explanation, ns) if kind != "gap" else "" for _, ns, _, kind in rows]
    return [
        Column(title="cause", cells=tuple(row[0] for row in rows), align_left=True),
        Column(title="B - A", cells=tuple(signed(row[1]) for row in rows)),
        Column(title="share", cells=tuple(shares), drop=_DROP["share"]),
        Column(title="parts", cells=tuple(row[2] for row in rows), drop=_DROP["parts"]),
    ]


class _Line(NamedTuple):
    """A row of the table of parts: of a group, or of a cause within it."""

    where: str
    a: int
    b: int
    share: str
    number: str = ""


def parts(explanation: Explanation, shown: Sequence[Group], rest: Sequence[Group]) -> list[Column]:
    """The parts that are shown, each with its difference by cause, the sum of those left out, and of what does not
    differ.
    """
    rows: list[_Line] = []
    for number, group in enumerate(shown, 1):
        rows += _group(explanation, group, str(number))
    if rest:
        a, b = (sum(getattr(group, side) for group in rest) for side in "ab")
        gap = any(group.kind == "gap" for group in rest)  # shares are of the work
        share = "" if gap else _share(explanation, b - a)
        rows.append(_Line(cells.count(sum(len(group.parts) for group in rest), "more part"), a, b, share))
    every = (*shown, *rest)
    a = explanation.a.window - sum(group.a for group in every)
    b = explanation.b.window - sum(group.b for group in every)
    if a or b:
        rows.append(_Line("what does not differ", a, b, _share(explanation, b - a)))
    return [
        Column(title="#", cells=tuple(row.number for row in rows)),
        Column(title="where, and by which cause", cells=tuple(row.where for row in rows), align_left=True),
        Column(title="A", cells=tuple(format_time(row.a) for row in rows), drop=_DROP["A"]),
        Column(title="B", cells=tuple(format_time(row.b) for row in rows), drop=_DROP["B"]),
        Column(title="B - A", cells=tuple(signed(row.b - row.a) for row in rows)),
        Column(title="share", cells=tuple(row.share for row in rows), drop=_DROP["share"]),
    ]


def _group(explanation: Explanation, group: Group, number: str) -> list[_Line]:
    if group.kind == "gap":
        return [_Line(f"{group.name}: {MEANINGS['gap']}", group.a, group.b, "", number)]
    rows = [_Line(group.name, group.a, group.b, _share(explanation, group.difference), number)]
    if group.kind == "remainder":
        return rows
    shares, rest = shown_causes(group)
    for each in shares:
        where = f" in {each.parts} of them" if each.parts < len(group.parts) else ""
        rows.append(_Line(f"  {MEANINGS[each.kind]}{where}", each.a, each.b, _share(explanation, each.ns)))
    if rest:
        a, b = (sum(getattr(each, side) for each in rest) for side in "ab")
        rows.append(_Line(f"  {cells.count(len(rest), 'other cause')}", a, b, _share(explanation, b - a)))
    return rows


def shown_causes(group: Group) -> tuple[tuple[CauseSum, ...], tuple[CauseSum, ...]]:
    """The causes of a group that have a row of their own, and those that share one: small ones, if they are several."""
    causes = group.causes
    least = _LEAST_CAUSE * sum(abs(each.ns) for each in causes)
    large = max(sum(abs(each.ns) >= least for each in causes[:_CAUSES]), 1)
    large = len(causes) if len(causes) - large == 1 else large
    return causes[:large], causes[large:]


def fit(columns: Sequence[Column], width: int) -> tuple[list[Column], list[str]]:
    """The columns that fit beside names of some length, the names as wide as these leave them; the titles of others."""
    names = next(column for column in columns if column.align_left)
    least = _cut(names, min(names.width, _SHORTEST_NAME))
    fitting, dropped = table.fit([least if column is names else column for column in columns], width)
    beside = sum(column.width + table.GAP for column in fitting if column is not least)
    room = max(width - beside, table.SHORTEST_NAME)
    return [_cut(names, room) if each is least else each for each in fitting], dropped


def _cut(column: Column, room: int) -> Column:
    return msgspec.structs.replace(column, cells=tuple(table.cut(cell, room) for cell in column.cells))


def _share(explanation: Explanation, ns: int) -> str:
    """Of the difference without gaps, which a profiler makes longer; nothing where that is a balance of large sums."""
    whole = explanation.without_gaps
    causes = sum(abs(total) for kind, total, _ in explanation.totals if kind != "gap")
    if not whole or abs(whole) < _LEAST_BALANCE * causes:
        return ""
    return cells.share(ns / whole + 0.0)
