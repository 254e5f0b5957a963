"""`codegen` beside others: it waits for no measurement, and a program that another process writes stays whole."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import bench
from bench.api import codegen, request
from bench.errors import ProgramsInterrupted, UsageError
from bench.model.events import Event, Started, Waiting
from bench.system import locks
from tests.conftest import Trtbench

pytestmark = [pytest.mark.workers, pytest.mark.torch]
pytest.importorskip("torch")

SUITE = """\
schema: 1
models: {net: {factory: 'torch.nn:Tanh', inputs: {input: {shape: [2, 3]}}}}
matrix: {backend: [fx2trt]}
"""


def test_it_waits_for_no_measurement_and_leaves_a_program_that_another_process_writes_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(SUITE)
    wanted = request(bench.load(tmp_path / "s.yaml"), plan_only=True, device="cuda", cache=tmp_path / "cache")
    out, theirs = tmp_path / "out", tmp_path / "theirs"

    def never_waits(event: Event) -> None:
        assert not isinstance(event, Waiting)

    with locks.hold(locks.lock_path("cpu"), "a run", lambda holder: None):
        [program] = codegen(wanted, out, on_event=never_waits)
    assert program.failure is None
    written = sorted(path.name for path in out.iterdir())
    assert written == ["manifest.json", "program.py", "weights.safetensors"]

    def another_process(event: Event) -> None:
        if isinstance(event, Started):
            theirs.mkdir()
            (theirs / "program.py").write_text("theirs")

    with pytest.raises(UsageError, match="has a program already") as caught:
        codegen(wanted, theirs, on_event=another_process)
    assert caught.value.where == "out"
    assert [(path.name, path.read_text()) for path in theirs.iterdir()] == [("program.py", "theirs")]


def test_an_interrupt_leaves_whole_programs_and_says_which_and_how_to_go_on(
    tmp_path: Path, trtbench: Trtbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite, out, cache = tmp_path / "s.yaml", tmp_path / "out", tmp_path / "cache"
    suite.write_text(SUITE.replace("[2, 3]", "[batch, 3]").replace("{backend: ", "{batch: [1, 2], backend: "))
    first, second = out / "net-fp32-batch-1", out / "net-fp32-batch-2"

    def interrupt(event: Event) -> None:
        if isinstance(event, Started) and event.done == 1:
            raise KeyboardInterrupt

    with pytest.raises(ProgramsInterrupted) as caught:
        codegen(request(suite, plan_only=True, device="cuda", cache=cache), out, on_event=interrupt)
    assert (caught.value.folders, caught.value.total) == ((str(first),), 2)
    shutil.rmtree(out)
    copy = shutil.copyfile

    def interrupted_copy(source: Path, target: Path) -> None:
        """As Ctrl-C after the first file of the second program."""
        copy(source, target)
        if list(out.glob("*/program.py")):
            raise KeyboardInterrupt

    command = ("codegen", suite, "--cache", cache, "--out", out, "--device", "cpu")
    with monkeypatch.context() as context:
        context.setattr("shutil.copyfile", interrupted_copy)
        assert trtbench(*command) == 130
    assert f"trtbench: interrupted; 1 of 2 programs are written\n  {first}\n" in trtbench.err
    assert [path.name for path in out.iterdir()] == [first.name]
    assert sorted(path.name for path in first.iterdir()) == ["manifest.json", "program.py", "weights.safetensors"]
    again = trtbench.err.rpartition("fix: all of them, elsewhere: ")[2].strip()
    elsewhere = tmp_path / "elsewhere"
    assert trtbench.paste(again.replace("OTHER", str(elsewhere))) == 0
    names = [path.parent.name for path in elsewhere.glob("*/program.py")]
    assert sorted(names) == [first.name, second.name]
    assert first.is_dir()


def test_a_program_of_dynamic_sizes_is_called_after_their_range(tmp_path: Path, trtbench: Trtbench) -> None:
    suite, out = tmp_path / "s.yaml", tmp_path / "out"
    text = SUITE.replace("[2, 3]", "[batch, size]").replace("{backend: ", "{batch: [1, 2], backend: ")
    suite.write_text(f"{text}dynamic: {{size: {{min: 4, opt: 6, max: 8, at: [4, 8]}}}}\n")
    assert trtbench("codegen", suite, "--out", out, "--cache", tmp_path / "cache") == 0
    folders = sorted(path.name for path in out.iterdir())
    assert folders == ["net-fp32-batch-1-size-4..8", "net-fp32-batch-2-size-4..8"]
    assert (out / folders[1] / "program.py").read_text().startswith('"""net (torch.nn:Tanh) at fp32: input [2, 4..8].')
