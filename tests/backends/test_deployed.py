"""``executor: cpp`` on a CPU: programs and packages run by the C++ program, built once, through a whole run."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import store
from bench.backends import base
from tests.conftest import Trtbench

pytest.importorskip("torch")
pytestmark = [pytest.mark.torch, pytest.mark.workers, pytest.mark.long]

MODELS = '''\
import torch


class Named(torch.nn.Module):
    """Returns a dict, and an attribute of its own."""

    def __init__(self):
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 8, 3)
        self.register_buffer("grid", torch.arange(5.0))

    def forward(self, x, flag):
        y = torch.relu(self.convolution(x))
        return {"features": y, "pooled": y.mean((2, 3)) * flag.sum(), "grid": self.grid}


@torch.library.custom_op("deployed_zoo::scale", mutates_args=())
def scale(x: torch.Tensor) -> torch.Tensor:
    return x * 2


@scale.register_fake
def _(x):
    return torch.empty_like(x)


class InPython(torch.nn.Module):
    def forward(self, x):
        return torch.ops.deployed_zoo.scale(x)
'''
SUITE = """\
schema: 1
name: deployed
device: cpu
models:
  named:
    factory: models.py:Named
    inputs: {x: {shape: [2, 3, 8, 8]}, flag: {shape: [3], dtype: int64, range: [1, 5]}}
  in_python: {factory: models.py:InPython, inputs: {x: {shape: [4]}}}
matrix:
  model: named
  backend:
    - {name: torchscript, executor: cpp}
    - {name: torchscript, executor: cpp, method: script, freeze: false}
    - {name: torchscript, executor: cpp, optimize_for_inference: true, memory_format: channels_last}
    - {name: aoti, executor: cpp}
  precision: fp32
  streams: 2
  include:
    - {model: named, backend: {name: torchscript, executor: cpp}, precision: bf16, streams: 1}
    - {model: in_python, backend: {name: torchscript, executor: cpp}, precision: fp32, streams: 1}
measure: {replicates: 1, max_time: 1s}
"""


def test_programs_and_packages_are_measured_and_correct_without_python(trtbench: Trtbench, tmp_path: Path) -> None:
    if lacks := base.load("aoti").missing():
        pytest.skip(f"{lacks.reason}; {lacks.fix}")
    (tmp_path / "models.py").write_text(MODELS)
    (tmp_path / "suite.yaml").write_text(SUITE)
    trtbench("run", str(tmp_path / "suite.yaml"), "--quick")
    (path,) = (tmp_path / "results").rglob("*.jsonl")
    records = {record.label: record for record in store.read(path).records}
    assert len(records) == 6
    refused = [record for record in records.values() if record.failure]
    assert [record.failure.kind for record in refused if record.failure] == ["Unsupported"]
    assert "is defined in Python" in str(refused[0].failure)
    for label, record in records.items():
        if record.failure:
            continue
        assert record.accuracy is not None, label
        assert record.accuracy.ok, label
        assert record.fairness["executor"] == "cpp"
        boundaries = {measurement.boundary: measurement for measurement in record.measurements}
        lanes = 2 if "streams=2" in label else 1
        assert boundaries["throughput"].threads == boundaries["throughput"].lane_count == lanes
        assert (boundaries["latency"].cpu_ns or 0) > 0
        assert (record.telemetry.loop_overhead_ns or 0) > 0
        assert "runner" in [phase.name for phase in record.phases]
    colds = [phase.cold for record in records.values() for phase in record.phases if phase.name == "runner"]
    assert sum(colds) == 1, "one program for all of them"
