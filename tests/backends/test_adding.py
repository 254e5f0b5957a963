"""The page on adding a backend: its examples are backends, and the names that it gives are there."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

import bench as package
from bench.backends import base
from bench.errors import UsageError
from bench.model import abilities, seam
from bench.model.seam import Missing
from tests.backends.kit import Bench, cosine

PAGE = (Path(package.__file__).parent.parent / "docs" / "adding-a-backend.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
# Where the modules lie that the page calls by their last name.
PACKAGES = ("bench", "bench.model", "bench.runtimes", "bench.runtimes.torch")
MODULES = ("errors", "lane", "models", "outputs", "packages", "seam", "session", "shapes", "weights")


def backend(name: str, text: str, folder: Path) -> Any:
    """The ``BACKEND`` of an example, saved and imported as the file of that name in ``bench/backends``."""
    path = folder / f"{name}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(f"bench.backends.{name}", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.BACKEND


@pytest.mark.torch
def test_the_example_of_a_pytorch_backend_gives_the_reference(bench: Bench, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    fx = backend("fx", EXAMPLES[0], tmp_path)
    case = bench.case("eager")
    wanted = bench.reference(case)
    assert fx.missing() is None
    assert [stage.name for stage in fx.stages(case)] == ["reference"]
    bench.phases.clear()
    with fx.prepare(case, fx.options(), bench.context(case)) as prepared:
        (lane,) = prepared.lanes(1)
        lane.call()
        found = lane.read()
    assert list(found) == list(wanted)
    assert all(cosine(found[name], wanted[name]) > 0.9999 for name in wanted)
    assert bench.phases == ["import", "load", "export"]
    with pytest.raises(UsageError, match="fx makes no build"):
        fx.produce(fx.build_stage(case, "pt2"), case, bench.context(case), tmp_path)


def test_the_example_of_any_other_backend_has_all_that_a_backend_promises(bench: Bench, tmp_path: Path) -> None:
    example = backend("example", EXAMPLES[1], tmp_path)
    case = bench.case("example")
    assert example.missing() == Missing(
        reason="the package 'your_runtime' is not installed", fix="pip install your_runtime"
    )
    assert example.unsupported(case, "cpu") is None
    assert example.unsupported(msgspec.structs.replace(case, precision="int8"), "cpu") == "Example has no int8"
    (reference,) = example.stages(case)
    assert (reference.name, reference.producer) == ("reference", "eager")
    assert msgspec.convert({"threads": 2}, example.options).threads == 2
    with pytest.raises(UsageError, match="example makes no reference"):
        example.produce(reference, case, bench.context(case), tmp_path)
    with (
        pytest.raises(ModuleNotFoundError, match="your_runtime"),
        example.prepare(case, example.options(), bench.context(case)),
    ):
        pass


@pytest.mark.long
@pytest.mark.parametrize("name", ["fx", "example"])
def test_the_examples_pass_the_checks_of_a_pull_request(name: str, tmp_path: Path) -> None:
    root = Path(package.__file__).parent.parent
    file = tmp_path / f"{name}.py"
    file.write_text(EXAMPLES[["fx", "example"].index(name)])
    config = str(root / "pyproject.toml")
    commands = (
        ["ruff", "check", "--no-cache", "--config", config],
        ["ruff", "format", "--no-cache", "--check", "--config", config],
        ["mypy", "--strict", "--config-file", config, "--cache-dir", str(tmp_path / "cache")],
    )
    for command in commands:
        pytest.importorskip(command[0])
        result = subprocess.run(
            [sys.executable, "-m", *command, str(file)], cwd=root, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stdout + result.stderr


def test_the_examples_have_every_member_of_the_protocol(tmp_path: Path) -> None:
    members = {name for name in vars(seam.Backend) if not name.startswith("_")}
    for name, text in zip(("fx", "example"), EXAMPLES, strict=True):
        made = backend(name, text, tmp_path)
        assert {member for member in members if not hasattr(made, member)} == set()
        assert made.simulated is False


def test_the_page_describes_every_member_of_a_backend() -> None:
    optional = {
        name
        for part in (abilities.TimesLayers, abilities.PreloadsImports, abilities.ListsImports)
        for name in vars(part)
        if not name.startswith("_")
    }
    members = {name for name in vars(seam.Backend) if not name.startswith("_")} | optional | {"distributions"}
    rows = re.findall(r"^\| `(\w+)(?:\([\w, ]*\))?` \|", PAGE, re.MULTILINE)
    assert {"options", "simulated", "missing", "preload", "layers"} <= members
    assert members - set(rows) == set()
    assert f'[project.entry-points."{base.GROUP}"]' in PAGE


def test_the_page_names_modules_functions_and_files_that_are_there() -> None:
    root = Path(package.__file__).parent.parent
    names = set(re.findall(rf"`({'|'.join(MODULES)})\.(\w+)", PAGE))
    assert len(names) >= 8
    for module, name in names:
        found = [f"{parent}.{module}" for parent in PACKAGES if importlib.util.find_spec(f"{parent}.{module}")]
        assert any(hasattr(importlib.import_module(path), name) for path in found), f"{module}.{name}"
    dotted = set(re.findall(r"`(bench(?:\.\w+)+)`", PAGE))
    assert dotted
    for path in dotted:
        parent, _, name = path.rpartition(".")
        assert importlib.util.find_spec(path) if parent == "bench" else hasattr(importlib.import_module(parent), name)
    own = {"bench/backends/NAME.py", "bench/backends/fx.py", "tests/backends/test_NAME.py"}
    files = set(re.findall(r"\b(?:bench|tests|runtimes)/[\w/]+\.py", PAGE)) - own
    assert files
    assert [path for path in sorted(files) if not ((root / path).is_file() or (root / "bench" / path).is_file())] == []
