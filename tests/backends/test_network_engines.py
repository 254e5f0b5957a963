"""Networks built as engines by TensorRT-RTX, which needs no GPU: on the route of fx2trt, and with marked tensors."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench.backends import base
from bench.lowering import marking
from bench.runtimes import onnx, onnx_manifest, onnx_nodes
from bench.runtimes.trt import builder, library, networks, versions
from bench.runtimes.trt.options import RtxOptions
from tests.backends.kit import Bench, cosine
from tests.backends.network_kit import HERE, IMAGES, bench_of_lowering, case, needs_rtx, program

pytestmark = [pytest.mark.torch, pytest.mark.long, needs_rtx]


@pytest.fixture
def here(tmp_path: Path) -> Bench:
    return bench_of_lowering(tmp_path)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_by_the_backend_of_tensorrt_rtx(here: Bench, precision: str) -> None:
    rtx = base.load("tensorrt_rtx")
    options = {"route": "fx2trt", "compute_capabilities": [8.9]}
    of = here.case("tensorrt_rtx", inputs=IMAGES, symbols={"batch": 2}, precision=precision, options=options)
    folders = here.artifacts(of)
    info = builder.read_info(folders["build"])
    assert (info.network, info.exporter, info.compute_capabilities) == ("program.py", "", ("8.9",))
    assert info.runtime.startswith("TensorRT-RTX")
    assert info.outputs == {"logits": "logits", "map": "map"}
    assert (folders["build"] / builder.PLAN).stat().st_size == info.plan_bytes > 0
    assert rtx.layer_count(rtx.stages(of)[-1], folders["build"]) == info.layers > 4


@pytest.mark.parametrize("route", ["onnx", "fx2trt"])
def test_at_int8_with_the_pairs_of_the_calibration(here: Bench, route: str) -> None:
    pytest.importorskip("onnx")
    how: dict[str, Any] = {"observer": "minmax", "samples": 4, "placement": "mended"}
    fields: dict[str, Any] = {"inputs": IMAGES, "symbols": {"batch": 2}, "precision": "int8"}
    of = here.case("tensorrt_rtx", options={"route": route, **how} if route == "fx2trt" else how, **fields)
    folders = here.artifacts(of)
    info = builder.read_info(folders["build"])
    who = {"quantizer": "trtbench", "observer": "minmax", "samples": 4, "data": "", "placement": "mended"}
    who |= {"layers": 2, "quantized": 2, "uncovered": []}
    assert (info.calibration, info.strongly_typed) == (who, True)
    assert (folders["build"] / builder.PLAN).stat().st_size == info.plan_bytes > 0
    if route == "fx2trt":
        return
    api = library.open_api((), "cpu", library.RTX)
    network = versions.new_network(api, api.module.Builder(api.log.logger), True)
    parsed = networks.parse(api, network, here.context(of, folders))
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    kinds = Counter(layer.type.name for layer in layers)
    assert kinds["DEQUANTIZE"] >= kinds["QUANTIZE"] >= 4  # inputs and weights of a convolution and a linear layer
    int8 = {layer.type.name for layer in layers if layer.get_output(0).dtype == api.module.DataType.INT8}
    assert "QUANTIZE" in int8
    assert parsed.outputs == {"logits": "output_0", "map": "output_1"}
    pytest.importorskip("onnxruntime")
    outputs = here.run(here.case("onnxruntime", options=how, **fields))  # of the same file
    reference = here.reference(of)
    assert all(cosine(outputs[name], reference[name]) > 0.99 for name in reference)


def test_of_an_onnx_file_in_bfloat16(here: Bench) -> None:
    pytest.importorskip("onnx")
    of = here.case("tensorrt_rtx", inputs=IMAGES, symbols={"batch": 2}, precision="bf16")
    info = builder.read_info(here.artifacts(of)["build"])
    assert info.network == ""
    assert info.exporter
    assert info.plan_bytes > 0


def test_with_an_edited_program(here: Bench, tmp_path: Path) -> None:
    of = case(here)
    program(here, of).rename(tmp_path / "edited")
    (tmp_path / "zoo.py").write_text((HERE / "zoo.py").read_text())
    path = tmp_path / "edited" / "program.py"
    path.write_text(path.read_text().replace("trt.ActivationType.RELU", "trt.ActivationType.TANH"))
    beside = Bench(root=tmp_path, suite_dir=tmp_path)
    options = {"route": "fx2trt", "program": "edited/program.py"}
    edited = beside.case("tensorrt_rtx", inputs=IMAGES, symbols={"batch": 2}, options=options)
    info = builder.read_info(beside.artifacts(edited)["build"])
    assert info.network == "edited/program.py"


def test_with_tensors_within_as_outputs(here: Bench) -> None:
    of = case(here, precision="fp16")
    folder, out = program(here, of), here.folder()
    fill = marking.Marked(of, marking.Source(folder), ["conv", "reshape", "nothing"])
    builder.build(of, RtxOptions(), here.context(of), out, library.RTX, fill=fill)
    marks = {"mark.conv": "mark.0", "mark.reshape": "mark.1"}
    assert builder.read_info(out).outputs == {"logits": "logits", "map": "map"} | marks
    assert fill.kinds == {"conv": "float16", "reshape": "float16"}


def test_with_tensors_within_an_onnx_file_as_outputs(here: Bench) -> None:
    pytest.importorskip("onnx")
    of = here.case("tensorrt", inputs=IMAGES, symbols={"batch": 2}, precision="fp16")
    folder, out = here.folder(), here.folder()
    onnx.export(of, here.context(of), folder, "legacy", 17)
    names = [name for node in onnx_nodes.nodes_of(folder / onnx_manifest.MODEL) for name in node.outputs]
    context = here.context(of, {"export": folder})
    fill = marking.MarkedFile(of, context, [names[0], "nothing"])
    builder.build(of, RtxOptions(), context, out, library.RTX, fill=fill)
    outputs = builder.read_info(out).outputs
    assert outputs == {"logits": "output_0", "map": "output_1", f"mark.{names[0]}": "mark.0"}
    assert fill.kinds == {names[0]: "float16"}
