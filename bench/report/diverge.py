"""Where networks leave eager, as text for a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bench.model.divergence import Check, Divergence, Side
from bench.report import cells, escape, failures

JSON_SCHEMA = 1
_LABEL = 10


def render(results: Sequence[Divergence]) -> str:
    """A paragraph for each case: its outputs, the first wrong layer with what it reads, and the suspected cause."""
    return "\n".join("\n".join(_lines(result)) + "\n" for result in results)


def json(results: Sequence[Divergence]) -> str:
    """Everything, in one object with its schema."""
    return msgspec.json.encode({"schema": JSON_SCHEMA, "cases": results}).decode() + "\n"


def _lines(result: Divergence) -> list[str]:
    heading = escape.line(result.case.label)
    if result.failure is not None:
        return failures.lines(heading, result.failure)
    on = f"on {result.runtime}, {cells.count(result.networks, 'network')}, {cells.count(result.tensors, 'tensor')}"
    lines = [f"{heading}: {on}"]
    lines += [_line("output", check) for check in result.outputs]
    if result.cause is None:
        return [*lines, "  no output leaves the limits"]
    if (check := result.first) is not None:
        node = check.node
        module = f"{node.module} ({node.kind})" if node.kind and node.module else node.module or "the model itself"
        lines += [
            "",
            f"  first wrong layer: {escape.line(node.name)}",
            f"  {'module':{_LABEL}}{escape.line(module)}",
            f"  {'computes':{_LABEL}}{node.op}, as {check.dtype}",
            f"  {'eager':{_LABEL}}{_range(check.reference)}",
            f"  {'here':{_LABEL}}{_range(check.network)}",
            f"  {'error':{_LABEL}}{escape.line(check.why or 'none as an output')}",
        ]
        lines += [_line("reads", each) for each in result.inputs]
    lines.append(f"  suspected cause: {result.cause.kind}: {escape.line(result.cause.what)}")
    return [*lines, *([f"  fix: {escape.line(result.cause.fix)}"] if result.cause.fix else [])]


def _line(label: str, check: Check) -> str:
    """``reads     conv1: ok, rel L2 0.0004, -3.1 to 4.2``."""
    error = "" if check.rel_l2 is None else f", rel L2 {check.rel_l2:.2g}"
    state = f"ok{error}" if check.ok else f"WRONG, {escape.line(check.why)}"
    return f"  {label:{_LABEL}}{escape.line(check.node.name)}: {state}, eager {_range(check.reference)}"


def _range(side: Side) -> str:
    """``-3.1 to 4.2, 5 NaN``."""
    span = "no finite value" if side.low is None else f"{side.low:.5g} to {side.high:.5g}"
    counts = ((side.nan, "NaN"), (side.infinite, "infinite"))
    return ", ".join([span, *(f"{count:,} of {side.size:,} {what}" for count, what in counts if count)])
