"""Layers of engines: inspector reports in the shapes of TensorRT 8.6, 10 and 11, and a profiled pass on stand-ins."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import Unsupported
from bench.model.profile import FILE, Layer, Layers
from bench.model.seam import Stage
from bench.model.suite import Case, Input
from bench.runtimes.trt import inspector, layers
from tests.backends.kit import Bench
from tests.runtimes.trt.names import VERSIONS
from tests.runtimes.trt.runtime_standin import GOLDEN, World, built, model

STAGE = Stage(name="layers", kind="layers", producer="tensorrt", key={})


@pytest.fixture(params=VERSIONS)
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(request.param)
    monkeypatch.setitem(sys.modules, "cuda.bindings", SimpleNamespace(runtime=made.cuda))  # type: ignore[arg-type]
    return made


def take(world: World, bench: Bench, out: Path, **fields: object) -> Layers:
    case = Case(
        model="net", factory="zoo.py:net", inputs={"x": Input(shape=(4, 3))}, backend="tensorrt", cuda_graph=True
    )
    context = Bench(bench.root, device="cuda:0").context(case)
    engine = world.engine(model(world.version, **fields))
    layers.take(case, STAGE, context, world.api, engine, built(), out)
    return msgspec.json.decode((out / FILE).read_bytes(), type=Layers)


def report_of(version: str) -> dict[str, Layer]:
    found = inspector.parse_layers(json.loads((GOLDEN / f"inspector-{version}.json").read_text()))
    return {layer.name: layer for layer in found}


# ------------------------------------------------------------------------------------------------------------- the pass


def test_layers_are_timed_by_a_profiler_without_a_graph(world: World, bench: Bench, tmp_path: Path) -> None:
    found = take(world, bench, tmp_path)
    assert found.runtime == f"TensorRT {world.version}"
    assert found.calls == 50
    timed = [layer for layer in found.layers if layer.ns]
    assert [set(layer.ns) for layer in timed] == [{10_000 * (index + 1)} for index in range(len(timed))]
    assert {len(layer.ns) for layer in timed} == {50}
    assert {layer.kind for layer in found.layers if not layer.ns} <= {"NoOp"}
    assert found.inspector == json.loads((GOLDEN / f"inspector-{world.version}.json").read_text())
    steps = world.steps.names()
    assert "cudaStreamBeginCapture" not in steps
    once = ["execute_async_v3", "cudaStreamSynchronize", "report_to_profiler"]
    start = steps.index("execute_async_v3")
    assert steps[start : start + 3 * 70] == once * 70
    assert not world.cuda.live
    assert not world.alive


def test_times_that_tensorrt_does_not_tell_are_unsupported(world: World, bench: Bench, tmp_path: Path) -> None:
    world.steps.fail_on = {"report_to_profiler"}
    with pytest.raises(Unsupported, match="the profiler is not ready"):
        take(world, bench, tmp_path)
    assert not world.cuda.live


def test_an_inspector_that_tells_no_json_leaves_what_the_profiler_tells(
    world: World, bench: Bench, tmp_path: Path
) -> None:
    found = take(world, bench, tmp_path, report="nothing to see", profile=(("conv", 0.5), ("relu", 0.25)))
    assert [(layer.name, layer.ns[0]) for layer in found.layers] == [("conv", 500_000), ("relu", 250_000)]
    assert found.inspector == "nothing to see"


# ---------------------------------------------------------------------------------------------------------- the reports


def test_a_convolution_of_8_6_has_precision_format_tactic_and_origin() -> None:
    conv = report_of("8.6.1")["/stem/conv/Conv + /stem/relu/Relu"]
    assert conv.kind == "CaskConvolution"
    assert conv.precision == "fp16"
    assert conv.tactic.startswith("sm80_xmma_fprop")
    assert conv.origin == ("/stem/conv/Conv", "/stem/relu/Relu")
    assert conv.outputs[0].shape == (4, 16, 32, 32)
    assert conv.outputs[0].dtype == "float16"
    assert conv.outputs[0].format == "Channel major FP16 format where channel % 8 == 0"
    assert not conv.reformat


def test_copies_of_8_6_that_change_a_layout_are_reformats_and_a_no_op_is_none() -> None:
    found = report_of("8.6.1")
    assert [name for name, layer in found.items() if layer.reformat] == [
        name for name in found if name.startswith("Reformatting CopyNode")
    ]
    assert found["/flatten/Flatten"].kind == "NoOp"


def test_a_tactic_of_zeros_is_none_and_a_number_stands_in_for_a_name() -> None:
    found = report_of("8.6.1")
    assert found["{ForeignNode[/head/MatMul.../head/Softmax]}"].tactic == ""
    assert found["Reformatting CopyNode for Input Tensor 0 to /stem/conv/Conv + /stem/relu/Relu"].tactic.endswith("3ea")


def test_generated_kernels_of_10_tell_types_by_name_and_pure_casts_are_reformats() -> None:
    found = report_of("10.16.1")
    assert {name: layer.precision for name, layer in found.items()} == {
        "__myl_Cast_myl0_0": "fp16",
        "/attn/MatMul_myl0_1": "fp16",
        "__myl_AddResTranMulSoft_myl0_2": "fp32",
        "/fc/Gemm": "tf32",
    }
    assert [name for name, layer in found.items() if layer.reformat] == ["__myl_Cast_myl0_0"]
    assert found["__myl_AddResTranMulSoft_myl0_2"].origin == ("/attn/Add", "/attn/Softmax")


def test_types_and_formats_of_11_have_keys_of_their_own() -> None:
    conv = report_of("11.4.0")["/stem/Conv"]
    assert conv.precision == "fp16"
    assert conv.inputs[0].dtype == "float16"
    assert conv.inputs[0].format == "Channel major FP16 format where channel % 8 == 0 (kHWC8)"


@pytest.mark.parametrize(
    ("told", "precision"),
    [
        ({"Outputs": [{"Format/Datatype": "N/A due to dynamic shapes"}]}, ""),
        ({"Outputs": [{"Format/Datatype": "Row major linear BFloat16 format"}]}, "bf16"),
        ({"Outputs": [{"Format/Datatype": "Row major linear UInt8 format"}]}, "uint8"),
        ({"Outputs": [{"Format/Datatype": "FP8"}]}, "fp8"),
        ({"Outputs": [{"Format/Datatype": "Half"}], "Weights": {"Type": "Int8", "Count": 9}}, "int8"),
        ({"Outputs": [{"Format/Datatype": "Half"}], "Weights": {"Type": "Float", "Count": 0}}, "fp16"),
        ({"Outputs": []}, ""),
    ],
)
def test_precision_is_of_the_weights_else_of_the_output(told: dict[str, object], precision: str) -> None:
    (layer,) = inspector.parse_layers({"Layers": [{"Name": "n", **told}]})
    assert layer.precision == precision


def test_a_terse_report_gives_names() -> None:
    assert [layer.name for layer in inspector.parse_layers({"Layers": ["conv", "relu"]})] == ["conv", "relu"]
    assert inspector.parse_layers("no report") == []


def test_precisions_are_counted_without_what_computes_nothing() -> None:
    constant = Layer(name="weights", kind="Constant", precision="fp32")
    assert inspector.precisions([*report_of("8.6.1").values(), constant]) == {"fp16": 4}
    assert inspector.precisions([]) == {}


# ------------------------------------------------------------------------------------------------- names put together


def test_what_only_the_profiler_names_comes_after_what_ran_before_it() -> None:
    known = [Layer(name="a"), Layer(name="quiet"), Layer(name="b")]
    found = inspector.with_times(known, [[("first", 1), ("a", 2), ("extra", 3), ("b", 4)]] * 2)
    assert [(layer.name, layer.ns) for layer in found] == [
        ("first", (1, 1)),
        ("a", (2, 2)),
        ("extra", (3, 3)),
        ("quiet", ()),
        ("b", (4, 4)),
    ]


def test_layers_of_one_name_keep_their_own_times() -> None:
    found = inspector.with_times(
        [Layer(name="copy", kind="one"), Layer(name="copy", kind="two")], [[("copy", 1), ("copy", 9)]]
    )
    assert [(layer.kind, layer.ns) for layer in found] == [("one", (1,)), ("two", (9,))]


@given(
    st.lists(st.sampled_from("abc")), st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 9))), st.integers(1, 3)
)
def test_no_layer_and_no_time_is_lost(names: list[str], call: list[tuple[str, int]], calls: int) -> None:
    found = inspector.with_times([Layer(name=name) for name in names], [call] * calls)
    assert sum(sum(layer.ns) for layer in found) == calls * sum(ns for _, ns in call)
    assert len(found) >= max(len(names), len(call))
    assert [layer.name for layer in found if layer.ns and layer.name == "d"] == [
        name for name, _ in call if name == "d"
    ]
