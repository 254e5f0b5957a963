"""trtbench codegen: the programs of fx2trt that it writes, and what it refuses."""

from __future__ import annotations

import re
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Trtbench


@pytest.mark.torch
@pytest.mark.long
def test_codegen_writes_a_folder_for_each_program_and_leaves_those_there_alone(
    trtbench: Trtbench, suite_of: Callable[..., Path], tmp_path: Path
) -> None:
    suite = suite_of(precision=["fp32", "fp16"])
    out = tmp_path / "programs"
    assert trtbench("codegen", suite, "--out", out) == 0
    folders = sorted(path.parent.name for path in out.glob("*/program.py"))
    assert folders == ["net-fp16-batch-2", "net-fp32-batch-2"]
    assert trtbench.out.count("program.py") == 2
    assert trtbench("codegen", suite, "--out", out) == 2
    assert "has a program already" in trtbench.err
    assert trtbench("codegen", suite, "--select", "precision=fp16", "--out", tmp_path / "one") == 0
    assert (tmp_path / "one" / "program.py").is_file()


def test_what_no_program_is_written_for_is_named(
    suite_of: Callable[..., Path], tmp_path: Path, trtbench: Trtbench
) -> None:
    """Those of backends that write none are not."""
    suite, out = (
        suite_of(backend="{name: tensorrt, observer: minmax}, fx2trt, {name: fx2trt, observer: minmax}"),
        tmp_path / "programs",
    )
    out.mkdir()
    (out / "program.py").touch()  # so that nothing is lowered
    assert trtbench("codegen", suite, "--out", out) == 2
    assert "net/fx2trt[observer=minmax]/fp32/batch=2: observer: of precision int8 alone" in " ".join(
        trtbench.err.split()
    )
    trtbench("list", suite, "--device", "cpu")
    assert "observer: of precision int8 alone" in " ".join((trtbench.out + trtbench.err).split())


@pytest.mark.torch
@pytest.mark.long
def test_codegen_of_a_case_that_tensorrt_calibrates_writes_the_program_of_float32(
    suite_of: Callable[..., Path], tmp_path: Path, trtbench: Trtbench
) -> None:
    suite = suite_of(backend="{name: fx2trt, calibrator: entropy}", precision="int8")
    assert trtbench("codegen", suite, "--out", tmp_path / "out") == 0, trtbench.err
    text = (tmp_path / "out" / "program.py").read_text()
    assert 'PRECISION = "fp32"' in text
    assert "add_quantize" not in text


@pytest.mark.torch
@pytest.mark.long
def test_programs_of_one_model_that_differ_in_options_are_all_written(
    trtbench: Trtbench, suite_of: Callable[..., Path], tmp_path: Path
) -> None:
    suite, out = suite_of(backend="fx2trt, {name: fx2trt, fallback: torch, min_block_size: 1}"), tmp_path / "out"
    assert trtbench("codegen", suite, "--out", out, "--progress", "plain") == 0
    assert "[2/2] net/fx2trt[fallback=torch,min_block_size=1]" in trtbench.err
    whole, parts = sorted(out.iterdir(), key=lambda folder: "fallback" in folder.name)
    assert not (whole / "engine_0").exists()
    assert (parts / "engine_0" / "program.py").is_file()


def test_the_options_of_the_suite_say_which_programs_there_are(
    suite_of: Callable[..., Path], tmp_path: Path, trtbench: Trtbench
) -> None:
    parts = "{name: fx2trt, fallback: torch, min_block_size: %d}"
    suite = suite_of(backend=f"eager, fx2trt, {parts % 1}, {parts % 2}")
    out = tmp_path / "programs"
    names = [f"net-fx2trt{options}-fp32-batch-2" for options in ("", *(
        f"-fallback-torch-min_block_size-{size}" for size in (1, 2)))]  # fmt: skip
    for name in names:  # so that nothing is lowered
        (out / name).mkdir(parents=True)
        (out / name / "program.py").touch()
        assert trtbench("codegen", suite, "--out", out) == 2
        assert f"{name} has a program already" in trtbench.err.replace("\n", "")
        (out / name / "program.py").unlink()


@pytest.mark.torch
@pytest.mark.long
def test_a_model_that_does_not_export_is_told(
    trtbench: Trtbench, suite_of: Callable[..., Path], tmp_path: Path
) -> None:
    assert trtbench("codegen", suite_of(factory="zoo.py:branches_within"), "--out", tmp_path / "out") == 1
    message = " ".join(trtbench.err.split())
    assert re.search(r"head \(Branches\), zoo\.py:\d+: torch\.export cannot take this model", message)
    assert "fix: the backend tensorrt" in trtbench.err
    assert not (tmp_path / "out").exists()


@pytest.mark.torch
@pytest.mark.long
def test_a_model_that_does_not_run_by_itself_gets_no_advice_on_exports(
    trtbench: Trtbench, suite_of: Callable[..., Path], tmp_path: Path
) -> None:
    suite = suite_of()
    suite.write_text(suite.read_text().replace("[batch, 3, 8, 8]", "[batch, 4, 8, 8]"))
    assert trtbench("codegen", suite, "--out", tmp_path / "out") == 1
    assert "torch.export cannot take this model" in " ".join(trtbench.err.split())
    assert "fix: the model by itself does not run with these inputs: correct its `inputs`" in trtbench.err


@pytest.mark.torch
@pytest.mark.long
@pytest.mark.parametrize("command", [("codegen", "--backend", "fx2trt"), ("diverge", "--backend", "tensorrt")])
def test_an_input_that_the_model_does_not_have_is_told_with_those_that_it_has(
    trtbench: Trtbench, suite_of: Callable[..., Path], tmp_path: Path, command: tuple[str, ...]
) -> None:
    """Of a network program, and of an ONNX file."""
    suite = suite_of()
    suite.write_text(suite.read_text().replace("inputs: {x:", "inputs: {xx:"))
    out = ("--out", tmp_path / "out") if command[0] == "codegen" else ()
    assert trtbench(*command, suite, *out) == 2
    message = " ".join((trtbench.err + trtbench.out).split())
    assert f"{suite}: models.net.inputs: Net.forward has no parameter 'xx', which is an input of the suite" in message
    assert "fix: name the inputs of the model 'net' as its parameters: x" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.torch
@pytest.mark.long
def test_a_program_is_written_whole_or_not_at_all(
    trtbench: Trtbench, suite_of: Callable[..., Path], tmp_path: Path
) -> None:
    """A limit on the size of files stands for a full disk; the program is in the cache, so it is only copied."""
    suite, there = suite_of(), tmp_path / "there"
    assert trtbench("codegen", suite, "--out", tmp_path / "first") == 0, trtbench.err
    there.mkdir()
    (there / "notes.txt").write_text("mine")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for out in (tmp_path / "new" / "program", there):
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
        try:
            assert trtbench("codegen", suite, "--out", out) == 2
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert f"--out: {out} cannot be written" in trtbench.err
    assert not (tmp_path / "new").exists()
    assert [path.name for path in there.iterdir()] == ["notes.txt"]
    (there / "engine_0").mkdir()
    (there / "engine_0" / "mine.txt").touch()
    assert trtbench("codegen", suite, "--out", there) == 0, trtbench.err
    written = {path.name for path in (tmp_path / "first").iterdir()}
    assert {path.name for path in there.iterdir()} == {*written, "notes.txt", "engine_0"}
    assert (there / "engine_0" / "mine.txt").exists()


def test_codegen_where_nothing_can_be_written_is_refused_before_anything_is_lowered(
    trtbench: Trtbench, suite_of: Callable[..., Path], tmp_path: Path
) -> None:
    assert trtbench("codegen", suite_of(), "--out", "/proc/programs") == 2
    assert "--out: /proc cannot be written" in trtbench.err
    assert "lower" not in trtbench.err


def test_codegen_for_a_backend_that_writes_none_is_refused(
    trtbench: Trtbench, suite_of: Callable[..., Path], tmp_path: Path
) -> None:
    arguments = ("codegen", suite_of(), "--backend", "eager", "--out", tmp_path / "out")
    assert trtbench(*arguments) == 2
    assert "eager writes no network programs" in trtbench.err
    assert "--backend fx2trt" in trtbench.err


def test_codegen_into_a_file_is_refused_before_anything_is_lowered(
    trtbench: Trtbench, suite_of: Callable[..., Path], tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for out in (file, file / "below"):
        assert trtbench("codegen", suite_of(), "--out", out) == 2
        assert f"{file} is a file, no folder" in trtbench.err
        assert "[1/1]" not in trtbench.err
    assert file.read_text() == "mine"
