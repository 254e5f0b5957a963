"""Opens an SQLite export of Nsight Systems, and says which tables and columns this file really has."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench.errors import CaseError

# The layout of exports has had three major versions; a new one "breaks all queries", says NVIDIA's documentation.
NEWEST_MAJOR = 3
_MAGIC = b"SQLite format 3\0"
_RAW = (".nsys-rep", ".qdrep", ".qdstrm")
_AGAIN = "profile the case again"
# Without these nothing can be read. Tables are written only where something was recorded, so that one that is absent
# is empty; a table that is there has its columns.
COLUMNS = {
    "StringIds": ("id", "value"),
    "NVTX_EVENTS": ("start", "end", "eventType", "text", "textId", "domainId", "globalTid"),
    "CUPTI_ACTIVITY_KIND_RUNTIME": ("start", "end", "globalTid", "correlationId", "nameId"),
    "CUPTI_ACTIVITY_KIND_KERNEL": ("start", "end", "streamId", "correlationId", "demangledName"),
    "CUPTI_ACTIVITY_KIND_MEMCPY": ("start", "end", "streamId", "correlationId", "bytes", "copyKind"),
    "CUPTI_ACTIVITY_KIND_MEMSET": ("start", "end", "streamId", "correlationId", "bytes"),
    "CUPTI_ACTIVITY_KIND_GRAPH_TRACE": ("start", "end", "streamId", "correlationId", "graphId"),
}


class Export(NamedTuple):
    """An open export: ``columns`` of each table, by its name; ``version`` of nsys and of its ``layout``, or ``""``."""

    path: Path
    database: sqlite3.Connection
    columns: dict[str, frozenset[str]]
    version: str
    layout: str

    def has(self, table: str, *columns: str) -> bool:
        """Whether the export has that table, with those columns."""
        return table in self.columns and self.columns[table].issuperset(columns)

    def labels(self, table: str) -> dict[int, str]:
        """The names of an enumeration by their numbers, empty where it was not exported."""
        if not self.has(table, "id", "name"):
            return {}
        return {int(id_): str(name) for id_, name in self.database.execute(f"SELECT id, name FROM {table}")}

    def or_null(self, table: str, column: str) -> str:
        """``column``, or ``NULL`` where the table of this version lacks it."""
        return column if self.has(table, column) else "NULL"

    def writer(self) -> str:
        """Which program wrote it, for messages."""
        layout = f", layout {self.layout}" if self.layout else ""
        return f"nsys {self.version}{layout}" if self.version else f"an nsys of unknown version{layout}"


@contextlib.contextmanager
def open_export(path: Path) -> Iterator[Export]:
    """The export at ``path``, read only. CaseError where it cannot be read: absent, empty, cut off, damaged, no SQLite
    file, of another tool, or of a layout that is not known; also for damage that shows while the block reads.
    """
    _check_file(path)
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            database.text_factory = lambda text: text.decode("utf-8", "replace")
            export = _describe(path, database)
            _check_layout(export)
            yield export
    except (sqlite3.DatabaseError, UnicodeDecodeError, TypeError) as error:  # also texts of errors, values of columns
        raise CaseError(f"the report is damaged: {error}", where=str(path), fix=_AGAIN) from error


def _check_file(path: Path) -> None:
    if path.suffix in _RAW:
        fix = f"nsys export --type=sqlite --output={path.with_suffix('.sqlite').name} {path.name}"
        raise CaseError("a raw report of nsys, not its SQLite export", where=str(path), fix=fix)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(100)
    except OSError as error:
        raise CaseError(f"cannot read the report: {error.strerror}", where=str(path)) from error
    if not head:
        raise CaseError("the report is empty", where=str(path), fix=f"{_AGAIN}, with room on the disk")
    if not head.startswith(_MAGIC[: len(head)]):
        raise CaseError("the report is no SQLite file", where=str(path), fix="nsys export --type=sqlite REPORT")
    page, pages = int.from_bytes(head[16:18]), int.from_bytes(head[28:32])
    page = 65536 if page == 1 else page  # sqlite.org/fileformat.html, 1.3.2 and 1.3.6
    if len(head) < 100 or size < page * pages:
        what = f"the report is cut off: {size} of {page * pages} bytes" if len(head) == 100 else "the report is cut off"
        raise CaseError(what, where=str(path), fix=f"{_AGAIN}, with room on the disk")


def _describe(path: Path, database: sqlite3.Connection) -> Export:
    tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")]
    columns = {
        table: frozenset(name for (name,) in database.execute("SELECT name FROM pragma_table_info(?)", (table,)))
        for table in tables
    }
    facts: dict[str, str] = {}
    if {"name", "value"} <= columns.get("META_DATA_EXPORT", frozenset()):
        facts = {str(name): str(value) for name, value in database.execute("SELECT name, value FROM META_DATA_EXPORT")}
    version, layout = facts.get("EXPORT_PRODUCT_VERSION", ""), facts.get("EXPORT_SCHEMA_VERSION", "")
    return Export(path, database, columns, version, layout)


def _check_layout(export: Export) -> None:
    where = str(export.path)
    if not any(table in export.columns for table in COLUMNS) and "META_DATA_EXPORT" not in export.columns:
        tables = ", ".join(sorted(export.columns)[:3]) or "none"
        raise CaseError(f"an SQLite file, but no export of nsys: its tables are {tables}", where=where)
    major = re.match(r"\d+", export.layout)
    if major and int(major[0]) > NEWEST_MAJOR:
        raise CaseError(
            f"{export.writer()} writes a layout that is not known here, the newest is {NEWEST_MAJOR}",
            where=where,
            fix="an nsys of 2023 to 2026, or a newer trtbench",
        )
    for table, columns in COLUMNS.items():
        absent = [column for column in columns if table in export.columns and column not in export.columns[table]]
        if absent:
            raise CaseError(
                f"{table} of {export.writer()} has no column {', '.join(absent)}: a layout that is not known here",
                where=where,
                fix="an nsys of 2023 to 2026, or a newer trtbench",
            )
    if "StringIds" not in export.columns:
        raise CaseError(f"the export of {export.writer()} has no table StringIds", where=where, fix=_AGAIN)
