"""How the cells of a column take several lines where a table is narrow: names, intervals and words; pure."""

from __future__ import annotations

import functools
import re
import textwrap
from collections.abc import Sequence


@functools.lru_cache(maxsize=1024)
def pieces(name: str) -> tuple[str, ...]:
    """``a[b=1,c=2]`` -> ``a[``, ``  b=1,``, ``  c=2]``: what stays on one line, all but the first indented."""
    first, *following = re.findall(r"[^\[,]*[\[,]|[^\[,]+", name) or [""]
    return (first, *("  " + piece for piece in following))


def names(texts: Sequence[str], room: int) -> tuple[str, ...]:
    """Names in lines of at most ``room`` characters; a piece that is longer is broken behind a slash, a dash, a blank,
    an underscore or an equals sign, or before that, and anywhere only where it has none.
    """
    return tuple(_name(text, room) for text in texts)


@functools.lru_cache(maxsize=1024)
def _name(name: str, room: int) -> str:
    lines = [""]
    for piece in pieces(name):
        if len(lines[-1]) + len(piece.lstrip()) <= room:
            lines[-1] += piece.lstrip() if lines[-1] else piece
            continue
        lines += [piece] if lines[-1] else []
        lines[-1] = piece
        while len(lines[-1]) > room:
            end = _break(lines[-1], room)
            lines[-1:] = [lines[-1][:end].rstrip(), "  " + lines[-1][end:]]
    return "\n".join(lines)


def _break(line: str, room: int) -> int:
    """Where to break a line that is longer than ``room``, behind its indentation; an arrow (``->``) stays whole."""
    ends = [match.end() for match in re.finditer(r"[/ _=]|-(?!>)|[^=](?==)", line) if line[: match.end()].strip()]
    return max((end for end in ends if end <= room), default=room)


def intervals(title: str, texts: Sequence[str], *, halves: bool = False) -> tuple[str, tuple[str, ...]]:
    """A title and its cells with bounds on a line of their own, ``464 ms`` above ``[408, 527]``, where a cell would be
    wider than the column then is; with ``halves`` also ``2.48 ms`` above ``±0.6%``.
    """
    broken = [_at_bounds(text, halves) for text in (title, *texts)]
    room = max(len(line) for text in broken for line in text.split("\n"))
    first, *others = [text if len(text) <= room else lines for text, lines in zip((title, *texts), broken, strict=True)]
    return first, tuple(others)


def _at_bounds(text: str, halves: bool) -> str:
    """Broken between a value and its bounds, or a title and what it is of."""
    return re.sub(r" (?=[\[(±])|(?<=:) " if halves else r" (?=[\[(])|(?<=:) ", "\n", text, count=1)


def words(texts: Sequence[str], room: int) -> tuple[str, ...]:
    """Cells of words in lines of at most ``room`` characters; a longer word is broken anywhere."""
    return tuple(_words(text, room) for text in texts)


@functools.lru_cache(maxsize=1024)
def _words(text: str, room: int) -> str:
    return "\n".join(textwrap.wrap(text, room, break_on_hyphens=False))
