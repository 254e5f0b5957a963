"""Deconvolutions in groups: counted as a network is built by TensorRT 8, and told by the record of its engine."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from bench import tensors
from bench.analysis import fairness
from bench.lowering import parts
from bench.runtimes import onnx_manifest
from bench.runtimes.trt import builder, deconvolutions, library, versions
from tests.backends.kit import Bench
from tests.runtimes.trt import runtime_standin
from tests.runtimes.trt.builder_world import MODEL, World
from tests.runtimes.trt.names import VERSIONS
from tests.runtimes.trt.script import Script
from tests.runtimes.trt.test_execution import prepare

V8, V10, V11 = VERSIONS
COUNTS = {"layers": 8, "groups": 832}
BY_HAND = """
def build(network, inputs, weights, trt):
    layer = network.add_deconvolution_nd(inputs["x"], 3, (2, 2), weights["up.weight"])
    layer.num_groups = 3
    return {"y": layer.get_output(0)}
"""


@pytest.mark.parametrize(("version", "counts"), [(V8, {"layers": 2, "groups": 68}), (V10, {}), (V11, {})])
def test_they_are_counted_where_tensorrt_computes_one_group_after_the_other(
    world: World, version: str, counts: dict[str, int]
) -> None:
    world.model(MODEL | {"deconvolutions": [4, 1, 64]})
    _, info = world.build(Script(version))
    assert info.grouped_deconvolutions == counts
    world.model(MODEL | {"deconvolutions": [1]})
    _, info = world.build(Script(version))
    assert info.grouped_deconvolutions == {}


def test_those_of_a_network_by_hand_are_counted_too(world: World) -> None:
    (world.root / "net.py").write_text(BY_HAND)
    (world.root / "weights").mkdir()
    tensors.write(world.root / "weights/weights.safetensors", {"up.weight": np.ones((3, 1, 2, 2), np.float32)})
    _, info = world.build(Script(V8), network="net.py:build")
    assert info.grouped_deconvolutions == {"layers": 1, "groups": 3}


def test_what_became_dense_in_the_file_is_said_of_the_engine(world: World) -> None:
    counts = {"in_groups": 3, "dense": 2, "reasons": ["up: its kernel is an input"]}
    manifest = onnx_manifest.read_manifest(world.root / "export")
    world.manifest(msgspec.structs.replace(manifest, deconvolutions=counts))
    _, info = world.build(Script(V8), deconvolutions="dense")
    assert info.deconvolutions == counts


def test_an_engine_of_before_has_no_count() -> None:
    info = runtime_standin.built()
    old = {name: value for name, value in msgspec.to_builtins(info).items() if name != "grouped_deconvolutions"}
    assert msgspec.convert(old, builder.BuildInfo) == info
    assert info.grouped_deconvolutions == {}


def test_the_record_of_an_engine_warns_of_them(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    world = runtime_standin.World(V8)
    monkeypatch.setitem(sys.modules, "cuda.bindings", SimpleNamespace(runtime=world.cuda))  # type: ignore[arg-type]
    for counts, kinds in ((COUNTS, ["GroupedDeconvolutions"]), ({}, [])):
        with contextlib.closing(prepare(world, bench, grouped_deconvolutions=counts)) as prepared:
            report = prepared.fairness()
        assert report["engine"].get("grouped_deconvolutions", {}) == counts
        assert [warning.kind for warning in fairness.warnings(report, bench.case("tensorrt"))] == kinds


def test_engines_of_a_program_in_parts_are_counted_together(bench: Bench, tmp_path: Path) -> None:
    api: Any = SimpleNamespace(name="TensorRT 8.6.1")
    for index, counts in enumerate(({"layers": 1, "groups": 4}, {}, {"layers": 2, "groups": 96})):
        (tmp_path / f"engine_{index}").mkdir()
        info = runtime_standin.built(grouped_deconvolutions=counts)
        (tmp_path / f"engine_{index}" / builder.BUILD_INFO).write_bytes(msgspec.json.encode(info))
    engine = parts.report(bench.case("fx2trt"), api, tmp_path)["engine"]
    assert engine["grouped_deconvolutions"] == {"layers": 3, "groups": 100}
    assert deconvolutions.total([{}, {}]) == {}


@pytest.mark.long
@pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="pip install tensorrt-rtx-cu13")
def test_real_bindings_return_their_groups() -> None:
    api = library.open_api([], "cpu", library.RTX)
    trt = api.module
    network = versions.new_network(api, trt.Builder(api.log.logger), True)
    x = network.add_input("x", trt.float32, (1, 6, 4, 4))
    kept = [np.ones(shape, np.float32) for shape in ((6, 1, 2, 2), (6, 6, 2, 2), (6, 3, 2, 2))]
    for kernel, groups in zip(kept, (6, 1, 2), strict=True):
        layer = network.add_deconvolution_nd(x, 6, (2, 2), kernel)
        layer.num_groups = groups
        x = network.add_activation(layer.get_output(0), trt.ActivationType.RELU).get_output(0)
    assert deconvolutions.in_groups(api, network) == {"layers": 2, "groups": 8}
