"""Where networks leave eager, as text for a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bench.model.divergence import Check, Divergence, Side
from bench.report import cells, escape, failures, table

JSON_SCHEMA = 1
_LABEL = 10


def render(results: Sequence[Divergence], *, width: int = 80, color: bool = False) -> str:
    """A paragraph for each case in lines of at most ``width``: its outputs, the first wrong layer with what it reads,
    and the suspected cause. Nothing in it has a colour.
    """
    return "\n".join("\n".join(_lines(result, width)) + "\n" for result in results)


def json(results: Sequence[Divergence]) -> str:
    """Everything, in one object with its schema."""
    return msgspec.json.encode({"schema": JSON_SCHEMA, "cases": results}).decode() + "\n"


def _lines(result: Divergence, width: int) -> list[str]:
    heading = escape.line(result.case.label)
    if result.failure is not None:
        return failures.lines(heading, result.failure, width)
    on = f"on {result.runtime}, {cells.count(result.networks, 'network')}, {cells.count(result.tensors, 'tensor')}"
    lines = table.wrap(f"{heading}: {on}", width, " " * 4)
    lines += [line for check in result.outputs for line in _labelled("output", _state(check), width)]
    if result.cause is None:
        return [*lines, "  no output leaves the limits"]
    if (check := result.first) is not None:
        node = check.node
        module = f"{node.module} ({node.kind})" if node.kind and node.module else node.module or "the model itself"
        lines += [
            "",
            f"  first wrong layer: {escape.line(node.name)}",
            *_labelled("module", escape.line(module), width),
            *_labelled("computes", f"{node.op}, as {check.dtype}", width),
            *_labelled("eager", _range(check.reference), width),
            *_labelled("here", _range(check.network), width),
            *_labelled("error", escape.line(check.why or "none as an output"), width),
        ]
        lines += [line for each in result.inputs for line in _labelled("reads", _state(each), width)]
    suspected = f"suspected cause: {result.cause.kind}: {escape.line(result.cause.what)}"
    lines += table.wrap(suspected, width, " " * 4, " " * 2)
    return [*lines, *(table.wrap(escape.line(result.cause.fix), width, " " * 7, "  fix: ") if result.cause.fix else [])]


def _labelled(label: str, text: str, width: int) -> list[str]:
    """``reads     conv1: ok``, with further lines below the text."""
    return table.wrap(text, width, " " * (2 + _LABEL), f"  {label:{_LABEL}}")


def _state(check: Check) -> str:
    """``conv1: ok, rel L2 0.0004, -3.1 to 4.2``."""
    error = "" if check.rel_l2 is None else f", rel L2 {check.rel_l2:.2g}"
    state = f"ok{error}" if check.ok else f"WRONG, {escape.line(check.why)}"
    return f"{escape.line(check.node.name)}: {state}, eager {_range(check.reference)}"


def _range(side: Side) -> str:
    """``-3.1 to 4.2, 5 NaN``."""
    span = "no finite value" if side.low is None else f"{side.low:.5g} to {side.high:.5g}"
    counts = ((side.nan, "NaN"), (side.infinite, "infinite"))
    return ", ".join([span, *(f"{count:,} of {side.size:,} {what}" for count, what in counts if count)])
