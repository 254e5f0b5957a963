"""The backend: what it lacks and leaves out, its stages and keys, and loading plans."""

from __future__ import annotations

import json
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.backends import base
from bench.errors import CaseError, OutOfMemory, Unsupported, UsageError
from bench.model.suite import Range
from bench.runtimes.trt import builder, deployed, execution, layers, library, versions
from bench.runtimes.trt.options import Options
from tests.backends.kit import Bench
from tests.runtimes.trt import builder_standin as trt_builder
from tests.runtimes.trt.names import VERSIONS
from tests.runtimes.trt.script import Script

V8, V10, V11 = VERSIONS
TRT = base.load("tensorrt")
BUILT = builder.BuildInfo(
    runtime="TensorRT 8.6.1",
    plan_bytes=4,
    build_ns=1,
    inputs={"x": "x"},
    outputs={"y": "y"},
    layers=1,
    strongly_typed=False,
    optimization_level=3,
)


def built(bench: Bench, **fields: Any) -> Path:
    """A folder as a build leaves it."""
    folder = bench.folder()
    (folder / builder.PLAN).write_bytes(b"plan")
    (folder / builder.BUILD_INFO).write_bytes(msgspec.json.encode(msgspec.structs.replace(BUILT, **fields)))
    return folder


# ----------------------------------------------------------------------------------------------------- the planner


def test_a_cpu_and_a_quantised_model_that_nobody_makes_are_left_out(bench: Bench) -> None:
    assert TRT.unsupported(bench.case("tensorrt"), "cpu") == "TensorRT needs a CUDA device"
    assert TRT.unsupported(bench.case("tensorrt", precision="bf16"), "cuda:0") is None
    assert "no fp8 model" in (TRT.unsupported(bench.case("tensorrt", precision="fp8"), "cuda:0") or "")
    by_hand = bench.case("tensorrt", precision="fp8", options={"network": "zoo.py:build"})
    assert TRT.unsupported(by_hand, "cuda:0") is None


def test_the_engine_is_made_from_the_shared_onnx_file_in_the_toolchain_that_measures(bench: Bench) -> None:
    reference, export, build = TRT.stages(bench.case("tensorrt", precision="fp16", toolchain="trt86"))
    options = {"exporter": "legacy", "opset": 17}
    assert export == base.load("onnxruntime").stages(bench.case("onnxruntime", precision="fp16", options=options))[1]
    assert (reference.toolchain, export.toolchain, build.toolchain) == ("default", "default", "trt86")
    assert (build.name, build.kind, build.producer, build.needs) == ("build", "engine", "tensorrt", ("export",))
    assert build.per_device
    assert build.per_build


@pytest.mark.parametrize("options", [{}, {"network": "nets.py:build"}])
def test_engines_of_before_whose_narrow_outputs_came_from_an_identity_are_built_again(
    bench: Bench, options: dict[str, Any]
) -> None:
    *_, build = TRT.stages(bench.case("tensorrt", precision="fp16", options=options))
    assert build.key["outputs"] == "cast"
    *_, build = TRT.stages(bench.case("tensorrt", precision="fp32", options=options))
    assert "outputs" not in build.key


def test_a_network_by_hand_is_made_from_the_weights_and_its_file(bench: Bench) -> None:
    case = bench.case("tensorrt", options={"network": "nets.py:build", "plugins": ["libmine.so"]})
    _, weights, build = TRT.stages(case)
    assert (weights.name, build.needs) == ("weights", ("weights",))
    assert build.files == ("nets.py", "libmine.so")


CALIBRATIONS: list[dict[str, Any]] = [
    {}, {"samples": 4}, {"data": "calibration.npz"}, {"calibration_cache": "calibration.cache"},
]  # fmt: skip
QUANTIZATIONS: list[dict[str, Any]] = [
    {}, {"samples": 4}, {"data": "calibration.npz"}, {"observer": "minmax"}, {"placement": "mended"},
    {"floating": ["conv"]}, {"producer": "pt2e"}, {"producer": "modelopt"},
]  # fmt: skip
OTHERS: list[dict[str, Any]] = [
    {"precision": "tf32"},
    {"precision": "fp16"},
    {"factory": "zoo.py:inverse"},
    {"dynamic": {"batch": Range(min=1, opt=2, max=4)}},
    *({"precision": "int8", "options": option} for option in QUANTIZATIONS),
    *(
        {"options": option}
        for option in (
            {"exporter": "dynamo"},
            {"opset": 16},
            {"network": "zoo.py:build"},
            {"deconvolutions": "dense"},
            {"workspace": 4096},
            {"optimization_level": 0},
            {"tactic_sources": ["JIT_CONVOLUTIONS"]},
            {"tactic_sources": []},
            {"timing_cache": False},
            {"tactic_heuristic": True},
            {"max_aux_streams": 0},
            {"refit": True},
            {"version_compatible": True},
            {"hardware_compatible": "ampere_plus"},
            {"strongly_typed": False},
            {"plugins": ["libmine.so"]},
            *({"calibrator": "entropy", **more} for more in CALIBRATIONS),
        )
    ),
]


def test_whatever_changes_the_plan_changes_its_key(bench: Bench) -> None:
    keys = [TRT.stages(bench.case("tensorrt", **fields))[-1].key for fields in [{}, *OTHERS]]
    texts = [json.dumps(key, sort_keys=True) for key in keys]
    assert len(set(texts)) == len(texts)
    told = {option for fields in OTHERS for option in fields.get("options", {})}
    assert told | set(deployed.RUNNING) == set(Options.__struct_fields__), "each option is tried here"


def test_both_executors_run_one_engine_and_cpp_needs_its_program(bench: Bench) -> None:
    python, cpp = (TRT.stages(bench.case("tensorrt", options=options)) for options in ({}, {"executor": "cpp"}))
    assert list(cpp[:-1]) == list(python)
    assert (cpp[-1].kind, cpp[-1].producer, cpp[-1].of_model) == ("runner", "tensorrt", False)
    elsewhere = bench.case("tensorrt", options={"executor": "cpp", "tensorrt_include": "/opt/include"})
    assert TRT.stages(elsewhere)[-1].key != cpp[-1].key
    graphs = bench.case("tensorrt", options={"executor": "cpp"}, cuda_graph=True)
    assert "cuda_graph: off" in (TRT.unsupported(graphs, "cuda:0") or "")


def test_what_does_not_change_the_plan_does_not_change_its_key(bench: Bench) -> None:
    first = bench.case("tensorrt", options={"workspace": "4 GiB"})
    second = bench.case("tensorrt", options={"workspace": 4 * 2**30}, cuda_graph=True, streams=2, transfers=False)
    assert TRT.stages(first) == TRT.stages(second)


def test_points_of_a_dynamic_case_share_an_engine_and_not_the_times_of_its_layers(bench: Bench) -> None:
    span = {"batch": Range(min=1, opt=2, max=4)}
    one, two = (bench.case("tensorrt", symbols={"batch": n}, dynamic=span) for n in (1, 2))
    assert TRT.stages(one)[-1] == TRT.stages(two)[-1]
    assert TRT.layers(one) != TRT.layers(two)  # type: ignore[attr-defined]
    assert TRT.layers(one).needs == ("build",)  # type: ignore[attr-defined]


# ------------------------------------------------------------------------------------------------------------ plans


@pytest.mark.parametrize("version", VERSIONS)
def test_a_plan_is_loaded_in_a_phase_of_its_own(bench: Bench, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    trt_builder.install(monkeypatch, Script(version))
    seen: list[Any] = []

    class Prepared:
        def __init__(self, *arguments: Any) -> None:
            seen.append(arguments)

        def close(self) -> None:
            seen.append("closed")

    monkeypatch.setattr(execution, "EnginePrepared", Prepared)
    case = bench.case("tensorrt")
    bench.phases.clear()
    context = bench.context(case, {"build": built(bench, version_compatible=True)})
    with TRT.prepare(case, TRT.options(), context):
        assert bench.phases == ["import", "deserialize"]
    (_, _, api, engine, told), last = seen
    assert (api.version, engine, last) == (version, ("engine", b"plan", True), "closed")
    assert told == msgspec.structs.replace(BUILT, version_compatible=True)


@pytest.mark.parametrize(
    ("line", "kind", "message"),
    [
        ("Version tag does not match. Note: Current Version: 232", Unsupported, r"not made by TensorRT 8\.6\.1"),
        ("The engine plan file is not compatible with this version of TensorRT", Unsupported, "not made by TensorRT"),
        ("generated on an incompatible device, expecting compute 9.0 got compute 8.0", Unsupported, "for another GPU"),
        ("getPluginCreator could not find plugin: Mine version: 1", Unsupported, "a plugin that is not loaded"),
        ("Serialization assertion plan->header.magicTag == rt::kPLAN_MAGIC_TAG failed", CaseError, r"\(4 bytes\)"),
        ("Serialization assertion plan->header.size == blobSize failed.", CaseError, "damaged or cut short"),
        ("Internal Error (Cannot deserialize with an empty memory buffer.)", CaseError, "damaged or cut short"),
        ("Error Code 4: Internal Error (Engine not found in plan.)", CaseError, "damaged or cut short"),
        ("Error Code 2: OutOfMemory (no further information)", OutOfMemory, "OutOfMemory"),
        ("something else", Unsupported, "cannot load this plan: something else"),
    ],
)
def test_a_plan_that_is_refused_says_why(
    monkeypatch: pytest.MonkeyPatch, line: str, kind: type[CaseError], message: str
) -> None:
    trt_builder.install(monkeypatch, Script(V8, load_log=[line]))
    with pytest.raises(CaseError, match=message) as caught:
        library.deserialize(library.open_api(), b"plan")
    assert type(caught.value) is kind
    assert line in caught.value.what


def test_the_code_in_a_plan_runs_only_if_it_is_allowed_to(monkeypatch: pytest.MonkeyPatch) -> None:
    trt_builder.install(monkeypatch, Script(V10))
    assert library.deserialize(library.open_api(), b"plan") == ("engine", b"plan", False)


def test_layers_are_taken_from_the_built_engine(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    trt_builder.install(monkeypatch, Script(V11))
    seen: list[Any] = []
    monkeypatch.setattr(layers, "take", lambda *arguments: seen.append(arguments))
    case = bench.case("tensorrt")
    stage, out = TRT.layers(case), bench.folder()  # type: ignore[attr-defined]
    TRT.produce(stage, case, bench.context(case, {"build": built(bench)}), out)
    (found,) = seen
    assert found[:2] == (case, stage)
    assert found[4:] == (("engine", b"plan", False), BUILT, out)


def test_a_stage_of_another_backend_is_not_made_here(bench: Bench) -> None:
    case = bench.case("tensorrt")
    with pytest.raises(UsageError, match="tensorrt makes no reference"):
        TRT.produce(TRT.stages(case)[0], case, bench.context(case), bench.folder())


# --------------------------------------------------------------------------------------------- shapes and types


class UnknownRank:
    """Dims of rank -1, as pybind shows them."""

    def __len__(self) -> int:
        return -1

    def __iter__(self) -> Iterator[int]:
        raise ValueError("__len__() should return >= 0")


def test_shapes_are_tuples_and_an_unknown_rank_is_an_error() -> None:
    assert versions.dims((1, -1, 3)) == (1, -1, 3)
    assert versions.dims(()) == ()
    for shape in (UnknownRank(), None):
        with pytest.raises(Unsupported, match="rank"):
            versions.dims(shape)


def test_types_go_by_numpys_names_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    trt_builder.install(monkeypatch, Script(V8))
    api = library.open_api()
    for member in api.module.DataType:
        assert versions.dtype(api, versions.dtype_name(member)) is member
    for name in ("int64", "bfloat16", "complex64"):
        with pytest.raises(Unsupported, match=rf"TensorRT 8\.6\.1 has no type {name}"):
            versions.dtype(api, name)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_type_of_a_version_has_a_name(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    trt = trt_builder.install(monkeypatch, Script(version))
    assert len({versions.dtype_name(member) for member in trt.DataType}) == len(trt.DataType)


def test_device_memory_is_read_by_the_name_that_the_version_has() -> None:
    assert versions.device_memory(types.SimpleNamespace(device_memory_size=1)) == 1
    assert versions.device_memory(types.SimpleNamespace(device_memory_size=1, device_memory_size_v2=2)) == 2


def test_options_survive_being_written(bench: Bench) -> None:
    asked = {"tactic_sources": ["JIT_CONVOLUTIONS"], "workspace": "1 GiB", "plugins": ["libmine.so"]}
    case = bench.case("tensorrt", options=asked)
    assert msgspec.to_builtins(base.options_of(TRT, case)) == asked
    key = TRT.stages(case)[-1].key
    assert json.loads(json.dumps(key)) == key


def test_implicit_int8_is_of_fixed_sizes_and_its_file_is_not_quantized(bench: Bench) -> None:
    options = {"calibrator": "entropy", "data": "data.py:batches", "calibration_cache": "calibration.cache"}
    case = bench.case("tensorrt", precision="int8", options=options)
    assert TRT.unsupported(case, "cuda:0") is None
    _, export, build = TRT.stages(case)
    assert export.key["precision"] == "fp32"
    assert build.files == ("data.py", "calibration.cache")
    for fields in ({"precision": "fp16"}, {"dynamic": {"batch": Range(min=1, opt=2, max=4)}}):
        refused = TRT.unsupported(
            bench.case("tensorrt", **{"precision": "int8", "options": options, **fields}), "cuda:0"
        )
        assert refused.startswith("calibrator: entropy is of precision int8, of a model with fixed sizes")
    with pytest.raises(msgspec.ValidationError, match="calibration_cache needs a calibrator"):
        msgspec.convert({"calibration_cache": "calibration.cache"}, Options)
    with pytest.raises(msgspec.ValidationError, match="choose Q/DQ: leave them or calibrator out"):
        msgspec.convert({"calibrator": "entropy", "observer": "minmax"}, Options)
