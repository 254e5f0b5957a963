"""Imports follow one table: read from the syntax trees, so that a lazy import counts too."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bench

ROOT = Path(bench.__file__).parent
PAGE = ROOT.parent / "docs" / "architecture.md"
BEGIN, END = "<!-- imports: begin -->\n", "<!-- imports: end -->"

# What each package may import, from the leaves up: a package imports only those above it, so there are no circles.
ALLOWED = {
    "errors": "",
    "units": "",
    "model": "errors units",
    "stats": "model",
    "tensors": "errors units model",
    "system": "errors units model",
    "suite": "errors units model tensors system",
    "machine": "errors units model system",
    "store": "errors units model system",
    "runtimes": "errors units model tensors system machine",
    "lowering": "errors units model tensors system runtimes",
    "backends": "errors units model tensors system runtimes lowering",
    "measure": "errors units stats model tensors system machine runtimes",
    "analysis": "errors units stats model",
    "runner": "errors units stats model tensors system suite machine store runtimes backends measure analysis",
    "profiling": "errors units stats model system machine store backends measure analysis runner",
    "checkup": "errors units stats model tensors system suite machine store runtimes backends measure analysis runner "
    "profiling",
    "report": "errors units stats model store analysis",
    "api": "errors units model suite machine store backends analysis runner profiling checkup report",
    "integrations": "api errors units model",
    "cli": "api errors units model report",
}
FILES = sorted(path for path in ROOT.rglob("*.py") if path.parent != ROOT or path.stem not in ("__init__", "__main__"))


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """All statements below a node, but no expressions, which are most of a tree and import nothing."""
    for field in ("body", "handlers", "orelse", "finalbody", "cases"):
        children = getattr(node, field, ())
        for child in children if isinstance(children, list) else ():  # a lambda's body is an expression
            yield child
            yield from statements(child)


def package_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """The packages of ``bench`` that a file imports anywhere, also inside functions."""
    names: list[str] = []
    for node in statements(tree(path)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            pytest.fail(f"{path}: a relative import")
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return {name.split(".")[1] for name in names if name.startswith("bench.") and name != "bench.__version__"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_what_the_table_allows(path: Path) -> None:
    package = package_of(path)
    assert package in ALLOWED, f"give {package} a line in the table"
    assert imports(path) - {package} <= set(ALLOWED[package].split())


def test_the_table_has_no_import_upward() -> None:
    above: set[str] = set()
    for package, allowed in ALLOWED.items():
        assert set(allowed.split()) <= above, f"{package} imports what stands below it"
        above.add(package)


def test_the_modules_of_a_package_import_each_other_in_no_circle() -> None:
    for package in sorted({path.parent for path in FILES if path.parent != ROOT}):
        modules = {path.stem: path for path in package.glob("*.py")}
        name = ".".join(["bench", *package.relative_to(ROOT).parts])
        graph = {stem: siblings(path, name, set(modules)) - {stem} for stem, path in modules.items()}
        while leaves := [stem for stem, others in graph.items() if not others & set(graph)]:
            for stem in leaves:
                del graph[stem]
        assert not graph, f"a circle in {name}"


def siblings(path: Path, package: str, modules: set[str]) -> set[str]:
    """The modules of its own package that a file imports when it is imported."""
    found = set()
    for node in tree(path).body:
        if isinstance(node, ast.ImportFrom) and node.module == package:
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{package}."):
            found.add((node.module or "").removeprefix(f"{package}.").partition(".")[0])
    return found & modules


def test_the_page_on_architecture_has_this_table() -> None:
    rows = [f"| `{name}` | {allowed.replace(' ', ', ') or 'nothing'} |" for name, allowed in ALLOWED.items()]
    table = "\n".join(["| package | may import |", "|---|---|", *rows, ""])
    text = PAGE.read_text()
    assert text.partition(BEGIN)[2].partition(END)[0] == table, f"put this between the marks in {PAGE.name}:\n{table}"


def loaded_by(code: str) -> set[str]:
    """The packages that are imported in a fresh process after ``code``."""
    command = [sys.executable, "-c", f"{code}; import sys; print(*{{name.partition('.')[0] for name in sys.modules}})"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_importing_the_command_line_imports_no_heavy_package() -> None:
    heavy = {"torch", "numpy", "pandas", "rich", "scipy", "msgspec"}
    assert not heavy & loaded_by("import bench.cli.commands")
    assert not heavy & loaded_by("import bench")


def test_a_worker_needs_the_standard_library_msgspec_and_numpy_alone() -> None:
    # msgspec imports typing_extensions where that is installed.
    known = {*sys.stdlib_module_names, "bench", "msgspec", "numpy", "typing_extensions"}
    ours = loaded_by("import bench.runner.worker") - loaded_by("pass")
    assert {name for name in ours if not name.startswith("_")} <= known
