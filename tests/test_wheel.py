"""What is built for users: `python -m build` makes a wheel that runs in an environment of its own, without torch."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import bench

pytestmark = pytest.mark.long

ROOT = Path(bench.__file__).parent.parent


def run(*command: object, folder: Path) -> str:
    """Standard output of a command that must succeed, in ``folder`` and without the checkout on Python's path."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment |= {"TRTBENCH_CACHE": str(folder / "cache"), "COLUMNS": "140"}
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the source distribution and the wheel that is built from it."""
    folder: Path = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, folder=folder)
    return folder


@pytest.fixture(scope="module")
def programs(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a fresh virtual environment that has the wheel and what it depends on, nothing else."""
    root: Path = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", root / "venv", folder=root)
    programs = root / "venv" / "bin"
    (wheel,) = dist.glob("*.whl")
    run(programs / "python", "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", wheel, folder=root)
    return programs


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """A folder outside the checkout with the suites, as README has a user of the wheel fetch them."""
    shutil.copytree(ROOT / "suites", tmp_path / "suites", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_the_wheel_holds_the_package_with_its_type_marker_and_the_pytest_plugin_alone(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "bench").rglob("*.py")}
    assets = {str(path.relative_to(ROOT)) for path in (ROOT / "bench/report/html/assets").rglob("*") if path.is_file()}
    assert sources | assets | {"bench/py.typed"} <= packed
    assert {name.partition("/")[0] for name in packed} == {"bench", "trtbench_pytest.py"}
    assert not [name for name in packed if name.endswith(".pyc")]


def test_the_source_distribution_has_the_suites_and_the_pages_but_no_results(dist: Path) -> None:
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        packed = {name.partition("/")[2] for name in file.getnames()}
    suites = {f"suites/{path.name}" for path in (ROOT / "suites").iterdir() if path.suffix in (".yaml", ".py")}
    assert suites - {"suites/toolchains.yaml"} <= packed
    assert {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "docs/suites.md"} <= packed
    assert not [name for name in packed if name.startswith(("results", "tests"))]


def test_an_installed_wheel_is_imported_and_says_its_version(programs: Path, tmp_path: Path) -> None:
    where = run(programs / "python", "-c", "import bench; print(bench.__file__)", folder=tmp_path)
    assert Path(where.strip()).is_relative_to(programs.parent)
    assert run(programs / "trtbench", "--version", folder=tmp_path) == f"trtbench {bench.__version__}\n"


def test_an_installed_wheel_runs_suites_and_shows_what_they_measured(programs: Path, workplace: Path) -> None:
    assert "bert/aoti/fp32/batch=1/seq=64" in run(programs / "trtbench", "list", "suites/smoke.yaml", folder=workplace)
    for suite in ("smoke", "vision"):
        command = ("run", f"suites/{suite}.yaml", "--backend", "fake", "--quick")
        printed = run(programs / "trtbench", *command, folder=workplace)
        (name,) = {match[0] for match in re.finditer(rf"\d{{8}}T\d{{6}}Z-{suite}-[0-9a-f]{{7}}", printed)}
        assert run(programs / "trtbench", "show", name, folder=workplace).strip() in printed
    assert len(list((workplace / "results").rglob("*.jsonl"))) == 2
    assert " of 1 run, " in run(programs / "trtbench", "report", name, folder=workplace)
    assert "</html>" in (workplace / "report.html").read_text()
