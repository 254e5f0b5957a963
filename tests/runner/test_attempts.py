"""Workers that a signal ends: the case is tried again, by its next process and by --resume, unless it is its own."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from bench import store
from bench.model.run import Run
from tests.conftest import Trtbench
from tests.runner.kit import started_with

pytestmark = pytest.mark.workers

# A metric is the user's code in a worker that measures; this one is ended in the first attempts, for which there are
# files.
ZOO = """
import os, pathlib, signal

def score(outputs, expected):
    for left in sorted(pathlib.Path(__file__).parent.glob("kill-*")):
        left.unlink()
        os.kill(os.getpid(), getattr(signal, left.name.split("-")[2]))
    return {"score": 1.0}
"""
SUITE = """\
schema: 1
name: killed
models: {{net: {{factory: "zoo.py:net", inputs: {{x: {{shape: [2, 3]}}}}, metric: "zoo.py:score"}}}}
matrix: {{backend: [fake]}}
measure: {{replicates: {replicates}, max_time: 1s}}
"""


def write(folder: Path, replicates: int, kills: int, name: str = "SIGTERM") -> Path:
    (folder / "zoo.py").write_text(ZOO)
    (folder / "s.yaml").write_text(SUITE.format(replicates=replicates))
    kill_next(folder, kills, name)
    return folder / "s.yaml"


def kill_next(folder: Path, kills: int, name: str = "SIGTERM") -> None:
    """Have as many processes end by that signal."""
    for number in range(kills):
        (folder / f"kill-{number}-{name}").touch()


def only_run(trtbench: Trtbench) -> Run:
    (path,) = store.runs(trtbench.store, rehearsals=True)
    return store.read(path)


def attempts(run: Run) -> list[object]:
    """By replicate: how many processes in a row a signal has ended, or whether another failure did it."""
    return [record.failure and record.failure.details.get("attempts", record.failure.message) for record in run.records]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_after_a_signal_the_next_process_is_tried_and_resume_takes_the_first_up_again(
    trtbench: Trtbench, tmp_path: Path, number: signal.Signals
) -> None:
    with started_with(number, signal.SIG_DFL):  # whoever started the tests may ignore it
        assert trtbench("run", write(tmp_path, 3, 1, number.name)) == 1
    run = only_run(trtbench)
    assert attempts(run) == [1, None, None]
    assert run.footer is not None
    assert run.footer.status == "interrupted"
    assert "trtbench run --resume" in trtbench.out
    assert "not tried" not in trtbench.out
    assert trtbench("run", "--resume", run.header.run) == 0, trtbench.err
    again = only_run(trtbench)
    assert [(record.replicate, record.failure) for record in again.records] == [(0, None), (1, None), (2, None)]
    assert again.footer is not None
    assert again.footer.status == "complete"
    assert trtbench("run", "--resume", run.header.run) == 0
    assert "nothing is missing" in trtbench.err


def test_a_case_whose_processes_all_end_so_ends_them_itself(trtbench: Trtbench, tmp_path: Path) -> None:
    assert trtbench("run", write(tmp_path, 3, 3)) == 1
    run = only_run(trtbench)
    assert attempts(run) == [1, 2]  # the third is not tried
    assert run.records[1].failure is not None
    assert run.records[1].failure.message == "the worker was ended by SIGTERM in each of 2 attempts"
    assert "ends its own process" in run.records[1].failure.hint
    assert run.footer is not None
    assert run.footer.status == "complete"
    assert "1 not tried" in trtbench.out
    told = " ".join(trtbench.out.split())
    assert "Crash in validate: the worker was ended by SIGTERM in each of 2 attempts" in told
    assert "--resume RUN" not in told
    assert trtbench("run", "--resume", run.header.run) == 1
    assert "nothing is missing" in trtbench.err


def test_the_attempts_of_a_run_are_those_before_it_was_resumed_too(trtbench: Trtbench, tmp_path: Path) -> None:
    assert trtbench("run", write(tmp_path, 1, 2)) == 1
    assert attempts(only_run(trtbench)) == [1]
    assert trtbench("run", "--resume", only_run(trtbench).header.run) == 1
    assert attempts(only_run(trtbench)) == [2]
    assert trtbench("run", "--resume", only_run(trtbench).header.run) == 1
    assert "nothing is missing" in trtbench.err


def test_a_process_between_two_that_are_ended_so_makes_them_accidents(trtbench: Trtbench, tmp_path: Path) -> None:
    assert trtbench("run", write(tmp_path, 2, 1)) == 1
    kill_next(tmp_path, 1)
    assert trtbench("run", "--resume", only_run(trtbench).header.run) == 1
    assert attempts(only_run(trtbench)) == [1, None]


def test_the_kernels_out_of_memory_killer_would_come_again(trtbench: Trtbench, tmp_path: Path) -> None:
    assert trtbench("run", write(tmp_path, 2, 1, "SIGKILL")) == 1
    (message,) = attempts(only_run(trtbench))
    assert "SIGKILL from outside" in str(message)
