"""The files of runs: the only code that writes under the results folder, and a reader that tolerates damage."""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import os
import re
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.errors import StoreError, did_you_mean
from bench.model.folders import RESULTS
from bench.model.run import Environment, Footer, Header, Record, Run
from bench.store import codec

_RUN_ID = re.compile(r"\d{8}T\d{6}Z-.+")
_HEADER_LIMIT = 1 << 28  # bytes; a file of another kind may have no newline at all
_MAX_NAMES = 5
_HEADER_START = re.compile(rb'\{\s*"line"\s*:\s*"header"')
_ANOTHER = f"name a run, or its file {RESULTS}/ARCH/DEVICE/RUN.jsonl; without a name it is the latest"
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

# ------------------------------------------------------------------------------------------------------ where runs lie


def run_id(created: datetime.datetime, suite_name: str, digest: str) -> str:
    """``20261123T101500Z-vision-1a2b3c4``: names sort by time; ``digest`` (hex) keeps runs of one second apart."""
    name = re.sub(r"[^a-z0-9_.]+", "-", suite_name.lower()).strip("-.")[:80] or "suite"
    return f"{created.astimezone(datetime.UTC):%Y%m%dT%H%M%SZ}-{name}-{digest[:7]}"


def run_path(root: Path, environment: Environment, run_id: str) -> Path:
    """Where the run's file lies: ``ROOT/ARCH/DEVICE/RUN.jsonl``."""
    return root / environment.arch / environment.slug / f"{run_id}.jsonl"


def runs(root: Path) -> list[Path]:
    """The files of all runs under ``root``, newest first; runs of the same second by their last change."""
    paths = [path for path in root.glob("*/*/*.jsonl") if _RUN_ID.fullmatch(path.stem)]
    return sorted(paths, key=lambda path: (path.name[:16], path.lstat().st_mtime_ns, path.name), reverse=True)


def resolve(root: Path, name: str | None) -> Path:
    """The file of a run: the latest for None, else a path, a run's name or the beginning of one. StoreError if none."""
    if name and os.path.isfile(name):
        return Path(name)
    paths = runs(root)
    if not paths and root.is_dir() and not os.access(root, os.R_OK | os.X_OK):
        raise StoreError("cannot be read: Permission denied", where=str(root), fix=f"ls -ld {shlex.quote(str(root))}")
    if not paths:
        missing = f"no run {name!r}: " if name else ""
        raise StoreError(f"{missing}there are no runs in {root}", fix="trtbench run suites/smoke.yaml, or --store DIR")
    if name is None:
        return paths[0]
    exact = [path for path in paths if path.stem == name]
    fitting = exact or [path for path in paths if name and path.stem.startswith(name)]
    if len(fitting) > 1:
        names = ", ".join(path.stem for path in fitting[:_MAX_NAMES])
        more = ", ..." if len(fitting) > _MAX_NAMES else ""
        raise StoreError(f"{name!r} fits {len(fitting)} runs: {names}{more}", fix="give more of the name, or the path")
    if not fitting:
        guess = did_you_mean(name, [path.stem for path in paths])
        raise StoreError(f"no run {name!r} in {root}.{guess}", fix=f"the latest run is {paths[0].stem}")
    return fitting[0]


def run_argument(path: Path) -> str:
    """The run at ``path`` as an argument of a command: its name where that identifies it, else its file."""
    by_name = path.parts[:-3] == (RESULTS,) and _RUN_ID.fullmatch(path.stem)
    return shlex.quote(path.stem if by_name else str(path))


def resume_command(path: Path) -> str:
    """The command that resumes the run at ``path``."""
    return f"trtbench run --resume {run_argument(path)}"


# -------------------------------------------------------------------------------------------------------------- writing


def check_writable(root: Path) -> None:
    """StoreError if runs cannot be written under ``root`` (created when needed); leaves nothing behind."""
    folder = next(path for path in (root, *root.absolute().parents) if os.path.lexists(path))
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(1 << 16))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _store_error(error, root, "choose another folder: --store DIR") from error


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
        raise _store_error(error, path, "choose another folder: --store DIR") from error
    return Writer(path, fd, 0)


def reopen(path: Path) -> tuple[Writer, Run]:
    """Resume a run: its writer and its content. A torn last line moves to ``RUN.torn``, as ``Run.damage`` says.

    StoreError if another process writes it now, if it is of an older schema, or cannot be read or written.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, fd)
            _lock(fd, path)
            if _schema(path) != codec.SCHEMA:
                raise StoreError("the run was made by an older trtbench", where=str(path), fix="start a new run")
            run = read(path)
            _set_torn_aside(fd, path.with_suffix(".torn"))
            undo.pop_all()
    except OSError as error:
        raise _store_error(error, path, "choose another run, or start a new one") from error
    return Writer(path, fd, len(run.records)), run


class Writer:
    """The open file of one run, locked against other processes. An appended line is on disk when the call returns.

    ``records`` counts the records of the file. ``create`` and ``reopen`` return it.
    """

    def __init__(self, path: Path, fd: int, records: int) -> None:
        self.path = path
        self.records = records
        self._fd = fd

    def append(self, record: Record) -> None:
        """Store one record. StoreError if it cannot be written whole; the file then ends where it did before."""
        self._write(codec.encode(record))
        self.records += 1

    def finish(self, footer: Footer) -> None:
        """Store the footer and close the file."""
        self._write(codec.encode(footer))
        self.close()

    def close(self) -> None:
        """Close and unlock the file; a second time does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def _write(self, line: bytes) -> None:
        try:
            _append(self._fd, line)
        except OSError as error:
            raise _store_error(error, self.path, f"then go on with: {resume_command(self.path)}") from error


def _append(fd: int, line: bytes) -> None:
    """One write of one line, synced. OSError, and the file as it was, if that fails."""
    end = _end_of_last_line(fd)
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


def _store_error(error: OSError, path: Path, then: str) -> StoreError:
    """What the system said about ``path``, with the step that helps first and ``then`` the next."""
    reason = error.strerror or str(error)
    if error.errno in _NO_SPACE:
        first = "free some disk space (or raise the quota); "
    elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        first = "make it writable; "
    else:
        first = ""
    return StoreError(f"cannot be written: {reason}", where=str(path), fix=first + then)


# -------------------------------------------------------------------------------------------------------------- reading


def read(path: Path) -> Run:
    """A run as it is on disk: of several records of one case and replicate the last. StoreError if it is no run.

    Lines that cannot be read are skipped and reported in ``damage``; a footer counts only if no record follows it.
    """
    damage: list[str] = []
    items = lines(path, damage)
    header = next(items)
    assert isinstance(header, Header)
    records: dict[tuple[str, int], Record] = {}
    footer: Footer | None = None
    for item in items:
        if isinstance(item, Record):
            records[item.case, item.replicate] = item
            footer = None
        elif isinstance(item, Footer):
            footer = item
    return Run(path=str(path), header=header, records=tuple(records.values()), footer=footer, damage=_summary(damage))


def _schema(path: Path) -> int:
    with path.open("rb") as file:
        return codec.schema_of(file.readline(_HEADER_LIMIT), f"{path}:1")


def lines(path: Path, damage: list[str]) -> Iterator[codec.Line]:
    """The header, then every record and footer that can be read; the others are reported in ``damage``."""
    try:
        with path.open("rb", buffering=1 << 20) as file:
            schema, header = _header(file.readline(_HEADER_LIMIT), path)
            yield header
            for number, line in enumerate(file, 2):
                where = f"{path}:{number}"
                if not line.endswith(b"\n"):
                    damage.append(f"{where}: the last line is torn ({len(line)} bytes), skipped")
                    return
                try:
                    item = codec.decode(line, schema, where)
                except StoreError as error:
                    damage.append(f"{where}: skipped, {error.what}")
                    continue
                if isinstance(item, Header):
                    damage.append(f"{where}: skipped, a second header")
                else:
                    yield item
    except OSError as error:
        fix = f"ls -l {shlex.quote(str(path))}" if isinstance(error, PermissionError) else _ANOTHER
        raise StoreError(f"cannot be read: {error.strerror}", where=str(path), fix=fix) from error


def _header(first: bytes, path: Path) -> tuple[int, codec.Line]:
    """A file's first line and its schema. StoreError if it is no run's header, or an incomplete one."""
    if not first:
        raise StoreError("not a trtbench run: the file is empty", where=str(path), fix=_ANOTHER)
    if not first.endswith(b"\n") and _HEADER_START.match(first):
        what = "the file is cut within its header: it holds no record"
        raise StoreError(what, where=f"{path}:1", fix=f"delete it; {_ANOTHER}")
    try:
        schema = codec.schema_of(first, f"{path}:1")
        return schema, codec.decode(first, schema, f"{path}:1")
    except StoreError as error:
        raise StoreError(error.what, where=error.where, fix=error.fix or _ANOTHER) from error


def _summary(damage: list[str]) -> str:
    text = "; ".join(damage[:_MAX_NAMES])
    return f"{text}; and {len(damage) - _MAX_NAMES} more" if len(damage) > _MAX_NAMES else text
