"""What is asked of TensorRT's builder, version by version, and what becomes of its answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.backends import base
from bench.errors import OutOfMemory, Unavailable, Unsupported
from bench.model.abilities import CountsLayers
from bench.model.suite import Case, Input, Range
from bench.runtimes import onnx_manifest
from bench.runtimes.trt.options import Options
from tests.runtimes.trt.builder_world import MODEL, OUTPUTS, TRACED, World
from tests.runtimes.trt.names import VERSIONS
from tests.runtimes.trt.script import Script

V8, V10, V11 = VERSIONS


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
    world.manifest(onnx_manifest.Manifest(("x",), ("output_0", "output_1"), "", 17, own_names=True))
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


def test_what_tensorrt_chose_while_it_calibrated_stands_in_place_of_what_the_file_says(world: World) -> None:
    written = onnx_manifest.Manifest(("x", "mask"), ("logits", "map"), "legacy", 17, (TRACED,))
    world.manifest(msgspec.structs.replace(written, quantization={"quantizer": "another"}))
    (world.root / "scales.cache").write_text("TRT-8601-EntropyCalibration2\ninput_0: 3c010a14\ninput_1: 3c010a14\n")
    _, built = world.build(Script(V8), "int8", calibrator="entropy", calibration_cache="scales.cache")
    assert built.calibration == {
        "quantizer": "TensorRT 8.6.1", "calibrator": "entropy", "samples": 0, "from_cache": "scales.cache"
    }  # fmt: skip
    assert "INT8" in built.flags
    with pytest.raises(Unsupported, match=r"TensorRT 10\.16\.1 is not calibrated: implicit int8 is of TensorRT 8"):
        world.build(Script(V10), "int8", calibrator="entropy", calibration_cache="scales.cache")


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
