"""Imports a user's Python file, beside a suite, as a module; and knows which files of its folder that imports."""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib.util
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType


class SiblingFinder:
    """Finds modules in the folder of a user's file, last of all: a name that is installed means what is installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """The spec of a top-level module that is a file or a package of the folder, or None."""
        return PathFinder.find_spec(name, [str(self.folder)]) if path is None else None


def execute(path: Path, name: str) -> ModuleType:
    """The module of ``path``, registered in ``sys.modules`` as ``name``, where dataclasses and inspect look it up.

    It can import the modules beside it, also later when it is called. ``sys.argv`` is the file alone meanwhile, as
    ``python FILE`` has it. An exception of the file, SystemExit too, is passed on, and the module is not registered.
    FileNotFoundError without a file.
    """
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(path)
    folder = path.resolve().parent
    if not any(isinstance(finder, SiblingFinder) and finder.folder == folder for finder in sys.meta_path):
        sys.meta_path.append(SiblingFinder(folder))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with as_script(path):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextlib.contextmanager
def as_script(path: Path) -> Iterator[None]:
    """``sys.argv`` is ``path`` alone in the block: no argument of a worker is parsed."""
    before, sys.argv = sys.argv, [str(path)]
    try:
        yield
    finally:
        sys.argv = before


def hidden_sibling(module: str, folder: Path) -> Path | None:
    """The file of ``folder`` that an installed module of the same name hides, or None."""
    top = module.partition(".")[0]
    path = folder / f"{top}.py"
    return path if top and path.is_file() and not _is_sibling_module(top, folder) else None


def _is_sibling_module(top: str, folder: Path) -> bool:
    module = sys.modules.get(top)
    place = getattr(module, "__file__", None)
    return place is not None and Path(place).parent in (folder, folder / top)


def local_imports(path: Path) -> list[Path]:
    """The files of the folder of ``path`` that it imports, and those that they import: ``import`` statements anywhere
    in them. What a file imports by a computed name is not among them, nor what cannot be parsed.
    """
    folder = path.parent
    files: dict[Path, None] = {}
    pending = [path]
    while pending:
        for name in _imported_names(pending.pop()):
            for file in _files_of(name, folder):
                if file != path and file not in files:
                    files[file] = None
                    pending.append(file)
    return list(files)


def _imported_names(path: Path) -> tuple[str, ...]:
    try:
        about = path.stat()
        return _parse_imports(path, about.st_mtime_ns, about.st_size)
    except (OSError, SyntaxError, ValueError, RecursionError):  # who imports the file reports it
        return ()


@functools.lru_cache(maxsize=512)
def _parse_imports(path: Path, _mtime_ns: int, _size: int) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= dict.fromkeys(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = _package(path, node.level) if node.level else ""
            base = ".".join(part for part in (package, node.module or "") if part)
            names |= dict.fromkeys([base, *(f"{base}.{alias.name}" for alias in node.names)] if base else [])
    return tuple(names)


def _package(path: Path, level: int) -> str:
    """The package that ``level`` dots mean in a file: up from its folder as far as there is an ``__init__.py``."""
    parts: list[str] = []
    folder = path.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    return ".".join(parts[: len(parts) - level + 1])


def _files_of(name: str, folder: Path) -> Iterator[Path]:
    """The files that importing ``name`` from ``folder`` executes, if it is there and no module of Python's own."""
    parts = name.split(".")
    if parts[0] in sys.stdlib_module_names:
        return
    for end in range(1, len(parts) + 1):
        place = folder.joinpath(*parts[:end])
        for file in (place / "__init__.py", place.with_suffix(".py")):
            if file.is_file():
                yield file
                break
