"""Networks of engines: what the parser refuses, and functions that fill a network by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench import tensors
from bench.errors import SuiteError, Unsupported
from bench.model.suite import Input
from bench.runtimes import onnx_manifest
from bench.runtimes.torch import weights
from tests.runtimes.trt.builder_world import World
from tests.runtimes.trt.names import VERSIONS
from tests.runtimes.trt.script import ParseError, Script

V8, V10, V11 = VERSIONS


ERRORS = [
    ParseError(3, "no importer for Frob\n", "Frob", "/layer1/frob/Frob", ("main", "Layer_1")),
    ParseError(7, "bad axis", "Einsum", "/head/Einsum"),
]


LOG_OF_86 = [
    'ModelImporter.cpp:771: While parsing node number 3 [Frob -> "12"]:',
    "ModelImporter.cpp:772: --- Begin node ---",
    'ModelImporter.cpp:773: input: "11"\noutput: "12"\nname: "/layer1/frob/Frob"\nop_type: "Frob"\n',
]


def test_errors_of_the_parser_are_told_node_by_node_with_their_place_in_the_model(world: World) -> None:
    wanted = (
        r"TensorRT 10\.16\.1 refuses the model: Frob /layer1/frob/Frob \(node 3\) in main > Layer_1: no importer "
        r"for Frob; Einsum /head/Einsum \(node 7\): bad axis"
    )
    with pytest.raises(Unsupported, match=wanted):
        world.build(Script(V10, parse_errors=ERRORS))


def test_the_parser_of_8_6_tells_operator_and_name_in_its_log_only(world: World) -> None:
    with pytest.raises(
        Unsupported, match=r"Frob /layer1/frob/Frob \(node 3\): no importer for Frob; \(node 7\): bad axis"
    ):
        world.build(Script(V8, parse_errors=ERRORS, parse_log=LOG_OF_86))


def test_of_many_parser_errors_the_first_are_shown(world: World) -> None:
    with pytest.raises(Unsupported, match=r"op4 \(node 4\): no; and 4 more\n") as caught:
        world.build(Script(V11, parse_errors=[ParseError(n, "no", "Op", f"op{n}") for n in range(9)]))
    assert "op5" not in caught.value.what


def test_a_file_that_is_no_model_shows_the_log(world: World) -> None:
    with pytest.raises(Unsupported, match="cannot read the ONNX file: Failed to parse ModelProto"):
        world.build(Script(V10, parse_log=["Failed to parse ModelProto"]))


def test_only_8_6_is_told_to_have_instance_normalisation_as_a_layer(world: World) -> None:
    for version, asked in ((V8, ["parser NATIVE_INSTANCENORM"]), (V10, []), (V11, [])):
        script = Script(version)
        world.build(script)
        assert [call for call in script.calls if call.startswith("parser")] == asked


MIXED = [["output_0", "HALF", [4, 5]], ["output_1", "FLOAT", [4]], ["output_2", "INT32", [4]]]
MIXED_TYPES = {name: [dtype, shape, 1] for name, dtype, shape in MIXED}


@pytest.mark.parametrize("untyped", [False, True])
@pytest.mark.parametrize("input_type", ["HALF", "INT32"])
@pytest.mark.parametrize("version", VERSIONS)
def test_outputs_have_the_types_that_the_file_declares(
    world: World, version: str, input_type: str, untyped: bool
) -> None:
    world.manifest(onnx_manifest.Manifest(("x",), ("a", "b", "c"), "legacy", 17))
    world.model({"inputs": [["input_0", input_type, [4, 3]]], "outputs": MIXED})
    plan, info = world.build(Script(version, untyped_outputs=untyped))
    assert plan["outputs"] == MIXED_TYPES
    own_layers = version == V8 and (untyped or input_type == "INT32")
    assert info.layers == len(MIXED) + own_layers


BY_HAND = """
def build(network, inputs, weights, trt):
    constant = network.add_constant((5, 3), weights["linear.weight"]).get_output(0)
    return {"logits": constant, "x": inputs["x"], "ids": inputs["ids"]}

def raises(network, inputs, weights, trt):
    return {"logits": weights["no.such.weight"]}

def nothing(network, inputs, weights, trt):
    return None

def wide(network, inputs, weights, trt):
    return {"logits": network.add_cast(inputs["x"], trt.DataType.FLOAT).get_output(0)}
"""


IDS = {"inputs": {"x": Input(shape=(4, 3)), "ids": Input(shape=(4,), dtype="int64")}}


@pytest.fixture
def by_hand(world: World) -> Callable[..., Any]:
    (world.root / "weights").mkdir()
    arrays = {"linear.weight": np.ones((5, 3), np.float32), "steps": np.array(3)}
    tensors.write(world.root / "weights/weights.safetensors", arrays)
    assert set(weights.read_weights(world.root / "weights")) == set(arrays)
    (world.root / "nets.py").write_text(BY_HAND)
    return lambda script, name="build", precision="fp16": world.build(
        script, precision, case=IDS, network=f"nets.py:{name}"
    )


@pytest.mark.parametrize(("version", "ids"), [(V8, "INT32"), (V10, "INT64"), (V11, "INT64")])
def test_a_function_fills_the_network_by_hand(by_hand: Callable[..., Any], version: str, ids: str) -> None:
    plan, built = by_hand(Script(version))
    assert plan["inputs"] == {"x": ["HALF", [4, 3], 1], "ids": [ids, [4], 1]}
    assert plan["outputs"] == {"logits": ["HALF", [5, 3], 1], "out.x": ["HALF", [4, 3], 1], "out.ids": [ids, [4], 1]}
    assert built.outputs == {"logits": "logits", "x": "out.x", "ids": "out.ids"}
    assert (built.network, built.exporter, built.opset) == ("nets.py:build", "", 0)


@pytest.mark.parametrize(
    ("precision", "kind"), [("fp16", "HALF"), ("bf16", "BF16"), ("tf32", "FLOAT"), ("fp8", "FLOAT")]
)
def test_outputs_of_a_function_are_cast_to_the_precision(
    by_hand: Callable[..., Any], precision: str, kind: str
) -> None:
    plan, _ = by_hand(Script(V10), "wide", precision)
    assert plan["outputs"]["logits"][0] == kind


def test_int8_by_hand_is_two_flags_where_networks_have_no_types(by_hand: Callable[..., Any]) -> None:
    assert by_hand(Script(V8), "wide", "int8")[0]["flags"] == ["FP16", "INT8"]
    assert by_hand(Script(V11), "wide", "int8")[0]["flags"] == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("raises", r"nets\.py:raises raised KeyError: 'no\.such\.weight'"),
        ("nothing", r"nets\.py:nothing returned None, not a dict of ITensors"),
        ("absent", r"nets\.py has no function 'absent'"),
    ],
)
def test_a_wrong_function_is_the_suites_fault(by_hand: Callable[..., Any], name: str, message: str) -> None:
    with pytest.raises(SuiteError, match=message) as caught:
        by_hand(Script(V10), name)
    assert caught.value.where == "s.yaml:3"


def test_a_file_that_needs_what_the_toolchain_lacks_is_told(world: World, by_hand: Callable[..., Any]) -> None:
    (world.root / "nets.py").write_text("import no_such_package")
    with pytest.raises(
        SuiteError, match=r"nets\.py cannot be imported in the toolchain 'default': ModuleNotFoundError"
    ):
        by_hand(Script(V10))
    (world.root / "nets.py").unlink()
    with pytest.raises(SuiteError, match=r"'nets\.py' is not beside the suite"):
        by_hand(Script(V10))
