"""Imports point down only: read from the syntax trees, so that a lazy import counts too."""

import ast
from pathlib import Path

import pytest

import bench

ROOT = Path(bench.__file__).parent
LAYERS = {
    "errors": 0, "units": 0, "model": 0, "stats": 0, "tensors": 0, "layers": 0, "userfile": 0, "scratch": 0,
    "events": 0, "seam": 0, "cleanup": 0,
    "suite": 1, "matrix": 1, "suiteschema": 1, "yamlmarks": 1, "plan": 1, "selection": 1,
    "codec": 1, "compare": 1, "environment": 1, "gpus": 1, "artifacts": 1,
    "lowering": 2,
    "backends": 3, "measure": 3, "profile": 3, "store": 3,
    "jobs": 4, "process": 4, "locks": 4, "light": 4, "worker": 4, "toolchains": 4, "stages": 4, "runner": 4,
    "dispatch": 4, "selftest": 4, "survey": 4, "watch": 4, "prestart": 4, "faults": 4, "dissect": 4,
    "sources": 4, "sittings": 4,
    "executors": 4, "doctor": 4, "duel": 4, "calibrate": 4,
    "report": 5,
    "integrations": 6, "arguments": 6, "cli": 6, "__main__": 7,
}  # fmt: skip


def _module(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def _imported(path: Path) -> set[str]:
    """The top-level modules of ``bench`` that a file imports anywhere, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" if node.module == "bench" else node.module for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("bench.") and name != "bench.__version__"}
    return found


FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_from_layers_below_or_its_own(path: Path) -> None:
    module = _module(path)
    assert module in LAYERS, f"give {module} a layer"
    for other in _imported(path) - {module}:
        assert LAYERS[other] <= LAYERS[module], f"{module} (L{LAYERS[module]}) imports {other} (L{LAYERS[other]})"
        if LAYERS[module] == 3:
            assert LAYERS[other] < 3, f"the siblings {module} and {other} must not import each other"
        if module == "report":
            assert LAYERS[other] <= 1 or other == "store", f"report must not import {other}"


def test_importing_the_command_line_imports_no_heavy_package() -> None:
    import subprocess
    import sys

    code = "import bench.cli, sys; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "numpy", "pandas", "rich", "scipy", "msgspec"} & set(modules)
