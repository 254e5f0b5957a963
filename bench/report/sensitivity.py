"""What quantizing costs in accuracy, as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from bench.model.sensitivity import Accuracy, LayerError, Number, QuantizationCost
from bench.report import cells, escape, failures

JSON_SCHEMA = 1

_MOST = 10
_LOWER = "a lower target, or other observers and more calibration data"


def render_all(results: Sequence[QuantizationCost], *, most: int = _MOST) -> str:
    """A section for each case, or the reason why it has none."""
    texts = []
    for each in results:
        heading = escape.line(each.case.label)
        if each.failure is not None:
            texts.append("\n".join([*failures.lines(heading, each.failure), ""]))
        elif each.accuracy is not None:
            texts.append(f"{heading}\n\n{render(each.accuracy, most=most)}")
    return "\n".join(texts)


def json(results: Sequence[QuantizationCost]) -> str:
    """Everything, in one object with its schema."""
    return msgspec.json.encode({"schema": JSON_SCHEMA, "cases": results}).decode() + "\n"


def render(result: Accuracy, *, most: int = _MOST) -> str:
    """The metrics of all networks, the layers with the lowest SQNR, those that cost most alone, and the assignment.

    ``most`` is the number of layers in each list; 0: all.
    """
    names = list(result.quantized | result.reference)
    rows = [("fp32", result.reference), ("all quantized", result.quantized)]
    if result.target and not result.unmet:
        rows.append((f"{len(result.floating)} in floating point", result.assigned))
    lines = _table("network", rows, names)
    quantized = sorted((each for each in result.layers if each.quantized), key=_by_sqnr)
    if quantized:
        shown = quantized[:most] if most else quantized
        lines += ["", f"SQNR of layers in one pass, the lowest first{_of(shown, quantized)}:"]
        width = max(len(_name(each)) for each in shown)
        lines += [f"  {_name(each):{width}}  {_db(each.sqnr):>8}  weights {_db(each.weight_sqnr):>8}" for each in shown]
    if result.sensitivity:
        order = result.sensitivity[:most] if most else result.sensitivity
        lines += ["", f"one layer quantized at a time, the most sensitive first{_of(order, result.sensitivity)}:"]
        metrics = [(escape.line(each.module or each.name), each.metrics) for each in order]
        lines += [f"  {line}" for line in _table("layer", metrics, list(result.quantized))]
    if result.unmet:
        lines += [
            "",
            f"target: {escape.line(result.target)}",
            f"--target: {escape.line(result.unmet)}",
            f"  fix: {_LOWER}",
        ]
    elif result.target:
        where = ", ".join(escape.line(name) for name in result.floating) or "none"
        lines += ["", f"target: {escape.line(result.target)}", f"layers left in floating point: {where}"]
        if result.floating:
            lines.append(f"in the suite: floating: [{where}]")
    lines.append(f"{cells.count(result.networks, 'network')} run")
    return "\n".join(lines) + "\n"


def _of(shown: Sequence[object], everything: Sequence[object]) -> str:
    return "" if len(shown) == len(everything) else f" ({len(shown)} of {len(everything)})"


def _table(title: str, rows: Sequence[tuple[str, Mapping[str, Number]]], names: Sequence[str]) -> list[str]:
    width = max(len(title), *(len(label) for label, _ in rows))
    lines = [f"{title:{width}}" + "".join(f"  {escape.line(name):>10}" for name in names)]
    for label, metrics in rows:
        numbers = "".join(f"  {_number(metrics.get(name)):>10}" for name in names)
        lines.append(f"{label:{width}}{numbers}")
    return lines


def _number(value: Number | None) -> str:
    """Six digits; what is less than 1 is not rounded to it."""
    if value is None or isinstance(value, str):
        return value or "-"
    text = f"{value:.6g}"
    return ">0.999999" if text == "1" and value < 1 else text


def _db(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} dB"


def _name(layer: LayerError) -> str:
    return escape.line(layer.module or layer.name)


def _by_sqnr(layer: LayerError) -> float:
    return float("inf") if layer.sqnr is None else layer.sqnr
