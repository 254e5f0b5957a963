"""The option ``deconvolutions`` where an engine is built from an ONNX file: keys, refusals, files and their counts."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from bench import tensors
from bench.analysis import fairness
from bench.backends import base
from bench.errors import Unavailable
from bench.model.divergence import MARK, VALUES
from bench.model.seam import Stage
from bench.model.suite import Case, Input, Range
from bench.runtimes import onnx as exports
from bench.runtimes import onnx_manifest
from bench.runtimes.trt import builder
from tests.backends.kit import Bench, cosine
from tests.backends.network_kit import bench_of_lowering, needs_rtx
from tests.conftest import Trtbench

DENSE = {"deconvolutions": "dense"}
BOTH = ("tensorrt", "tensorrt_rtx")
ORT: Any = base.load("onnxruntime")
TRT: Any = base.load("tensorrt")
IMAGES = {"x": Input(shape=("batch", 3, 8, 8))}
COUNTS = {"in_groups": 1, "dense": 1}
COMPUTED = """
import torch
from torch.nn.utils import parametrizations, parametrize


class Exponential(torch.nn.Module):
    def forward(self, weight):
        return weight.exp()


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = (torch.nn.ConvTranspose2d(3, 3, 2, groups=3) for _ in range(2))
        parametrizations.weight_norm(self.first)
        parametrize.register_parametrization(self.last, "weight", Exponential(), unsafe=True)

    def forward(self, x):
        return self.last(self.first(x))


net = Net
"""


@pytest.fixture
def here(tmp_path: Path) -> Bench:
    return bench_of_lowering(tmp_path)


def case(bench: Bench, backend: str = "tensorrt", factory: str = "zoo.py:upsampling", **fields: Any) -> Case:
    return bench.case(backend, factory, IMAGES, **({"symbols": {"batch": 2}, "options": DENSE} | fields))


# ------------------------------------------------------------------------------------------------- options and stages


def stages(of: Case) -> dict[str, Stage]:
    """All stages of a case, also those of commands that look into its network."""
    result = {stage.name: stage for stage in base.load(of.backend).stages(of)}
    if of.backend == "tensorrt" and of.precision != "int8":
        result |= {"values": TRT.values(of), "marked": TRT.marked_stage(of, (), "engine")}
    return result


@pytest.mark.parametrize("backend", BOTH)
@pytest.mark.parametrize(
    ("fields", "same"),
    [
        ({"precision": "fp16"}, {"reference"}),
        ({"precision": "fp16", "more": {"exporter": "dynamo"}}, {"reference"}),
        ({"factory": "net.onnx"}, {"reference"}),
        ({"precision": "int8", "more": {"samples": 4}}, {"reference", "calibration"}),
    ],
)
def test_the_file_is_another_artifact_and_without_the_option_what_it_was(
    bench: Bench, backend: str, fields: dict[str, Any], same: set[str]
) -> None:
    more = fields.get("more", {})
    rest = {name: value for name, value in fields.items() if name != "more"}
    plain, grouped, dense = (
        stages(case(bench, backend, options=more | own, **rest)) for own in ({}, {"deconvolutions": "grouped"}, DENSE)
    )
    assert grouped == plain
    assert {name for name, stage in dense.items() if stage == plain[name]} == same
    assert {name for name, stage in dense.items() if "dense" not in json.dumps(stage.key)} == same
    if backend == "tensorrt":
        assert not any("deconvolutions" in json.dumps(stage.key) for stage in plain.values())


def test_both_and_a_calibrator_build_from_the_same_dense_file(bench: Bench) -> None:
    first, second = (base.load(backend).stages(case(bench, backend))[1] for backend in BOTH)
    assert first == second
    calibrated = TRT.stages(case(bench, precision="int8", options=DENSE | {"calibrator": "entropy"}))
    assert calibrated[1] == first


@pytest.mark.parametrize("backend", BOTH)
def test_a_network_by_hand_is_not_changed(backend: str) -> None:
    message = "deconvolutions: dense cannot change the network of zoo.py:build: remove one of the two options"
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.convert(DENSE | {"network": "zoo.py:build"}, base.load(backend).options)


def test_a_refusal_names_the_line_of_the_suite(trtbench: Trtbench, suite_of: Callable[..., Path]) -> None:
    suite = suite_of(backend="{name: tensorrt, network: 'net.py:build', deconvolutions: dense}")
    assert trtbench("run", suite, "--device", "cuda") == 2
    assert "suite.yaml:5: options of tensorrt:" in trtbench.err
    assert "dense cannot change the network of net.py:build: remove one of" in " ".join(trtbench.err.split())


# -------------------------------------------------------------------------------------------------------------- files


def grouped_file(path: Path) -> None:
    """``y`` of ``x`` [n, 3, 8, 8]: each channel by itself, twice as large."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    kernel = np.random.default_rng(0).uniform(-1, 1, (3, 1, 4, 4)).astype(np.float32)
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], group=3, strides=[2, 2], pads=[1, 1, 1, 1])
    ends = [helper.make_tensor_value_info(name, 1, ["n", 3, *size]) for name, size in (("x", (8, 8)), ("y", (16, 16)))]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [onnx.numpy_helper.from_array(kernel, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save_model(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)


def produced(bench: Bench, stage: Stage, of: Case, artifacts: dict[str, Path] | None = None) -> Path:
    out = bench.folder()
    base.load(stage.producer).produce(stage, of, bench.context(of, artifacts), out)
    return out


def groups_in(folder: Path) -> list[int]:
    nodes = onnx_manifest.load(folder / onnx_manifest.MODEL).graph.node
    return [next((each.i for each in node.attribute if each.name == "group"), 1) for node in nodes
            if node.op_type == "ConvTranspose"]  # fmt: skip


def ran(bench: Bench, of: Case, folder: Path) -> tensors.Array:
    """The output of ONNX Runtime for a file that was made of a case."""
    pytest.importorskip("onnxruntime")
    plain = msgspec.structs.replace(of, backend="onnxruntime", options={})
    with ORT.prepare(plain, ORT.options(), bench.context(plain, {"export": folder})) as prepared:
        (lane,) = prepared.lanes(1)
        lane.call()
        (output,) = lane.read().values()
    return output


def test_a_file_of_the_user_s_is_copied_and_the_copy_is_dense(tmp_path: Path) -> None:
    own = Bench(tmp_path, suite_dir=tmp_path / "suite")
    own.suite_dir.mkdir()
    grouped_file(own.suite_dir / "net.onnx")
    before = {path.name: path.read_bytes() for path in own.suite_dir.iterdir()}
    for batch in (1, 3):
        of = case(own, factory="net.onnx", symbols={"batch": batch}, dynamic={"batch": Range(min=1, opt=2, max=4)})
        grouped = msgspec.structs.replace(of, options={})
        dense, plain = (produced(own, TRT.stages(each)[1], each) for each in (of, grouped))
        assert (groups_in(dense), groups_in(plain)) == ([1], [3])
        counts = [onnx_manifest.read_manifest(folder).deconvolutions for folder in (dense, plain)]
        assert counts == [COUNTS, {}]
        np.testing.assert_allclose(ran(own, of, dense), ran(own, of, plain), rtol=1e-4, atol=1e-5)
    assert {path.name: path.read_bytes() for path in own.suite_dir.iterdir()} == before


def test_without_the_package_onnx_the_file_is_not_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Bench(tmp_path, suite_dir=tmp_path / "suite")
    own.suite_dir.mkdir()
    grouped_file(own.suite_dir / "net.onnx")
    of = case(own, factory="net.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Unavailable, match="dense of an ONNX file needs the package 'onnx'") as caught:
        exports.take_file(of, own.context(of), own.folder(), dense_deconvolutions=True)
    assert "pip install" in (caught.value.fix or "")


class TestExported:
    """What PyTorch exports of a case that has the option."""

    pytestmark = [pytest.mark.torch, pytest.mark.long]

    @pytest.mark.parametrize("exporter", ["legacy", "dynamo"])
    @pytest.mark.parametrize("precision", ["fp32", "fp16"])
    def test_a_dense_file_computes_what_the_model_does(self, here: Bench, exporter: str, precision: str) -> None:
        options = DENSE | {"exporter": exporter, "opset": 18 if exporter == "dynamo" else 17}
        span = {"batch": Range(min=1, opt=2, max=4)}
        of = case(here, precision=precision, options=options, dynamic=span)
        folder = produced(here, TRT.stages(of)[1], of)
        assert groups_in(folder) == [1]
        assert onnx_manifest.read_manifest(folder).deconvolutions == COUNTS
        reference = here.reference(here.case("eager", "zoo.py:upsampling", of.inputs, symbols=of.symbols))
        (expected,) = reference.values()
        assert cosine(ran(here, of, folder), expected) > (0.999999 if precision == "fp32" else 0.9999)

    @pytest.mark.parametrize("exporter", ["legacy", "dynamo"])
    def test_kernels_that_the_model_computes_are_dense_where_the_exporter_has_computed_them(
        self, tmp_path: Path, exporter: str
    ) -> None:
        own = Bench(tmp_path, suite_dir=tmp_path / "suite")
        own.suite_dir.mkdir()
        (own.suite_dir / "net.py").write_text(COMPUTED)
        left = {"in_groups": 2, "dense": 1, "reasons": ["last: its kernel is computed by Exp"]}
        options = DENSE | {"exporter": exporter, "opset": 18 if exporter == "dynamo" else 17}
        of = case(own, factory="net.py:net", options=options)
        folder = produced(own, TRT.stages(of)[1], of)
        counts = onnx_manifest.read_manifest(folder).deconvolutions
        assert counts == (left if exporter == "legacy" else {"in_groups": 2, "dense": 2})

    def test_a_model_without_groups_is_told(self, here: Bench) -> None:
        of = case(here, factory="zoo.py:net")
        folder = produced(here, TRT.stages(of)[1], of)
        counts = onnx_manifest.read_manifest(folder).deconvolutions
        assert counts == {"in_groups": 0, "dense": 0}
        (warning,) = fairness.warnings({"deconvolutions": counts}, of)
        assert warning.kind == "NotDense"

    def test_at_int8_each_channel_of_the_dense_kernel_has_a_scale(self, here: Bench) -> None:
        onnx = pytest.importorskip("onnx")
        of = case(here, precision="int8", options=DENSE | {"samples": 4, "observer": "minmax"})
        _, calibration, file, quantized, _ = TRT.stages(of)
        ranges = {calibration.name: produced(here, calibration, of)}
        folder = produced(here, file, of, ranges)
        assert groups_in(folder) == [1]
        manifest = onnx_manifest.read_manifest(folder)
        assert (manifest.deconvolutions, manifest.quantization["samples"]) == (COUNTS, 4)
        graph = onnx_manifest.load(folder / onnx_manifest.MODEL).graph
        arrays = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
        arrays |= {node.output[0]: onnx.numpy_helper.to_array(node.attribute[0].t) for node in graph.node
                   if node.op_type == "Constant"}  # fmt: skip
        nodes = {node.output[0]: node for node in graph.node}
        (up,) = (node for node in graph.node if node.op_type == "ConvTranspose")
        pair = nodes[up.input[1]]
        assert pair.op_type == "DequantizeLinear"
        assert arrays[pair.input[1]].shape == (4,)
        (expected,) = tensors.read(produced(here, quantized, of, ranges) / tensors.OUTPUTS).values()
        assert cosine(ran(here, msgspec.structs.replace(of, precision="fp32"), folder), expected) > 0.9999

    def test_diverge_examines_the_dense_file(self, here: Bench) -> None:
        of = case(here, precision="fp16")
        folder = produced(here, TRT.values(of), of)
        assert groups_in(folder) == [1]
        (name,) = (node.output[0] for node in onnx_manifest.load(folder / onnx_manifest.MODEL).graph.node
                   if node.op_type == "ConvTranspose")  # fmt: skip
        run = produced(here, TRT.marked_stage(of, (name,), "oracle"), of, {"values": folder})
        arrays, expected = tensors.read(run / VALUES), tensors.read(folder / VALUES)
        np.testing.assert_allclose(arrays[MARK + name], expected[name], rtol=0.02, atol=0.02)

    @needs_rtx
    @pytest.mark.parametrize(("precision", "options"), [("fp16", {}), ("int8", {"samples": 4, "observer": "minmax"})])
    def test_tensorrt_rtx_builds_it(self, here: Bench, precision: str, options: dict[str, Any]) -> None:
        of = case(
            here, "tensorrt_rtx", precision=precision, options={"compute_capabilities": [8.9], **DENSE, **options}
        )
        folders = here.artifacts(of)
        assert groups_in(folders["export"]) == [1]
        assert (folders["build"] / builder.PLAN).stat().st_size > 0
        assert builder.read_info(folders["build"]).deconvolutions == COUNTS
