"""torch_tensorrt on a stand-in that computes on the CPU: options, stages, frontends by version, lanes, errors."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from bench.backends import base, torch_tensorrt
from bench.errors import SuiteError, Unavailable
from bench.model.suite import Case, Input, Range
from bench.runtimes.torchtrt import settings
from bench.runtimes.trt import library
from bench.suite import plan, reader
from tests.backends.kit import Bench

torch = pytest.importorskip("torch")
from tests.backends.torch_tensorrt_kit import of, old  # noqa: E402
from tests.runtimes.torchtrt import standin  # noqa: E402 - needs torch

pytestmark = pytest.mark.torch
TT = base.load("torch_tensorrt")
IRS = ["dynamo", "ts", "fx", "torch_compile"]
ROOT = Path(__file__).parents[2]


def point(bench: Bench, ir: str, batch: int) -> Case:
    return of(
        bench,
        ir,
        inputs={"x": Input(shape=("batch", 3, 16, 16))},
        symbols={"batch": batch},
        dynamic={"batch": Range(min=1, opt=4, max=8)},
    )


# ------------------------------------------------------------------------------------------------- planning and options


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"ir": "fx", "optimization_level": 3}, "ir fx has no optimization_level; dynamo, torch_compile have it"),
        ({"ir": "torch_compile", "require_full_compilation": True}, "no require_full_compilation; dynamo, ts have it"),
        ({"ir": "ts", "use_python_runtime": True}, "ir ts has no use_python_runtime"),
        ({"ir": "fx", "truncate_double": True}, "ir fx has no truncate_double"),
        ({"workspace": "2 gigs"}, "is not a number with a unit"),
        ({"ir": "onnx"}, "onnx"),
    ],
)
def test_an_option_that_the_frontend_does_not_have_is_an_error_of_the_suite(
    tmp_path: Path, options: dict[str, Any], why: str
) -> None:
    entry = json.dumps({"name": "torch_tensorrt", **options})
    path = tmp_path / "s.yaml"
    path.write_text(
        "schema: 1\nmodels: {net: {factory: zoo.py:net, inputs: {x: {shape: [4]}}}}\n"
        f"matrix:\n  backend:\n    - {entry}\n"
    )
    with pytest.raises(SuiteError, match=why) as caught:
        reader.load(path, base.registry())
    assert caught.value.where.startswith(f"{path}:5")


def test_what_can_never_run_is_left_out_with_the_reason(own: Bench) -> None:
    def why(ir: str, device: str = "cuda:0", **fields: Any) -> str:
        return TT.unsupported(of(own, ir, **fields), device) or ""

    assert [why(ir) for ir in IRS] == ["", "", "", ""]
    assert "needs a CUDA device" in why("dynamo", "cpu")
    assert "no bf16" in why("ts", precision="bf16")
    assert "no bf16" in why("fx", precision="bf16")
    assert "int8" in why("dynamo", precision="int8")
    assert "use ir: dynamo" in (TT.unsupported(point(own, "torch_compile", 1), "cuda:0") or "")
    assert TT.unsupported(point(own, "fx", 1), "cuda:0") is None
    height = {"inputs": {"x": Input(shape=(4, 3, "h", 8))}, "symbols": {"h": 8}}
    assert "the first of the inputs" in why("fx", **height, dynamic={"h": Range(min=8, opt=8, max=16)})


def test_a_build_belongs_to_all_that_changes_it_and_is_one_of_several(own: Bench) -> None:
    build = TT.stages(of(own, "dynamo"))[-1]
    assert (build.name, build.per_device, build.per_build) == ("build", True, True)
    others = [
        of(own, "dynamo", precision="tf32"),
        of(own, "ts"),
        of(own, "dynamo", options={"workspace": "1 GiB"}),
        of(own, "dynamo", factory="zoo.py:nested"),
    ]
    keys = [json.dumps(TT.stages(case)[-1].key, sort_keys=True) for case in [of(own, "dynamo"), *others]]
    assert len(set(keys)) == len(keys)
    assert {"torch-tensorrt", "tensorrt-bindings", "torch"} <= set(build.libraries)


def test_what_cannot_be_saved_has_no_build(own: Bench) -> None:
    for case in (of(own, "torch_compile"), of(own, "dynamo", options={"use_python_runtime": True})):
        assert [stage.name for stage in TT.stages(case)] == ["reference"]


def test_in_another_toolchain_the_weights_come_from_the_default_one(own: Bench) -> None:
    *_, weights, build = TT.stages(of(own, "dynamo", toolchain="old"))
    assert (weights.name, weights.toolchain) == ("weights", "default")
    assert (build.toolchain, build.needs) == ("old", ("weights",))


# ------------------------------------------------------------------------------------------------------ what is missing


def test_without_torch_tensorrt_the_command_names_the_version_that_fits_torch() -> None:
    if "torch_tensorrt" in sys.modules:
        pytest.skip("torch_tensorrt is here")
    lacks = TT.missing()
    numbers = torch.__version__.split(".")
    assert lacks is not None
    assert f"'torch-tensorrt=={numbers[0]}.{numbers[1]}.*'" in lacks.fix


def test_a_torch_tensorrt_of_another_torch_is_missing_with_the_one_that_fits(made: standin.StandIn) -> None:
    assert TT.missing() is None
    made.versions(torch="2.11.0+cu130", torch_tensorrt="2.2.0")
    lacks = TT.missing()
    assert lacks is not None
    assert lacks.reason == "torch_tensorrt 2.2 cannot work beside torch 2.11"
    assert lacks.fix == "pip install 'torch-tensorrt==2.11.*'"


def test_the_distribution_for_tensorrt_rtx_runs_on_that(made: standin.StandIn, own: Bench, tmp_path: Path) -> None:
    made.rtx(tmp_path / "cache.bin")
    assert settings.product() is library.RTX
    assert TT.missing() is None
    assert TT.imports(of(own, "dynamo"))[-1] == "tensorrt_rtx"  # type: ignore[attr-defined]
    with own.prepared(of(own, "dynamo")) as prepared:
        report = prepared.fairness()
    assert (report["runtime"], report["runtime_cache"], report["timing_cache"]) == (
        "TensorRT-RTX 1.6.1.120",
        "cold",
        "off",
    )
    assert "timing_cache_path" not in made.asked[0]
    (tmp_path / "cache.bin").touch()
    with own.prepared(of(own, "dynamo")) as prepared:
        assert prepared.fairness()["runtime_cache"] == "warm"


def test_one_for_tensorrt_rtx_of_another_torch_is_missing_with_the_one_that_fits(
    made: standin.StandIn, tmp_path: Path
) -> None:
    made.rtx(tmp_path / "cache.bin")
    made.versions(torch="2.14.0+cu132", torch_tensorrt_rtx="2.13.0")
    lacks = TT.missing()
    assert lacks is not None
    assert lacks.fix == "pip install 'torch-tensorrt-rtx==2.14.*'"


@pytest.mark.parametrize(("own_version", "tensorrt"), [("2.11.0", "10.15.1"), ("2.3.0", "8.6.1"), ("2.2.0", "10.0.1")])
def test_fx_says_which_versions_run_it(
    monkeypatch: pytest.MonkeyPatch, own: Bench, own_version: str, tensorrt: str
) -> None:
    old(monkeypatch).versions(torch=own_version, torch_tensorrt=own_version, tensorrt=tensorrt)
    with pytest.raises(Unavailable, match=r"torch_tensorrt 2\.2 with TensorRT 8\.6 is the last") as caught:
        own.run(of(own, "fx"))
    assert "torch-tensorrt==2.2.0" in caught.value.fix


def test_a_torch_tensorrt_that_cannot_be_imported_is_unavailable(
    made: standin.StandIn, monkeypatch: pytest.MonkeyPatch, own: Bench, tmp_path: Path
) -> None:
    (tmp_path / "torch_tensorrt.py").write_text("raise ImportError('libtorchtrt.so: undefined symbol: _ZN2at')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torch_tensorrt")
    with pytest.raises(Unavailable, match="undefined symbol") as caught:
        own.run(of(own, "dynamo"))
    assert "--force-reinstall torch-tensorrt" in caught.value.fix


# -------------------------------------------------------------------------------------------------------------- running


@pytest.mark.parametrize(
    ("ir", "flavour"),
    [
        *((ir, flavour) for ir in ("dynamo", "torch_compile") for flavour in standin.SETTINGS),
        ("ts", "2.11"),
        ("fx", "2.2"),
    ],
)
def test_each_frontend_gives_the_reference(monkeypatch: pytest.MonkeyPatch, own: Bench, ir: str, flavour: str) -> None:
    found = old(monkeypatch) if ir == "fx" else standin.StandIn(monkeypatch, flavour).install()
    case = of(own, ir)
    wanted = own.reference(case)
    with own.prepared(case) as prepared:
        lanes = prepared.lanes(2)
        assert len(lanes) == min(2, prepared.max_lanes or 2)
        for lane in lanes:
            lane.call()
            outputs = lane.read()
            assert list(outputs) == list(wanted)
            assert all(np.allclose(outputs[name], wanted[name], atol=1e-5) for name in wanted)
        told = prepared.fairness()
    assert own.phases[2:] == (["load", "compile"] if ir == "torch_compile" else ["deserialize"])
    assert (told["ir"], told["engines"], told["partitions"], told["fallback_nodes"]) == (ir, 1, 1, 0)
    assert found.asked[0]["ir"] == ir


def test_a_lane_on_another_stream_has_an_execution_context_of_its_own(
    monkeypatch: pytest.MonkeyPatch, own: Bench
) -> None:
    old(monkeypatch)
    with own.prepared(of(own, "fx")) as prepared:
        before = len(standin.CONTEXTS)
        assert len(prepared.lanes(3)) == 3
        contexts = standin.CONTEXTS[before:]
    assert len(contexts) == 2
    assert len({id(context.engine) for context in contexts}) == 1
    with own.prepared(point(own, "fx", 4)) as prepared:  # its engine has one profile, for one context
        assert len(prepared.lanes(3)) == 1


@pytest.mark.parametrize(("again", "most"), [(None, 1), (torch.nn.Identity, None)])
def test_a_program_that_cannot_be_made_again_has_one_lane(
    made: standin.StandIn, own: Bench, again: Any, most: int | None
) -> None:
    case = of(own, "dynamo")
    context = msgspec.structs.replace(own.context(case), device="cuda:0")
    api: Any = types.SimpleNamespace(name="TensorRT 10.0", product=library.TENSORRT)
    built = torch_tensorrt.ModuleInfo(names=(), fairness={})
    prepared = torch_tensorrt.EnginePrepared(case, context, api, torch.nn.Identity(), built, again=again)
    assert prepared.max_lanes == most


def test_one_module_serves_all_points_of_a_dynamic_case(made: standin.StandIn, own: Bench) -> None:
    for batch in (1, 8):
        case = point(own, "dynamo", batch)
        found, wanted = own.run(case), own.reference(case)
        assert all(np.allclose(found[name], wanted[name], atol=1e-5) for name in wanted)
    (inputs,) = made.specs
    shapes = {f"{end}_shape": (size, 3, 16, 16) for end, size in {"min": 1, "opt": 4, "max": 8}.items()}
    assert inputs == [{"dtype": torch.float32, **shapes}]
    ((_, dynamic),) = [asked["save"] for asked in made.asked if "save" in asked]
    assert list(dynamic) == ["input_0"]


def test_the_python_runtime_is_built_where_it_runs(made: standin.StandIn, own: Bench) -> None:
    case = of(own, "dynamo", options={"use_python_runtime": True})
    own.reference(case)
    with own.prepared(case) as prepared:
        assert len(prepared.lanes(2)) == 1
    assert own.phases == ["import", "import", "load", "export", "build"]
    assert made.asked[0]["use_python_runtime"] is True


@pytest.mark.parametrize(
    ("versions", "stream"), [("2.2.0", "caller"), ("2.3.0", "forked"), ("2.12.1", "forked"), ("2.13.0", "caller")]
)
def test_which_stream_engines_run_on_is_told(made: standin.StandIn, own: Bench, versions: str, stream: str) -> None:
    made.versions(torch=versions, torch_tensorrt=versions)
    with own.prepared(of(own, "dynamo")) as prepared:
        assert prepared.fairness()["engine_stream"] == stream


def test_fx_optimises_for_the_range_that_the_suite_names(monkeypatch: pytest.MonkeyPatch, own: Bench) -> None:
    found = old(monkeypatch)
    own.run(point(own, "fx", 1))
    (specs,) = found.specs
    assert specs[0].shape_ranges == [((1, 3, 16, 16), (4, 3, 16, 16), (8, 3, 16, 16))]


@pytest.mark.parametrize("ir", ["dynamo", "fx"])
def test_the_timing_cache_is_warm_for_a_second_model_and_not_for_another_build(
    monkeypatch: pytest.MonkeyPatch, own: Bench, ir: str, tmp_path: Path
) -> None:
    found = old(monkeypatch) if ir == "fx" else standin.StandIn(monkeypatch).install()
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100")
    shared = tmp_path / "shared"

    def build(number: int, **fields: Any) -> str:
        case = of(own, ir, **fields)
        stage = TT.stages(case)[-1]
        out = own.folder()
        TT.produce(stage, case, own.context(case, own.artifacts(case), shared=shared, build=number), out)
        return str(json.loads((out / "build.json").read_bytes())["told"]["timing_cache"])

    assert build(0) == "cold"
    if ir == "dynamo":
        Path(found.asked[-2]["timing_cache_path"]).write_bytes(b"timings")
    assert build(0, precision="tf32") == "warm"
    if ir == "fx":
        assert found.caches[-1] == bytearray(b"timings")
    assert build(1) == "cold"
    (file,) = (shared / "torch_tensorrt").iterdir()
    assert file.name in ("10.15.1-nvidia-h100.cache", "8.6.1-nvidia-h100.cache")


def test_the_shipped_suite_has_the_old_tables_rows_and_a_true_fp32_one() -> None:
    loaded = reader.load(ROOT / "suites" / "fx2trt_resnet18.yaml", base.registry())
    cases = plan.plan(loaded, base.registry(), device="cuda:0").cases
    rows = {(case.backend, case.options.get("ir"), case.precision) for case in cases}
    assert rows == {
        *(("eager", None, precision) for precision in ("fp32", "tf32", "fp16")),
        *(("torch_tensorrt", "fx", precision) for precision in ("fp32", "tf32", "fp16")),
    }
    assert {(case.batch, case.toolchain) for case in cases} == {(128, "torch22")}
    assert {"gpu", "gpu_unheld"} <= set(loaded.measure.boundaries)
