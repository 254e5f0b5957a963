"""Imports a user's Python file, beside a suite, as a module that can import those beside it."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from bench.errors import class_and_text

# What may lie within the folder of a suite and is no file of the user's: installed packages, and this one.
_INSTALLED = {"site-packages", "dist-packages"}
_OWN = Path(__file__).parents[1]


class SourceLoader(SourceFileLoader):
    """Compiles the file each time: bytecode is told from its source by the second of its last change and its length,
    and a model may be edited within a second.
    """

    def get_code(self, fullname: str) -> CodeType:
        """The code of the file as it is now."""
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


class SiblingFinder:
    """Finds modules in the folder of a user's file, last of all: a name that is installed means what is installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """The spec of a top-level module that is a file or a package of the folder, or None."""
        spec = PathFinder.find_spec(name, [str(self.folder)]) if path is None else None
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = SourceLoader(spec.loader.name, spec.loader.path)
        return spec


def execute(path: Path, name: str) -> ModuleType:
    """The module of ``path``, registered in ``sys.modules`` as ``name``, where dataclasses and inspect look it up.

    It can import the modules beside it, also later when it is called. ``sys.argv`` is the file alone meanwhile, as
    ``python FILE`` has it. An exception of the file, SystemExit too, is passed on, and the module is not registered.
    FileNotFoundError without a file.
    """
    spec = importlib.util.spec_from_file_location(name, path, loader=SourceLoader(name, str(path)))
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


def innermost_line(error: BaseException, folder: Path) -> str:
    """``zoo.py:14``: the line of a file in ``folder`` that an exception comes from, the innermost call of its traceback
    there, or what is no Python; empty if none.
    """
    for path, line in places(error):
        if path.is_relative_to(folder) and not path.is_relative_to(_OWN) and not _INSTALLED & set(path.parts):
            return f"{path.relative_to(folder)}:{line}"
    return ""


def account(error: BaseException, name: str, folder: Path) -> str:
    """``zoo.py:images raised ValueError: no images (zoo.py:14)``, or ``... ended Python (exit code 3)``: how the user's
    code ``name`` of a file in ``folder`` ended with ``error``.
    """
    code = (error.code or 0) if isinstance(error, SystemExit) else None
    end = f"raised {class_and_text(error)}" if code is None else f"ended Python (exit code {code})"
    line = innermost_line(error, folder)
    return f"{name} {end}" + (f" ({line})" if line else "")


def places(error: BaseException) -> Iterator[tuple[Path, int | None]]:
    """The files and lines that an exception went through, the innermost first: of a SyntaxError, what is no Python."""
    if isinstance(error, SyntaxError) and error.filename:
        yield Path(error.filename), error.lineno
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        yield Path(frame.filename), frame.lineno


def _is_sibling_module(top: str, folder: Path) -> bool:
    module = sys.modules.get(top)
    place = getattr(module, "__file__", None)
    return place is not None and Path(place).parent in (folder, folder / top)
