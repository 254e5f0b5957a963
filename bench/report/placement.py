"""Findings on the placement of Q/DQ, as text for a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bench.model.placement import Placement
from bench.report import cells, escape, failures

JSON_SCHEMA = 1
_LABEL = 8
_UNMENDED = "the pass that mends leaves it"


def render(results: Sequence[Placement]) -> str:
    """A paragraph for each network: its counts, and each finding with its nodes and what to change."""
    return "\n".join("\n".join(_lines(result)) + "\n" for result in results)


def json(results: Sequence[Placement]) -> str:
    """Everything, in one object with its schema."""
    return msgspec.json.encode({"schema": JSON_SCHEMA, "networks": results}).decode() + "\n"


def _lines(result: Placement) -> list[str]:
    heading = escape.line(result.case.label if result.case is not None else result.file)
    if result.failure is not None:
        return failures.lines(heading, result.failure)
    layers = f"{result.quantized} of {cells.count(result.weighted, 'layer')} with weights quantized"
    counts = f"{cells.count(result.pairs, 'Q/DQ pair')}, {layers}"
    lines = [f"{heading}: {counts}, {cells.count(len(result.findings), 'finding')}"]
    if not result.pairs:
        lines.append("  nothing is quantized here, so no rule is broken")
    for finding in result.findings:
        lines += [
            "",
            f"  {finding.rule}: {escape.line(finding.module)}",
            f"    {'what':{_LABEL}}{escape.line(finding.what)}",
            f"    {'nodes':{_LABEL}}{', '.join(escape.line(name) for name in finding.nodes)}",
            f"    {'change':{_LABEL}}{escape.line(finding.fix)}" + ("" if finding.can_mend else f"; {_UNMENDED}"),
        ]
    return lines
