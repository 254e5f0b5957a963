"""The command line on a real GPU: the clock's self-test, and a suite from the model to the table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

from bench import store
from bench.machine import nvml
from bench.model.run import Record
from bench.report.warnings import describe
from tests.conftest import Trtbench

pytestmark = pytest.mark.gpu

SUITE = """\
schema: 1
name: small
device: cuda
models: {net: {factory: zoo.py:net, inputs: {x: {shape: [batch, 256]}}}}
matrix: {backend: [eager], precision: [tf32, fp16], batch: [8], cuda_graph: [off, on]}
measure: {replicates: 1, max_time: 1s, energy: 5s}
"""
ZOO = """\
import torch

class Net(torch.nn.Sequential):
    def forward(self, x):
        return super().forward(x)

def net():
    return Net(*[layer for _ in range(8) for layer in (torch.nn.Linear(256, 256), torch.nn.GELU())])
"""
BROKEN = """\
schema: 1
name: broken
device: cuda
models:
  wild: &model {factory: "broken.py:Wild", inputs: {x: {shape: [8, 256]}}}
  asserts: {<<: *model, factory: "broken.py:Asserts"}
  fine: {<<: *model, factory: "broken.py:Fine"}
matrix: {model: [wild, asserts, fine], backend: eager, precision: fp16}
measure: {replicates: 1, max_time: 1s}
"""
BROKEN_ZOO = """\
import torch
import triton
import triton.language as tl

@triton.jit
def far_away(x):
    tl.store(x + (tl.program_id(0).to(tl.int64) + 1) * (1 << 44), 1.0)

class Fine(torch.nn.Module):
    def forward(self, x):
        if x.is_cuda and x.dtype is torch.float16:  # the reference is fp32
            self.fail(x)
        return x * 2

    def fail(self, x):
        pass

class Wild(Fine):
    def fail(self, x):
        far_away[(1,)](x)

class Asserts(Fine):
    def fail(self, x):
        x[torch.full((1,), 1 << 20, device=x.device)]
"""
STREAMS = """\
schema: 1
name: streams
device: cuda
models:
  lost: &model {factory: "streams.py:Lost", inputs: {x: {shape: [8, 256]}}}
  joined: {<<: *model, factory: "streams.py:Joined"}
  ahead: {<<: *model, factory: "streams.py:Ahead"}
  waits: {<<: *model, factory: "streams.py:Waits"}
  default: {<<: *model, factory: "streams.py:Default"}
  between: {<<: *model, factory: "streams.py:Between"}
matrix: {model: [lost, joined, ahead, waits, default, between], backend: eager, precision: tf32}
measure: {replicates: 1, max_time: 1s}
"""
STREAMS_ZOO = """\
import torch

CYCLES = 2_000_000  # about a millisecond

class Joined(torch.nn.Module):
    side = None

    def forward(self, x):
        if x.is_cuda:
            self.side = self.side or torch.cuda.Stream()
            self.fork()
            with torch.cuda.stream(self.side):
                torch.cuda._sleep(CYCLES)
            self.join()
        return x * 2

    def fork(self):
        self.side.wait_stream(torch.cuda.current_stream())

    def join(self):
        torch.cuda.current_stream().wait_stream(self.side)

class Lost(Joined):
    def join(self):
        pass

class Ahead(Joined):
    def fork(self):
        pass

class Default(torch.nn.Module):
    def forward(self, x):
        if not x.is_cuda:
            return x + 1
        with torch.cuda.stream(torch.cuda.default_stream()):  # as an operator that launches without a stream
            torch.cuda._sleep(CYCLES)
            return x + 1

class Between(Default):
    def forward(self, x):
        return super().forward(x * 2) * 3

class Waits(torch.nn.Module):
    def forward(self, x):
        return x * (2 if x.sum().item() < 1e9 else 3)
"""
BIG = """\
schema: 1
name: big
device: cuda
models: {big: {factory: "big.py:Big", inputs: {x: {shape: [8, 256]}}}}
matrix: {backend: eager, precision: tf32}
measure: {replicates: 1, max_time: 1s}
"""
BIG_ZOO = """\
import torch

class Big(torch.nn.Module):
    def forward(self, x):
        return x + torch.zeros(2 << 30, device=x.device)[0]  # 8 GiB
"""
HOLDER = """\
import sys, torch
free, _ = torch.cuda.mem_get_info()
held = torch.empty(free - (4 << 30), dtype=torch.uint8, device="cuda")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def a_gpu() -> None:
    if reason := nvml.GpuTelemetry(0).reason:
        pytest.skip(reason)


def test_the_clock_passes_its_self_test(trtbench: Trtbench) -> None:
    assert trtbench("selftest", "--gpu", "--processes", "2", "--holds", "3", "--progress", "plain") == 0
    assert trtbench.out.count("let go and timed unheld") == 5


def test_a_suite_is_measured_held_with_graphs_energy_and_telemetry(trtbench: Trtbench, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "small.yaml").write_text(SUITE)
    (tmp_path / "zoo.py").write_text(ZOO)
    assert trtbench("run", tmp_path / "small.yaml", "--cache", tmp_path / "cache") == 0
    run = store.read(store.runs(trtbench.store, rehearsals=True)[0])
    assert len(run.records) == 4
    for record in run.records:
        assert record.failure is None
        assert record.accuracy is not None
        assert record.accuracy.ok
        boundaries = {measurement.boundary for measurement in record.measurements}
        assert boundaries >= {"gpu", "enqueue", "latency", "h2d", "compute", "d2h", "throughput"}
        assert record.telemetry.gpu is not None
        assert record.telemetry.gpu.readings >= 2
        joules = record.telemetry.inference_j
        assert joules is None or 0 < joules < 10
    graphs = {record.label.endswith("graph"): record.fairness["graph_capture"] for record in run.records}
    assert graphs == {False: "none", True: "harness"}


def records(trtbench: Trtbench, folder: Path, name: str, suite: str, zoo: str) -> dict[str, Record]:
    """The records of a suite in which something fails, by model."""
    pytest.importorskip("torch")
    (folder / f"{name}.yaml").write_text(suite)
    (folder / f"{name}.py").write_text(zoo)
    assert trtbench("run", folder / f"{name}.yaml", "--cache", folder / "cache") == 1
    return {record.label.partition("/")[0]: record for record in trtbench.runs()[0].records}


@pytest.mark.parametrize("visible", ["", "99", "GPU-00000000-0000-0000-0000-000000000000"])
def test_gpus_that_are_hidden_or_not_there_end_a_run_before_it(
    trtbench: Trtbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    (tmp_path / "small.yaml").write_text(SUITE)
    (tmp_path / "zoo.py").write_text(ZOO)
    assert trtbench("run", tmp_path / "small.yaml") == 2
    assert "CUDA_VISIBLE_DEVICES" in trtbench.err
    assert trtbench.runs() == []


def test_a_broken_context_is_a_row_and_the_next_case_starts_clean(trtbench: Trtbench, tmp_path: Path) -> None:
    pytest.importorskip("triton")
    found = records(trtbench, tmp_path, "broken", BROKEN, BROKEN_ZOO)
    for name, reason in (("wild", "illegal memory access"), ("asserts", "device-side assert")):
        failure = found[name].failure
        assert failure is not None
        assert failure.kind == "CudaFailure"
        assert reason in failure.message
        assert "compute-sanitizer" in failure.hint
    assert found["fine"].failure is None
    assert found["fine"].accuracy is not None
    assert found["fine"].accuracy.ok


def test_work_on_other_streams_counts_or_is_refused_and_a_call_that_waits_is_let_go(
    trtbench: Trtbench, tmp_path: Path
) -> None:
    found = records(trtbench, tmp_path, "streams", STREAMS, STREAMS_ZOO)
    lost = found["lost"].failure
    assert lost is not None
    assert lost.kind == "Unsupported"
    assert "after the call's stream has ended" in lost.message
    assert "wait_stream" in lost.hint
    for name in ("joined", "default", "between"):
        assert found[name].failure is None
        assert found[name].accuracy.ok
        (held,) = [m for m in found[name].measurements if m.boundary == "gpu"]
        assert median(held.samples) > 500_000
    for name, hint in (("ahead", "side.wait_stream"), ("waits", "set_sync_debug_mode")):
        assert found[name].failure is None
        assert "gpu_unheld" in {m.boundary for m in found[name].measurements}
        (unheld,) = [warning for warning in found[name].warnings if warning.kind == "Unheld"]
        assert hint in describe(unheld).hint


def test_a_full_gpu_says_that_others_have_it(trtbench: Trtbench, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    command = [sys.executable, "-c", HOLDER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        failure = records(trtbench, tmp_path, "big", BIG, BIG_ZOO)["big"].failure
        holder.communicate("")
    assert failure is not None
    assert failure.kind == "OutOfMemory"
    assert "others use" in failure.message
    assert "nvidia-smi" in failure.hint
