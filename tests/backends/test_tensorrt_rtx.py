"""The backend of TensorRT-RTX: what it leaves out, its stages and keys, and the settings of its runtime."""

from __future__ import annotations

import enum
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from bench.backends import base
from bench.errors import CaseError, Unsupported
from bench.model.profile import FILE, Layers
from bench.model.seam import Context
from bench.model.suite import Case, Input
from bench.runtimes import memory
from bench.runtimes.trt import builder, layers, library, rtx
from bench.runtimes.trt.options import RtxOptions
from tests.backends.kit import Bench
from tests.runtimes.trt import names as trt_names
from tests.runtimes.trt import rtx_standin
from tests.runtimes.trt.builder_standin import Props
from tests.runtimes.trt.runtime_standin import PLAN, World, built, model

RTX = base.load("tensorrt_rtx")
# As an H200 has it, and the part of it that one of another plan would have.
REFUSAL = (
    "IRuntime::deserializeCudaEngine: Error Code 6: API Usage Error (The engine cannot run on this GPU, which has "
    "compute capability 9.0. Supported compute capabilities: 8.0 8.6 8.9 12.0 12.1 >12.0. "
)
NO_SUCH_GPU = "TensorRT-RTX does not support this compute capability, so the engine cannot be rebuilt for it.)"
OPTIONS: list[dict[str, Any]] = [
    {"exporter": "dynamo"}, {"opset": 18}, {"network": "zoo.py:build"}, {"workspace": 4096}, {"optimization_level": 0},
    {"tactic_sources": []}, {"max_aux_streams": 0}, {"compute_capabilities": [8.9]},
    {"compute_capabilities": "current"}, {"route": "fx2trt"}, {"route": "fx2trt", "program": "edited/program.py"},
    {"deconvolutions": "dense"}, {"route": "fx2trt", "deconvolutions": "dense"},
    {"observer": "minmax"}, {"samples": 4}, {"data": "calibration.npz"},
    {"placement": "mended"}, {"floating": ["conv"]}, {"producer": "pt2e"},
]  # fmt: skip
RUNNING: list[dict[str, Any]] = [
    {"runtime_cache": False}, {"kernel_specialization": "eager"}, {"cuda_graph_strategy": "whole_graph_capture"},
    {"executor": "cpp"}, {"tensorrt_include": "/opt/include"},
]  # fmt: skip


def test_what_can_never_run_is_left_out(bench: Bench) -> None:
    case = bench.case("tensorrt_rtx", precision="fp16")
    assert "CUDA device" in (RTX.unsupported(case, "cpu") or "")
    assert RTX.unsupported(case, "cuda:0") is None
    twice = bench.case("tensorrt_rtx", cuda_graph=True, options={"cuda_graph_strategy": "whole_graph_capture"})
    assert "both capture" in (RTX.unsupported(twice, "cuda:0") or "")
    assert "no fp8 model" in (RTX.unsupported(bench.case("tensorrt_rtx", precision="fp8"), "cuda:0") or "")


def test_the_route_of_fx2trt_has_its_program_in_place_of_an_onnx_file(bench: Bench) -> None:
    def case(precision: Any = "fp16", factory: str = "zoo.py:net", **options: Any) -> Case:
        return bench.case("tensorrt_rtx", factory=factory, precision=precision, options={"route": "fx2trt", **options})

    _, source, build = RTX.stages(case())
    assert (source.producer, source.name, build.needs) == ("fx2trt", "program", ("program",))
    assert source == base.load("fx2trt").stages(bench.case("fx2trt", precision="fp16"))[1]
    _, build = RTX.stages(case(program="edited/program.py"))
    assert build.needs == ()
    assert build.files == ("edited/program.py", "edited/weights.safetensors")
    assert RTX.unsupported(case(), "cuda:0") is None
    names = [stage.name for stage in RTX.stages(case("int8"))]
    assert names == ["reference", "calibration", "program", "quantized_reference", "build"]
    assert [stage.name for stage in RTX.stages(case("fp8"))] == ["reference", "calibration", "program", "build"]
    assert RTX.unsupported(case("fp8"), "cuda:0") is None
    assert "torchscript" in (RTX.unsupported(case(factory="net.pt"), "cuda:0") or "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"program": "net/program.py"}, "route: fx2trt"),
        ({"route": "fx2trt", "program": "net.txt"}, "no FILE.py"),
        ({"route": "fx2trt", "network": "zoo.py:build"}, "no network"),
        ({"route": "fx2trt", "exporter": "dynamo"}, "exporter"),
        ({"route": "fx"}, "route"),
    ],
)
def test_options_of_the_other_route_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.convert(options, RtxOptions)


def test_the_engine_has_a_key_of_what_it_is_built_from_and_none_of_how_it_runs(bench: Bench) -> None:
    def key(**options: Any) -> str:
        stages = RTX.stages(bench.case("tensorrt_rtx", options=options))
        return json.dumps(next(stage.key for stage in stages if stage.name == "build"), sort_keys=True)

    keys = [key(), *(key(**each) for each in OPTIONS)]
    assert len(set(keys)) == len(keys)
    assert {key(**each) for each in RUNNING} == {key()}
    assert {name for each in OPTIONS + RUNNING for name in each} == set(RtxOptions.__struct_fields__)


@pytest.mark.parametrize(("requested", "of_a_gpu"), [(None, False), ([8.9], False), ("current", True)])
def test_an_engine_is_of_a_gpu_only_if_it_is_for_the_current_one(bench: Bench, requested: Any, of_a_gpu: bool) -> None:
    options = {} if requested is None else {"compute_capabilities": requested}
    build = RTX.stages(bench.case("tensorrt_rtx", options=options))[-1]
    assert (build.per_device, build.per_build, build.times_kernels_on) == (of_a_gpu, False, ())


@pytest.mark.parametrize("numbers", [[], [8.95], [-1.0], ["new"]])
def test_a_wrong_compute_capability_is_refused_when_the_suite_is_read(numbers: list[Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"compute_capabilities": numbers}, RtxOptions)


# ------------------------------------------------------------------------------------------------------------ running


class Engine:
    """Makes configurations that have the names of the real ones and no others."""

    def __init__(self, trt: Any) -> None:
        self._trt = trt

    def create_runtime_config(self) -> Any:
        return rtx_standin.config(self._trt)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> library.Api:
    trt = type("trt", (), dict(trt_names.enums(trt_names.RTX)))
    monkeypatch.setattr(memory, "cuda", lambda function, *arguments: Props())
    return library.Api(trt, rtx_standin.VERSION, "1.7.1", object(), library.RTX)  # type: ignore[arg-type]


def test_the_stand_ins_have_the_names_of_the_real_bindings() -> None:
    trt_names.allow(rtx_standin.IRuntimeCache, "IRuntimeCache", trt_names.RTX)
    trt_names.allow(rtx_standin.IRuntimeConfig, "IRuntimeConfig", trt_names.RTX)


def test_kernels_are_cold_then_warm_and_of_another_driver_cold_again(
    bench: Bench, api: library.Api, tmp_path: Path
) -> None:
    context = msgspec.structs.replace(bench.context(bench.case("tensorrt_rtx")), shared=tmp_path, device="cuda:0")

    def state(digest: str = "one", build: int = 0, **options: Any) -> str:
        asked = msgspec.structs.replace(context, build=build)
        with rtx.open_settings(api, Engine(api.module), digest, RtxOptions(**options), asked) as settings:
            return settings.cache

    assert [state(), state(), state("another"), state(build=1), state(runtime_cache=False)] == [
        "cold", "warm", "cold", "cold", "off",
    ]  # fmt: skip
    (stored,) = (tmp_path / "tensorrt_rtx").glob("one-sm_90-*-1.7.1.116.kernels")
    stored.write_bytes(rtx_standin.STALE)
    assert state() == "cold"


def test_kernels_of_a_call_that_failed_are_not_kept(bench: Bench, api: library.Api, tmp_path: Path) -> None:
    context = msgspec.structs.replace(bench.context(bench.case("tensorrt_rtx")), shared=tmp_path, device="cuda:0")
    with (
        pytest.raises(CaseError, match="no kernel"),
        rtx.open_settings(api, Engine(api.module), "one", RtxOptions(), context),
    ):
        raise CaseError("no kernel")
    assert list(tmp_path.rglob("*.kernels")) == []


def test_strategies_are_set_and_read_back(bench: Bench, api: library.Api) -> None:
    context = bench.context(bench.case("tensorrt_rtx"))
    with rtx.open_settings(api, Engine(api.module), "one", RtxOptions(), context) as settings:
        assert (settings.kernel_specialization, settings.cuda_graph_strategy) == ("lazy", "disabled")
        assert not settings.captures_graphs
    options = RtxOptions(kernel_specialization="eager", cuda_graph_strategy="whole_graph_capture")
    with rtx.open_settings(api, Engine(api.module), "one", options, context) as settings:
        assert (settings.kernel_specialization, settings.captures_graphs) == ("eager", True)


@pytest.mark.parametrize(("option", "values"), [("kernel_specialization", "DynamicShapesKernelSpecializationStrategy"),
                                               ("cuda_graph_strategy", "CudaGraphStrategy")])  # fmt: skip
def test_every_strategy_of_the_real_bindings_is_a_value_of_its_option(option: str, values: str) -> None:
    members: type[enum.IntEnum] = trt_names.enum_of(values, trt_names.RTX)
    for member in members:
        assert getattr(msgspec.convert({option: member.name.lower()}, RtxOptions), option) == member.name.lower()


# ------------------------------------------------------------------------------ the backend on a stand-in of a runtime


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """The stand-in for the runtime in the names of TensorRT-RTX, with an engine for one to eight rows."""
    made = World(trt_names.RTX)
    monkeypatch.setitem(sys.modules, "cuda.bindings", SimpleNamespace(runtime=made.cuda))  # type: ignore[arg-type]
    monkeypatch.setattr(library, "open_api", lambda *arguments: made.api)
    made.engine(model("11.4.0"))
    return made


@pytest.fixture
def on_gpu(bench: Bench, tmp_path: Path) -> Context:
    """The context of a case whose engine is built."""
    case = row()
    folder = bench.folder()
    (folder / builder.PLAN).write_bytes(PLAN)
    (folder / builder.BUILD_INFO).write_bytes(msgspec.json.encode(built(compute_capabilities=("8.9",))))
    return Bench(bench.root, device="cuda:0").context(case, {"build": folder}, shared=tmp_path)


def row(**options: Any) -> Case:
    return Case(
        model="net", factory="zoo.py:net", inputs={"x": Input(shape=(4, 3))}, backend="tensorrt_rtx", options=options
    )


@pytest.mark.usefixtures("world")
def test_a_second_process_finds_the_kernels_of_the_first_and_says_so(on_gpu: Context) -> None:
    states = []
    for _ in range(2):
        with RTX.prepare(row(), RtxOptions(), on_gpu) as prepared:
            fairness = prepared.fairness()
            states.append(fairness["runtime_cache"])
    assert states == ["cold", "warm"]
    assert (fairness["compute_capabilities"], fairness["graph_capture"]) == ("8.9", "none")


def test_the_pass_over_layers_finds_the_kernels_too_and_captures_no_graph(world: World, on_gpu: Context) -> None:
    options = {"cuda_graph_strategy": "whole_graph_capture", "kernel_specialization": "eager"}
    case = row(**options)
    with RTX.prepare(case, msgspec.convert(options, RtxOptions), on_gpu) as prepared:
        assert prepared.fairness()["graph_capture"] == "backend"
    (stored,) = (on_gpu.shared or Path()).rglob("*.kernels")
    before = stored.read_bytes()
    out = on_gpu.scratch
    RTX.produce(RTX.layers(case), case, on_gpu, out)  # type: ignore[attr-defined]
    assert stored.read_bytes() == before + b"+"
    assert [config.cuda_graph_strategy.name for config in world.configs] == ["WHOLE_GRAPH_CAPTURE", "DISABLED"]
    strategies = [config.dynamic_shapes_kernel_specialization_strategy.name for config in world.configs]
    assert strategies == ["EAGER", "EAGER"]
    assert msgspec.json.decode((out / FILE).read_bytes(), type=Layers).calls == layers.CALLS


def test_layers_of_kernels_for_any_size_and_for_one_are_two_passes() -> None:
    lazy, eager = (RTX.layers(row(kernel_specialization=each)) for each in ("lazy", "eager"))  # type: ignore[attr-defined]
    assert lazy.key != eager.key


@pytest.mark.parametrize(
    ("rest", "what", "fix"),
    [
        (NO_SUCH_GPU, r"TensorRT-RTX 1\.7\.1 does not run on this GPU: .*capabilities: 8\.0 8\.6", "another backend"),
        ("", "the plan was made for GPUs of other compute capabilities", "compute_capabilities: current"),
    ],
)
def test_a_gpu_that_it_or_a_plan_does_not_run_on_is_unsupported_with_those_that_do(
    world: World, on_gpu: Context, rest: str, what: str, fix: str
) -> None:
    def refuse(self: object, serialized_engine: bytes) -> None:
        world.complain(REFUSAL + rest)

    world.classes["Runtime"].deserialize_cuda_engine = refuse  # type: ignore[attr-defined]
    with pytest.raises(Unsupported, match=what) as caught, RTX.prepare(row(), RtxOptions(), on_gpu):
        pass
    assert fix in caught.value.fix
