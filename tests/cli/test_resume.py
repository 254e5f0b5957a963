"""What can be typed next: the commands that go on with a run, as they are shown, and what they refuse."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import store
from bench.cli import commands
from tests.conftest import Trtbench

Suite = Callable[..., Path]


def cut(path: Path) -> None:
    """Leave the header and the first record, as of a run that was killed."""
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))


def hints(out: str) -> set[str]:
    return {line.partition("try: ")[2].strip() for line in out.splitlines() if "try: trtbench run --resume" in line}


@pytest.mark.parametrize("words", [[], ["--store", "other runs"]])
@pytest.mark.workers
def test_the_command_that_goes_on_with_a_run_works_as_it_is_shown(
    trtbench: Trtbench,
    fake_suite: Suite,
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    suite = fake_suite()
    monkeypatch.chdir(suite.parent)
    assert commands.main(["run", str(suite), *words]) == 0
    (path,) = store.runs(Path(*words[1:]) if words else Path("results"), rehearsals=True)
    cut(path)
    capsys.readouterr()
    assert commands.main(["show", path.stem, *words]) == 0
    (hint,) = hints(capsys.readouterr().out)
    assert len(hint) < 100
    assert commands.main(shlex.split(hint)[1:]) == 0
    run = store.read(path)
    assert run.footer is not None
    assert run.footer.status == "complete"


@pytest.mark.workers
def test_a_run_is_gone_on_with_on_a_machine_that_has_its_device(
    trtbench: Trtbench, fake_suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    trtbench("run", fake_suite())
    (path,) = store.runs(trtbench.store, rehearsals=True)
    cut(path)
    path.write_bytes(path.read_bytes().replace(b'"kind":"fake"', b'"kind":"cuda"', 1))
    before = path.read_bytes()
    assert trtbench("run", "--resume", path.stem) == 2
    assert "the run was begun on simulated device, and no CUDA device can be used" in trtbench.err
    assert "fix: go on with it on such a machine; or unset CUDA_VISIBLE_DEVICES" in trtbench.err
    assert "--device" not in trtbench.err
    assert path.read_bytes() == before


@pytest.mark.workers
def test_a_run_of_another_environment_is_told_with_what_differs(trtbench: Trtbench, fake_suite: Suite) -> None:
    trtbench("run", fake_suite())
    (path,) = store.runs(trtbench.store, rehearsals=True)
    header, *_ = path.read_bytes().splitlines(keepends=True)
    changed = json.loads(header)
    here = changed["environments"]["default"]
    numpy = here["libraries"]["numpy"]
    here["libraries"] |= {"numpy": "1.0", "timm": "0.1"}
    path.write_bytes(json.dumps(changed).encode() + b"\n")
    assert trtbench("run", "--resume", path.stem) == 2
    assert f"another environment: numpy 1.0 -> {numpy}, timm 0.1 -> " in trtbench.err
