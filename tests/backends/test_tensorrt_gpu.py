"""TensorRT and torch_tensorrt 2.2 on a real GPU, in the toolchain $TORCH22_PYTHON (suites/fx2trt_resnet18.yaml)."""

from __future__ import annotations

import itertools
import json
import os

import pytest

from tests.backends.gpu_kit import ROOT, Suite, measured, run
from tests.backends.kit import HERE

pytestmark = pytest.mark.gpu

SUITE = """\
schema: 1
name: engines
device: cuda
toolchains: {torch22: {python: $TORCH22_PYTHON}}
models:
  ranged: {factory: engine_zoo.py:branches, inputs: {x: {shape: [batch, 32, 32, 32]}}}
  fixed: {factory: engine_zoo.py:branches, inputs: {x: {shape: [4, 32, 32, 32]}}}
  gelu: {factory: engine_zoo.py:gelu, inputs: {input: {shape: [4, 64, 64]}}}
  tokens: {factory: engine_zoo.py:tokens, inputs: {ids: {shape: [4, 16], dtype: int64, range: [0, 100]}}}
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
    - {name: torch_tensorrt, ir: fx, min_block_size: 1}
  include:
    - {model: ranged, backend: &plain {name: tensorrt}, streams: 2}
    - {model: ranged, backend: *plain, cuda_graph: on}
    - model: fixed
      backend: {name: tensorrt, network: engine_zoo.py:branches_by_hand, max_aux_streams: 3}
      cuda_graph: on
      streams: 2
    - {model: gelu, backend: {name: tensorrt, network: engine_zoo.py:gelu_by_plugin, plugins: [libown.so]}}
    - {model: tokens, backend: [*plain, {name: fx2trt}]}
    - {model: det, backend: *plain, precision: fp32}
    - {model: fixed, backend: *plain, precision: bf16}
measure: {replicates: 1, max_time: 1s}
"""


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    old = os.environ.get("TORCH22_PYTHON")
    if not old:
        pytest.skip("TORCH22_PYTHON names no Python with TensorRT 8.6 and torch_tensorrt 2.2")
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("engines")
    where = "import pathlib, tensorrt_libs as libs; print(next(pathlib.Path(libs.__path__[0]).glob('*plugin.so*')))"
    (folder / "libown.so").symlink_to(run([old, "-c", where], folder, {}).stdout.strip())
    return Suite(folder, "engines", SUITE, HERE / "engine_zoo.py")


def test_one_engine_serves_every_size_of_its_range_on_several_lanes(engines: Suite) -> None:
    for size, how in itertools.product((1, 16), ("streams=2", "graph")):
        told = measured(engines(f"ranged/tensorrt/fp16/batch={size} of 1..16/{how}"))
        assert told["engine"]["plan_bytes"] > 0
    assert len(list((engines.folder / "cache" / "engine").glob("*/engine.plan"))) == 4


def test_a_graph_captures_the_streams_that_tensorrt_adds(engines: Suite) -> None:
    told = measured(engines("max_aux_streams"))
    assert told["graph_capture"] == "harness"
    assert told["engine"]["aux_streams"] >= 1


def test_a_network_by_hand_can_use_a_plugin_of_its_own_library(engines: Suite) -> None:
    measured(engines("gelu"))


@pytest.mark.parametrize(
    "label", ["tokens/tensorrt", "tokens/fx2trt", "fixed/tensorrt[network=engine_zoo.py:branches_by_hand,refit=on]"]
)
def test_outputs_have_the_type_of_the_precision_by_every_route(engines: Suite, label: str) -> None:
    assert measured(engines(label))["output_dtypes"] == ["float16"]


def test_a_node_that_the_parser_refuses_is_named(engines: Suite) -> None:
    failure = engines("det/").failure
    assert failure is not None
    assert (failure.kind, failure.stage) == ("Unsupported", "parse")
    assert "Det /model/Det (node 0)" in failure.message


def test_a_precision_that_the_version_lacks_is_a_row(engines: Suite) -> None:
    failure = engines("bf16").failure
    assert failure is not None
    assert (failure.kind, failure.stage) == ("Unsupported", "build")
    assert "bf16" in failure.message.lower()


@pytest.mark.parametrize("ir", ["", "ir=ts,", "ir=torch_compile,", "ir=fx,"])
def test_torch_tensorrt_runs_engines_through_each_frontend(engines: Suite, ir: str) -> None:
    told = measured(engines(f"fixed/torch_tensorrt[{ir}min_block_size=1]"))
    assert told["engines"] >= 1


def test_layers_of_a_real_engine(engines: Suite) -> None:
    done = engines.trtbench("layers", "engines.yaml", "--select", "model=gelu", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert any(layer["ns"] for layer in json.loads(done.stdout)["cases"][0]["layers"])


def test_plans_that_cannot_be_loaded_and_shapes_out_of_range_say_so(engines: Suite) -> None:
    (folder,) = {
        plan.parent
        for plan in (engines.folder / "cache" / "engine").glob("*/engine.plan")
        if json.loads((plan.parent / "build.json").read_text()).get("profile")
    }
    # What this interpreter has on its path is not for that one.
    command = [os.environ["TORCH22_PYTHON"], HERE.parent / "runtimes" / "trt" / "plan_check.py", folder]
    done = run(command, engines.folder, {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["whole"][0] == told["batch 16"][0] == "ok"
    for name in ("half", "empty", "text", "byte 0", "byte 16", "byte 32"):
        assert told[name][0] == "CaseError", told[name]
        assert "damaged or cut short" in told[name][1]
        assert "--cold" in told[name][2]
    kind, message, fix = told["batch 17"]
    assert (kind, "[1, 32, 32, 32] to [16, 32, 32, 32]" in message, "dynamic" in fix) == ("CaseError", True, True)
