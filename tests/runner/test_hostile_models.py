"""Models that write to the worker's pipe, close it, or leave processes behind: each is a row, and the run goes on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import Trtbench

pytestmark = [pytest.mark.workers, pytest.mark.torch, pytest.mark.long]
pytest.importorskip("torch")

MODELS = """
import os, signal, stat, subprocess, torch

LINES = {"garbage": bytes([255, 254, 10]), "forged": b'{"reply":"produced","phases":[]}' + bytes([10])}

def pipes():
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd > 2 and os.path.exists(f"/proc/self/fd/{fd}") and stat.S_ISFIFO(os.stat(fd).st_mode):
            yield fd

class Ends(BaseException):
    pass

class Call(torch.nn.Module):
    def forward(self, input):
        raise Ends("no more")

def net(how):
    for fd in list(pipes()):
        if how in LINES:
            try:
                os.write(fd, LINES[how])
            except OSError:  # the other end of a pipe of a library's
                pass
        elif how == "replaced":
            os.dup2(os.open("notes", os.O_RDWR | os.O_CREAT), fd)
    if how == "closed":
        os.closerange(3, 1 << 16)
    elif how == "daemon":
        subprocess.Popen(["setsid", "cat", os.environ["HELD"]])
    elif how == "interrupt":
        raise KeyboardInterrupt
    elif how == "call":
        return Call()
    elif how == "signal":
        os.kill(os.getpid(), signal.SIGINT)
    elif how == "exit":
        os._exit(0)
    return torch.nn.Linear(3, 3)
"""
WAYS = {
    "garbage": "which is no reply",
    "forged": "none to its job",
    "closed": "was closed, or another file",
    "replaced": "was closed, or another file",
    "exit": "exit code 0 and no answer",
    "interrupt": "cannot be built: zoo.py:net raised KeyboardInterrupt (zoo.py:",
    "call": "Ends: no more",
    "signal": "the worker was ended by SIGINT",
    "daemon": "",
}


def test_each_is_a_row_and_the_next_case_is_measured(
    trtbench: Trtbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "zoo.py").write_text(MODELS)
    inputs = "inputs: {input: {shape: [2, 3]}}"
    models = "\n".join(f"  {way}: {{factory: 'zoo.py:net', args: {{how: {way}}}, {inputs}}}" for way in WAYS)
    measure = "measure: {replicates: 1, max_time: 1s, warmup: 0s, boundaries: [latency]}"
    (tmp_path / "s.yaml").write_text(f"schema: 1\nmodels:\n{models}\nmatrix: {{backend: [eager]}}\n{measure}\n")
    os.mkfifo(tmp_path / "held")
    monkeypatch.setenv("HELD", str(tmp_path / "held"))
    monkeypatch.chdir(tmp_path)
    assert trtbench("run", "s.yaml") == 1, trtbench.err
    (run,) = trtbench.runs()
    told = {record.label.split("/")[0]: record.failure.message if record.failure else "" for record in run.records}
    assert told.keys() == WAYS.keys()
    assert all(WAYS[way] in message and bool(WAYS[way]) is bool(message) for way, message in told.items())
    assert not (tmp_path / "notes").exists() or (tmp_path / "notes").read_bytes() == b""
    with pytest.raises(OSError, match="No such device or address"):  # nobody reads it any more
        os.open(tmp_path / "held", os.O_WRONLY | os.O_NONBLOCK)


def test_a_model_that_does_not_take_its_inputs_says_that_it_fails_by_itself(
    trtbench: Trtbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "zoo.py").write_text("import torch\n\ndef net():\n    return torch.nn.Linear(32, 3)\n")
    models = "models: {net: {factory: 'zoo.py:net', inputs: {input: {shape: [2, 33]}}}}"
    (tmp_path / "s.yaml").write_text(f"schema: 1\n{models}\nmatrix: {{backend: [eager, torchscript]}}\n")
    monkeypatch.chdir(tmp_path)
    assert trtbench("run", "s.yaml", "--quick") == 1
    (run,) = trtbench.runs()
    failures = [record.failure for record in run.records if record.failure]
    assert [failure.kind for failure in failures] == ["RuntimeError"] * 2
    assert all("mat1 and mat2" in failure.message and "the model by itself" in failure.hint for failure in failures)
    assert {failure.where for failure in failures} == {""}  # it is shared: a case's line may be another one's
