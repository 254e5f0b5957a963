"""What README tells a first user to type brings what it promises."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import bench
from bench.backends import base
from bench.cli import commands
from bench.suite import reader

ROOT = Path(bench.__file__).parent.parent
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
INSTALL = (ROOT / "README.md").read_text().partition("## Install")[2].partition("\n## ")[0]
# What a backend of smoke.yaml imports.
PACKAGES = {"onnxruntime": {"onnx", "onnxruntime", "onnxscript", "torch"}}


def installed(line: int) -> set[str]:
    """The distributions that a command of the section installs, besides trtbench's own dependencies."""
    commands = re.findall(r'pip install -e "\.\[([\w,]+)\]"', INSTALL)
    return {re.match(r"[\w-]+", entry)[0] for extra in commands[line].split(",") for entry in EXTRAS[extra]}  # type: ignore[index]


@pytest.mark.parametrize("line", [0, 1])
def test_the_section_install_brings_all_that_the_smoke_suite_needs(line: int) -> None:
    suite = reader.load(ROOT / "suites" / "smoke.yaml", base.registry())
    backends = {entry["name"] for part in (suite.matrix, *suite.include) for entry in part.get("backend", ())}
    assert len(backends) >= 5
    needed = {model.factory.partition(":")[0] for model in suite.models.values()}
    for name in backends:
        needed |= PACKAGES.get(name, {"torch"})
    assert needed <= installed(line)
    assert "g++" in INSTALL  # inductor and aoti compile


def test_the_table_of_suites_has_them_all() -> None:
    named = re.findall(r"\(suites/(\S+\.yaml)\) ?[|,]", (ROOT / "README.md").read_text())
    assert sorted(named) == sorted(path.name for path in (ROOT / "suites").glob("*.yaml"))


@pytest.mark.parametrize("run", re.findall(r"\((results/\S+\.jsonl)\)", (ROOT / "README.md").read_text()))
def test_tables_have_the_figures_of_the_committed_runs(capsys: pytest.CaptureFixture[str], run: str) -> None:
    text = (ROOT / "README.md").read_text().partition(f"({run})")[2]
    rows = re.split(r"\n(?!\||\n|#)", text[text.index("\n|") :])[0].splitlines()
    figures = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows if row.startswith("|")]
    assert commands.main(["show", str(ROOT / run), "--format", "markdown"]) == 0
    shown = [[cell.strip() for cell in row.split("|")[1:-1]] for row in capsys.readouterr().out.splitlines()]
    assert len(figures) > 3
    for row in figures[2:]:
        assert any(set(row) <= set(other) for other in shown), row
