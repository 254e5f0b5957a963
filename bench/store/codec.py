"""Lines of a run's file as JSON: their schema version, its dated history, and the migration of older lines.

A line is one JSON object whose first key ``line`` is ``header``, ``record`` or ``footer``. Only the header carries the
schema version; it holds for every line of the file. Unknown keys are ignored, so that a newer writer of the same schema
may add one. NaN and infinity never appear: they become null, and are left out of the mappings of plain numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from bench.errors import UPGRADE, StoreError
from bench.model.data import Data
from bench.model.run import Footer, Header, Record
from bench.model.telemetry import ClockFigures, GpuFigures, HostFigures, Telemetry

SCHEMA = 2
HISTORY: dict[int, str] = {
    1: "2026-11-23: the first version: header, record and footer lines.",
    2: "2026-11-28: warnings have figures in place of message and hint; telemetry is grouped: host, gpu, clock.",
}

Line = Header | Record | Footer
Migration = Callable[[dict[str, Any]], dict[str, Any]]


_PARTS: dict[str, type[Data]] = {"host": HostFigures, "gpu": GpuFigures, "clock": ClockFigures}


def _group_telemetry(line: dict[str, Any]) -> dict[str, Any]:
    """Schema 1 to 2: telemetry, one mapping, becomes one of groups. What no group has, or has with another type, is
    kept under ``other``. Warnings stay: their message and hint are still read.
    """
    if line.get("line") != "record" or not line.get("telemetry"):
        return line
    groups: dict[str, Any] = {}
    for name, value in line["telemetry"].items():
        if name in Telemetry.__struct_fields__ and _fits(Telemetry, name, value):  # also what a later version appended
            groups[name] = value
        else:
            group = next((group for group, kind in _PARTS.items() if _fits(kind, name, value)), "other")
            groups.setdefault(group, {})[name] = value
    return {**line, "telemetry": groups}


def _fits(kind: type[Data], name: str, value: Any) -> bool:
    """Whether ``kind`` has a field ``name`` that takes ``value``."""
    if name not in kind.__struct_fields__:
        return False
    try:
        msgspec.convert({name: value}, kind)
    except msgspec.ValidationError:
        return False
    return True


# Key n turns one line of schema n, of whatever kind, into a line of schema n + 1.
MIGRATIONS: dict[int, Migration] = {1: _group_telemetry}

_TYPES: dict[str, type[Line]] = {"header": Header, "record": Record, "footer": Footer}
_NAMES = {kind: name for name, kind in _TYPES.items()}
_ENCODER = msgspec.json.Encoder()
_DECODERS = {name: msgspec.json.Decoder(kind) for name, kind in _TYPES.items()}
# msgspec's errors and UnicodeDecodeError are ValueErrors; brackets nested thousands deep raise RecursionError; the
# others are what a migration meets in a damaged line.
_MALFORMED = (ValueError, RecursionError, LookupError, TypeError, AttributeError)


class _Version(msgspec.Struct):
    """What must be known of a header before the rest of it can be read."""

    schema: int = 0


_KIND = re.compile(rb'\{\s*"line"\s*:\s*"(\w+)"')
_VERSION = msgspec.json.Decoder(_Version)


def encode(item: Line) -> bytes:
    """One line of JSON in UTF-8, ending in its only newline. What has no UTF-8 form is escaped in a record, and a
    StoreError in a header.
    """
    tag = f'"line":"{_NAMES[type(item)]}"'
    if isinstance(item, Header):
        tag += f',"schema":{SCHEMA}'
        item = msgspec.structs.replace(item, schema=SCHEMA, ceilings=_finite(item.ceilings))
    elif isinstance(item, Record):
        item = _finite_record(item)
    try:
        body = _ENCODER.encode(item)
    except UnicodeEncodeError as error:
        if isinstance(item, Record):  # a runtime's message: what it measured is worth more than its half letters
            return encode(msgspec.convert(_escape_halves(msgspec.to_builtins(item)), Record))
        text = str(error.object)[max(error.start - 40, 0) : error.end + 40]
        raise StoreError(f"{text!r} is not valid Unicode and cannot be stored") from error
    return b"{" + tag.encode() + b"," + body[1:] + b"\n"


def _escape_halves(value: Any) -> Any:
    """``value`` with the surrogates of its texts, which UTF-8 does not have, as escapes: ``\\udc80``."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {_escape_halves(key): _escape_halves(member) for key, member in value.items()}
    return [_escape_halves(member) for member in value] if isinstance(value, list | tuple) else value


def decode(line: bytes, schema: int = SCHEMA, where: str = "") -> Line:
    """The value of one line, with or without its newline.

    Args:
        line: the bytes.
        schema: version of the file that the line is from; a header tells its own.
        where: ``file:line`` for the error.

    Raises:
        StoreError: the line is torn, not ours, or of a schema that this version cannot read.
    """
    kind = _kind(line, where)
    version = schema_of(line, where) if kind == "header" else schema
    try:
        if version == SCHEMA:
            return _DECODERS[kind].decode(line)
        old = migrate(msgspec.json.decode(line), version, SCHEMA, MIGRATIONS)
        return msgspec.convert(old, _TYPES[kind])
    except _MALFORMED as error:
        raise StoreError(f"not a line of a trtbench run: {error}", where=where) from error


def schema_of(header: bytes, where: str = "") -> int:
    """The schema version that a header line tells. StoreError if it is no header, or of a schema not known here."""
    if _kind(header, where) != "header":
        raise StoreError("not a trtbench run: it does not begin with a header line", where=where)
    try:
        version = _VERSION.decode(header).schema
    except _MALFORMED as error:
        raise StoreError("not a trtbench run: its header is damaged", where=where) from error
    if version > SCHEMA:
        raise StoreError(
            f"the file has schema {version}; this trtbench reads up to {SCHEMA}",
            where=where,
            fix=UPGRADE,
        )
    if version < 1:
        raise StoreError("not a trtbench run: the header has no schema version", where=where)
    return version


def _kind(line: bytes, where: str) -> str:
    match = _KIND.match(line)
    kind = match[1].decode() if match else ""
    if kind not in _TYPES:
        raise StoreError("not a line of a trtbench run", where=where)
    return kind


def migrate(
    line: dict[str, Any], version: int, to: int = SCHEMA, migrations: Mapping[int, Migration] = MIGRATIONS
) -> dict[str, Any]:
    """``line`` of schema ``version`` brought to schema ``to``, one step at a time; a header then says so."""
    for step in range(version, to):
        line = migrations[step](line)
    return {**line, "schema": to} if line["line"] == "header" else line


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    return {key: value for key, value in values.items() if math.isfinite(value)}


def _finite_record(record: Record) -> Record:
    """A null cannot be read back where a plain number is due: leave such entries out."""
    accuracy, work = record.accuracy, record.work
    if accuracy and accuracy.metric:
        record = msgspec.structs.replace(
            record, accuracy=msgspec.structs.replace(accuracy, metric=_finite(accuracy.metric))
        )
    if work and work.fraction:
        record = msgspec.structs.replace(record, work=msgspec.structs.replace(work, fraction=_finite(work.fraction)))
    return record
