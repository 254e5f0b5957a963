"""Values and calls as the source of a network program, in lines that are not too long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.lowering.writer import Writer

_WIDTH = 116


def quote(text: str) -> str:
    """A string as source."""
    return Writer({}).source(text)


def table(values: Mapping[str, Any]) -> str:
    """A dict with a line for each entry."""
    source = Writer({}).source
    lines = [f"    {source(key)}: {source(value)},\n" for key, value in values.items()]
    return "".join(["{\n", *lines, "}"]) if values else "{}"


def wrap(line: str, width: int = _WIDTH) -> list[str]:
    """A line of source in several of at most ``width`` columns, broken between the arguments of its outer call, and of
    calls among these that are longer.
    """
    start = line.find("(") + 1
    if len(line) <= width or not start or not line.endswith((")", "),")):
        return [line]
    lines = [line[:start]]
    end = line[line.rindex(")") :]
    for each in _arguments(line[start : line.rindex(")")]):
        if len(lines) > 1 and len(lines[-1]) + 1 + len(each) <= width:
            lines[-1] += f" {each}"
        else:
            lines += [f"    {part}" for part in wrap(each, width - 4)]
    return [*lines, end]


def _arguments(text: str) -> list[str]:
    """The arguments of a call, each with the comma behind it."""
    pieces, depth, quote, piece = [], 0, "", ""
    for before, char in zip(" " + text, text, strict=False):
        if quote:
            quote = "" if char == quote and before != "\\" else quote
        elif char in "'\"":
            quote = char
        else:
            depth += (char in "([{") - (char in ")]}")
        piece += char
        if char == "," and not depth and not quote:
            pieces.append(piece.strip())
            piece = ""
    return [*pieces, piece.strip()] if piece.strip() else pieces
