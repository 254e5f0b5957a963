"""Output: closed pipes, terminals without characters, and a disk that is full."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import store
from tests.conftest import Trtbench

Suite = Callable[..., Path]


@pytest.mark.workers
def test_a_pipe_closed_by_the_reader_is_no_error(tmp_path: Path, trtbench: Trtbench, fake_suite: Suite) -> None:
    trtbench("run", fake_suite())
    command = (
        f"{sys.executable} -m bench show {trtbench.runs()[0].path} --format csv | head -c 1; exit ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=dict(os.environ), check=False)
    assert done.returncode == 0
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("backends", "code", "pipe"),
    [
        ("[fake]", 0, "2>&1 |"),
        ("[fake, {name: fake, fail: nan}]", 1, "--progress json |"),
        pytest.param("[fake]", 0, "--progress json |", marks=pytest.mark.long),
        pytest.param("[fake, {name: fake, fail: nan}]", 1, "2>&1 |", marks=pytest.mark.long),
    ],
)
@pytest.mark.workers
def test_a_run_goes_on_when_nobody_reads_it_any_more(
    tmp_path: Path, trtbench: Trtbench, fake_suite: Suite, backends: str, code: int, pipe: str
) -> None:
    suite = fake_suite(backends, replicates=2)
    run = f"{sys.executable} -m bench run {suite} --store {trtbench.store}"
    command = ["bash", "-c", f"{run} {pipe} head -c 1; exit ${{PIPESTATUS[0]}}"]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), check=False)
    assert done.returncode == code
    assert done.stderr == ""
    (whole,) = trtbench.runs()
    assert whole.footer is not None
    assert whole.footer.status == "complete"


@pytest.mark.workers
def test_a_terminal_without_the_characters_gets_others(trtbench: Trtbench, fake_suite: Suite) -> None:
    command = [sys.executable, "-m", "bench", "run", fake_suite(), "--store", trtbench.store]
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    assert "net ? fp32" in done.stdout


def full(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command with its output on a disk that is full."""
    command = [sys.executable, "-m", "bench", *map(str, arguments)]
    with Path("/dev/full").open("w") as disk:
        return subprocess.run(command, stdout=disk, stderr=subprocess.PIPE, text=True, check=False)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.workers
def test_output_that_cannot_be_written_is_one_message(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = fake_suite("[fake, {name: fake, fail: unavailable}]")
    (suite.parent / "zoo.py").touch()
    said = "trtbench: the output cannot be written: No space left on device"
    for kind in ("json", "plain"):
        done = full("run", suite, "--select", "batch=1", "--store", trtbench.store, "--progress", kind)
        assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (1, True, False)
        path = store.runs(trtbench.store, rehearsals=True)[0]
        assert f"the run is stored\n  fix: trtbench show {path}" in done.stderr
        assert len(store.read(path).records) == 2
    for command in (["show", path], ["list", suite], ["schema"]):
        done = full(*command)
        assert done.returncode == 2
        assert done.stderr == f"{said}\n  fix: send it elsewhere, or make room\n"


_PRINT_WIDTH = "from bench.cli import output; print(output.screen()['width'])"


@pytest.mark.parametrize(
    ("stdout", "terminals", "columns", "width"),
    [
        ("pipe", ["stdin", "stderr"], "", 100),
        ("pipe", ["stderr"], "", 100),
        ("pipe", ["stdin"], "", 100),  # 2>&1 | head
        ("pipe", ["stdin", "stderr"], "90", 90),
        ("pipe", [], "", 120),
        ("file", ["stdin", "stderr"], "", 120),
    ],
)
def test_what_is_piped_has_the_width_of_the_terminal_and_a_file_has_not(
    tmp_path: Path, stdout: str, terminals: list[str], columns: str, width: int
) -> None:
    terminal, end = os.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    stdin, stderr = (end if name in terminals else subprocess.DEVNULL for name in ("stdin", "stderr"))
    command = [sys.executable, "-c", _PRINT_WIDTH]
    env = {**os.environ, "COLUMNS": columns}
    with (tmp_path / "out.txt").open("w") as file:
        target = file if stdout == "file" else subprocess.PIPE
        done = subprocess.run(command, stdin=stdin, stdout=target, stderr=stderr, text=True, env=env, check=True)
    os.close(end)
    os.close(terminal)
    assert int(done.stdout or (tmp_path / "out.txt").read_text()) == width
