"""JSON documents beside the runs of their device, as calibrations and profiles: written whole, found by name, read.

The schema version is written into each; one of an older schema would be migrated by its kind, a newer one is refused.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from bench.errors import UPGRADE, StoreError, did_you_mean
from bench.store.files import is_part, store_error, store_option

T = TypeVar("T")


class Kind(NamedTuple):
    """A kind of document: the ``prefix`` of its files, the pattern of their names without ``.json``, the newest
    ``schema``, the ``fields`` that each has, the size in bytes that none exceeds; and words for messages: ``one`` and
    ``several`` of them, the word after ``no``, and the command that makes one.
    """

    prefix: str
    names: re.Pattern[str]
    schema: int
    fields: tuple[str, ...]
    largest: int
    one: str
    several: str
    no: str
    command: str


def write(path: Path, content: bytes) -> None:
    """Write a document whole, in the place of an earlier one, or leave that as it is. StoreError if that fails."""
    part = path.with_name(f".{path.name}.part")
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
        raise store_error(error, path, "choose another folder: --store DIR") from error


def read(path: Path, kind: Kind, as_type: type[T]) -> T:
    """A document. StoreError if the file cannot be read or is of another kind or a newer schema."""
    another = f"name another, or make one: {kind.command}"
    try:
        with path.open("rb") as file:
            content = file.read(kind.largest)
    except OSError as error:
        raise StoreError(f"cannot be read: {error.strerror}", where=str(path), fix=another) from error
    try:
        content_of = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
        missing = next((field for field in ("schema", *kind.fields) if field not in content_of), "")
        if not missing and msgspec.json.decode(content_of["schema"], type=int) > kind.schema:
            schema = bytes(content_of["schema"]).decode()
            what = f"it has schema {schema}; this trtbench reads {kind.several} up to {kind.schema}"
            raise StoreError(what, where=str(path), fix=UPGRADE)
        document: Any = None if missing else msgspec.json.decode(content, type=as_type)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"not {kind.one}: {error}", where=str(path), fix=another) from error
    if missing:
        raise StoreError(f"not {kind.one}: it has no {missing}", where=str(path), fix=another)
    return document  # type: ignore[no-any-return]


def beside(folder: Path, kind: Kind) -> list[Path]:
    """The files of a kind in a folder of runs, newest first."""
    return _newest_first(folder.glob(f"{kind.prefix}*.json"), kind)


def files(root: Path, kind: Kind) -> list[Path]:
    """The files of a kind under ``root``, newest first."""
    return _newest_first(root.glob(f"*/*/{kind.prefix}*.json"), kind)


def _newest_first(paths: Iterable[Path], kind: Kind) -> list[Path]:
    return sorted((path for path in paths if kind.names.fullmatch(path.stem)), key=lambda path: path.name, reverse=True)


def fits(name: str, stem: str, kind: Kind) -> bool:
    """Whether ``name`` is a part that a document may be named by, with or without the prefix of its kind."""
    return is_part(name, stem) or is_part(name, stem.removeprefix(kind.prefix))


def resolve(root: Path, kind: Kind, name: str | None = None) -> Path:
    """The file of a document by its path, its name, or the beginning or last part of that; the newest for None.

    StoreError if none or several fit.
    """
    if name and os.path.isfile(name):
        return Path(name)
    names = {path.stem: path for path in files(root, kind)}
    make = f"make one: {kind.command}{store_option(root)}"
    if name is None:
        if not names:
            raise StoreError(f"there are no {kind.no} in {root}", fix=make)
        return next(iter(names.values()))
    fitting = [names[name]] if name in names else [path for stem, path in names.items() if fits(name, stem, kind)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        some = ", ".join(path.stem for path in fitting[:5])
        raise StoreError(f"{name!r} fits {len(fitting)} {kind.several}: {some}", fix="give more of the name")
    fix = f"the latest is {next(iter(names))}" if names else make
    raise StoreError(f"no {kind.no} {name!r} in {root}.{did_you_mean(name, names)}", fix=fix)
