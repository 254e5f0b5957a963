"""Removes paths that name this machine or its user from records and headers before they are stored."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import msgspec

from bench.model.run import Header, Record
from bench.model.suite import Toolchain
from bench.store import artifacts
from bench.system import home

# What precedes a package's own path: the environment that it is in, or the link that a worker imports bench by. And
# what precedes a file of Inductor's cache: its name is a hash, that of its folder the beginning of it.
_MACHINE = (
    re.compile(r"/[^\s\"':]*?/(?=lib/python3\.\d+/)"),
    re.compile(r"/[^\s\"':]*/trtbench-\w+/(package/)?"),
    re.compile(r"/[^\s\"':]*/(?=\w\w/c[a-z2-7]{51}\.)"),
)
# Stands for the folder of the artifact cache at the beginning of a suite's path.
_CACHE = "$TRTBENCH_CACHE/"


def without_home(header: Header, cache: Path) -> Header:
    """``header`` without the user's home folder, which becomes ``~``, and without the place of the ``cache``.

    What identifies a case stays: its arguments are stored as the suite has them.
    """
    root = f"{cache}/"

    def plain(text: str) -> str:
        return home.abbreviate(text.replace(root, _CACHE) if len(cache.parts) > 1 else text)

    return msgspec.structs.replace(
        header,
        suite=abbreviate(header.suite),
        suite_path=plain(header.suite_path),
        cases=tuple(msgspec.structs.replace(case, source=plain(case.source)) for case in header.cases),
        left_out=tuple(msgspec.structs.replace(entry, reason=plain(entry.reason)) for entry in header.left_out),
        toolchains={name: toolchain(definition) for name, definition in header.toolchains.items()},
    )


def abbreviate(text: str) -> str:
    """A suite's text as it is stored: with ``~`` for the home folder."""
    return home.abbreviate(text)


def toolchain(definition: Toolchain) -> Toolchain:
    """A toolchain as it is stored: with ``~`` for the home folder."""
    variables = {name: home.abbreviate(value) for name, value in definition.env.items()}
    return Toolchain(python=home.abbreviate(definition.python), env=variables)


def restore(path: str, cache: Path | None) -> str:
    """The path of a suite as a header has it, on this machine. ValueError if it is none.

    ``cache`` is the folder of artifacts, by default ``artifacts.default_root()``.
    """
    if not path or "\0" in path:
        raise ValueError(path)
    if path.startswith(_CACHE):
        return str((cache or artifacts.default_root()) / path.removeprefix(_CACHE))
    own = home.folder()
    return str(own / path[2:]) if path.startswith("~/") and own else path


def plain_text(text: str, suite_dir: Path, folders: tuple[str, ...] = ()) -> str:
    """A text without paths of this machine. ``folders`` are those that modules are imported from."""
    for pattern in _MACHINE:
        text = pattern.sub("", text)
    if len(suite_dir.parts) > 1:
        text = text.replace(str(suite_dir), ".")
    if below := _below(folders):
        text = below.sub("", text)
    return home.abbreviate(text)


@functools.lru_cache(maxsize=8)
def _below(folders: tuple[str, ...]) -> re.Pattern[str] | None:
    """What precedes the names of files in ``folders``; of folders within each other the inner one."""
    paths = sorted(filter(None, (folder.rstrip("/") for folder in folders)), key=len, reverse=True)
    return re.compile(rf"(?<![\w./~-])(?:{'|'.join(map(re.escape, paths))})/+") if paths else None


def without_paths(record: Record, suite_dir: Path, folders: tuple[str, ...] = ()) -> Record:
    """``record`` without paths of this machine, as results are shared: in failures, warnings, fairness.

    Paths of the suite, of installed packages and in ``folders``, which modules are imported from, become relative, the
    home folder ``~``.
    """

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [plain(each) for each in value]
        return plain_text(value, suite_dir, folders) if isinstance(value, str) else value

    failure = record.failure
    if failure is not None:
        failure = msgspec.structs.replace(
            failure, **{name: plain(getattr(failure, name)) for name in ("message", "hint", "log", "where")}
        )
    warnings = tuple(msgspec.structs.replace(warning, figures=plain(warning.figures)) for warning in record.warnings)
    return msgspec.structs.replace(record, failure=failure, warnings=warnings, fairness=plain(record.fairness))
