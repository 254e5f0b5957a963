"""The user's files that decide what a case computes: their digests are part of every key and of a run's header."""

from __future__ import annotations

import ast
import functools
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from bench.backends import base
from bench.model.factory import file_of, module_of, program_of
from bench.model.suite import Case
from bench.runtimes import onnx_file
from bench.system import modules

# Before the name of a module that can be imported, in place of a file beside the suite.
_MODULE = "import "

_MOST_IMPORTS = 500  # files that one file imports, directly or not; a loop over a whole tree ends here


def of_model(case: Case, suite_dir: Path, elsewhere: Mapping[str, str] | None = None) -> dict[str, str]:
    """SHA-256 by name of each file that the model of ``case`` names: of a ``zoo.py:name`` factory with the files beside
    it that it imports, directly or through each other, of a program, of files of inputs, and of each text in ``args``
    and ``config`` that is the path of a file there, e.g. of a checkpoint. What these files read in turn, and installed
    packages, are not included; but of an import path the identity of its package, by ``import NAME``; ``elsewhere`` has
    those of another interpreter.
    """
    names = [*_files(case, suite_dir), *_texts(case.args), *_texts(case.config)]
    digests = {name: _digest_or_reason(suite_dir / name) for name in dict.fromkeys(names) if _is_file(suite_dir / name)}
    module = module_of(case.factory)
    identity = modules.identity if elsewhere is None else lambda name: elsewhere.get(name, "")
    return digests | ({f"{_MODULE}{module}": identity(module)} if module else {})


def place(name: str, suite_dir: Path) -> str:
    """What messages call the source ``name``: its path, or the package that is imported."""
    return f"the package of `{name}`" if name.startswith(_MODULE) else str(suite_dir / name)


def of_case(case: Case, suite_dir: Path) -> dict[str, str]:
    """As ``of_model``, with the files of the metric and of what the backend builds; empty for one that is not there."""
    stages = base.load(case.backend).stages(case)
    names = [*_files(case, suite_dir), *_code(case.metric, suite_dir)]
    for name in (name for stage in stages for name in stage.files):
        names += [name, *(_imported(suite_dir / name, suite_dir) if name.endswith(".py") else ())]
    return {name: digest_of(name, suite_dir) for name in names} | of_model(case, suite_dir)


def names_files(case: Case, suite_dir: Path) -> bool:
    """Whether a text in ``args`` or ``config`` is the path of a file, e.g. of a checkpoint."""
    return any(_is_file(suite_dir / name) for name in (*_texts(case.args), *_texts(case.config)))


def missing(case: Case, suite_dir: Path) -> dict[str, str]:
    """The files that ``case`` names and that are not there, each with the key of the model that names it, ``factory``
    or ``metric``, or nothing for an option of the backend; the content of checkpoints is not read.
    """
    stages = base.load(case.backend).stages(case)
    names = dict.fromkeys((name for stage in stages for name in stage.files), "")
    names |= dict.fromkeys(_code(case.metric, suite_dir), "metric") | dict.fromkeys(_files(case, suite_dir), "factory")
    return {name: key for name, key in names.items() if not _is_file(suite_dir / name)}


def of_all(cases: Iterable[Case], suite_dir: Path) -> dict[str, str]:
    """As ``of_case``, of all the cases; files that several of them name alike are looked for once."""
    digests: dict[str, str] = {}
    seen: set[bytes] = set()
    for case in cases:
        files = [name for stage in base.load(case.backend).stages(case) for name in stage.files]
        inputs = [spec.file for spec in case.inputs.values()]
        key = msgspec.json.encode([case.factory, case.args, case.config, inputs, case.metric, files])
        if key not in seen:
            seen.add(key)
            digests |= of_case(case, suite_dir)
    return digests


def digest_of(name: str, suite_dir: Path) -> str:
    """The SHA-256 of one file, or why it cannot be read; of an import path what it is now; empty if it is not there."""
    if name.startswith(_MODULE):
        return modules.identity(name.removeprefix(_MODULE))
    return _digest_or_reason(suite_dir / name) if _is_file(suite_dir / name) else ""


def changed(sources: Mapping[str, str], suite_dir: Path) -> str:
    """The first of ``sources``, digests by name, whose file has another digest by now; empty if there is none."""
    return next((name for name, before in sources.items() if digest_of(name, suite_dir) != before), "")


def _code(reference: str, suite_dir: Path) -> list[str]:
    """The file of ``FILE.py:function`` and what it imports of the suite's folder, or that of a program; none of a
    library's or an import path's.
    """
    file = file_of(reference)
    if not file:
        return []
    return [file, *(_imported(suite_dir / file, suite_dir) if file.endswith(".py") else ())]


def _files(case: Case, suite_dir: Path) -> list[str]:
    """The files of the model and of its inputs; of an ONNX file also those that have its weights."""
    files = [*_code(case.factory, suite_dir), *(spec.file for spec in case.inputs.values() if spec.file)]
    if program_of(case.factory) == "onnx" and _is_file(suite_dir / case.factory):
        folder = Path(case.factory).parent
        files += [str(folder / name) for name in onnx_file.external_files(suite_dir / case.factory)]
    return files


def _imported(path: Path, suite_dir: Path) -> list[str]:
    """The files that ``path`` imports from its folder or the suite's, directly or through each other, by name."""
    files: dict[Path, None] = {path: None}
    waiting = [path]
    while waiting and len(files) < _MOST_IMPORTS:
        file = waiting.pop()
        for level, names in _imports_of(file):
            roots = [file.parents[level - 1]] if 0 < level <= len(file.parents) else [file.parent, suite_dir]
            for module in _modules(roots, names):
                if module not in files and _is_file(module):
                    files[module] = None
                    waiting.append(module)
    return [_relative(file, suite_dir) for file in files if file != path]


def _modules(roots: Iterable[Path], names: Iterable[str]) -> Iterator[Path]:
    """Where the module of dotted ``names``, and the packages above it, may lie."""
    for root in dict.fromkeys(roots):
        folder = root
        for name in names:
            yield folder / f"{name}.py"
            folder = folder / name
            yield folder / "__init__.py"


def _relative(path: Path, suite_dir: Path) -> str:
    return Path(os.path.relpath(path, suite_dir)).as_posix()


def _imports_of(path: Path) -> tuple[tuple[int, tuple[str, ...]], ...]:
    """The level and the dotted name of each module that a file imports anywhere in it; none if it cannot be parsed."""
    try:
        return _parsed_imports(path, _state(path))
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):  # whoever runs the file reports that
        return ()


@functools.lru_cache(maxsize=4096)
def _parsed_imports(path: Path, _state: tuple[int, ...]) -> tuple[tuple[int, tuple[str, ...]], ...]:
    imports: dict[tuple[int, tuple[str, ...]], None] = {}
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            imports |= dict.fromkeys((0, tuple(alias.name.split("."))) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = tuple(node.module.split(".")) if node.module else ()
            imports |= dict.fromkeys((node.level, (*module, alias.name)) for alias in node.names)
    return tuple(imports)


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
    return _digest(path, _state(path))


def sha256_of(text: str) -> str:
    """SHA-256 of a text in UTF-8, in hex."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def _state(path: Path) -> tuple[int, ...]:
    """What changes when a file does: also its inode and the time of its last change, which no program can set."""
    about = path.stat()
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns


def _digest_or_reason(path: Path) -> str:
    """The digest, or why there is none: whatever needs the content reports that."""
    try:
        return sha256(path)
    except OSError as error:
        return f"unreadable: {error.strerror}"


@functools.lru_cache(maxsize=4096)
def _digest(path: Path, _state: tuple[int, ...]) -> str:
    """Digest of the content; read once while the file stays as it is, as a checkpoint can be large."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
