"""One note below a table, and its texts made fit to be shown."""

from __future__ import annotations

import msgspec

from bench.report import escape


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """``mark`` is the number that rows carry in their notes column, empty for what concerns the whole table.

    ``about`` are the cases (ids) it concerns, ``fix`` is what to try or type, ``log`` a failure's last output.
    """

    kind: str
    text: str
    fix: str = ""
    log: str = ""
    mark: str = ""
    about: tuple[str, ...] = ()


def printable_note(note: Note) -> Note:
    """The note with texts that a terminal or page can show; logs were cut by the worker."""
    return msgspec.structs.replace(
        note,
        kind=escape.name(note.kind),
        text=escape.lines(note.text),
        fix=escape.lines(note.fix),
        log=escape.lines(note.log, 1 << 20),
    )
