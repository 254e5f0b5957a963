"""Profiles as they are stored: one JSON file of a suite's cases, ``profile-TIME-SUITE-HASH``, beside the device's runs.

The schema version is written into the file; a file of an older schema would be migrated here, a newer one is refused.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from bench.errors import StoreError
from bench.model.profile import ProfileRun
from bench.model.run import Environment
from bench.store import documents
from bench.store.files import run_id

HISTORY: dict[int, str] = {1: "2026-11-28: the first version."}
SCHEMA = max(HISTORY)
PREFIX = "profile-"
KIND = documents.Kind(
    prefix=PREFIX,
    names=re.compile(r"profile-\d{8}T\d{6}Z-.+"),
    schema=SCHEMA,
    fields=("tool",),
    largest=1 << 28,
    one="a file of profiles",
    several="files of profiles",
    no="profiles",
    command="trtbench profile SUITE",
)


def path_of(root: Path, environment: Environment, suite: str, created: datetime.datetime, digest: str) -> Path:
    """Where profiles that were begun at ``created`` lie: ``ROOT/ARCH/DEVICE/profile-TIME-SUITE-HASH.json``."""
    return root / environment.arch / environment.slug / f"{PREFIX}{run_id(created, suite, digest)}.json"


def write(path: Path, profiles: ProfileRun) -> None:
    """Write the file whole, in the place of an earlier one, or leave that as it is. StoreError if that fails."""
    # A field that equals its default is not written, and this one has to be.
    content = b'{"schema":%d,' % SCHEMA + msgspec.json.encode(msgspec.structs.replace(profiles, schema=1))[1:] + b"\n"
    documents.write(path, content)


def read(path: Path) -> ProfileRun:
    """Stored profiles. StoreError if the file cannot be read or holds none."""
    return documents.read(path, KIND, ProfileRun)


def files(root: Path) -> list[Path]:
    """The files of all profiles under ``root``, newest first."""
    return documents.files(root, KIND)


def newest(folders: Iterable[Path], problems: list[str]) -> Iterator[ProfileRun]:
    """The profiles in ``folders``, newest first, each read when its turn comes; ``problems`` gets what cannot be."""
    paths = {path for folder in folders for path in documents.beside(folder, KIND)}
    for path in sorted(paths, key=lambda path: path.name, reverse=True):
        try:
            yield read(path)
        except StoreError as error:
            problems.append(str(error))


def resolve(root: Path, name: str | None = None) -> Path:
    """The file of profiles by its path, its name, or the beginning or last part of that; the newest for None.

    StoreError if none or several fit.
    """
    return documents.resolve(root, KIND, name)
