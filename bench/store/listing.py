"""The runs of a store in short, read from the first and the last line of each file."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Literal

import msgspec

from bench.errors import StoreError
from bench.model.data import Data
from bench.model.run import Footer, Header
from bench.store import codec
from bench.store.files import is_rehearsal, runs
from bench.store.reader import RECORD_START, read_beginning

_TAIL = 1 << 16  # a footer is far shorter
_LOCKS = Path("/proc/locks")

State = Literal["complete", "interrupted", "running", "unfinished", "unreadable"]


class Summary(Data, frozen=True, kw_only=True):
    """One run: ``records`` of ``processes`` that its plan has; ``problem`` says why one is unreadable. A ``duel``
    is no run of a plan: its processes are pairs, and ``compare`` does not take it.

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
        footer, records = _end(path, schema)
    except StoreError as error:
        return msgspec.structs.replace(bare, problem=error.what)
    except OSError as error:
        return msgspec.structs.replace(bare, problem=f"cannot be read: {error.strerror}")
    return _of(bare, header, footer, records, path)


def _of(bare: Summary, header: Header, footer: Footer | None, records: int, path: Path) -> Summary:
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
        # A duel ends when it is decided.
        processes=records if header.duel and footer else len(header.cases) * header.policy.replicates,
        records=records,
        duel=header.duel is not None,
    )


def _end(path: Path, schema: int) -> tuple[Footer | None, int]:
    """The footer, if it is the last line, and the number of lines of records."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - _TAIL, 0))
        last = file.read().rstrip(b"\n").rpartition(b"\n")[2]
        with contextlib.suppress(StoreError):
            item = codec.decode(last, schema)
            if isinstance(item, Footer):
                return item, item.records
        file.seek(0)
        return None, sum(line.startswith(RECORD_START) for line in file)


def _is_locked(path: Path) -> bool:
    """Whether a process writes the file now. It is not locked to try: that would refuse a process that resumes it."""
    try:
        inode = f":{path.stat().st_ino} "
        return any("FLOCK" in line and "WRITE" in line and inode in line for line in _LOCKS.read_text().splitlines())
    except OSError:
        return False
