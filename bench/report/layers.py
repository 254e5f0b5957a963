"""The layers of an engine for a terminal: each one's time and kind, reformats marked; and as JSON."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from bench.model.profile import CaseProfile, Layer, Layers, Tensor
from bench.model.suite import Case
from bench.report import cells, escape, table
from bench.report.table import Column
from bench.units import format_time

if TYPE_CHECKING:
    from rich.text import Text

JSON_SCHEMA = 1
MARK = "~ "
LEGEND = (
    f"{MARK}only changes the type or layout of a tensor; time is the median of the profiled calls, share of the sum of "
    "all layers. A profiler slows the calls that it watches: compare layers with each other, not with `gpu`."
)
SHORTEST_NAME, SHORTEST_TACTIC = 28, 24
# Optional columns leave a narrow table in this order, the highest number first.
DROP = {"format": 30, "type": 20, "prec": 10}
_COUNTS = {"two": 2, "four": 4, "eight": 8, "sixteen": 16, "thirty-two": 32}
_SHORT = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float8_e4m3fn": "fp8", "float4_e2m1fn": "fp4"}


def render(case: Case | CaseProfile, engine: Layers, *, width: int = 80, color: bool = False) -> str:
    """A line per layer in the order in which they run, their total, and the share of reformats.

    Where the width is short, names and tactics are cut in the middle and columns leave in the order of DROP, the tactic
    before all others; ``--format json`` has everything.
    """
    layers = tuple(layer for layer in engine.layers if layer.kind != "Constant" or any(layer.ns))
    total = sum(sum(layer.ns) for layer in layers)
    columns, omitted_titles = _fit(_columns(layers, total), [layer.tactic for layer in layers], width)
    styles = {index: "yellow" for index, layer in enumerate(layers) if layer.reformat}
    lines: list[Text | str] = [
        _text(case.label, "bold"),
        *table.wrap(_heading(engine), width),
        *table.draw(columns, width, spans={}, styles=styles | {len(layers): "bold"}),
    ]
    lines += [_text(line, "yellow") for line in table.wrap(_reformats(engine, total), width)]
    if constants := len(engine.layers) - len(layers):
        text = f"not shown: {cells.count(constants, 'constant')} without time, which --format json has"
        lines += [_text(line, "dim") for line in table.wrap(text, width)]
    if omitted_titles:
        text = f"not shown at {width} columns: {', '.join(omitted_titles)}"
        lines += [_text(line, "dim") for line in table.wrap(text, width)]
    lines += [_text(line, "dim") for line in table.wrap(LEGEND, width)]
    return table.show(lines, color)


def json(engines: Sequence[tuple[Case, Layers]]) -> str:
    """One object: ``schema`` and ``cases``, each with ``case`` (id), ``label`` and all fields of layers.Layers."""
    cases = [{"case": case.id, "label": case.label, **msgspec.to_builtins(layers)} for case, layers in engines]
    document = {"schema": JSON_SCHEMA, "cases": cases}
    return escape.in_json(msgspec.json.format(msgspec.json.encode(document), indent=2).decode()) + "\n"


def layout(tensor: Tensor) -> str:
    """A format in the short names of TensorRT's own enum: ``linear``, ``HWC8``, ``CHW32``; empty where it is unknown.

    Thirty-two wide channel vectorized row major Int8 format -> ``CHW32``; Channel major FP16 format where
    channel % 8 == 0 -> ``HWC8``; three spatial dimensions put a D before H.
    """
    text = tensor.format.lower()
    depth = "D" if "3 spatial dimensions" in text else ""
    if match := re.match(r"([\w-]+) wide channel vectorized", text):
        return f"C{depth}HW{_COUNTS.get(match[1], '')}"
    if text.startswith("channel major"):
        match = re.search(r"channel (?:%|==) (\d+)", text)
        return f"{depth}HWC{match[1] if match else ''}"
    return "linear" if text.startswith("row major") else ""


# -------------------------------------------------------------------------------------------------------------- columns


def _columns(layers: Sequence[Layer], total: int) -> list[Column]:
    """All columns but the tactic, a last line for the total included."""
    times = [format_time(statistics.median(layer.ns)) if layer.ns else cells.NONE for layer in layers]
    shares = [cells.share(sum(layer.ns) / total) if layer.ns and total else cells.NONE for layer in layers]
    return [
        Column(title="layer", cells=(*map(_name, layers), "total"), align_left=True),
        Column(title="time", cells=(*times, _total_time(layers))),
        Column(title="share", cells=(*shares, cells.share(1.0) if total else cells.NONE)),
        _column("prec", [layer.precision for layer in layers]),
        _column("type", [layer.kind for layer in layers]),
        _column("format", [_format(layer) for layer in layers]),
    ]


def _column(title: str, texts: Sequence[str]) -> Column:
    return Column(title=title, cells=(*texts, ""), align_left=True, drop=DROP[title])


def _fit(columns: Sequence[Column], tactics: Sequence[str], width: int) -> tuple[list[Column], list[str]]:
    """The columns that fit, and the names of those that do not; names and tactics share the remaining width."""
    names, optional = columns[0], list(columns[1:])
    least, longest = min(names.width, SHORTEST_NAME), max(map(len, tactics), default=0)
    room = _beside(optional, width) - table.GAP
    beside = min(longest, room - max(least, min(names.width, room // 2)))
    with_tactic = beside >= min(longest, SHORTEST_TACTIC) > 0
    if with_tactic:
        optional.append(_cut(Column(title="tactic", cells=(*tactics, ""), align_left=True), beside))
    fitting, omitted_titles = table.fit([_cut(names, least), *optional], width)
    fitting[0] = _cut(names, max(_beside(fitting[1:], width), table.SHORTEST_NAME))
    return fitting, ["tactic"] * (longest > 0 and not with_tactic) + omitted_titles


def _beside(columns: Sequence[Column], width: int) -> int:
    return width - sum(column.width + table.GAP for column in columns if any(column.cells))


def _cut(column: Column, room: int) -> Column:
    return msgspec.structs.replace(column, cells=tuple(table.cut(cell, room) for cell in column.cells))


def _name(layer: Layer) -> str:
    """Of a reformat only the tensor: ``~ Input 0 to conv1``."""
    if not layer.reformat:
        return layer.name
    return MARK + re.sub(r"^(Input|Output) Tensor", r"\1", layer.name.removeprefix("Reformatting CopyNode for "))


def _format(layer: Layer) -> str:
    """The layout of the output; of a reformat input and output: ``fp32 linear > fp16 HWC8``, ``HWC8 > linear``."""
    if not layer.outputs:
        return ""
    new = layer.outputs[0]
    if not layer.reformat or not layer.inputs:
        return layout(new)
    old = layer.inputs[0]
    types, layouts = (_SHORT.get(old.dtype, old.dtype), _SHORT.get(new.dtype, new.dtype)), (layout(old), layout(new))
    parts = [pair for pair in (types, layouts) if pair[0] != pair[1]] or [layouts]
    before, after = (" ".join(filter(None, ends)) for ends in zip(*parts, strict=True))
    return f"{before} > {after}" if before and after and before != after else after


# ----------------------------------------------------------------------------------------------------------- sentences


def _heading(engine: Layers) -> str:
    timings = sum(bool(layer.ns) for layer in engine.layers)
    without_time = len(engine.layers) - timings
    also = f" ({without_time} untimed)" if without_time else ""
    layers, calls = cells.count(len(engine.layers), "layer"), cells.count(engine.calls, "call")
    return f"{engine.runtime}: {layers}{also}, {calls} profiled"


def _total_time(layers: Sequence[Layer]) -> str:
    """The median over the calls of the sum of all layers, where all were timed in every call."""
    times = [layer.ns for layer in layers if layer.ns]
    if not times:
        return cells.NONE
    if len({len(ns) for ns in times}) > 1:
        return format_time(sum(statistics.median(ns) for ns in times))
    return format_time(statistics.median(map(sum, zip(*times, strict=True))))


def _reformats(engine: Layers, total: int) -> str:
    reformats = [layer for layer in engine.layers if layer.reformat]
    if not reformats:
        return "no reformats"
    ns = sum(sum(layer.ns) for layer in reformats)
    share = f"{cells.share(ns / total)} of the time" if total else "no time reported"
    each = f", {format_time(ns / engine.calls)} a call" if engine.calls and ns else ""
    return f"reformats: {len(reformats)} of {cells.count(len(engine.layers), 'layer')}, {share}{each}"


def _text(text: str, style: str) -> Text:
    from rich.text import Text

    return Text(text, style=style)
