"""Runs as they are read: damage is tolerated and told."""

from __future__ import annotations

import contextlib
import gc
import re
import shlex
from collections.abc import Generator, Iterator, Set
from pathlib import Path

import msgspec

from bench.errors import StoreError
from bench.model.folders import RESULTS
from bench.model.run import Footer, Header, Record, Run
from bench.model.samples import SortedSamples
from bench.store import checks, codec, progress
from bench.store import packed as packing

_HEADER_LIMIT = 1 << 28  # bytes; a file of another kind may have no newline at all
_MAX_NAMES = 5
_CASE_START = b'{"line":"record","case":"'
RECORD_START, HEADER_START = b'{"line":"record"', b'{"line":"header"'
_HEADER_START = re.compile(rb'\{\s*"line"\s*:\s*"header"')
_ANOTHER = f"name a run, or its file {RESULTS}/ARCH/DEVICE/RUN.jsonl; without a name it is the latest"


def read(path: Path, *, packed: bool = False, only: Set[str] | None = None) -> Run:
    """A run as it is on disk: of several records of one case and replicate the last. StoreError if it is no run.

    What cannot be read, or cannot be, is skipped and reported in ``damage``; a footer counts only if no record follows,
    but for a larger number of replicates, which becomes that of the header's policy; of a duel it is that of its pairs.

    ``packed`` records take a fifth of the memory or less: their samples, but those in blocks, are ``SortedSamples``,
    most of them decoded when first read, and they have no ``parts``.
    ``only`` are the ids of the cases whose records are read.
    """
    damage: list[str] = []
    records: dict[tuple[str, int], Record] = {}
    footer: Footer | None = None
    times: dict[str, int] = {}
    with _no_collections():
        items = lines(path, damage, packed=packed, only=only)
        header = next(items)
        assert isinstance(header, Header)
        raised = 0
        for item in items:
            if isinstance(item, Record):
                records[item.case, item.replicate] = item
                footer = None
            elif isinstance(item, Footer):
                footer = item
                raised = max(raised, item.replicates)
                for name, ns in item.times.items():
                    times[name] = times.get(name, 0) + ns
    return Run(
        path=str(path),
        header=progress.effective_header(header, raised, (replicate for _, replicate in records)),
        records=tuple(records.values()),
        footer=footer,
        damage=_summary(damage),
        times=times,
    )


@contextlib.contextmanager
def _no_collections() -> Iterator[None]:
    """Without searches for garbage: nothing that is read is any, and a search looks at all that was read before."""
    paused = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if paused:
            gc.enable()


def read_header(path: Path) -> Header:
    """The header of the run at ``path``. StoreError if it is none, or cannot be read."""
    items = lines(path, [])
    header = next(items)
    items.close()
    assert isinstance(header, Header)
    return header


def read_beginning(path: Path) -> tuple[int, Header]:
    """The schema and the header of the run at ``path``. StoreError if it is none, OSError if it cannot be read."""
    with path.open("rb") as file:
        return _header(file.readline(_HEADER_LIMIT), path)


def read_schema(path: Path) -> int:
    """The schema of the run at ``path``. StoreError if it is no run."""
    with path.open("rb") as file:
        return codec.schema_of(file.readline(_HEADER_LIMIT), f"{path}:1")


def lines(
    path: Path, damage: list[str], *, packed: bool = False, only: Set[str] | None = None
) -> Generator[codec.Line, None, None]:
    """The header, then every record and footer that can be read and can be true; the others are reported in
    ``damage``. What follows a second header is another run's. ``packed`` and ``only`` as for read().
    """
    try:
        with path.open("rb", buffering=1 << 20) as file:
            schema, header = _header(file.readline(_HEADER_LIMIT), path)
            yield header
            judge = _Judge(header, damage)
            for number, line in enumerate(file, 2):
                where = f"{path}:{number}"
                if not line.endswith(b"\n"):
                    damage.append(f"{where}: the last line is torn ({len(line)} bytes), skipped")
                    return
                judge.records += line.startswith(RECORD_START)
                if only is not None and line.startswith(_CASE_START) and _case_of(line) not in only:
                    continue  # not even decoded
                digits = packing.digits_of(line)
                long_times = packing.LONG_TIME in digits
                try:
                    item = _quickly(line, long_times, schema) if packed else None
                    item = item or codec.decode(line, schema, where)
                except StoreError as error:
                    damage.append(f"{where}: skipped, {error.what}")
                    continue
                if isinstance(item, Header):
                    rest = sum(1 for _ in file)
                    damage.append(f"{where}: a second run begins here, {item.run[:80]}: its {rest} lines are skipped")
                    return
                long_numbers = long_times and packing.LONG_NUMBER in digits
                as_written = item
                if packed and isinstance(item, Record):
                    item = _packed(item)
                if judge.accepts(item, where, long_numbers, as_written):
                    yield _without_parts(item) if packed and isinstance(item, Record) else item
    except OSError as error:
        fix = f"ls -l {shlex.quote(str(path))}" if isinstance(error, PermissionError) else _ANOTHER
        raise StoreError(f"cannot be read: {error.strerror}", where=str(path), fix=fix) from error


def _case_of(line: bytes) -> str:
    """The id of a record's case, by the beginning of its line."""
    return line[len(_CASE_START) :].partition(b'"')[0].decode(errors="replace")


def _quickly(line: bytes, long_times: bool, schema: int) -> codec.Line | None:
    """The record of a line, its samples unread; None for what is to be decoded in full."""
    if schema != codec.SCHEMA or not line.startswith(RECORD_START):
        return None
    return packing.decode(line, long_times, checks.MAY_BE_ZERO)


def _packed(record: Record) -> Record:
    """The record with its samples packed, which are then checked in a third of the time."""
    # The order of samples in blocks says which of another process they were taken beside.
    if all(isinstance(m.samples, SortedSamples) for m in record.measurements):
        return record
    packed = (
        m if m.blocks else msgspec.structs.replace(m, samples=SortedSamples(m.samples)) for m in record.measurements
    )
    return msgspec.structs.replace(record, measurements=tuple(packed))


def _without_parts(record: Record) -> Record:
    if not any(measured.parts for measured in record.measurements):
        return record
    bare = (msgspec.structs.replace(measured, parts={}) for measured in record.measurements)
    return msgspec.structs.replace(record, measurements=tuple(bare))


class _Judge:
    """Whether lines of one run can be true, each by itself and beside those before it."""

    def __init__(self, header: Header, damage: list[str]) -> None:
        self.records = 0  # lines of records so far, readable or not
        self._cases = {case.id: case for case in header.cases}
        self._measured: dict[tuple[str, int], bool] = {}
        self._damage = damage

    def accepts(self, item: Record | Footer, where: str, long_numbers: bool, as_written: codec.Line) -> bool:
        """Whether to take the line; what is wrong with it, or odd about it, goes to the damage. Only the line
        ``as_written`` tells which of its samples comes first.
        """
        if isinstance(item, Footer):
            if problem := checks.of_times(item.times):
                self._damage.append(f"{where}: skipped, not a possible footer: {problem}")
                return False
            # Until a case is measured again after a lost GPU, both are the same; earlier versions counted either.
            if not len(self._measured) <= item.records <= self.records:
                then = checks.number(item.records)
                self._damage.append(
                    f"{where}: the file has {self.records} records, and had {then} when it was finished"
                )
            return True
        if problem := checks.of_record(item, self._cases, long_numbers=long_numbers):
            if isinstance(as_written, Record):
                problem = checks.of_record(as_written, self._cases, long_numbers=long_numbers)
            self._damage.append(f"{where}: skipped, not a possible record: {problem}")
            return False
        key = item.case, item.replicate
        if self._measured.get(key):
            self._damage.append(
                f"{where}: process {item.replicate + 1} of {item.label[:80]} is there twice, this one counts"
            )
        self._measured[key] = bool(item.measurements) and item.failure is None
        return True


def _header(first: bytes, path: Path) -> tuple[int, Header]:
    """A file's schema and its first line. StoreError if it is no run's header, an incomplete or impossible one."""
    if not first:
        raise StoreError("not a trtbench run: the file is empty", where=str(path), fix=_ANOTHER)
    if not first.endswith(b"\n") and _HEADER_START.match(first):
        what = "the file is cut within its header: it holds no record"
        raise StoreError(what, where=f"{path}:1", fix=f"delete it; {_ANOTHER}")
    try:
        schema = codec.schema_of(first, f"{path}:1")
        header = codec.decode(first, schema, f"{path}:1")
    except StoreError as error:
        raise StoreError(error.what, where=error.where, fix=error.fix or _ANOTHER) from error
    assert isinstance(header, Header)
    if problem := checks.of_header(header):
        raise StoreError(f"not a run that trtbench wrote: {problem}", where=f"{path}:1", fix=_ANOTHER)
    return schema, header


def _summary(damage: list[str]) -> str:
    text = "; ".join(damage[:_MAX_NAMES])
    return f"{text}; and {len(damage) - _MAX_NAMES} more" if len(damage) > _MAX_NAMES else text
