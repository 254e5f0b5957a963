"""The runs of a store in short: of most complete ones the first and the last line are read, of others all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Literal

import msgspec

from bench.errors import StoreError
from bench.model.data import Data
from bench.model.run import Footer, Header, Record
from bench.store import checks, codec, progress
from bench.store.files import is_rehearsal, runs
from bench.store.reader import HEADER_START, RECORD_START, read_beginning

_TAIL = 1 << 16  # a footer is far shorter
_LOCKS = Path("/proc/locks")

State = Literal["complete", "interrupted", "running", "unfinished", "unreadable"]


class Summary(Data, frozen=True, kw_only=True):
    """One run: ``records`` of ``processes`` that its plan has, each process once. ``problem`` says why one is
    unreadable. A ``duel`` is no run of a plan: its processes are pairs, and ``compare`` does not take it.

    ``records`` of a run that is ``complete``, and no duel, are what its footer counts, if that is the whole plan: the
    lines between are not read, and one that is damaged is counted. Of any other they are the lines that name a case and
    a process. `show` reads all, and leaves out what is damaged or cannot be true.

    ``running`` is one that a process of this machine writes now, ``unfinished`` one that was killed.
    """

    run: str
    path: str
    state: State
    created: str = ""
    device: str = ""
    arch: str = ""
    version: str = ""
    cases: int = 0
    processes: int = 0
    records: int = 0
    rehearsal: bool = False
    problem: str = ""
    duel: bool = False


def summaries(root: Path, *, rehearsals: bool = False) -> list[Summary]:
    """Every run under ``root``, newest first; rehearsals only if asked for."""
    return [summary(path) for path in runs(root, rehearsals=rehearsals)]


def summary(path: Path) -> Summary:
    """One run in short."""
    bare = Summary(run=path.stem, path=str(path), state="unreadable", rehearsal=is_rehearsal(path))
    try:
        schema, header = read_beginning(path)
        header, footer, done = _progress(path, schema, header)
    except StoreError as error:
        return msgspec.structs.replace(bare, problem=error.what)
    except OSError as error:
        return msgspec.structs.replace(bare, problem=f"cannot be read: {error.strerror}")
    return _of(bare, header, footer, done, path)


def _of(bare: Summary, header: Header, footer: Footer | None, done: int, path: Path) -> Summary:
    here = header.environments.get("default") or next(iter(header.environments.values()), None)
    state: State = footer.status if footer else "running" if _is_locked(path) else "unfinished"
    return msgspec.structs.replace(
        bare,
        state=state,
        created=header.created,
        device=here.device if here else "",
        arch=here.arch if here else "",
        version=header.version,
        cases=len(header.cases),
        processes=progress.planned(header),
        records=done,
        duel=header.duel is not None,
    )


def _progress(path: Path, schema: int, header: Header) -> tuple[Header, Footer | None, int]:
    """The header with the processes per case that the plan came to have, the footer if no record follows it, and the
    number of processes that are done.
    """
    footer = _last_footer(path, schema)
    if footer and footer.status == "complete" and header.duel is None:
        whole = progress.effective_header(header, footer.replicates, ())
        if footer.records == progress.planned(whole):
            return whole, footer, footer.records
    # What was lost or repeated, and how many processes earlier footers tell of, is on other lines.
    return _scan(path, schema, header)


def _last_footer(path: Path, schema: int) -> Footer | None:
    """The footer, if it is the last line and whole."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - _TAIL, 0))
        *_, last, rest = (b"", *file.read().split(b"\n"))
        if rest:  # the last line is torn
            return None
        with contextlib.suppress(StoreError):
            item = codec.decode(last, schema)
            return item if isinstance(item, Footer) else None
    return None


class _Process(msgspec.Struct):
    """What is decoded of a record to count it: its samples, most of the line, are passed over."""

    case: str
    replicate: int = 0


_PROCESS = msgspec.json.Decoder(_Process)


def _scan(path: Path, schema: int, header: Header) -> tuple[Header, Footer | None, int]:
    """As _progress(), by all lines. Of a record only the process is read: whether the rest of it is damaged or can be
    true, which reader.read() looks at, is not known.
    """
    processes: set[tuple[str, int]] = set()
    footer, raised = None, 0
    with path.open("rb", buffering=1 << 20) as file:
        file.readline()
        for line in file:
            if not line.endswith(b"\n") or line.startswith(HEADER_START):
                break
            try:
                item = _PROCESS.decode(line) if line.startswith(RECORD_START) else codec.decode(line, schema)
            except (StoreError, ValueError, RecursionError):
                continue
            if isinstance(item, Footer):
                if checks.of_times(item.times):  # it cannot be true, and reader.read() skips it
                    continue
                footer, raised = item, max(raised, item.replicates)
            elif isinstance(item, _Process | Record):
                processes.add((item.case, item.replicate))
                footer = None
    whole = progress.effective_header(header, raised, (replicate for _, replicate in processes))
    return whole, footer, len(progress.of_plan(whole, processes))


def _is_locked(path: Path) -> bool:
    """Whether a process writes the file now. It is not locked to try: that would refuse a process that resumes it."""
    try:
        inode = f":{path.stat().st_ino} "
        return any("FLOCK" in line and "WRITE" in line and inode in line for line in _LOCKS.read_text().splitlines())
    except OSError:
        return False
