"""Layout for terminals: columns that drop out in a stated order where the width is short, and notes that wrap."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Collection, Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Self

import msgspec

from bench.report import escape, folding, line_breaks

if TYPE_CHECKING:
    from rich.text import Text

GAP = 2
_LONGEST_LINE = 10_000
SHORTEST_NAME = 16
# The cells of columns that are not shown.
_EMPTY = frozenset({"", "-"})


class Line(str):
    """A line, and the ``style`` that it has where there are colours: as Rich's Text, and quicker made."""

    __slots__ = ("style",)
    style: str

    def __new__(cls, text: str, style: str = "") -> Self:
        """The line ``text``."""
        line = super().__new__(cls, text)
        line.style = style
        return line


class Column(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One column: ``cells`` has a text per row; ``drop`` 0 always stays, others leave from the highest to the lowest
    (see fit).

    A column with a ``narrow`` one does not leave when its turn comes: that takes its place, and has a ``drop`` of its
    own. Title and cells may have several lines.
    """

    title: str
    cells: tuple[str, ...]
    drop: int = 0
    align_left: bool = False
    narrow: Column | None = None

    @functools.cached_property
    def width(self) -> int:
        """Characters of the widest of title and lines of cells."""
        return max(map(len, "\n".join((self.title, *self.cells)).split("\n")))


def names(title: str, cells: Sequence[str], drop: int, broken: int = 0) -> Column:
    """A first column of backends with their options, which always stays: at its turn, ``drop``, it takes several lines
    instead, broken between options, and at ``broken`` (0: when nothing else may leave any more) also within them.
    """
    shortest = Column(title=title, cells=folding.names(cells, SHORTEST_NAME), align_left=True)
    widest = max((len(piece) for cell in cells for piece in folding.pieces(cell)), default=0)
    lines = Column(
        title=title,
        cells=folding.names(cells, widest),
        align_left=True,
        drop=broken,
        narrow=shortest if broken else None,
    )
    return Column(title=title, cells=tuple(cells), align_left=True, drop=drop, narrow=lines)


def with_intervals(title: str, cells: Sequence[str], drop: int, then: int = 0, halves: int = 0) -> Column:
    """A column of figures that at its turn, ``drop``, has the bounds of its intervals on a second line, at ``halves``
    (0: never) also those that are given as one number, ``±0.6%``, and from then on leaves at ``then``.
    """
    last_title, last = folding.intervals(title, cells, halves=bool(halves))
    narrow = Column(title=last_title, cells=last, drop=then)
    if halves:
        short_title, lines = folding.intervals(title, cells)
        narrow = Column(title=short_title, cells=lines, drop=halves, narrow=narrow)
    return Column(title=title, cells=tuple(cells), drop=drop, narrow=narrow)


def in_words(title: str, cells: Sequence[str], drop: int, room: int, *, align_left: bool = False) -> Column:
    """A column of words that at its turn, ``drop``, takes lines of ``room`` characters."""
    narrow = Column(title=title, cells=folding.words(cells, max(room, len(title))), align_left=align_left)
    return Column(title=title, cells=tuple(cells), drop=drop, align_left=align_left, narrow=narrow)


def fit(columns: Sequence[Column], width: int) -> tuple[list[Column], list[str]]:
    """The columns that fit into ``width`` characters, and the titles of those left out, in the order of removal.

    Columns without any content are not shown. If the rest is still too wide, the first column is cut in the middle (one
    of names() is broken into lines instead, so that no two read the same), and then the columns of negative ``drop``
    leave. What was made narrow for the sake of a column that left all the same becomes wide again, the last one first;
    names finally take the width that remains.
    """
    fitting = [column for column in columns if not _EMPTY.issuperset(column.cells)]
    first = fitting[0] if fitting else None
    wide: list[Column] = []
    omitted_titles = _take_out(fitting, width, wide, last=False)
    if first and _total(fitting) > width:
        fitting[0] = _narrow(first, SHORTEST_NAME if first.narrow else _room(fitting, width))
    omitted_titles += _take_out(fitting, width, wide, last=True)
    _widen(fitting, wide, width)
    if first and first.narrow:
        fitting[0] = _narrow(first, _room(fitting, width))
    return fitting, omitted_titles


def _widen(columns: list[Column], wide: Sequence[Column], width: int) -> None:
    """Put those of ``wide`` back that have room, the last one first."""
    for wider in reversed(wide):
        place = next((n for n, column in enumerate(columns) if _name(column) == _name(wider)), None)
        if place is not None and _total(columns) - columns[place].width + wider.width <= width:
            columns[place] = wider


def _name(column: Column) -> str:
    """The title in one line."""
    return column.title.replace("\n", " ")


def _room(columns: Sequence[Column], width: int) -> int:
    """The width that the other columns leave for the first; at least SHORTEST_NAME, or what it takes now."""
    first = columns[0].width
    return max(width - _total(columns) + first, min(first, SHORTEST_NAME))


def _narrow(column: Column, room: int) -> Column:
    if column.narrow:
        return msgspec.structs.replace(column, cells=folding.names(column.cells, room), narrow=None, drop=0)
    return msgspec.structs.replace(column, cells=tuple(cut(cell, room) for cell in column.cells))


def _take_out(columns: list[Column], width: int, wide: list[Column], *, last: bool) -> list[str]:
    """Remove the optional columns (``last``: those of negative drop) from ``columns`` until they fit; their titles.
    ``wide`` is given those that a narrow one took the place of.
    """
    titles = []
    while _total(columns) > width:
        optional = [column for column in columns if (column.drop < 0 if last else column.drop > 0)]
        if not optional:
            break
        worst = max(optional, key=lambda column: column.drop)
        place = columns.index(worst)
        if worst.narrow:
            columns[place] = worst.narrow
            wide.append(worst)
        else:
            titles.append(_name(columns.pop(place)))
    return titles


def draw(
    columns: Sequence[Column],
    width: int,
    *,
    spans: Mapping[int, tuple[int, str]],
    styles: Mapping[int, str],
    breaks: Collection[int] = (),
) -> list[Line]:
    """Title line, rule, and a line per row. ``styles`` gives a row's style; ``spans`` puts a text over a row from a
    column on, as (column, text), cut at ``width``; ``breaks`` are rows with a blank line before them.
    """
    if not columns:
        return []
    lines = [Line(_line(titles), "dim") for titles in _titles(columns)]
    lines.append(Line("─" * _total(columns), "dim"))
    tall = {index for column in columns for index, cell in enumerate(column.cells) if "\n" in cell}
    for index, whole in enumerate(zip(*map(_padded, columns), strict=True)):
        lines += [Line("")] * (index in breaks)
        for number, cells in enumerate(_unfolded(columns, index) if index in tall else [whole]):
            line = _line(cells)
            if index in spans and number == 0:
                start, text = spans[index]
                line = _line([*cells[:start], text])
                line = line if len(line) <= width else line[: width - 1] + "…"
            lines.append(Line(line, styles.get(index, "")))
    return lines


def _titles(columns: Sequence[Column]) -> list[list[str]]:
    """The lines of the titles, the last ones side by side."""
    parts = [column.title.split("\n") for column in columns]
    height = max(map(len, parts))
    lines = [[""] * (height - len(of_title)) + of_title for of_title in parts]
    return [
        [_pad(of_title[number], column) for of_title, column in zip(lines, columns, strict=True)]
        for number in range(height)
    ]


def _padded(column: Column) -> list[str]:
    """The cells of a column, each as wide as the column if it is one line."""
    width = column.width
    return [cell.ljust(width) if column.align_left else cell.rjust(width) for cell in column.cells]


def _unfolded(columns: Sequence[Column], index: int) -> list[list[str]]:
    """The lines of a row, some of whose cells have several."""
    lines = zip_longest(*(column.cells[index].split("\n") for column in columns), fillvalue="")
    return [[_pad(text, column) for text, column in zip(texts, columns, strict=True)] for texts in lines]


def markdown(columns: Sequence[Column]) -> list[str]:
    """The lines of a table in GitHub's flavour, without columns that are empty."""
    filled = [column for column in columns if not _EMPTY.issuperset(column.cells)]
    lines = ["| " + " | ".join(column.title for column in filled) + " |"]
    lines.append("|" + "|".join("---" if column.align_left else "---:" for column in filled) + "|")
    for row in zip(*(column.cells for column in filled), strict=True):
        lines.append("| " + " | ".join(map(escape.markdown, row)) + " |")
    return lines


def wrap(text: str, width: int, indent: str = "  ", first: str = "") -> list[str]:
    """``text`` in lines of at most ``width``, the first after ``first``, the others after ``indent``; its own line
    breaks are kept. Commands and what may be a path are never broken, so that they can be copied; of other words those
    are that are longer than a line.
    """
    lines: list[str] = []
    for part in text.splitlines() or [""]:
        lead = first if not lines else indent
        part_lines = textwrap.wrap(
            line_breaks.with_breaks(line_breaks.glue(part), max(width - max(len(indent), len(first)), 1)),
            width,
            initial_indent=lead,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        lines += [line.replace(line_breaks.BLANK, " ") for line in part_lines] or [lead.rstrip()]
    return lines


def show(lines: Sequence[Text | str], color: bool) -> str:
    """The lines as one string, with ANSI colours if ``color``. All text for a terminal passes here: what is within a
    line cannot break it or steer the terminal.
    """
    if not color:
        return "\n".join(escape.line(str(line).rstrip(), _LONGEST_LINE) for line in lines) + "\n"
    import io

    from rich.console import Console

    buffer = io.StringIO()
    console = Console(file=buffer, force_terminal=True, color_system="standard", width=10_000, legacy_windows=False)
    for line in map(_safe, lines):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return buffer.getvalue()


def _safe(line: Text | str) -> Text | str:
    from rich.text import Text

    plain = escape.line(str(line), _LONGEST_LINE)
    if isinstance(line, str):
        return Text(plain, style=line.style) if isinstance(line, Line) else plain
    return line if plain == str(line) else Text(plain, style=line.style)


def _pad(cell: str, column: Column) -> str:
    return cell.ljust(column.width) if column.align_left else cell.rjust(column.width)


def _line(cells: Sequence[str]) -> str:
    return (" " * GAP).join(cells).rstrip()


def _total(columns: Sequence[Column]) -> int:
    return sum(column.width for column in columns) + GAP * max(len(columns) - 1, 0)


def cut(text: str, room: int) -> str:
    """``text`` in at most ``room`` characters, an ellipsis in place of its middle."""
    if len(text) <= room:
        return text
    tail = (room - 1) // 2
    return f"{text[: room - 1 - tail]}…{text[len(text) - tail :]}"
