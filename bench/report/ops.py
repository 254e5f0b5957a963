"""The table of ops that network programs are written of, as text, Markdown or JSON."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bench.model.program import SupportedOp
from bench.report import table

_CODE = "``"  # around code in a docstring
_HEADINGS = ("op", "operators of PyTorch", "layers of TensorRT", "what it computes")


def text(ops: Sequence[SupportedOp], *, width: int = 80, color: bool = False) -> str:
    """Each op with what it computes and its operators below it, in lines of at most ``width``. Nothing in it has a
    colour.
    """
    lines = [f"{len(ops)} ops, of {sum(len(op.operators) for op in ops)} operators of PyTorch", ""]
    for op in ops:
        about = op.about.replace(_CODE, "") + (f"  [{op.layers}]" if op.layers else "")
        lines += table.wrap(op.signature, width, " " * 8)
        lines += table.wrap(about, width, " " * 4, " " * 4)
        lines += table.wrap(", ".join(op.operators), width, " " * 4, " " * 4)
    return "\n".join(lines) + "\n"


def markdown(ops: Sequence[SupportedOp]) -> str:
    """A table with a row for each op."""
    rows = [
        (
            f"`{op.name}`",
            ", ".join(f"`{name.removeprefix('aten.')}`" for name in op.operators),
            op.layers,
            op.about.replace(_CODE, "`"),
        )
        for op in ops
    ]
    lines = ["| " + " | ".join(cells) + " |" for cells in (_HEADINGS, ("---",) * len(_HEADINGS), *rows)]
    return "\n".join(lines) + "\n"


def json(ops: Sequence[SupportedOp]) -> str:
    """A list of objects."""
    return msgspec.json.format(msgspec.json.encode(ops)).decode() + "\n"
