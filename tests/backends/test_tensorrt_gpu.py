"""TensorRT and torch_tensorrt 2.2 on a real GPU, in the toolchain $TORCH22_PYTHON (suites/fx2trt_resnet18.yaml)."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import store
from bench.measure import nvml
from bench.model import Record

pytestmark = pytest.mark.gpu
HERE = Path(__file__).parent
ROOT = HERE.parents[1]

SUITE = """\
schema: 1
name: engines
device: cuda
toolchains: {torch22: {python: $TORCH22_PYTHON}}
models:
  ranged: {factory: engine_zoo.py:branches, inputs: {x: {shape: [batch, 32, 32, 32]}}}
  fixed: {factory: engine_zoo.py:branches, inputs: {x: {shape: [4, 32, 32, 32]}}}
  gelu: {factory: engine_zoo.py:gelu, inputs: {x: {shape: [4, 64, 64]}}}
  det: {factory: engine_zoo.py:determinant, inputs: {x: {shape: [4, 4, 4]}}}
dynamic: {batch: {min: 1, opt: 8, max: 16, at: [1, 16]}}
matrix:
  toolchain: torch22
  precision: fp16
  model: fixed
  backend:
    - {name: tensorrt, network: engine_zoo.py:branches_by_hand, refit: true}
    - {name: torch_tensorrt, min_block_size: 1}
    - {name: torch_tensorrt, ir: ts, min_block_size: 1}
    - {name: torch_tensorrt, ir: torch_compile, min_block_size: 1}
    - {name: torch_tensorrt, ir: fx}
  include:
    - {model: ranged, backend: &plain {name: tensorrt}, streams: 2}
    - {model: ranged, backend: *plain, cuda_graph: on}
    - model: fixed
      backend: {name: tensorrt, network: engine_zoo.py:branches_by_hand, max_aux_streams: 3}
      cuda_graph: on
      streams: 2
    - {model: gelu, backend: {name: tensorrt, network: engine_zoo.py:gelu_by_plugin, plugins: [libown.so]}}
    - {model: det, backend: *plain, precision: fp32}
    - {model: fixed, backend: *plain, precision: bf16}
measure: {replicates: 1, max_time: 1s}
"""


class Engines:
    """The suite's run, and where its artifacts are."""

    def __init__(self, folder: Path, records: tuple[Record, ...], screen: str) -> None:
        self.folder = folder
        self.records = records
        self.screen = screen

    def __call__(self, *parts: str) -> Record:
        """The one record whose label has all of ``parts``."""
        (found,) = [record for record in self.records if all(part in record.label for part in parts)]
        return found


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Engines:
    if reason := nvml.GpuTelemetry(0).reason:
        pytest.skip(reason)
    old = os.environ.get("TORCH22_PYTHON")
    if not old:
        pytest.skip("TORCH22_PYTHON names no Python with TensorRT 8.6 and torch_tensorrt 2.2")
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("engines")
    (folder / "engines.yaml").write_text(SUITE)
    (folder / "engine_zoo.py").write_text((HERE / "engine_zoo.py").read_text())
    where = "import pathlib, tensorrt_libs as libs; print(next(pathlib.Path(libs.__path__[0]).glob('*plugin.so*')))"
    plugins = subprocess.run([old, "-c", where], check=True, capture_output=True, text=True).stdout.strip()
    (folder / "libown.so").symlink_to(plugins)
    done = trtbench(folder, "run", "--progress", "plain", "--store", "results", "engines.yaml")
    print(done.stdout, done.stderr)
    assert done.returncode in (0, 1), done.stderr
    return Engines(folder, store.read(store.runs(folder / "results")[0]).records, done.stdout)


def trtbench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=folder,
        env={**os.environ, "TRTBENCH_CACHE": str(folder / "cache"), "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )


def assert_measured(record: Record) -> dict[str, Any]:
    """The record's fairness report, once it is held, accurate and complete."""
    assert record.failure is None, record.failure
    assert record.accuracy is not None
    assert record.accuracy.ok
    assert {"gpu", "enqueue", "latency", "throughput"} <= {each.boundary for each in record.measurements}
    return record.fairness


def test_one_engine_serves_every_size_of_its_range_on_several_lanes(engines: Engines) -> None:
    for size, how in itertools.product((1, 16), ("streams=2", "graph")):
        told = assert_measured(engines(f"ranged/tensorrt/fp16/batch={size} of 1..16/{how}"))
        assert told["engine"]["plan_bytes"] > 0
    assert len(list((engines.folder / "cache" / "engine").glob("*/engine.plan"))) == 4


def test_a_graph_captures_the_streams_that_tensorrt_adds(engines: Engines) -> None:
    told = assert_measured(engines("max_aux_streams"))
    assert told["graph_capture"] == "harness"
    assert told["engine"]["aux_streams"] >= 1


def test_a_network_by_hand_can_use_a_plugin_of_its_own_library(engines: Engines) -> None:
    assert_measured(engines("gelu"))


def test_a_node_that_the_parser_refuses_is_named(engines: Engines) -> None:
    failure = engines("det/").failure
    assert failure is not None
    assert (failure.kind, failure.stage) == ("Unsupported", "build")
    assert "Det" in failure.message


def test_a_precision_that_the_version_lacks_is_a_row(engines: Engines) -> None:
    failure = engines("bf16").failure
    assert failure is not None
    assert failure.kind == "Unsupported"
    assert "bf16" in failure.message.lower()


@pytest.mark.parametrize("ir", ["min_block_size=1]/fp16", "ir=ts", "ir=torch_compile", "ir=fx"])
def test_torch_tensorrt_runs_engines_through_each_frontend(engines: Engines, ir: str) -> None:
    told = assert_measured(engines("fixed/torch_tensorrt[", ir))
    assert told["engines"] >= 1


def test_layers_of_a_real_engine(engines: Engines) -> None:
    done = trtbench(engines.folder, "layers", "engines.yaml", "--select", "model=gelu", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert any(layer["ns"] for layer in json.loads(done.stdout)["cases"][0]["layers"])


def test_plans_that_cannot_be_loaded_and_shapes_out_of_range_say_so(engines: Engines) -> None:
    (folder,) = {
        plan.parent
        for plan in (engines.folder / "cache" / "engine").glob("*/engine.plan")
        if json.loads((plan.parent / "build.json").read_text())["profile"]
    }
    done = subprocess.run(
        [os.environ["TORCH22_PYTHON"], HERE / "plan_check.py", folder],
        env={**os.environ, "PYTHONPATH": str(ROOT)},  # what this interpreter has is for this interpreter
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout, done.stderr[-2000:])
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["whole"][0] == told["batch 16"][0] == "ok"
    for name in ("half", "empty", "text"):
        assert told[name][0] == "CaseError", told[name]
        assert "damaged or cut short" in told[name][1]
        assert "--cold" in told[name][2]
    kind, message, fix = told["batch 17"]
    assert (kind, "[1, 32, 32, 32] to [16, 32, 32, 32]" in message, "dynamic" in fix) == ("CaseError", True, True)
    versions = [what for what in told.values() if what[0] == "Unsupported" and "was not made by TensorRT" in what[1]]
    assert versions
