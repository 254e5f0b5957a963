"""A program as a script: what is not there is one line on standard error, exit code 2."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.lowering import standalone

PROGRAM = Path(standalone.__file__).read_text()
DOCS = Path(standalone.__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["engine.plan", "--module", "no_such_tensorrt"], "No module named 'no_such_tensorrt'; install it, or name"),
        (["engine.plan", "--level", "6"], "argument --level: invalid choice: 6"),
        (["nowhere/engine.plan", "--module", "json"], "there is no folder nowhere"),
        (["engine.plan", "--module", "json"], "weights.safetensors, which belongs beside this file, cannot be read"),
    ],
)
def test_what_is_not_there_is_one_error(arguments: list[str], message: str, tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "program.py", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["program.py"]


def test_the_documented_program_is_what_is_written_today_and_the_page_quotes_it() -> None:
    example = (DOCS / "examples" / "fx2trt-resnet18.txt").read_text()
    ending = PROGRAM.partition("# program: begin\n")[2].partition("# program: end")[0]
    assert example.rstrip().endswith(ending.partition("def build_engine")[2].rstrip())
    page = (DOCS / "fx2trt.md").read_text()
    block = page.partition("is the whole program:\n\n```python\n")[2].partition("```")[0]
    assert block
    assert _unwrapped(block) in _unwrapped(example)


def _unwrapped(source: str) -> str:
    """Without what a formatter may change: blanks, line ends, a comma before a closing bracket."""
    return re.sub(r",(?=\))", "", re.sub(r"\s+", "", source))
