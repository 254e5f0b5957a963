"""The commands that install packages stand in one place."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import bench
from bench.machine.environment import LIBRARIES
from bench.model.distributions import TENSORRT, TENSORRT_BINDINGS, install

ROOT = Path(bench.__file__).parent
OWN = ROOT / "model" / "distributions.py"


@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("torch", "pip install torch"),
        ("cuda.bindings", "pip install cuda-bindings"),
        ("transformers.models.bert", "pip install transformers"),
        ("torch_tensorrt", "torch-tensorrt or torch-tensorrt-rtx: pip install torch-tensorrt"),
        ("tensorrt", "tensorrt-cu12 or tensorrt-cu13, or a toolchain that has TensorRT: pip install tensorrt-cu12"),
    ],
)
def test_a_module_is_installed_by_the_name_of_its_distribution(module: str, command: str) -> None:
    assert install(module) == command


def test_no_command_has_a_comment_which_an_interactive_zsh_takes_for_arguments() -> None:
    remarks = re.compile(r"(pip|trtbench|nvidia-smi|apt-get) [^#\n]* # ")
    assert [(path, text) for path, text in literals(re.compile(" # ")) if remarks.search(text)] == []


def test_every_distribution_that_has_tensorrt_is_part_of_the_environment() -> None:
    assert {*TENSORRT, *TENSORRT_BINDINGS} <= set(LIBRARIES)


def literals(part: re.Pattern[str]) -> Iterator[tuple[Path, str]]:
    """The texts in files of ``bench`` that have ``part``, but for the fake, whose package does not exist."""
    for path in ROOT.rglob("*.py"):
        source = path.read_text()
        if path.name == "fake.py" or not part.search(source):
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield path, node.value


def test_no_other_module_has_the_plain_command_of_a_package_or_a_name_of_tensorrts() -> None:
    plain = re.compile(r"pip install \w[\w.-]*")
    distributions = {*TENSORRT, *TENSORRT_BINDINGS} - {"tensorrt"}  # also the name of a module and of a backend
    names = re.compile("|".join(map(re.escape, sorted(distributions))))
    apart = [(path, text) for path, text in literals(plain) if plain.fullmatch(text)]
    apart += [(path, text) for path, text in literals(names) if text in distributions]
    assert {path for path, _ in apart} == {OWN}, apart
