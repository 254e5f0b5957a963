"""The kernels that an inference spends its time in: a table per case as text and Markdown, all as CSV and JSON."""

from __future__ import annotations

import csv as csv_format
import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from bench.analysis.top_kernels import TopKernel, top_kernels
from bench.model.profile import CaseProfile
from bench.report import cells, escape, table
from bench.report.table import Column
from bench.report.waterfall import middle_window
from bench.units import format_time

if TYPE_CHECKING:
    from rich.text import Text

JSON_SCHEMA = 1
TOP = 15
_LEGEND = (
    "each: the median of its launches; share: of the sum of all; an operator is without those "
    "within it; names are without parameters and inner template arguments, which --format json has"
)
NOTHING = "no kernel was recorded"
SHORTEST_NAME, SHORTEST_MODULE, LONGEST_MODULE = 24, 12, 40
_FIELDS = ("name", "modules", "operators", "count", "median_ns", "ns", "share")
_ANONYMOUS = re.compile(r"\(anonymous namespace\)::|<unnamed>::|_GLOBAL__N__\w+::")
_RETURNS = re.compile(r"^(?:void|static|__global__)\s+")
_FUNCTION = re.compile(r"\w+_cuda\b|\w*Functor\w*")
_NAMESPACE = re.compile(r"(?:\b[a-z_][\w$]*::)+")


def render(cases: Sequence[CaseProfile], *, top: int = TOP, width: int = 80, color: bool = False) -> str:
    """The ``top`` kernels of each case, the rest as one line, in lines of at most ``width`` characters. Names and
    modules are cut in the middle to fit. On a CPU the same of operators.
    """
    lines: list[Text | str] = []
    for case in cases:
        lines += [_text(escape.name(case.label), "bold"), ""]
        if columns := _fit(_columns(case, top), width):
            lines += [*table.draw(columns, width, spans={}, styles={}), ""]
        else:
            lines += [NOTHING, ""]
    lines += [_text(part, "dim") for part in table.wrap(legend(cases), width)]
    return table.show(lines, color)


def markdown(cases: Sequence[CaseProfile], *, top: int = TOP) -> str:
    """The same tables in GitHub's flavour."""
    lines = []
    for case in cases:
        columns = _columns(case, top)
        lines += [
            f"### {escape.markdown(escape.name(case.label))}",
            "",
            *(table.markdown(columns) if columns else [NOTHING]),
        ]
        lines.append("")
    text = legend(cases)
    lines.append(f"{text[0].upper()}{text[1:]}.")
    return "\n".join(escape.line(text, 10_000) for text in lines) + "\n"


def csv(cases: Sequence[CaseProfile]) -> str:
    """A line per kernel of all cases under a header line: raw numbers; modules and operators separated by `` + ``."""
    buffer = io.StringIO()
    writer = csv_format.writer(buffer, lineterminator="\n")
    writer.writerow(["case", "label", *_FIELDS])
    for case in cases:
        for each in _kernels(case):
            values = [getattr(each, name) for name in _FIELDS]
            texts = [" + ".join(value) if isinstance(value, tuple) else value for value in values]
            writer.writerow([*map(escape.cell, (case.case, case.label, *texts))])
    return buffer.getvalue()


def json(cases: Sequence[CaseProfile]) -> str:
    """One object: ``schema`` and ``cases``: ``case``, ``label`` and ``kernels`` with all fields of TopKernel."""
    several = [
        {"case": case.case, "label": case.label, "kernels": [msgspec.structs.asdict(each) for each in _kernels(case)]}
        for case in cases
    ]
    document = {"schema": JSON_SCHEMA, "cases": several}
    return escape.in_json(msgspec.json.format(msgspec.json.encode(document), indent=2).decode()) + "\n"


def legend(cases: Sequence[CaseProfile]) -> str:
    """Of which window the kernels are, what the columns mean, and how names are shortened."""
    several = [case.condensed for case in cases if case.condensed and case.condensed.parts]
    text = f"of {middle_window({len(each.parts) for each in several})}" if several else "of one inference"
    if any(each.kernel_ns for each in several):
        text += ", a launch as long as its median over all windows"
    return f"{text}; {_LEGEND}"


def short(name: str) -> str:
    """A demangled name without what all of its kind share: the type that it returns, its parameters, namespaces, and
    template arguments within template arguments.

    ``void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>, ...>(int, ...)`` ->
    ``vectorized_elementwise_kernel<4, CUDAFunctor_add<…>, …>``
    """
    text = _RETURNS.sub("", _ANONYMOUS.sub("", escape.line(name)))
    outer, inner = "", ""
    depth = brackets = 0
    for character in text:
        brackets += character == "("
        if not brackets:
            if character == "<":
                depth += 1
                outer += "<" if depth == 1 else ""
            elif character == ">" and depth:
                if depth == 2:
                    outer, inner = f"{outer}<{_telling(inner)}>", ""
                outer = f"{outer.rstrip()}>" if depth == 1 else outer
                depth -= 1
            elif depth <= 1:
                outer += character
            else:
                inner += character
        brackets -= character == ")" and brackets > 0
    return _NAMESPACE.sub("", outer).strip() or text


def _telling(arguments: str) -> str:
    """The name of the function that a generic kernel applies, where template arguments have it."""
    match = _FUNCTION.search(arguments)
    return match[0] if match else "…"


def modules(each: TopKernel) -> str:
    """``layer1.0.conv1``, or the first of several and how many more; the operators where no module is known."""
    names = each.modules or each.operators
    more = f" +{len(names) - 1}" if len(names) > 1 else ""
    return f"{escape.name(names[0])}{more}" if names else ""


# ------------------------------------------------------------------------------------------------------------- columns


def _kernels(case: CaseProfile) -> tuple[TopKernel, ...]:
    return top_kernels(case.condensed) if case.condensed else ()


def _columns(case: CaseProfile, top: int) -> list[Column]:
    """A line per kernel, one for those beyond ``top``, and the total; none without any."""
    kernels = _kernels(case)
    if not kernels:
        return []
    assert case.condensed is not None
    noun, name_of = ("kernel", short) if case.condensed.profile.kernels else ("operator", escape.name)
    shown, rest = kernels[:top], kernels[top:]
    rows = [
        (name_of(each.name), modules(each), str(each.count), format_time(each.median_ns), each.ns, each.share)
        for each in shown
    ]
    if rest:
        name, count = cells.count(len(rest), f"other {noun}"), str(sum(each.count for each in rest))
        rows.append((name, "", count, "", sum(each.ns for each in rest), sum(each.share for each in rest)))
    rows.append(("total", "", str(sum(each.count for each in kernels)), "", sum(each.ns for each in kernels), 1.0))
    names, owners, counts, medians, sums, shares = zip(*rows, strict=True)
    return [
        Column(title=noun, cells=names, align_left=True),
        Column(title="module", cells=owners, align_left=True),
        Column(title="count", cells=counts),
        Column(title="each", cells=medians),
        Column(title="time", cells=tuple(map(format_time, sums))),
        Column(title="share", cells=tuple(map(cells.share, shares))),
    ]


def _fit(columns: Sequence[Column], width: int) -> list[Column]:
    """Names and modules share the width that the figures leave."""
    if not columns:
        return []
    names, owners, *figures = columns
    room = width - sum(column.width + table.GAP for column in figures)
    if not any(owners.cells):
        return [_cut(names, max(room, SHORTEST_NAME)), *figures]
    beside = min(owners.width, LONGEST_MODULE, max(room - table.GAP - min(names.width, room * 2 // 3), SHORTEST_MODULE))
    return [_cut(names, max(room - table.GAP - beside, SHORTEST_NAME)), _cut(owners, beside), *figures]


def _cut(column: Column, room: int) -> Column:
    return msgspec.structs.replace(column, cells=tuple(table.cut(cell, room) for cell in column.cells))


def _text(text: str, style: str) -> Text:
    from rich.text import Text

    return Text(text, style=style)
