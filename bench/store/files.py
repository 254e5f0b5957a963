"""Where the files of runs lie, and how they are looked up."""

from __future__ import annotations

import datetime
import errno
import os
import re
import shlex
import tempfile
from pathlib import Path

from bench.errors import StoreError, did_you_mean
from bench.model.folders import RESULTS
from bench.model.run import Environment

_RUN_ID = re.compile(r"\d{8}T\d{6}Z-.+")
_MAX_NAMES = 5
_REHEARSALS = "fake"  # the architecture of a run without a device
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

# ------------------------------------------------------------------------------------------------------ where runs lie


def run_id(created: datetime.datetime, suite_name: str, digest: str) -> str:
    """``20261123T101500Z-vision-1a2b3c4``: names sort by time; ``digest`` (hex) keeps runs of one second apart."""
    name = re.sub(r"[^a-z0-9_.]+", "-", suite_name.lower()).strip("-.")[:80] or "suite"
    return f"{created.astimezone(datetime.UTC):%Y%m%dT%H%M%SZ}-{name}-{digest[:7]}"


def run_path(root: Path, environment: Environment, run_id: str) -> Path:
    """Where the run's file lies: ``ROOT/ARCH/DEVICE/RUN.jsonl``."""
    return root / environment.arch / environment.slug / f"{run_id}.jsonl"


def is_rehearsal(path: Path) -> bool:
    """Whether the file of a run lies among rehearsals, which have no device."""
    return path.parts[-3:-2] == (_REHEARSALS,)


def runs(root: Path, *, rehearsals: bool = False) -> list[Path]:
    """The files of all runs under ``root``, newest first; runs of the same second by their last change.

    Rehearsals are among them only if asked for.
    """
    paths = [path for path in root.glob("*/*/*.jsonl") if _RUN_ID.fullmatch(path.stem)]
    paths = [path for path in paths if rehearsals or not is_rehearsal(path)]
    return sorted(paths, key=lambda path: (path.name[:16], _last_change(path), path.name), reverse=True)


def _last_change(path: Path) -> int:
    try:
        return path.lstat().st_mtime_ns
    except OSError:  # removed since it was listed, which whoever reads it reports
        return 0


def resolve(root: Path, name: str | None) -> Path:
    """The file of a run: the latest for None, else by its path, its name, or the beginning or last part of one.

    A rehearsal is never the latest; it is found by its name. StoreError if none or several fit.
    """
    if name and os.path.isfile(name):
        return Path(name)
    if name and os.sep in name:
        _check_is_no_path(name)
    paths = runs(root, rehearsals=name is not None)
    if name is None and not paths and (others := runs(root, rehearsals=True)):
        fix = f"name it: trtbench show {run_argument(others[0])}; or trtbench run suites/smoke.yaml"
        raise StoreError(f"there are only rehearsals in {root}", fix=fix)
    if not paths and root.is_dir() and not os.access(root, os.R_OK | os.X_OK):
        raise StoreError("cannot be read: Permission denied", where=str(root), fix=f"ls -ld {shlex.quote(str(root))}")
    if not paths:
        missing = f"no run {name!r}: " if name else ""
        raise StoreError(f"{missing}there are no runs in {root}", fix="trtbench run suites/smoke.yaml, or --store DIR")
    if name is None:
        return paths[0]
    exact = [path for path in paths if path.stem == name]
    fitting = exact or [path for path in paths if name and is_part(name, path.stem)]
    if len(fitting) > 1:
        names = ", ".join(path.stem for path in fitting[:_MAX_NAMES])
        more = ", ..." if len(fitting) > _MAX_NAMES else ""
        raise StoreError(f"{name!r} fits {len(fitting)} runs: {names}{more}", fix="give more of the name, or the path")
    if not fitting:
        guess = did_you_mean(name, [path.stem for path in paths])
        latest = next((path for path in paths if not is_rehearsal(path)), None)
        option = store_option(root)
        fix = (
            f"trtbench runs{option} lists all; the latest is {latest.stem}"
            if latest
            else (f"trtbench runs --rehearsals{option} lists all; the latest rehearsal is {paths[0].stem}")
        )
        raise StoreError(f"no run {name!r} in {root}.{guess}", fix=fix)
    return fitting[0]


def is_part(name: str, of: str) -> bool:
    """Whether the name of a run or a document begins with ``name``, or has it for its last part: the digits that texts
    call it by.
    """
    return of.startswith(name) or of.endswith(f"-{name}")


def _check_is_no_path(name: str) -> None:
    """StoreError for what is there and is no file: a folder, or a link to nothing."""
    path = Path(name)
    if os.path.isdir(name):
        inside = runs(path, rehearsals=True)
        fix = f"the latest in it: {shlex.quote(str(inside[0]))}" if inside else "name a file in it"
        raise StoreError("this is a folder, a run is a file", where=name, fix=fix)
    if os.path.islink(name):
        raise StoreError(f"this is a link to {os.readlink(name)}, which is not there", where=name, fix="name another")


def run_argument(path: Path) -> str:
    """The run at ``path`` as an argument of a command: its name where that identifies it, else its file."""
    by_name = path.parts[:-3] == (RESULTS,) and _RUN_ID.fullmatch(path.stem)
    return shlex.quote(path.stem if by_name else str(path))


def resume_command(path: Path) -> str:
    """The command that resumes the run at ``path``."""
    return f"trtbench run --resume {run_argument(path)}"


def store_option(root: Path | str) -> str:
    """`` --store ROOT`` at the end of a command that is to use the store ``root``; empty where it does anyway."""
    return "" if Path(root) == Path(RESULTS) else f" --store {shlex.quote(str(root))}"


def suite_argument(suite_path: str) -> str:
    """The suite of a run, as its header has it, as an argument of a command: the home folder is left to the shell.

    ``SUITE`` for one that lies in no folder of the user's. None begins with a dash, as options do.
    """
    if not suite_path or suite_path.startswith("$"):  # of benchmark(), in a cache that may be anywhere
        return "SUITE"
    if suite_path.startswith("-"):
        suite_path = f"./{suite_path}"
    home = "~/" if suite_path.startswith("~/") else ""
    return home + shlex.quote(suite_path.removeprefix(home))


def suite_here(suite_path: str) -> str:
    """As suite_argument() for a command that needs the file as it is: ``SUITE`` too if it is not there from here."""
    return suite_argument(suite_path if os.path.isfile(os.path.expanduser(suite_path)) else "")


def check_writable(root: Path, then: str = "choose another folder: --store DIR") -> None:
    """StoreError if files cannot be written under ``root`` (created when needed); leaves nothing behind.

    ``then`` says how another place is named.
    """
    folder = next(path for path in (root, *root.absolute().parents) if os.path.lexists(path))
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(1 << 16))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise store_error(error, root, then) from error


def is_full(error: BaseException) -> bool:
    """Whether an OSError, or the StoreError that was made of one, says that a disk or a quota has no room."""
    cause = error if isinstance(error, OSError) else error.__cause__
    return isinstance(cause, OSError) and cause.errno in _NO_SPACE


def store_error(error: OSError, path: Path, then: str) -> StoreError:
    """What the system said about ``path``, with the step that helps first and ``then`` the next."""
    reason = error.strerror or str(error)
    if error.errno in _NO_SPACE:
        first = "free some disk space (or raise the quota); "
    elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        first = "make it writable; "
    else:
        first = ""
    return StoreError(f"cannot be written: {reason}", where=str(path), fix=first + then)
