"""The command line on a real GPU: the clock's self-test, and a suite from the model to the table."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import store
from bench.measure import nvml
from tests.conftest import Trtbench

pytestmark = pytest.mark.gpu

SUITE = """\
schema: 1
name: small
device: cuda
models: {net: {factory: zoo.py:net, inputs: {x: {shape: [batch, 256]}}}}
matrix: {backend: [eager], precision: [tf32, fp16], batch: [8], cuda_graph: [off, on]}
measure: {replicates: 1, max_time: 1s, energy: 1s}
"""
ZOO = """\
import torch

class Net(torch.nn.Sequential):
    def forward(self, x):
        return super().forward(x)

def net():
    return Net(*[layer for _ in range(8) for layer in (torch.nn.Linear(256, 256), torch.nn.GELU())])
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
    run = store.read(store.runs(trtbench.store)[0])
    assert len(run.records) == 4
    for record in run.records:
        assert record.failure is None
        assert record.accuracy is not None
        assert record.accuracy.ok
        boundaries = {measurement.boundary for measurement in record.measurements}
        assert boundaries >= {"gpu", "enqueue", "latency", "h2d", "compute", "d2h", "throughput"}
        assert record.telemetry["readings"] >= 2
        assert 0 < record.telemetry.get("inference_j", 1) < 10
    graphs = {record.label.endswith("graph"): record.fairness["graph_capture"] for record in run.records}
    assert graphs == {False: "none", True: "harness"}
