"""Finds and loads backends by the names of their files."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from pathlib import Path
from typing import cast

import msgspec

from bench.errors import UsageError, did_you_mean
from bench.model.seam import Backend, Options
from bench.model.suite import Case


def names() -> list[str]:
    """The names of all backends: the module names of this package, less ``base`` and those that start with ``_``."""
    modules = (module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return sorted(name for name in modules if name != "base" and not name.startswith("_"))


def load(name: str) -> Backend:
    """The backend called ``name``; UsageError with a suggestion if there is none."""
    if name not in names():
        raise UsageError(f"unknown backend {name!r}.{did_you_mean(name, names())}", fix="trtbench doctor")
    return cast(Backend, importlib.import_module(f"bench.backends.{name}").BACKEND)


def registry() -> dict[str, Backend]:
    """All backends by name."""
    return {name: load(name) for name in names()}


def options_of(backend: Backend, case: Case) -> Options:
    """The case's options as the backend's own struct. UsageError if they do not fit (a suite is checked earlier)."""
    try:
        return msgspec.convert(case.options, backend.options)
    except msgspec.ValidationError as error:
        raise UsageError(f"options of {case.backend}: {error}", where=case.source) from error
