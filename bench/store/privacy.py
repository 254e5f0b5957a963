"""Removes paths that name this machine or its user from records before they are stored."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from bench.model.run import Record

# What precedes a package's own path: the environment it is installed in, or the link that a worker imports bench by.
_MACHINE = (re.compile(r"/[^\s\"':]*?/(?=lib/python3\.\d+/)"), re.compile(r"/[^\s\"':]*/trtbench-\w+/(package/)?"))


def without_paths(record: Record, suite_dir: Path) -> Record:
    """``record`` without paths of this machine, as results are shared: in failures, warnings, fairness.

    Paths of the suite and of installed packages become relative, the home folder ``~``.
    """
    folders = ((str(suite_dir), "."), (str(Path.home()), "~"))

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [plain(each) for each in value]
        if not isinstance(value, str):
            return value
        for pattern in _MACHINE:
            value = pattern.sub("", value)
        for folder, short in folders:
            value = value.replace(folder, short) if len(folder) > 1 else value
        return value

    failure = record.failure
    if failure is not None:
        failure = msgspec.structs.replace(
            failure, **{name: plain(getattr(failure, name)) for name in ("message", "hint", "log", "where")}
        )
    warnings = tuple(msgspec.structs.replace(warning, figures=plain(warning.figures)) for warning in record.warnings)
    return msgspec.structs.replace(record, failure=failure, warnings=warnings, fairness=plain(record.fairness))
