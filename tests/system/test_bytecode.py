"""Bytecode is kept in a folder of ours where Python keeps none itself."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from bench.system import bytecode

FOLDER = Path("/cache/bytecode")


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A library that can be imported, without bytecode."""
    source = tmp_path / "heavy" / "__init__.py"
    source.parent.mkdir()
    source.write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(bytecode, "_LIBRARIES", ("no_such_library", "heavy"))
    monkeypatch.setattr(sys, "pycache_prefix", None)
    return source


@pytest.mark.usefixtures("library")
def test_where_python_may_write_none_it_is_kept_beside_the_artifacts() -> None:
    assert bytecode.variables({"PYTHONDONTWRITEBYTECODE": "1"}, FOLDER) == {
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(FOLDER),
    }


@pytest.mark.usefixtures("library")
def test_where_python_will_write_it_nothing_changes() -> None:
    assert bytecode.variables({}, FOLDER) == {}


@pytest.mark.usefixtures("library")
def test_a_folder_that_the_user_chose_stays() -> None:
    assert bytecode.variables({"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": "/own"}, FOLDER) == {}


def test_bytecode_that_is_there_is_used(library: Path) -> None:
    file = Path(importlib.util.cache_from_source(str(library)))
    file.parent.mkdir()
    file.write_bytes(b"")
    assert bytecode.variables({"PYTHONDONTWRITEBYTECODE": "1"}, FOLDER) == {}


def test_a_library_in_a_folder_that_cannot_be_written(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # what root, who runs tests too, may always
    assert bytecode.variables({}, FOLDER)["PYTHONPYCACHEPREFIX"] == str(FOLDER)


def test_without_a_library_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bytecode, "_LIBRARIES", ("no_such_library",))
    assert bytecode.variables({"PYTHONDONTWRITEBYTECODE": "1"}, FOLDER) == {}
