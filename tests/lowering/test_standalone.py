"""A program as a script: what is not there is one line on standard error, exit code 2."""

from __future__ import annotations

import re
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench import tensors
from bench.lowering import standalone
from bench.system import userfile

PROGRAM = Path(standalone.__file__).read_text()
DOCS = Path(standalone.__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["engine.plan", "--module", "no_such_tensorrt"], "No module named 'no_such_tensorrt'; install it, or name"),
        (["engine.plan", "--level", "6"], "argument --level: invalid choice: 6"),
        (["nowhere/engine.plan", "--module", "json"], "there is no folder nowhere"),
        ([".", "--module", "json"], ". is a folder; name a file in it, e.g. engine.plan"),
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


LOGGER = type("Logger", (), {"WARNING": 2, "__init__": lambda self, severity: None})


def test_weights_that_are_damaged_and_an_engine_that_cannot_be_written_are_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("safetensors")
    (tmp_path / "program.py").write_text(PROGRAM)
    program = userfile.execute(tmp_path / "program.py", "_tested_script")
    monkeypatch.setattr(program, "build_engine", lambda *_: b"an engine")
    monkeypatch.setitem(sys.modules, "standin", types.SimpleNamespace(Logger=LOGGER))
    weights = tmp_path / "weights.safetensors"
    tensors.write(weights, {"w": np.ones(8, np.float32)})
    whole = weights.read_bytes()
    (tmp_path / "loop.plan").symlink_to("loop.plan")
    for content, target, message in (
        (whole[:-4], "engine.plan", "weights.safetensors, which belongs beside this file, cannot be read: it is dam"),
        (whole, "loop.plan", "the engine cannot be written: [Errno 40] Too many levels of symbolic links"),
    ):
        weights.write_bytes(content)
        monkeypatch.setattr(sys, "argv", ["program.py", str(tmp_path / target), "--module", "standin"])
        with pytest.raises(SystemExit) as caught:
            program.main()
        assert caught.value.code == 2
        assert message in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["program.py", str(tmp_path / "engine.plan"), "--module", "standin"])
    assert program.main() == 0
    assert (tmp_path / "engine.plan").read_bytes() == b"an engine"


BLOCK = """
def read_weights(path):
    return {"path": path.read_text()}

def build_engine(trt, weights, logger, level=None):
    return f"{weights['path']} at {level}".encode() if level != 5 else None
"""


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The command line of a program in two engines, which a module called ``standin`` builds."""
    pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    source = Path(standalone.__file__).with_name("split_standalone.py")
    (tmp_path / "program.py").write_text(source.read_text())
    program = userfile.execute(tmp_path / "program.py", "_tested_command_line")
    program.ENGINES |= {"engine_0": ((), ()), "engine_1": ((), ())}
    for name in program.ENGINES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "program.py").write_text(BLOCK)
        (tmp_path / name / "weights.safetensors").write_text(name)
    monkeypatch.setitem(sys.modules, "standin", types.SimpleNamespace(Logger=LOGGER))

    def main(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["program.py", *arguments])
        return int(program.main())

    return main


@pytest.mark.torch
@pytest.mark.parametrize(("arguments", "level"), [((), "None"), (("--level", "0"), "0")])
def test_each_engine_of_a_program_in_parts_is_built_at_the_level(
    parts: Callable[..., int], arguments: tuple[str, ...], level: str, tmp_path: Path
) -> None:
    assert parts("--module", "standin", *arguments) == 0
    for name in ("engine_0", "engine_1"):
        assert (tmp_path / name / "engine.plan").read_text() == f"{name} at {level}"


@pytest.mark.torch
def test_what_goes_wrong_with_a_program_in_parts_is_one_line(
    parts: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parts("--module", "standin", "--level", "5") == 1
    assert capsys.readouterr().err == "TensorRT could not build engine_0; its messages above say why\n"
    (tmp_path / "engine_1" / "weights.safetensors").unlink()
    for arguments, message in (
        (["--module", "no_such_tensorrt"], "No module named 'no_such_tensorrt'; install it, or name"),
        (["--module", "standin", "--level", "6"], "argument --level: invalid choice: 6"),
        (["--module", "standin"], "a file of an engine's program cannot be read"),
    ):
        with pytest.raises(SystemExit) as caught:
            parts(*arguments)
        assert caught.value.code == 2
        assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("*/engine.plan"))
    (tmp_path / "engine_1" / "weights.safetensors").write_text("again")
    (tmp_path / "engine_1" / "engine.plan").mkdir()
    with pytest.raises(SystemExit) as caught:
        parts("--module", "standin")
    assert caught.value.code == 2
    assert "the engines cannot be written: [Errno 21] Is a directory" in capsys.readouterr().err


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
