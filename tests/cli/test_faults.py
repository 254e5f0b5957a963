"""The program in an environment that lacks something: streams, a home, room, descriptors; a clear end, no traceback."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import store

pytestmark = pytest.mark.workers
ROOT = Path(__file__).parents[2]
Suite = Callable[..., Path]


class Program:
    """``python -m bench`` through a shell; what it may not do is to print a traceback."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {**os.environ, "PYTHONPATH": str(ROOT), "TRTBENCH_CACHE": str(folder / "cache"), "COLUMNS": "120"}
        self.out = self.err = ""

    def __call__(self, words: str, *, before: str = "", **env: str | None) -> int:
        variables = {name: value for name, value in {**self.env, **env}.items() if value is not None}
        command = f"{before}{shlex.quote(sys.executable)} -m bench {words}"
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.folder, env=variables, capture_output=True, check=False, timeout=300
        )
        self.out, self.err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        assert "Traceback" not in self.out + self.err
        assert "Exception ignored" not in self.err
        return done.returncode


@pytest.fixture
def program(tmp_path: Path, fake_suite: Suite) -> Program:
    fake_suite().rename(tmp_path / "s.yaml")
    return Program(tmp_path)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("list s.yaml >&-", 0),
        ("list s.yaml 2>&-", 0),
        ("list s.yaml <&-", 0),
        ("list none.yaml 2>&-", 2),
        ("list s.yaml >/dev/full", 2),
        ("list none.yaml 2>/dev/full", 2),
        ("list s.yaml | true", 0),
        ("list none.yaml 2>&1 | true", 0),
    ],
)
def test_a_stream_that_is_closed_or_full_is_no_traceback(program: Program, words: str, code: int) -> None:
    assert program(words) == code


def test_a_run_without_streams_is_stored_whole(program: Program) -> None:
    assert program("run s.yaml --store r <&- >&- 2>&-") == 0
    (path,) = store.runs(program.folder / "r", rehearsals=True)
    run = store.read(path)
    assert (len(run.records), run.damage) == (2, "")


def test_an_ascii_locale_and_ascii_streams_show_what_they_can(program: Program) -> None:
    suite = program.folder / "s.yaml"
    suite.write_text(suite.read_text() + "# ± é\n", encoding="utf-8")
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    assert program("run s.yaml --store r", **ascii_only) == 0
    assert "2 of 2 measured" in program.out
    assert store.read(store.runs(program.folder / "r", rehearsals=True)[0]).header.suite.endswith("# ± é\n")


def test_a_path_that_is_no_text_is_refused_before_anything_is_written(program: Program) -> None:
    folder = program.folder / os.fsdecode(b"\xff")
    folder.mkdir()
    (program.folder / "s.yaml").rename(folder / "s.yaml")
    assert program(f"run {shlex.quote(str(folder / 's.yaml'))} --store r") == 2
    assert "no UTF-8 text" in program.err
    assert not (program.folder / "r").exists()


@pytest.mark.parametrize(
    ("suite", "told"),
    [
        ("/dev/stdin <<<'schema: 1'", "a suite is a file"),
        ("/dev/stdin < <(cat s.yaml)", "this is a pipe"),
        ("<(cat s.yaml)", "this is a pipe"),
        ("/dev/zero", "this is a device"),
        ("fifo", "this is a pipe"),
        ("link.yaml", "this is a link"),
        (".", "this is a folder"),
        (r"$'a\nb'", "there is no such file"),
    ],
)
def test_a_suite_is_a_plain_file_and_nothing_is_waited_for(program: Program, suite: str, told: str) -> None:
    os.mkfifo(program.folder / "fifo")
    (program.folder / "link.yaml").symlink_to("s.yaml")
    assert program(f"list {suite}") == 2
    assert told in program.err


def test_without_descriptors_a_run_ends_with_what_to_type(program: Program) -> None:
    assert program("run s.yaml --store r", before="ulimit -n 16; ") == 2
    assert "ulimit -n 1024; then: trtbench run --resume" in program.err
    (path,) = store.runs(program.folder / "r", rehearsals=True)
    assert program(f"run --resume {path}") == 0
    assert len(store.read(path).records) == 2


def test_a_folder_for_temporary_files_that_goes_away_ends_the_run_and_resume_does_the_rest(program: Program) -> None:
    (program.folder / "tmp").mkdir()
    words = "run s.yaml --store r --progress json | while read line; do [ -d tmp ] && mv tmp gone; echo $line; done"
    program(words, TMPDIR=str(program.folder / "tmp"))
    (path,) = store.runs(program.folder / "r", rehearsals=True)
    if len(store.read(path).records) < 2:
        assert "the run cannot go on: " in program.err
    assert program(f"run --resume {path}") == 0
    assert len(store.read(path).records) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user that the system does not know")
def test_a_user_without_a_home_is_told_to_name_a_cache(program: Program) -> None:
    program.folder.chmod(0o777)
    nobody = "HOME= ; unset HOME; exec setpriv --reuid 4000000000 --clear-groups "
    if program("--version", before=nobody):
        pytest.skip("the interpreter is not everybody's")
    assert program("run s.yaml", before=nobody, TRTBENCH_CACHE=None, XDG_CACHE_HOME=None) == 2
    assert "no home folder" in program.err
    assert "TRTBENCH_CACHE=DIR" in program.err
    assert program("list s.yaml", before=nobody, TRTBENCH_CACHE=None, XDG_CACHE_HOME=None) == 0


@pytest.mark.long  # it imports every library that is there
def test_doctor_runs_nothing_of_the_working_folder(program: Program) -> None:
    for name in ("torch", "numpy", "msgspec", "yaml", "nvtx", "pynvml", "onnxruntime", "rich", "tensorrt"):
        (program.folder / f"{name}.py").write_text("open('ran', 'w'); raise SystemExit('shadow')")
    assert program("doctor") == 0
    assert "shadow" not in program.out
    assert not (program.folder / "ran").exists()


INTERRUPTED_IMPORT = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
class Interrupt:
    def find_spec(self, name, *_):
        if name == {name!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
sys.argv = ["bench", "list", "s.yaml"]
import runpy
runpy.run_module("bench", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("name", ["argparse", "bench.cli.commands", "bench.errors", "numpy", "bench.suite.plan"])
def test_ctrl_c_while_it_imports_ends_it_without_a_traceback(program: Program, name: str) -> None:
    command = [sys.executable, "-c", INTERRUPTED_IMPORT.format(name=name)]
    done = subprocess.run(command, cwd=program.folder, env=program.env, capture_output=True, check=False)
    assert (done.returncode, done.stderr.decode().replace("trtbench: interrupted\n", "")) == (130, "")
