"""Modules are found, and told apart by version or content, without importing them or a parent."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.system import modules


def package(folder: Path, name: str) -> Path:
    """A package whose import fails, with a module below it."""
    path = folder / name
    path.mkdir(parents=True)
    (path / "__init__.py").write_text("raise RuntimeError('imported')")
    (path / "models.py").write_text("def build(): ...")
    return path


def distribution(folder: Path, name: str, version: str, top: str, editable: bool = False) -> Path:
    """The metadata that an installer leaves for a distribution with the package ``top``."""
    path = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    path.mkdir(parents=True)
    (path / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (path / "top_level.txt").write_text(top)
    if editable:
        (path / "direct_url.json").write_text('{"url": "file:///src", "dir_info": {"editable": true}}')
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the search path of its own."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_a_module_below_a_package_is_found_and_nothing_is_imported(folder: Path) -> None:
    package(folder, "mods_a")
    spec = modules.find("mods_a.models")
    assert spec is not None
    assert spec.origin == str(folder / "mods_a" / "models.py")
    assert modules.find("mods_a.other") is None
    assert modules.find("mods_a.models.deeper") is None
    assert modules.find("mods_nowhere.models") is None
    assert "mods_a" not in sys.modules


def test_a_local_package_is_told_by_the_content_of_all_its_files(folder: Path) -> None:
    path = package(folder, "mods_b")
    first = modules.identity("mods_b.models")
    assert first.startswith("sha256 ")
    (path / "layers.py").write_text("width = 1")
    second = modules.identity("mods_b.models")
    (path / "layers.py").write_text("width = 2")
    assert len({first, second, modules.identity("mods_b.models")}) == 3
    (path / "layers.py").unlink()
    (path / "__pycache__").mkdir()
    (path / "__pycache__" / "models.py").write_text("")
    assert modules.identity("mods_b.models") == first


def test_a_module_that_is_one_file_is_told_by_it_alone(folder: Path) -> None:
    (folder / "mods_c.py").write_text("a = 1")
    (folder / "beside.py").write_text("b = 1")
    first = modules.identity("mods_c")
    (folder / "beside.py").write_text("b = 2")
    assert modules.identity("mods_c") == first
    (folder / "mods_c.py").write_text("a = 2")
    assert modules.identity("mods_c") != first


@pytest.mark.parametrize("editable", [False, True])
def test_an_installed_package_is_told_by_its_version_and_an_editable_one_by_content(
    folder: Path, editable: bool
) -> None:
    name = f"mods_d{int(editable)}"
    package(folder, name)
    distribution(folder, f"mods-dist-{int(editable)}", "1.2", name, editable)
    modules._distributions.cache_clear()  # as in a new process
    identity = modules.identity(f"{name}.models")
    assert identity.startswith("sha256 ") if editable else identity == "mods-dist-0 1.2"


def test_folders_of_modules_are_none_that_hold_programs_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """``/usr`` in PYTHONPATH, or the home folder: commands to paste would lose the beginning of their programs."""
    monkeypatch.setattr(sys, "base_prefix", "/usr/local")
    monkeypatch.setattr(sys, "prefix", "/srv/project/venv")
    monkeypatch.setenv("HOME", "/home/ann")
    packages = ["/srv/project", "/srv/site/", "/home/ann/packages", "/usr/local/lib/python3.12"]
    wide = ["/", "/usr", "/usr/local/", "/srv/project/venv", "/home", "/home/ann", "/srv/venv/bin", "", "."]
    monkeypatch.setattr(sys, "path", [*wide, *packages])
    assert modules.folders() == tuple(packages)


def test_there_is_no_identity_of_what_is_not_there() -> None:
    assert modules.identity("mods_nowhere.models") == ""
