"""Whether the files and functions that models name are there, as far as it is known without running them."""

from __future__ import annotations

import ast
import functools
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from pathlib import Path

from bench.backends import base
from bench.errors import SuiteError, UsageError, did_you_mean
from bench.model.factory import file_of
from bench.model.suite import Case, Suite
from bench.suite.reader import locate

# By these a file can get names that no statement of it binds: as names, and as attributes of anything. `eval`
# is no such attribute, as most files call that of a model.
_NAMES = frozenset({"globals", "locals", "vars", "exec", "eval", "setattr", "__import__", "currentframe", "_getframe"})
_ATTRIBUTES = frozenset(
    {
        "globals", "__dict__", "f_globals", "currentframe", "_getframe", "import_module", "exec", "setattr",
        "__import__",
    }
)  # fmt: skip
_LOGGERS = frozenset({"getLogger", "get_logger"})  # they keep the name, and look nothing up by it
# A larger file takes seconds to parse, and whoever runs it reports what it lacks.
_MOST_BYTES = 1 << 20
_METRIC = "metric: zoo.py:function"


def check(
    suite: Suite, cases: Iterable[Case], folders: Mapping[str, Path] | None = None, *, metrics: bool = True
) -> None:
    """SuiteError at the line of the suite for the first file that is not there, or has no such function. Of a rehearsal
    ``metrics`` alone are looked at: nothing calls its factories.

    ``folders`` are those of suites by toolchain where that is another one's: UsageError for what the revision there
    does not have.
    """
    checked: set[tuple[Path, str, str, bool]] = set()
    names = functools.cache(names_in)  # a file with the models of a whole suite is parsed once
    for case in cases:
        simulated, here = base.load(case.backend).simulated, case.toolchain == "default"
        of_revision = (folders or {}).get(case.toolchain)
        folder = of_revision or Path(suite.path).parent
        references = {"metric": case.metric if metrics else "", "factory": "" if simulated else case.factory}
        for key, name in references.items():
            if not file_of(name).endswith(".py") or (folder, key, name, here) in checked:
                continue
            checked.add((folder, key, name, here))
            where = locate(suite, f"models.{case.model}.{key}")
            fix = _METRIC if key == "metric" else f"correct the model {case.model!r}"
            try:
                _check(names, folder, name, key, where, fix, here=here)
            except SuiteError as error:
                if of_revision is None:
                    raise
                what, fix = f"at {case.toolchain}: {error.what}", "name a revision that has it"
                raise UsageError(what, where="--against-rev", fix=fix) from error


def check_metric(folder: Path, name: str, where: str, fix: str) -> None:
    """SuiteError at ``where`` if the file of the metric ``name`` is not in ``folder``, or has no such function."""
    _check(names_in, folder, name, "metric", where, fix, here=True)


def _check(
    names_of: Callable[[Path], set[str] | None], folder: Path, name: str, key: str, where: str, fix: str, *, here: bool
) -> None:
    file, _, function = name.partition(":")
    path = folder / file
    if not path.is_file():
        what = f"the {key}'s file {file!r} is not beside the suite"
        raise SuiteError(what, where=where, fix=f"create {path}" if key == "factory" else fix)
    try:
        names = names_of(path)
    except SyntaxError as error:
        if not here:  # the interpreter that runs it may know what this one does not
            return
        place = f"{file}:{error.lineno}" if error.lineno else file
        what = f"{file} cannot be imported: SyntaxError: {error.msg} ({place})"
        raise SuiteError(what, where=where, fix=f"correct {place}") from error
    if names is not None and function not in names:
        what = f"{file} has no function {function!r}.{did_you_mean(function, sorted(names))}".removesuffix(".")
        raise SuiteError(what, where=where, fix=fix)


def names_in(path: Path) -> set[str] | None:
    """The names that a Python file binds at its top level; None where only running it tells: it cannot be read, is very
    large, imports ``*``, or may make names by other means. SyntaxError if it is no Python.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            return None
        with warnings.catch_warnings():  # whoever runs the file is warned of what it has
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_bytes(), filename=str(path))
    except (OSError, ValueError, RecursionError, MemoryError):  # whoever runs the file reports that
        return None
    names: set[str] = set()
    nodes = [*ast.walk(tree)]
    modules = {*_imported(nodes)}
    bases = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    texts = {*_texts(nodes)}
    for node in nodes:
        if _may_make_names(node, modules) or (_is_name(node, "sys") and id(node) not in bases):
            return None
        if _is_name(node, "__name__") and id(node) not in texts:  # who has it can find this module
            return None
        if isinstance(node, ast.Global):
            names.update(node.names)
        elif isinstance(node, ast.NamedExpr):  # also in a decorator or a default, which the file itself evaluates
            names.add(node.target.id)
    names.update(_bound(tree))
    return None if "__getattr__" in names or "*" in names else names


def _may_make_names(node: ast.AST, modules: Set[str]) -> bool:
    """Whether the file may get names by this expression or import that no statement shows; ``modules`` are what it
    imports, of which one may be itself.
    """
    match node:
        case ast.Name(id=name):
            return name in _NAMES
        case ast.Attribute(value=ast.Name(id="sys"), attr="modules"):
            return True
        case ast.Attribute(value=value, ctx=ast.Store()) if _dotted(value) in modules:
            return True
        case ast.Attribute(attr=name):
            return name in _ATTRIBUTES
        case ast.Import(names=names):
            return any(alias.name == "builtins" or (alias.name == "sys" and alias.asname) for alias in names)
        case ast.ImportFrom(module=module, names=names):
            own = {("sys", "modules"), ("importlib", "import_module")}
            return any((module, alias.name) in own or alias.name in _NAMES for alias in names)
    return False


def _imported(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """What the imports among ``nodes`` bind, as it is written where it is used: ``a.b`` of ``import a.b``."""
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)


def _texts(nodes: Iterable[ast.AST]) -> Iterator[int]:
    """The ids of expressions that serve as texts, by which nothing is found: those compared, and names of loggers."""
    for node in nodes:
        if isinstance(node, ast.Compare):
            yield from map(id, (node.left, *node.comparators))
        elif isinstance(node, ast.Call) and _dotted(node.func).rpartition(".")[2] in _LOGGERS:
            yield from map(id, (*node.args, *(each.value for each in node.keywords)))


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _dotted(node: ast.AST) -> str:
    """``a.b`` of a name and its attributes; empty for any other expression."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def _bound(tree: ast.Module) -> Iterator[str]:
    """The names that statements bind where they stand, and not in the functions and classes that they define."""
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.alias):
            yield node.asname or node.name.partition(".")[0]
        elif isinstance(node, ast.MatchAs | ast.MatchStar) and node.name:
            yield node.name
        elif isinstance(node, ast.MatchMapping) and node.rest:
            yield node.rest
        pending.extend(ast.iter_child_nodes(node))
