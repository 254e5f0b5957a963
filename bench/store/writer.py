"""Runs as they are written: line by line on disk, and rescued where the file is not what was written any more."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from bench.errors import StoreError
from bench.model.run import Footer, Header, Record, Run
from bench.store import artifacts, codec
from bench.store.files import resume_command, run_path, store_error
from bench.store.reader import HEADER_START, RECORD_START, read, read_schema

_CHUNK = 1 << 20


def create(root: Path, header: Header) -> Writer:
    """A new run with its header on disk. StoreError if there is one of this name, or the folder cannot be written."""
    path = run_path(root, header.environments["default"], header.run)
    line = codec.encode(header)
    # The file gets its name once the header is whole. The name of the part excludes other processes meanwhile.
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(part, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, fd)
            undo.callback(part.unlink, missing_ok=True)
            if path.exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            fcntl.flock(fd, fcntl.LOCK_EX)
            _append(fd, line)
            os.rename(part, path)
            for folder in (path.parent, path.parent.parent, root, root.absolute().parent):
                _sync_folder(folder)
            undo.pop_all()
    except OSError as error:
        raise store_error(error, path, "choose another folder: --store DIR") from error
    return Writer(path, fd, line)


def reopen(path: Path) -> tuple[Writer, Run]:
    """Resume a run: its writer and its content. A torn last line moves to ``RUN.torn``, as ``Run.damage`` says.

    StoreError if another process writes it now, if it is of an older schema, or cannot be read or written.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, fd)
            _lock(fd, path)
            if read_schema(path) != codec.SCHEMA:
                raise StoreError("the run was made by an older trtbench", where=str(path), fix="start a new run")
            run = read(path)
            _set_torn_aside(fd, path.with_suffix(".torn"))
            content = b"".join(_chunks(fd, os.fstat(fd).st_size))
            if b"\n" + HEADER_START in content:
                what, fix = "the file holds two runs, one after the other", "start a new run, or remove the second one"
                raise StoreError(what, where=str(path), fix=fix)
            undo.pop_all()
    except OSError as error:
        raise store_error(error, path, "choose another run, or start a new one") from error
    return Writer(path, fd, content), run


class _Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...
    def copy(self) -> _Digest: ...


class _Disk(NamedTuple):
    """What was written to a file: its bytes, their SHA-256, the lines of records, and the time of the last change."""

    size: int
    digest: _Digest
    records: int
    mtime_ns: int


class Writer:
    """The open file of one run, locked against other processes. An appended line is on disk when the call returns.

    ``records`` counts the lines of records in the file. Before each line the file is compared with what was written: if
    it was replaced, moved, cut, changed or deleted, everything goes to a new file, ``path`` from then on, and
    ``rescues`` says how the one before was lost. ``create`` and ``reopen`` return it.
    """

    def __init__(self, path: Path, fd: int, content: bytes) -> None:
        self.path = path
        self.rescues: list[str] = []
        self._fd = fd
        self._parts: dict[int, bytes] = {}  # what the file must hold, compressed, by offset
        self._pending = b""  # a line that may be on disk in part, or whole, as a signal came
        self._disk = _Disk(0, hashlib.sha256(), 0, 0)
        self._remember(content)

    @property
    def records(self) -> int:
        """The lines of records."""
        return self._disk.records

    def append(self, record: Record) -> None:
        """Store one record. StoreError if it cannot be written whole; the file then ends where it did before."""
        self._write(codec.encode(record))

    def amend(self, footer: Footer) -> None:
        """Store a footer after which the run continues: what it changes is known however that ends."""
        self._write(codec.encode(footer))

    def finish(self, footer: Footer) -> None:
        """Store the footer and close the file."""
        before = self.records
        self._check()  # a signal may have come after a record was written, and before it was counted
        footer = msgspec.structs.replace(footer, records=footer.records + self.records - before)
        self._write(codec.encode(footer))
        self.close()

    def close(self) -> None:
        """Close and unlock the file; a second time does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def _write(self, line: bytes) -> None:
        self._check()
        try:
            self._pending = line
            _append(self._fd, line, self._disk.size)
            self._remember(line)
        except OSError as error:
            raise store_error(error, self.path, f"then go on with: {resume_command(self.path)}") from error

    def _check(self) -> None:
        """Go on in a new file if this one is not what was written."""
        try:
            if trouble := self._trouble():
                self._rescue(trouble)
        except OSError as error:
            raise store_error(error, self.path, f"then go on with: {resume_command(self.path)}") from error

    def _remember(self, content: bytes) -> None:
        """``content`` is on disk at the end of the file. A signal may come at any moment: one assignment tells all."""
        size, digest, records, _ = self._disk
        self._parts[size] = zlib.compress(content, 1)
        digest = digest.copy()
        digest.update(content)
        records += content.startswith(RECORD_START) + content.count(b"\n" + RECORD_START)
        self._disk = _Disk(size + len(content), digest, records, os.fstat(self._fd).st_mtime_ns)

    def _trouble(self) -> str:
        """How the file is not what was written; empty if it is, apart from a torn line, which the next one removes."""
        here, size = os.fstat(self._fd), self._disk.size
        try:
            there = os.stat(self.path)
        except OSError as error:
            gone = isinstance(error, FileNotFoundError | NotADirectoryError)
            return "was deleted or moved" if gone else f"cannot be reached ({error.strerror})"
        if (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino):
            return "was replaced by another file"
        if here.st_size < size:
            return f"was cut to {here.st_size:,} of {size:,} bytes"
        if here.st_mtime_ns != self._disk.mtime_ns and self._is_changed():
            return "was changed by another program"
        tail = os.pread(self._fd, here.st_size - size, size)
        if tail and tail == self._pending:  # a signal came after the line was written
            self._remember(tail)
        elif b"\n" in tail:
            return "was written by another program"
        return ""

    def _is_changed(self) -> bool:
        digest = hashlib.sha256()
        for chunk in _chunks(self._fd, self._disk.size):
            digest.update(chunk)
        return digest.digest() != self._disk.digest.digest()

    def _rescue(self, trouble: str) -> None:
        """Write everything so far to a new file beside the old one, else below the cache, else in the temporary folder.

        StoreError if none of them takes it.
        """
        content = b"".join(zlib.decompress(part) for offset, part in self._parts.items() if offset < self._disk.size)
        places = (self.path.parent, artifacts.default_root() / "rescued", Path(tempfile.gettempdir()))
        for folder in places:
            with contextlib.suppress(OSError):
                if folder != self.path.parent:
                    folder.mkdir(parents=True, exist_ok=True)
                path, fd = _new_file(folder, self.path.stem.partition(".rescued-")[0])
                with contextlib.ExitStack() as undo:
                    undo.callback(os.close, fd)
                    undo.callback(path.unlink, missing_ok=True)
                    _write_all(fd, content)
                    undo.pop_all()
                _sync_folder(folder)
                os.close(self._fd)
                before, self.path, self._fd = self.path, path, fd
                self._disk = self._disk._replace(mtime_ns=os.fstat(fd).st_mtime_ns)
                self.rescues.append(f"{before} {trouble}: the run's {self.records} records until then are in {path}")
                return
        what = f"the file of this run {trouble}, and its {self.records} records cannot be written elsewhere"
        raise StoreError(what, where=str(self.path), fix="make room, and start a new run")


def _new_file(folder: Path, run: str) -> tuple[Path, int]:
    """A new, locked file ``RUN.rescued-N.jsonl``. OSError if it cannot be."""
    number = 1
    while True:
        path = folder / f"{run}.rescued-{number}.jsonl"
        try:
            fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            number += 1
            continue
        fcntl.flock(fd, fcntl.LOCK_EX)
        return path, fd


def _write_all(fd: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
    os.fsync(fd)


def _chunks(fd: int, size: int) -> Iterator[bytes]:
    """The first ``size`` bytes of a file."""
    for start in range(0, size, _CHUNK):
        yield os.pread(fd, min(_CHUNK, size - start), start)


def _append(fd: int, line: bytes, end: int = 0) -> None:
    """One write of one line at ``end``, synced. OSError, and the file as it was, if that fails."""
    if os.fstat(fd).st_size > end:  # a signal came between a failed write and its undoing
        os.ftruncate(fd, end)
    try:
        if os.write(fd, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(fd)
    except OSError:
        os.ftruncate(fd, end)
        raise


def _end_of_last_line(fd: int) -> int:
    """The size of the file up to its last newline."""
    end = os.fstat(fd).st_size
    while end:
        start = max(end - (1 << 16), 0)
        newline = os.pread(fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def _set_torn_aside(fd: int, aside: Path) -> None:
    """Move what follows the last newline to the end of ``aside``."""
    end = _end_of_last_line(fd)
    torn = os.pread(fd, os.fstat(fd).st_size - end, end)
    if torn:
        with aside.open("ab") as file:
            file.write(torn + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.ftruncate(fd, end)


def _lock(fd: int, path: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StoreError(
            "another process is writing this run", where=str(path), fix="wait until it ends, or stop it"
        ) from error


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # some file systems refuse to sync a folder, some folders are not readable
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
