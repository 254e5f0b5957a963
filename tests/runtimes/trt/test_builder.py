"""What is asked of TensorRT's builder, version by version, and what becomes of its answers."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from bench import tensors
from bench.backends import base
from bench.errors import OutOfMemory, SuiteError, Unavailable, Unsupported
from bench.model.seam import Context, CountsLayers
from bench.model.suite import Case, Input, Range
from bench.runtimes import onnx
from bench.runtimes.torch import weights
from bench.runtimes.torch.exports import ExportWarning
from bench.runtimes.trt import builder
from bench.runtimes.trt.options import Options
from tests.backends.kit import StillClock
from tests.runtimes.trt import builder_standin as trt_builder
from tests.runtimes.trt.builder_standin import ParseError, Script
from tests.runtimes.trt.names import VERSIONS

V8, V10, V11 = VERSIONS
# Names in the file are neutral; the manifest has those of the model.
OUTPUTS = [["output_0", "HALF", [4, 5]], ["output_1", "HALF", [4]]]
MODEL = {"inputs": [["input_0", "HALF", [4, 3]]], "outputs": OUTPUTS}
TRACED = ExportWarning(kind="TracerWarning", text="a Python boolean", place="net.py:9")


class World:
    """A folder with a suite, artifacts and shared caches, in which engines of one case after the other are built."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.told: list[str] = []
        self.layers: list[tuple[dict[str, int], str]] = []
        self.phases: list[str] = []
        self._monkeypatch = monkeypatch
        (root / "export").mkdir()
        self.model(MODEL)
        self.manifest(onnx.Manifest(("x", "mask"), ("logits", "map"), "legacy", 17, (TRACED,)))

    def manifest(self, manifest: onnx.Manifest) -> None:
        (self.root / "export/manifest.json").write_bytes(msgspec.json.encode(manifest))

    def model(self, model: dict[str, Any]) -> None:
        (self.root / "export/model.onnx").write_text(json.dumps(model))

    def context(self, **fields: Any) -> Context:
        @contextlib.contextmanager
        def phase(name: str) -> Any:
            self.phases.append(name)
            yield

        artifacts = {name: self.root / name for name in ("export", "weights")}
        return Context(
            device="cuda:0",
            inputs={},
            artifacts=artifacts,
            scratch=self.root,
            suite_dir=self.root,
            clock=StillClock(),
            phase=phase,
            shared=self.root,
            tell=self.told.append,
            tell_layers=lambda layers, current: self.layers.append((dict(layers), current)),
            **fields,
        )

    def build(
        self,
        script: Script,
        precision: str = "fp16",
        case: dict[str, Any] | None = None,
        build: int = 0,
        **options: Any,
    ) -> tuple[dict[str, Any], builder.BuildInfo]:
        """What the builder was asked for, and what is kept of it."""
        trt_builder.install(self._monkeypatch, script, libraries=["libmine.so", "liblisted.so"])
        fields: dict[str, Any] = {"inputs": {"x": Input(shape=(4, 3))}, "precision": precision} | (case or {})
        out = self.root / f"out{len(list(self.root.glob('out*')))}"
        out.mkdir()
        asked = Case(model="m", factory="zoo.py:net", backend="tensorrt", source="s.yaml:3", **fields)
        builder.build(asked, msgspec.convert(options, Options), self.context(build=build), out)
        plan, built = builder.read(out)
        return json.loads(plan), built


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


# -------------------------------------------------------------------------------------------------- by version


@pytest.mark.parametrize(
    ("version", "precision", "flags", "creation"),
    [
        (V8, "fp32", [], ["EXPLICIT_BATCH"]),
        (V8, "tf32", ["TF32"], ["EXPLICIT_BATCH"]),
        (V8, "fp16", ["FP16"], ["EXPLICIT_BATCH"]),
        (V10, "tf32", ["TF32"], ["STRONGLY_TYPED"]),
        (V10, "fp16", [], ["STRONGLY_TYPED"]),
        (V10, "bf16", [], ["STRONGLY_TYPED"]),
        (V11, "fp32", [], ["STRONGLY_TYPED"]),
        (V11, "fp16", [], ["STRONGLY_TYPED"]),
    ],
)
def test_a_precision_is_flags_where_networks_have_no_types_and_the_network_where_they_have(
    world: World, version: str, precision: str, flags: list[str], creation: list[str]
) -> None:
    plan, built = world.build(Script(version), precision)
    assert plan["flags"] == flags == list(built.flags)
    assert plan["network"] == creation
    assert built.strongly_typed == (version != V8)
    assert built.runtime == f"TensorRT {version}"


def test_types_can_be_left_to_the_builder_where_the_version_lets_them(world: World) -> None:
    plan, built = world.build(Script(V10), "bf16", strongly_typed=False)
    assert (plan["network"], plan["flags"], built.strongly_typed) == ([], ["BF16"], False)
    with pytest.raises(Unsupported, match=r"TensorRT 11\.4\.0 has strongly typed networks only"):
        world.build(Script(V11), strongly_typed=False)
    with pytest.raises(Unsupported, match=r"TensorRT 8\.6\.1 has no strongly typed networks; 10\.0"):
        world.build(Script(V8), strongly_typed=True)


@pytest.mark.parametrize("precision", ["bf16", "fp8"])
def test_a_precision_that_a_version_lacks_names_the_version_that_has_it(world: World, precision: str) -> None:
    with pytest.raises(Unsupported, match=rf"TensorRT 8\.6\.1 has no {precision}; TensorRT 10\.0"):
        world.build(Script(V8), precision)


@pytest.mark.parametrize("version", VERSIONS)
def test_inputs_and_outputs_are_row_major_at_the_precision_and_keep_the_suites_names(
    world: World, version: str
) -> None:
    plan, built = world.build(Script(version))
    assert plan["inputs"] == {"input_0": ["HALF", [4, 3], 1]}
    assert plan["outputs"] == {"output_0": ["HALF", [4, 5], 1], "output_1": ["HALF", [4], 1]}
    assert (built.inputs, built.outputs) == ({"x": "input_0"}, {"logits": "output_0", "map": "output_1"})
    assert built.export_warnings == (TRACED,)
    assert (built.exporter, built.opset, built.layers) == ("legacy", 17, 2)
    assert world.phases == ["import", "parse", "build"]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_option_reaches_the_builder(world: World, version: str) -> None:
    plan, built = world.build(
        Script(version),
        workspace="4 GiB",
        optimization_level=5,
        max_aux_streams=0,
        refit=True,
        version_compatible=True,
        hardware_compatible="ampere_plus",
        tactic_sources=["EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS"],
    )
    assert plan["pools"] == {"WORKSPACE": 4 * 2**30}
    assert plan["set"] == {
        "builder_optimization_level": "5",
        "max_aux_streams": "0",
        "profiling_verbosity": "DETAILED",
        "hardware_compatibility_level": "AMPERE_PLUS",
    }
    assert {"REFIT", "VERSION_COMPATIBLE"} < set(plan["flags"]) | {"FP16"}
    assert plan["sources"] == ["EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS"] == list(built.tactic_sources)
    assert (built.optimization_level, built.version_compatible) == (5, True)


def test_heuristics_choose_the_kernels_to_time_where_the_version_has_them(world: World) -> None:
    plan, built = world.build(Script(V8), tactic_heuristic=True)
    assert "ENABLE_TACTIC_HEURISTIC" in plan["flags"]
    assert "ENABLE_TACTIC_HEURISTIC" in built.flags
    assert "ENABLE_TACTIC_HEURISTIC" not in world.build(Script(V8))[0]["flags"]
    with pytest.raises(Unsupported, match="has no builder flag ENABLE_TACTIC_HEURISTIC"):
        world.build(Script(V11), tactic_heuristic=True)


def test_an_unknown_tactic_source_is_told_with_those_that_are_there(world: World) -> None:
    with pytest.raises(Unsupported, match=r"11\.4\.0 has no tactic source 'CUDNN'; it has EDGE_MASK_CONV.*, JIT_CONV"):
        world.build(Script(V11), tactic_sources=["CUDNN"])
    plan, _ = world.build(Script(V8), tactic_sources=["CUDNN"])
    assert plan["sources"] == ["CUDNN"]


def test_a_hardware_compatibility_that_the_version_lacks_is_told(world: World) -> None:
    with pytest.raises(Unsupported, match=r"8\.6\.1 has no hardware compatibility level same_compute_capability"):
        world.build(Script(V8), hardware_compatible="same_compute_capability")


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        ({"optimization_level": 4}, "builder_optimization_level"),
        ({"max_aux_streams": 2}, "max_aux_streams"),
        ({"workspace": 4096}, "WORKSPACE"),
        ({"tactic_sources": ["JIT_CONVOLUTIONS"]}, "tactic_sources"),
    ],
)
def test_a_setting_that_is_dropped_without_a_word_is_an_error(
    world: World, options: dict[str, Any], refused: str
) -> None:
    with pytest.raises(Unsupported, match="TensorRT does not take"):
        world.build(Script(V10, refused=[refused]), **options)


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"workspace": "4 GB of it"}, "workspace: .* is not a number with a unit"),
        ({"workspace": 0}, "`int` (>= 1|> 0)"),
        ({"workspace": "0 GiB"}, "0 bytes are no workspace"),
        ({"network": "zoo.py"}, "not FILE.py:function"),
        ({"optimization_level": 6}, "<= 5"),
        ({"opset": "17"}, "Expected `int`"),
    ],
)
def test_a_wrong_option_is_refused_when_the_suite_is_read(options: dict[str, Any], wrong: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=wrong):
        msgspec.convert(options, Options)


# ------------------------------------------------------------------------------------------------ dynamic shapes


DYNAMIC = {
    "inputs": {"x": Input(shape=("batch", 3)), "mask": Input(shape=(3,))},
    "symbols": {"batch": 2},
    "dynamic": {"batch": Range(min=1, opt=8, max=32, at=(2, 32))},
}


@pytest.mark.parametrize(("version", "preview"), [(V8, True), (V10, True), (V11, False)])
def test_ranges_become_one_profile_that_contexts_share(world: World, version: str, preview: bool) -> None:
    world.model({"inputs": [["input_0", "HALF", [-1, 3]], ["input_1", "HALF", [3]]], "outputs": OUTPUTS})
    plan, built = world.build(Script(version), case=DYNAMIC)
    assert plan["profiles"] == [{"input_0": [[1, 3], [8, 3], [32, 3]]}]
    assert built.profile == {"x": ((1, 3), (8, 3), (32, 3))}
    assert plan["preview"] == ["PROFILE_SHARING_0806"] * preview


def test_outputs_are_matched_by_name_whatever_their_order_and_others_are_refused(world: World) -> None:
    world.model(MODEL | {"outputs": OUTPUTS[::-1]})
    _, built = world.build(Script(V10))
    assert built.outputs == {"logits": "output_0", "map": "output_1"}
    world.model(MODEL | {"outputs": OUTPUTS[:1]})
    with pytest.raises(Unsupported, match="the model has 2 outputs, its network has output_0"):
        world.build(Script(V10))


def test_fixed_shapes_need_no_profile(world: World) -> None:
    plan, built = world.build(Script(V8))
    assert (plan["profiles"], plan["preview"], built.profile) == ([], [], {})


def test_sizes_that_a_file_leaves_open_are_those_of_a_case_that_does_not(world: World) -> None:
    world.manifest(onnx.Manifest(("x",), ("output_0", "output_1"), "", 17, own_names=True))
    world.model({"inputs": [["x", "HALF", [-1, -1]]], "outputs": OUTPUTS})
    plan, built = world.build(Script(V10))
    assert (plan["inputs"]["x"][1], plan["profiles"], built.profile) == ([4, 3], [], {})
    plan, built = world.build(Script(V10), case=DYNAMIC)
    assert (plan["inputs"]["x"][1], plan["profiles"]) == ([-1, 3], [{"x": [[1, 3], [8, 3], [32, 3]]}])


def test_a_size_that_the_exporter_fixed_is_told(world: World) -> None:
    world.model({"inputs": [["input_0", "HALF", [8, 3]]], "outputs": OUTPUTS})
    with pytest.raises(Unsupported, match=r"fixed 'batch' of the input 'x': \(8, 3\)"):
        world.build(Script(V8), case=DYNAMIC)


def test_a_profile_that_is_refused_is_an_error(world: World) -> None:
    world.model({"inputs": [["input_0", "HALF", [-1, 3]]], "outputs": OUTPUTS})
    with pytest.raises(Unsupported, match="does not take the ranges"):
        world.build(Script(V10, refused=["profile"]), case=DYNAMIC)


@pytest.mark.parametrize(("end", "size"), [("kMIN", 1), ("kOPT", 8), ("kMAX", 32)])
def test_an_engine_that_does_not_run_at_an_end_of_its_range_is_not_kept(world: World, end: str, size: int) -> None:
    """TensorRT-RTX builds it and warns in these words."""
    world.model({"inputs": [["input_0", "HALF", [-1, 3]]], "outputs": OUTPUTS})
    line = f"Profile {end} values are not self-consistent. (Unnamed Layer* 1) [ElementWise]: dimensions not compatible"
    with pytest.raises(
        Unsupported, match=rf"does not run with batch={size}, .*: \(Unnamed Layer.*compatible"
    ) as caught:
        world.build(Script(V11, build_log=[("WARNING", line)]), case=DYNAMIC)
    assert "`dynamic`" in caught.value.fix


# ------------------------------------------------------------------------------------------------------ the parser

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


# ------------------------------------------------------------------------------------------------ the timing cache


def test_a_timing_cache_is_cold_then_warm_and_grows(world: World) -> None:
    plan, first = world.build(Script(V10, entries=["conv"]))
    assert (plan["cache"], first.timing_cache) == ([], "cold")
    assert first.timing_cache_bytes > 0
    plan, second = world.build(Script(V10, entries=["gemm"]))
    assert (plan["cache"], second.timing_cache) == (["conv"], "warm")
    plan, _ = world.build(Script(V10))
    assert plan["cache"] == ["conv", "gemm"]
    (file,) = (world.root / "tensorrt").glob("*.timing")
    assert file.name == "sm_90-nvidia-example-80gb-10.16.1.timing"


def test_what_another_builder_wrote_meanwhile_is_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.build(Script(V10, entries=["conv"]))
    (file,) = (world.root / "tensorrt").glob("*.timing")

    class Interrupted(Script):
        """Another builder ends while this one builds."""

        @property
        def steps(self) -> Any:  # type: ignore[override]
            file.write_text(json.dumps([V10, ["conv", "theirs"]]))
            return ()

        @steps.setter
        def steps(self, value: Any) -> None: ...

    world.build(Interrupted(V10, entries=["ours"]))
    assert json.loads(file.read_text())[1] == ["conv", "ours", "theirs"]
    assert not [path for path in file.parent.iterdir() if path.suffix not in (".timing", ".lock")]


def test_an_engine_that_is_not_built_with_a_timing_cache_is_built_without(world: World) -> None:
    world.build(Script(V8, entries=["conv"]))
    plan, built = world.build(Script(V8, entries=["myelin"], fails_with_times=True))
    assert (plan["cache"], built.timing_cache) == ([], "cold")
    (file,) = (world.root / "tensorrt").glob("*.timing")
    assert json.loads(file.read_text()) == [V8, ["conv", "myelin"]]
    with pytest.raises(Unsupported, match="could not build this engine"):
        world.build(Script(V8, fails=True))


def test_a_further_build_neither_uses_nor_leaves_a_timing_cache(world: World) -> None:
    world.build(Script(V10, entries=["conv"]))
    plan, built = world.build(Script(V10, entries=["other"]), build=1)
    assert (plan["cache"], built.timing_cache) == ([], "cold")
    plan, _ = world.build(Script(V10))
    assert plan["cache"] == ["conv"]


def test_a_timing_cache_can_be_off(world: World) -> None:
    plan, built = world.build(Script(V8), timing_cache=False)
    assert (plan["cache"], built.timing_cache) == (None, "off")
    assert "DISABLE_TIMING_CACHE" in plan["flags"]
    assert not (world.root / "tensorrt").exists()


def test_a_timing_cache_that_is_refused_is_made_anew(world: World) -> None:
    world.build(Script(V10, entries=["conv"]))
    (file,) = (world.root / "tensorrt").glob("*.timing")
    file.write_text(json.dumps(["10.16.0", ["old"]]))
    plan, built = world.build(Script(V10, entries=["conv"]))
    assert (plan["cache"], built.timing_cache) == ([], "cold")
    assert json.loads(file.read_text()) == [V10, ["conv"]]


# ---------------------------------------------------------------------------------------------- what goes wrong


def test_a_build_that_fails_shows_the_last_lines_of_the_log(world: World) -> None:
    log = [("WARNING", "slow"), ("ERROR", "Could not find any implementation for node conv")]
    with pytest.raises(
        Unsupported, match=r"TensorRT 10\.16\.1 could not build this engine: Could not find any impl.*conv$"
    ):
        world.build(Script(V10, fails=True, build_log=log))


def test_a_cause_that_is_only_a_warning_is_shown(world: World) -> None:
    with pytest.raises(Unsupported, match="Skipping this backend strategy"):
        world.build(Script(V8, fails=True, build_log=[("WARNING", "Skipping this backend strategy")]))


@pytest.mark.parametrize("line", ["Error Code 2: OutOfMemory (no further information)", "Cuda Runtime (out of memory)"])
def test_a_builder_without_memory_is_out_of_memory(world: World, line: str) -> None:
    with pytest.raises(OutOfMemory, match="could not build"):
        world.build(Script(V8, fails=True, build_log=[("ERROR", line)]))


def test_a_builder_without_a_gpu_is_unavailable(world: World) -> None:
    with pytest.raises(
        Unavailable, match="could not make a builder: CUDA initialization failure with error: 35"
    ) as caught:
        world.build(Script(V10, gpu=False))
    assert "nvidia-smi" in caught.value.fix


def test_warnings_are_kept_each_once_and_not_all(world: World) -> None:
    log = [("WARNING", "twice"), ("INFO", "chatter"), ("WARNING", "twice")]
    _, built = world.build(Script(V10, build_log=log + [("WARNING", f"w{n}") for n in range(40)]))
    assert built.warnings[:2] == ("twice", "w0")
    assert len(built.warnings) == 20


def test_progress_is_told_where_the_version_tells_it(world: World) -> None:
    steps = (("Building Engine", None, 4), ("Tactics", "Building Engine", 1000), ("Empty", None, 0))
    world.build(Script(V8, steps=steps))
    assert world.told == []
    world.build(Script(V11, steps=steps))
    assert world.told[:4] == [f"Building Engine {n}/4" for n in (1, 2, 3, 4)]
    assert world.told[-1] == "Tactics 1000/1000"
    assert len(world.told) == 104


def test_the_log_of_tensorrt_8_says_how_far_a_build_is_and_which_layers_take_its_time(world: World) -> None:
    lines = [
        "--------------- Timing Runner: conv1 + relu (CaskConvolution[0x80000009])",
        "conv1 + relu Set Tactic Name: sm80_xmma_fprop Tactic: 0x12",
        "--------------- Timing Runner: conv1 + relu (CudnnConvolution)",
        "--------------- Timing Runner: {ForeignNode[a...b]} (Myelin[0x80000023])",
    ]
    log = [("VERBOSE", line) for line in lines]
    _, info = world.build(Script(V8, build_log=log))
    assert world.told == ["1 timed, conv1 + relu", "3 timed, {ForeignNode[a...b]}"]
    assert set(info.slowest_layers) == {"conv1 + relu", "{ForeignNode[a...b]}"}
    assert [(set(layers), current) for layers, current in world.layers] == [
        (set(), "conv1 + relu"),
        ({"conv1 + relu"}, "{ForeignNode[a...b]}"),
    ]
    _, info = world.build(Script(V11, build_log=log))
    assert info.slowest_layers == {}


def test_plugin_libraries_are_loaded_before_the_network_is_made(world: World) -> None:
    script = Script(V8)
    world.build(script, plugins=["libmine.so", "liblisted.so"])
    assert script.calls[1:5] == ["own plugins ''", "load libmine.so", "load liblisted.so", "registry liblisted.so"]
    with pytest.raises(Unavailable, match=r"the plugin library libabsent\.so cannot be loaded"):
        world.build(Script(V8), plugins=["libabsent.so"])
    with pytest.raises(Unsupported, match=r"cannot register the plugins of liblisted\.so"):
        world.build(Script(V8, plugins=False), plugins=["liblisted.so"])


# ----------------------------------------------------------------------------------------------- networks by hand

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


def test_an_engine_tells_its_layers_without_tensorrt(tmp_path: Path) -> None:
    backend = base.load("tensorrt")
    *_, export, build = backend.stages(Case(model="net", factory="zoo.py:net", inputs={}, backend="tensorrt"))
    (tmp_path / "build.json").write_text(
        '{"runtime": "TensorRT 10", "plan_bytes": 1, "build_ns": 1, "inputs": {}, "outputs": {}, "layers": 7, '
        '"strongly_typed": true, "optimization_level": 3}'
    )
    assert isinstance(backend, CountsLayers)
    assert backend.layer_count(build, tmp_path) == 7
    assert backend.layer_count(export, tmp_path) is None
