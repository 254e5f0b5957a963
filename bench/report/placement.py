"""Findings on the placement of Q/DQ, as text for a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bench.model.placement import Placement
from bench.report import cells, escape, failures, table

JSON_SCHEMA = 1
_LABEL = 8
_UNMENDED = "the pass that mends leaves it"


def render(results: Sequence[Placement], *, width: int = 80, color: bool = False) -> str:
    """A paragraph for each network in lines of at most ``width``: its counts, and each finding with its nodes and what
    to change. Nothing in it has a colour.
    """
    return "\n".join("\n".join(_lines(result, width)) + "\n" for result in results)


def json(results: Sequence[Placement]) -> str:
    """Everything, in one object with its schema."""
    return msgspec.json.encode({"schema": JSON_SCHEMA, "networks": results}).decode() + "\n"


def _lines(result: Placement, width: int) -> list[str]:
    heading = escape.line(result.case.label if result.case is not None else result.file)
    if result.failure is not None:
        return failures.lines(heading, result.failure, width)
    layers = f"{result.quantized} of {cells.count(result.weighted, 'layer')} with weights quantized"
    counts = f"{cells.count(result.pairs, 'Q/DQ pair')}, {layers}"
    lines = table.wrap(f"{heading}: {counts}, {cells.count(len(result.findings), 'finding')}", width, " " * 4)
    if not result.pairs:
        lines.append("  nothing is quantized here, so no rule is broken")
    for finding in result.findings:
        change = escape.line(finding.fix) + ("" if finding.can_mend else f"; {_UNMENDED}")
        lines += [
            "",
            *table.wrap(f"{finding.rule}: {escape.line(finding.module)}", width, " " * 4, " " * 2),
            *_labelled("what", escape.line(finding.what), width),
            *_labelled("nodes", ", ".join(escape.line(name) for name in finding.nodes), width),
            *_labelled("change", change, width),
        ]
    return lines


def _labelled(label: str, text: str, width: int) -> list[str]:
    return table.wrap(text, width, " " * (4 + _LABEL), f"    {label:{_LABEL}}")
