"""Whether the files and functions that models name are there, as far as it is known without running them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from bench.backends import base
from bench.errors import SuiteError, did_you_mean
from bench.model.factory import file_of
from bench.model.suite import Case, Suite
from bench.suite.reader import locate

# By these a file can get names that no statement of it binds.
_DYNAMIC = frozenset({"globals", "locals", "vars", "exec", "eval", "setattr"})
_METRIC = "metric: zoo.py:function"


def check(suite: Suite, cases: Iterable[Case]) -> None:
    """SuiteError at the line of the suite for the first file that is not there, or has no such function. Of a rehearsal
    metrics alone are looked at: nothing calls its factories.
    """
    folder = Path(suite.path).parent
    checked: set[tuple[str, str]] = set()
    for case in cases:
        simulated = base.load(case.backend).simulated
        for key, name in {"metric": case.metric, "factory": "" if simulated else case.factory}.items():
            if file_of(name).endswith(".py") and (key, name) not in checked:
                checked.add((key, name))
                _check(folder, name, key, locate(suite, f"models.{case.model}.{key}"), case.model)


def _check(folder: Path, name: str, key: str, where: str, model: str) -> None:
    file, _, function = name.partition(":")
    path = folder / file
    if not path.is_file():
        what = f"the {key}'s file {file!r} is not {'beside the suite' if key == 'factory' else 'there'}"
        raise SuiteError(what, where=where, fix=f"create {path}" if key == "factory" else _METRIC)
    try:
        names = names_in(path)
    except SyntaxError as error:
        place = f"{file}:{error.lineno}" if error.lineno else file
        what = f"{file} cannot be imported: SyntaxError: {error.msg} ({place})"
        raise SuiteError(what, where=where, fix=f"correct {place}") from error
    if names is not None and function not in names:
        what = f"{file} has no function {function!r}.{did_you_mean(function, sorted(names))}".removesuffix(".")
        raise SuiteError(what, where=where, fix=f"correct the model {model!r}" if key == "factory" else _METRIC)


def names_in(path: Path) -> set[str] | None:
    """The names that a Python file binds at its top level; None where only running it tells: it cannot be read, imports
    ``*``, or makes names by other means. SyntaxError if it is no Python.
    """
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, ValueError, RecursionError, MemoryError):  # whoever runs the file reports that
        return None
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            return None
        if isinstance(node, ast.Name) and node.id in _DYNAMIC:
            return None
        if isinstance(node, ast.Attribute) and (node.attr == "__dict__" or ast.unparse(node) == "sys.modules"):
            return None
        if isinstance(node, ast.Global):
            names.update(node.names)
    names.update(name for statement in tree.body for name in _bound(statement))
    return None if "__getattr__" in names else names


def _bound(node: ast.AST) -> Iterator[str]:
    """The names that a statement binds where it stands, and not in the functions and classes that it defines."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
        return
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, ast.alias):
        yield node.asname or node.name.partition(".")[0]
    elif isinstance(node, ast.MatchAs | ast.MatchStar) and node.name:
        yield node.name
    elif isinstance(node, ast.MatchMapping) and node.rest:
        yield node.rest
    for child in ast.iter_child_nodes(node):
        yield from _bound(child)
