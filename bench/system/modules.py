"""Where an importable module lies and which version of it that is, found out without importing it or its parents."""

from __future__ import annotations

import functools
import hashlib
import importlib.machinery
import importlib.util
import json
import os
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from bench.system import home

# Files that decide what a package computes.
_CODE = (".py", ".pyi", ".so", ".json", ".yaml", ".yml", ".toml")
_MOST_FILES = 10_000


def folders() -> tuple[str, ...]:
    """The folders that modules are imported from, less those that hold more than modules: that of a program that was
    started by its path, the home folder, an installation of Python, and what these lie in.
    """
    own = [Path(sys.base_prefix), *filter(None, [home.folder()])]
    wide = {Path(sys.prefix), *own, *(parent for path in own for parent in path.parents)}
    return tuple(
        path for path in sys.path if os.path.isabs(path) and os.path.basename(path) != "bin" and Path(path) not in wide
    )


def find(module: str) -> importlib.machinery.ModuleSpec | None:
    """The spec of a dotted module, None if there is none. No parent is imported, so none that a parent makes up."""
    first, *rest = module.split(".")
    spec = _find_top(first)
    path = first
    for name in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        path = f"{path}.{name}"
        spec = importlib.machinery.PathFinder.find_spec(path, list(spec.submodule_search_locations))
    return spec


def identity(module: str) -> str:
    """What changes when the code behind ``module`` may have: ``mypkg 1.2``, or a digest of its package's files.

    The versions of the distributions that have its top package, if they are installed as copies; for one that is
    editable, or that no distribution has, the SHA-256 of all Python files of the package, and of the file where it is
    no package. Empty if there is no such module.
    """
    top = module.partition(".")[0]
    spec = _find_top(top)
    if spec is None:
        return ""
    names = _distributions(tuple(sys.path)).get(top, ())
    if names and not any(_is_editable(name) for name in names):
        return ", ".join(f"{name} {metadata.version(name)}" for name in sorted(set(names)))
    return f"sha256 {_digest(list(_files(spec)))}"


def _find_top(name: str) -> importlib.machinery.ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):  # a module in sys.modules without a spec, a broken finder
        return None


@functools.lru_cache(maxsize=1)
def _distributions(_search_path: tuple[str, ...]) -> dict[str, Sequence[str]]:
    """The distributions by top package; read once, as that takes all metadata of the interpreter."""
    return dict(metadata.packages_distributions())


def _is_editable(distribution: str) -> bool:
    """Whether the distribution is a link to sources (PEP 610), whose version says nothing of them."""
    text = metadata.distribution(distribution).read_text("direct_url.json")
    try:
        return bool(text and json.loads(text).get("dir_info", {}).get("editable"))
    except (ValueError, AttributeError):
        return False


def _files(spec: importlib.machinery.ModuleSpec) -> Iterator[tuple[str, Path]]:
    """The files of a package by their path in it, or that of a module."""
    folders = spec.submodule_search_locations
    if folders is None:
        if spec.origin and os.path.isfile(spec.origin):
            yield Path(spec.origin).name, Path(spec.origin)
        return
    count = 0
    for folder in sorted(map(str, folders)):
        for parent, names, files in os.walk(folder):
            names[:] = sorted(name for name in names if name != "__pycache__" and not name.startswith("."))
            for name in sorted(files):
                path = Path(parent, name)
                if path.suffix in _CODE and path.is_file():
                    count += 1
                    if count > _MOST_FILES:
                        return
                    yield str(path.relative_to(folder)), path


def _digest(files: Sequence[tuple[str, Path]]) -> str:
    digest = hashlib.sha256()
    for name, path in files:
        try:
            about = path.stat()
            content = _content(path, about.st_mtime_ns, about.st_size)
        except OSError as error:
            content = f"unreadable: {error.strerror}"
        digest.update(f"{name}\0{content}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


@functools.lru_cache(maxsize=_MOST_FILES)
def _content(path: Path, _mtime_ns: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
