"""Lanes that are processes: measured together, each end of one a row that says so, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from bench.errors import CaseError, Crash, ProcessFailed, Timeout, Unsupported
from bench.measure.together import Others, Share
from bench.model.run import Record
from bench.model.suite import DEFAULT_POLICY, Case, Input, Threshold
from bench.model.telemetry import HostFigures
from bench.runner import jobs, lane_processes
from bench.runner.lane_processes import Beside, LaneProcesses
from bench.runner.phase_log import PhaseLog, Wire
from bench.runner.worker_failures import failure_of
from tests.backends.gpu_kit import Suite
from tests.conftest import Trtbench
from tests.runner.kit import started_with

pytestmark = [pytest.mark.workers]
S = 1_000_000_000
CASE = Case(model="m", factory="f:m", inputs={"x": Input(shape=(1,))}, backend="fake", streams=3, lanes="processes")
# Takes the place of bench.runner.lane_worker: answers as `answer` says, once it has its job.
SCRIPT = """\
import os, signal, sys
job, reply = sys.stdin.buffer.readline(), int(sys.argv[2])
number = int(job.split(b'/lane-')[1].split(b'"')[0])
def say(**fields):
    import json
    os.write(reply, json.dumps(fields).encode() + b"\\n")
say(reply="doing", phase="load")
{answer}
"""


def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, timeout_s: float = 60) -> Beside:
    monkeypatch.setattr(lane_processes, "_START", SCRIPT.format(answer=answer))
    policy = DEFAULT_POLICY.__class__(timeout_ns=round(timeout_s * S))
    job = jobs.Measure(
        device="cpu", case=CASE, policy=policy, threshold=Threshold(), artifacts={}, scratch=str(tmp_path)
    )
    log = PhaseLog(Wire(os.open(os.devnull, os.O_WRONLY)))
    return Beside(job, log, time.monotonic_ns())


def looped(others: Others) -> Sequence[Share]:
    """The shares of one loop."""
    others.lead_in(DEFAULT_POLICY)
    others.gather()
    others.begin()
    return others.shares()


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        ("os.kill(os.getpid(), 9)", Crash, "lane 2 of 3 was ended in 'load' by SIGKILL"),
        ("os._exit(3)", Crash, "lane 2 of 3 ended with exit code 3 in 'load'"),
        ("os.write(reply, b'hello\\n'); sys.stdin.read()", Crash, "wrote b'hello', which is no reply"),
        ("say(reply='arrived', ticket='x'); sys.stdin.read()", Crash, "a reply that is none to its job"),
        ("say(reply='checked'); sys.stdin.read()", Crash, "answered Checked for Arrived"),
        ("sys.stdin.buffer.readline()", Timeout, "lane 2 of 3 has not answered in 'load'"),
        (
            "say(reply='failed', kind='ValueError', stage='load', message='no such file', hint='look'); os._exit(0)",
            ProcessFailed,
            "lane 2 of 3 failed in 'load': no such file",
        ),
        (
            "say(reply='failed', kind='Unsupported', stage='load', message='no such layer'); os._exit(0)",
            Unsupported,
            "lane 2 of 3 failed in 'load': no such layer",
        ),
    ],
)
def test_what_goes_wrong_in_one_names_it_and_ends_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, error: type[CaseError], message: str
) -> None:
    started = []
    popen = subprocess.Popen

    def noted(*arguments: object, **fields: object) -> subprocess.Popen[bytes]:
        started.append(popen(*arguments, **fields))  # type: ignore[call-overload]
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", noted)
    opened = beside(tmp_path, monkeypatch, answer, timeout_s=1 if error is Timeout else 60)
    with pytest.raises(error, match=message) as raised, opened():
        pass
    assert type(raised.value) is error
    assert raised.value.fix
    assert len(started) == 2
    assert all(process.returncode is not None for process in started)


@pytest.mark.parametrize("kind", ["ValueError", "SuiteError", "Crash"])
def test_the_row_of_what_one_of_them_met_has_its_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    answer = f"say(reply='failed', kind={kind!r}, stage='load', message='no such file'); os._exit(0)"
    with pytest.raises(CaseError) as raised, beside(tmp_path, monkeypatch, answer)():
        pass
    failure = failure_of(raised.value, "throughput")
    assert (failure.kind, failure.stage) == (kind, "throughput")
    assert "lane 2 of 3 failed in 'load': no such file" in failure.message


def test_a_lane_without_room_is_left_out_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_room = "say(reply='failed', kind='OutOfMemory', stage='load', message='CUDA out of memory')"
    answer = f"{no_room} if number == 3 else say(reply='arrived')\nsys.stdin.read()"
    opened = beside(tmp_path, monkeypatch, answer)
    with opened() as others:
        assert isinstance(others, LaneProcesses)
        assert others.count == 1
    (warning,) = opened.warnings
    assert (warning.kind, warning.figures["lanes"], warning.figures["requested"]) == ("FewerLanes", 2, 3)


def test_one_that_ends_in_the_loop_is_named_as_its_share_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = """\
say(reply='arrived'); sys.stdin.buffer.readline()
say(reply='doing', phase='loop'); say(reply='arrived')
int(sys.stdin.buffer.readline())
os.kill(os.getpid(), signal.SIGSEGV) if number == 3 else (say(reply='looped', host={}), sys.stdin.read())
"""
    opened = beside(tmp_path, monkeypatch, answer)
    with pytest.raises(Crash, match="lane 3 of 3 was ended in 'loop' by SIGSEGV"), opened() as others:
        looped(others)


def test_memory_is_that_of_all_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = """\
say(reply='arrived'); sys.stdin.buffer.readline(); say(reply='arrived'); sys.stdin.buffer.readline()
import numpy
numpy.savez(job.split(b'"scratch":"')[1].split(b'"')[0].decode() + '/share.npz', stamps=[1, 2])
say(reply='looped', host={'rss_bytes': 10, 'longest_wait_ns': number}, torch_peak_bytes=5); sys.stdin.read()
"""
    opened = beside(tmp_path, monkeypatch, answer)
    with opened() as others:
        assert [share["stamps"].tolist() for share in looped(others)] == [[1, 2], [1, 2]]
    own = HostFigures(rss_bytes=100, peak_rss_bytes=200, longest_wait_ns=1, load_average=0.5)
    figures, peak = opened.with_theirs(own, 7)
    assert (figures.rss_bytes, figures.peak_rss_bytes, figures.longest_wait_ns) == (120, 200, 3)
    assert (figures.load_average, peak) == (0.5, 17)
    assert opened.with_theirs(own, None)[1] is None


MODELS = """
import os, signal, sys, torch

def another():
    return "bench.runner.lane_worker" in sys.modules

class Net(torch.nn.Module):
    def __init__(self, how):
        super().__init__()
        self.how = how
        self.linear = torch.nn.Linear(3, 3)

    def forward(self, x):
        if another() and self.how == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if another() and self.how == "hangs":
            with open(os.environ["HELD"], "rb") as file:
                file.read()
        return self.linear(x)
"""
SUITE = """\
schema: 1
name: lanes
device: cpu
models:
  well: {factory: zoo.py:Net, args: {how: well}, inputs: {x: {shape: [2, 3]}}}
  dies: {factory: zoo.py:Net, args: {how: dies}, inputs: {x: {shape: [2, 3]}}}
matrix: {backend: [eager], streams: 2, lanes: processes}
measure: {replicates: 1, max_time: 1s, warmup: 0s, throughput_time: 100ms}
"""


@pytest.mark.torch
@pytest.mark.long
def test_lanes_in_processes_are_measured_and_a_dead_one_is_a_row(trtbench: Trtbench, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "zoo.py").write_text(MODELS)
    (tmp_path / "s.yaml").write_text(SUITE)
    assert trtbench("run", str(tmp_path / "s.yaml")) == 1, trtbench.err
    (run,) = trtbench.runs()
    records: dict[str, Record] = {record.label.split("/")[0]: record for record in run.records}
    well, dies = records["well"], records["dies"]
    assert well.failure is None, well.failure
    loop = next(each for each in well.measurements if each.boundary == "throughput")
    assert (loop.lane_count, loop.processes, loop.threads) == (2, 2, 2)
    assert loop.calls >= 20
    assert loop.window_ns >= 100_000_000
    assert well.telemetry.host is not None
    assert (well.telemetry.host.rss_bytes or 0) > 2 * 50_000_000, "an interpreter with torch each"
    assert dies.failure is not None
    assert dies.failure.kind == "Crash"
    assert "the process of lane 2 of 2 was ended in 'first_call' by SIGKILL from outside" in dies.failure.message
    assert "lanes: threads" in dies.failure.hint
    assert [each.boundary for each in dies.measurements] == []


@pytest.mark.torch
@pytest.mark.long
def test_an_interrupt_leaves_no_process_of_a_lane(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "zoo.py").write_text(MODELS)
    (tmp_path / "s.yaml").write_text(SUITE.replace("dies", "hangs"))
    held = tmp_path / "held"
    os.mkfifo(held)
    env = {**os.environ, "HELD": str(held), "TRTBENCH_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "bench", "run", "s.yaml", "--store", "results", "--select", "model=hangs"]
    with started_with(signal.SIGINT, signal.SIG_DFL):
        child = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    with child:
        # Opened when the lane's process reads it: from then on it hangs.
        writer = os.open(held, os.O_WRONLY)
        child.send_signal(signal.SIGINT)
        assert child.wait(60) == 130
    with pytest.raises(BrokenPipeError):  # its reader has ended
        os.write(writer, b"x")
    os.close(writer)


@pytest.mark.torch
@pytest.mark.gpu
def test_on_a_gpu_each_lane_has_a_context_and_copies_that_overlap(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "models.py").write_text(MODELS)
    text = SUITE.replace("zoo.py", "models.py").replace("device: cpu", "device: cuda")
    text = text.replace("lanes: processes", "lanes: [threads, processes]").replace("100ms", "1s, energy: 5s")
    run = Suite(tmp_path, "lanes", text, tmp_path / "models.py")
    processes = run("well", "lanes=processes")
    (threads,) = [record for record in run.records if record.label.endswith("well/eager/fp32/streams=2")]
    loops = [next(m for m in record.measurements if m.boundary == "throughput") for record in (threads, processes)]
    assert [(loop.lane_count, loop.depth, loop.threads, loop.processes) for loop in loops] == [
        (2, 2, 1, 1),
        (2, 2, 2, 2),
    ]
    assert loops[1].window_ns >= 1_000_000_000
    assert all(len(part) == len(loops[1].samples) for part in loops[1].parts.values())
    first, second = threads.telemetry, processes.telemetry
    assert first.gpu is not None
    assert second.gpu is not None
    if first.gpu.process_memory_bytes and second.gpu.process_memory_bytes:  # not told in every container
        assert second.gpu.process_memory_bytes > 1.5 * first.gpu.process_memory_bytes
        assert second.gpu.foreign_processes == 0
    assert (second.torch_peak_bytes or 0) > (first.torch_peak_bytes or 0) / 2
    assert second.clock is not None
    assert (second.clock.saturated_inferences or 0) > 0
    dies = run("dies", "lanes=processes").failure
    assert dies is not None
    assert dies.kind == "Crash"


def test_a_rehearsal_has_all_lanes_and_starts_no_process(
    tmp_path: Path, trtbench: Trtbench, fake_suite: Callable[..., Path]
) -> None:
    suite = fake_suite()
    suite.write_text(suite.read_text().replace("matrix:\n", "matrix:\n  streams: 3\n  lanes: processes\n"))
    assert trtbench("run", str(suite)) == 0, trtbench.err
    (run,) = trtbench.runs()
    loops = [each for record in run.records for each in record.measurements if each.boundary == "throughput"]
    assert {(loop.lane_count, loop.processes) for loop in loops} == {(3, 3)}
    assert not [warning for record in run.records for warning in record.warnings if warning.kind == "FewerLanes"]
