"""The table of ops that network programs are written of, as text, Markdown or JSON."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bench.model.program import SupportedOp

_HEADINGS = ("op", "operators of PyTorch", "layers of TensorRT", "what it computes")


def text(ops: Sequence[SupportedOp]) -> str:
    """A line for each op with its operators, and below it what it computes."""
    lines = [f"{len(ops)} ops, of {sum(len(op.operators) for op in ops)} operators of PyTorch", ""]
    for op in ops:
        lines.append(f"{op.signature}")
        lines.append(f"    {op.about}" + (f"  [{op.layers}]" if op.layers else ""))
        lines.append(f"    {', '.join(op.operators)}")
    return "\n".join(lines) + "\n"


def markdown(ops: Sequence[SupportedOp]) -> str:
    """A table with a row for each op."""
    rows = [
        (f"`{op.name}`", ", ".join(f"`{name.removeprefix('aten.')}`" for name in op.operators), op.layers, op.about)
        for op in ops
    ]
    lines = ["| " + " | ".join(cells) + " |" for cells in (_HEADINGS, ("---",) * len(_HEADINGS), *rows)]
    return "\n".join(lines) + "\n"


def json(ops: Sequence[SupportedOp]) -> str:
    """A list of objects."""
    return msgspec.json.format(msgspec.json.encode(ops)).decode() + "\n"
