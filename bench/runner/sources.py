"""The user's files that decide what a case computes: their digests are part of every key and of a run's header."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bench.backends import base
from bench.model.suite import Case
from bench.system import userfile


def of_model(case: Case, suite_dir: Path) -> dict[str, str]:
    """SHA-256 by name of each file that the model of ``case`` names: of a ``zoo.py:name`` factory, and each text in
    ``args`` and ``config`` that is the path of a file there, e.g. of a checkpoint; and of the modules beside the suite
    that the factory's file imports. What these files read is not included.
    """
    names = [*_code(case.factory), *_texts(case.args), *_texts(case.config)]
    names += _imports(case.factory, suite_dir)
    return {name: _digest_or_reason(suite_dir / name) for name in dict.fromkeys(names) if _is_file(suite_dir / name)}


def of_case(case: Case, suite_dir: Path) -> dict[str, str]:
    """As ``of_model``, with the files of the metric and of what the backend builds; empty for one that is not there."""
    stages = base.load(case.backend).stages(case)
    names = [*_code(case.factory), *_code(case.metric), *(name for stage in stages for name in stage.files)]
    digests = {name: _digest_or_reason(suite_dir / name) if _is_file(suite_dir / name) else "" for name in names}
    return digests | of_model(case, suite_dir)


def missing(case: Case, suite_dir: Path) -> list[str]:
    """The files that ``case`` names and that are not there, without reading those that are."""
    stages = base.load(case.backend).stages(case)
    names = [*_code(case.factory), *_code(case.metric), *(name for stage in stages for name in stage.files)]
    return [name for name in dict.fromkeys(names) if not _is_file(suite_dir / name)]


def of_all(cases: Iterable[Case], suite_dir: Path) -> dict[str, str]:
    """As ``of_case``, of all the cases."""
    return {name: digests for case in cases for name, digests in of_case(case, suite_dir).items()}


def _code(reference: str) -> list[str]:
    """The file of ``FILE.py:function``; none of a library's."""
    file = reference.partition(":")[0]
    return [file] if file.endswith(".py") else []


def _imports(reference: str, suite_dir: Path) -> list[str]:
    """The files beside the suite that the file of ``FILE.py:function`` imports, and those that they import."""
    return [
        os.path.relpath(file, suite_dir)
        for name in _code(reference)
        for file in userfile.local_imports(suite_dir / name)
    ]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for member in value.values():
            yield from _texts(member)
    elif isinstance(value, list | tuple):
        for member in value:
            yield from _texts(member)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a text that cannot be a path: too long, or with a zero byte
        return False


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hex. OSError if it cannot be read."""
    about = path.stat()
    return _digest(path, about.st_mtime_ns, about.st_size)


def _digest_or_reason(path: Path) -> str:
    """The digest, or why there is none: whatever needs the content reports that."""
    try:
        return sha256(path)
    except OSError as error:
        return f"unreadable: {error.strerror}"


@functools.lru_cache
def _digest(path: Path, _mtime_ns: int, _size: int) -> str:
    """Digest of the content; read once while the file stays as it is, as a checkpoint can be large."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
