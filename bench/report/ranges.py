"""What calibrations observed, a line for each tensor with its range and a small histogram, and as JSON."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from bench.model.tensor_ranges import CaseRanges, NetworkRanges, TensorRange
from bench.report import cells, document, escape, failures, table
from bench.report.table import Column

if TYPE_CHECKING:
    from rich.text import Text

JSON_SCHEMA = 1
_BARS = " ▁▂▃▄▅▆▇█"
_LIMIT = "│"
LEGEND = (
    "histogram: how many magnitudes there are from 0 to the largest, each bar a thirty-second of that, their heights "
    f"in logarithms; {_LIMIT} is the limit, beyond which values are clipped"
)
_NO_HISTOGRAM = "no histogram: observer entropy or percentile counts one"
# Optional columns leave a narrow table in this order, the highest number first.
_DROP = {"histogram": 30, "clipped": 20, "node": 10}
_WORDS = {
    "not finite": "NaN or infinite: no scale",
    "zero": "always zero: no scale",
    "no values": "no values: no scale",
    "constant": "constant",
}


def render(results: Sequence[CaseRanges], *, most: int, width: int = 80, color: bool = False) -> str:
    """A table for each network, of at most ``most`` tensors (0: all): those with a problem, and the most clipped."""
    return "\n".join(_section(result, most, width, color) for result in results)


def json(results: Sequence[CaseRanges]) -> str:
    """One object: ``schema`` and ``cases``, each with ``case`` (id), ``label``, and every field of NetworkRanges."""
    every = [
        {"case": each.case.id, "label": each.case.label}
        | ({"ranges": document.full(each.ranges)} if each.ranges is not None else {})
        | ({"failure": document.full(each.failure)} if each.failure is not None else {})
        for each in results
    ]
    whole = {"schema": JSON_SCHEMA, "cases": every}
    return escape.in_json(msgspec.json.format(msgspec.json.encode(whole), indent=2).decode()) + "\n"


def bars(tensor: TensorRange) -> str:
    """A bar for each bin, its height the logarithm of its count, and a stroke where the limit is."""
    top = math.log1p(max(tensor.histogram, default=0))
    heights = [math.ceil(math.log1p(count) / top * (len(_BARS) - 1)) for count in tensor.histogram]
    text = "".join(_BARS[height] for height in heights)
    if tensor.limit is None or not text:
        return text
    place = min(math.ceil(tensor.limit / tensor.reach * len(text)), len(text))
    return text[:place] + _LIMIT + text[place:]


def _section(result: CaseRanges, most: int, width: int, color: bool) -> str:
    heading = escape.line(result.case.label)
    if result.failure is not None:
        return "\n".join([*failures.lines(heading, result.failure), ""])
    assert result.ranges is not None
    tensors = result.ranges.tensors
    first = sorted(range(len(tensors)), key=lambda index: (tensors[index].problem is None, -tensors[index].clipped))
    shown = [tensors[index] for index in sorted(first[:most] if most else first)]
    lines: list[Text | str] = [heading, *table.wrap(_facts(result.ranges), width), ""]
    columns, omitted = table.fit(_columns(shown), width)
    styles = {index: "yellow" if each.has_scale else "red" for index, each in enumerate(shown) if each.problem}
    lines += [*table.draw(columns, width, spans={}, styles=styles)]
    if len(shown) < len(tensors):
        lines += table.wrap(f"{len(shown)} of {cells.count(len(tensors), 'tensor')}: --top 0 has all", width)
    if omitted:
        lines += table.wrap(f"not shown at {width} columns: {', '.join(omitted)}", width)
    lines += table.wrap(LEGEND if any(each.histogram for each in tensors) else _NO_HISTOGRAM, width)
    return table.show(lines, color)


def _facts(ranges: NetworkRanges) -> str:
    data = escape.line(ranges.data) if ranges.data else "drawn as the inputs of the case"
    text = f"by {escape.line(ranges.quantizer)}: observer {ranges.observer}, {cells.count(ranges.samples, 'sample')}, "
    text += f"{data}; {cells.count(len(ranges.tensors), 'tensor')}"
    without = [each.module for each in ranges.tensors if not each.has_scale]
    constant = [each.module for each in ranges.tensors if each.problem == "constant"]
    for what, modules in (("without a scale", without), ("constant", constant)):
        if modules:
            text += f"; {what}: {', '.join(map(escape.line, dict.fromkeys(modules)))}"
    return text


def _columns(tensors: Sequence[TensorRange]) -> list[Column]:
    several = {module for module, count in Counter(each.module for each in tensors).items() if count > 1}
    clipped = [_share(each.clipped) for each in tensors]
    return [
        Column(title="tensor of", cells=tuple(escape.line(each.module) for each in tensors), align_left=True),
        Column(
            title="node", align_left=True, drop=_DROP["node"],
            cells=tuple(escape.line(each.name) if each.module in several else "" for each in tensors),
        ),
        Column(title="least", cells=tuple(_number(each.least) for each in tensors)),
        Column(title="most", cells=tuple(_number(each.most) for each in tensors)),
        Column(title="limit", cells=tuple(_number(each.limit) for each in tensors)),
        Column(title="clipped", cells=tuple(clipped), drop=_DROP["clipped"]),
        Column(title="histogram", cells=tuple(map(bars, tensors)), align_left=True, drop=_DROP["histogram"]),
        Column(title="note", cells=tuple(_WORDS.get(each.problem or "", "") for each in tensors), align_left=True),
    ]  # fmt: skip


def _share(part: float) -> str:
    """Empty where nothing is clipped; what would round to nothing is told."""
    return "" if not part else "<0.01%" if part < 5e-5 else f"{part:.2%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
