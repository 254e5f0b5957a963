"""Backends of other distributions, as an installer leaves them, for this process and the workers that it starts."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.backends import base


def distribution(folder: Path, name: str, version: str, points: str) -> None:
    """What an installer leaves of a distribution with these entry points."""
    path = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    path.mkdir()
    (path / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (path / "entry_points.txt").write_text(f"[{base.GROUP}]\n{points}\n")


@contextmanager
def on_search_path(folder: Path, modules: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Write the ``modules``, by name, into ``folder`` and put it on the search path for the block, in which backends
    are looked up as in a new process.
    """
    folder.mkdir(exist_ok=True)
    for name, source in modules.items():
        (folder / f"{name}.py").write_text(source)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    importlib.invalidate_caches()
    _forget()
    yield
    _forget()


@contextmanager
def installed(folder: Path, name: str, source: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The distribution ``name`` in ``folder`` for the block, with ``BACKEND`` of ``source`` as the backend ``name``."""
    folder.mkdir(exist_ok=True)
    distribution(folder, name, "1.0", f"{name} = trtbench_{name}:BACKEND")
    with on_search_path(folder, {f"trtbench_{name}": source}, monkeypatch):
        yield


def _forget() -> None:
    base._entry_points_on.cache_clear()
    base._loaded.cache_clear()
