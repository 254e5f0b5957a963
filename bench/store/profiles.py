"""Profiles as they are stored: one JSON file of a suite's cases, ``profile-TIME-SUITE-HASH``, beside the device's runs.

The schema version is written into the file; a file of an older schema would be migrated here, a newer one is refused.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from bench.errors import UPGRADE, StoreError, did_you_mean
from bench.model.profile import ProfileRun
from bench.model.run import Environment
from bench.store.files import run_id, store_error

SCHEMA = 1
HISTORY: dict[int, str] = {1: "2026-11-28: the first version."}
PREFIX = "profile-"
_NAME = re.compile(r"profile-\d{8}T\d{6}Z-.+")
_LARGEST_FILE = 1 << 28  # bytes
_FIX = "choose another folder: --store DIR"


class _Version(msgspec.Struct):
    """What must be known of a file before the rest of it can be read."""

    schema: int = 0
    tool: str = ""


def path_of(root: Path, environment: Environment, suite: str, created: datetime.datetime, digest: str) -> Path:
    """Where profiles that were begun at ``created`` lie: ``ROOT/ARCH/DEVICE/profile-TIME-SUITE-HASH.json``."""
    return root / environment.arch / environment.slug / f"{PREFIX}{run_id(created, suite, digest)}.json"


def write(path: Path, profiles: ProfileRun) -> None:
    """Write the file whole, in the place of an earlier one, or leave that as it is. StoreError if that fails."""
    part = path.with_name(f".{path.name}.part")
    # A field that equals its default is not written, and this one has to be.
    content = b'{"schema":%d,' % SCHEMA + msgspec.json.encode(msgspec.structs.replace(profiles, schema=1))[1:] + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise store_error(error, path, _FIX) from error


def read(path: Path) -> ProfileRun:
    """Stored profiles. StoreError if the file cannot be read or holds none."""
    another = "name another, or make one: trtbench profile SUITE"
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE)
    except OSError as error:
        raise StoreError(f"cannot be read: {error.strerror}", where=str(path), fix=another) from error
    try:
        version = msgspec.json.decode(content, type=_Version)
        if version.schema > SCHEMA:
            what = f"the profiles have schema {version.schema}; this trtbench reads up to {SCHEMA}"
            raise StoreError(what, where=str(path), fix=UPGRADE)
        profiles = msgspec.json.decode(content, type=ProfileRun) if version.schema and version.tool else None
    except (ValueError, RecursionError) as error:
        raise StoreError(f"not a file of profiles: {error}", where=str(path), fix=another) from error
    if profiles is None:
        raise StoreError("not a file of profiles: it has no schema or no tool", where=str(path), fix=another)
    return profiles


def files(root: Path) -> list[Path]:
    """The files of all profiles under ``root``, newest first."""
    paths = [path for path in root.glob(f"*/*/{PREFIX}*.json") if _NAME.fullmatch(path.stem)]
    return sorted(paths, key=lambda path: path.name, reverse=True)


def newest(folders: Iterable[Path], problems: list[str]) -> Iterator[ProfileRun]:
    """The profiles in ``folders``, newest first, each read when its turn comes; ``problems`` gets what cannot be."""
    paths = {path for folder in folders for path in folder.glob(f"{PREFIX}*.json") if _NAME.fullmatch(path.stem)}
    for path in sorted(paths, key=lambda path: path.name, reverse=True):
        try:
            yield read(path)
        except StoreError as error:
            problems.append(str(error))


def resolve(root: Path, name: str | None = None) -> Path:
    """The file of profiles by its path, its name or the beginning of that; the newest for None.

    StoreError if none or several fit.
    """
    if name and os.path.isfile(name):
        return Path(name)
    names = {path.stem: path for path in files(root)}
    make = "make one: trtbench profile SUITE"
    if not names:
        raise StoreError(f"there are no profiles in {root}", fix=make)
    if name is None:
        return next(iter(names.values()))
    fitting = [path for stem, path in names.items() if stem.startswith((name, f"{PREFIX}{name}"))]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        several = ", ".join(path.stem for path in fitting[:5])
        raise StoreError(f"{name!r} fits {len(fitting)} files of profiles: {several}", fix="give more of the name")
    fix = f"the latest is {next(iter(names))}" if names else make
    raise StoreError(f"no profiles {name!r} in {root}.{did_you_mean(name, names)}", fix=fix)
