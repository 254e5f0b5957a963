"""ONNX Runtime's provider of TensorRT-RTX: its registration and options, by the names that the real packages have."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import msgspec
import pytest

from bench.backends import base
from bench.errors import Unavailable
from bench.model.suite import Case
from bench.runtimes import ort_plugin
from tests.backends.kit import Bench
from tests.backends.onnxruntime_standin import OnHost
from tests.runtimes.trt.cuda_standin import Cuda, Steps

ort = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.torch
ORT = base.load("onnxruntime")
GPU = SimpleNamespace(ep_name=ort_plugin.PROVIDER)


class OnRtx(OnHost):
    """The CPU provider under the name of TensorRT-RTX's."""

    def __init__(self, path: str, settings: Any, providers: list[Any] | None) -> None:
        assert providers is None  # those of the settings
        super().__init__(path, settings, [])

    def get_providers(self) -> list[str]:
        return [ort_plugin.PROVIDER]


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The package of the provider, whose library is not there."""
    module = ModuleType(ort_plugin.MODULE)
    module.get_library_path = lambda: "/nowhere/libprovider.so"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, ort_plugin.MODULE, module)
    return module


@pytest.fixture
def asked(package: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What ONNX Runtime is asked for on a machine with one GPU that TensorRT-RTX supports."""
    calls: list[Any] = []
    devices: list[Any] = []

    def register(name: str, path: str) -> None:
        calls.append((name, path))
        devices.append(GPU)

    monkeypatch.setattr(ort, "register_execution_provider_library", register)
    monkeypatch.setattr(ort, "get_ep_devices", lambda: devices)
    monkeypatch.setattr(ort.SessionOptions, "add_provider_for_devices", lambda self, *given: calls.append(given))
    cuda = Cuda(Steps())
    monkeypatch.setitem(sys.modules, "cuda.bindings", SimpleNamespace(runtime=cuda))  # type: ignore[arg-type]
    monkeypatch.setattr(ort, "InferenceSession", OnRtx)
    yield calls
    assert not cuda.live


def case(bench: Bench, **fields: Any) -> Case:
    return bench.case("onnxruntime", options={"provider": "tensorrt_rtx"}, **({"precision": "tf32"} | fields))


def fairness(bench: Bench, of: Case, shared: Path | None, device: str = "cuda:0") -> dict[str, Any]:
    context = Bench(bench.root, device=device).context(of, bench.artifacts(of), shared=shared)
    with ORT.prepare(of, base.options_of(ORT, of), context) as prepared:
        (lane,) = prepared.lanes(1)
        lane.call()
        report: dict[str, Any] = prepared.fairness()
        return report


def test_a_session_has_the_provider_with_its_stream_and_folder_of_kernels(
    bench: Bench, asked: list[Any], tmp_path: Path
) -> None:
    report = fairness(bench, case(bench), tmp_path)
    assert (report["provider"], report["runtime_cache"], report["fallback_nodes"]) == ("tensorrt_rtx", "cold", 0)
    registration, (devices, options) = asked
    assert registration == (ort_plugin.PROVIDER, "/nowhere/libprovider.so")
    assert devices == [GPU]
    folder = tmp_path / "onnxruntime_rtx"
    assert int(options.pop("user_compute_stream")) > 0
    assert options == {
        "has_user_compute_stream": "1", "enable_cuda_graph": "0", "nv_runtime_cache_path": str(folder),
    }  # fmt: skip
    (folder / "kernels").touch()
    assert fairness(bench, case(bench), tmp_path)["runtime_cache"] == "warm"
    assert len(asked) == 3  # registered once in a process


def test_a_case_without_caches_of_earlier_runs_says_so(bench: Bench, asked: list[Any]) -> None:
    assert fairness(bench, case(bench), None)["runtime_cache"] == "off"
    assert "nv_runtime_cache_path" not in asked[-1][1]


def test_a_gpu_that_the_provider_does_not_have_is_unavailable(bench: Bench, asked: list[Any]) -> None:
    with pytest.raises(Unavailable, match="TensorRT-RTX supports 1 GPU here, cuda:1 is none of them"):
        fairness(bench, case(bench), None, device="cuda:1")


@pytest.mark.usefixtures("package")
def test_a_library_that_the_real_onnx_runtime_cannot_load_is_unavailable(bench: Bench) -> None:
    context = msgspec.structs.replace(bench.context(case(bench)), device="cuda:0")
    with pytest.raises(Unavailable, match=r"cannot be loaded: .*/nowhere/libprovider\.so") as caught:
        ort_plugin.devices(context)
    assert "nvidia-smi" in caught.value.fix


def test_without_the_package_the_case_says_how_to_install_it(bench: Bench) -> None:
    if ort_plugin.is_installed():
        pytest.skip("the provider is installed")
    context = msgspec.structs.replace(bench.context(case(bench)), device="cuda:0")
    with pytest.raises(Unavailable, match=ort_plugin.MODULE) as caught:
        ort_plugin.devices(context)
    assert caught.value.fix == "pip install onnxruntime-ep-nv-tensorrt-rtx-cu13"


def test_an_onnx_runtime_that_takes_no_other_s_provider_is_too_old(
    bench: Bench, package: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(ort, "register_execution_provider_library")
    context = msgspec.structs.replace(bench.context(case(bench)), device="cuda:0")
    with pytest.raises(Unavailable, match=r"1\.24 is the first"):
        ort_plugin.devices(context)


def test_the_provider_makes_a_plain_onnx_runtime_one_for_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime" / "__init__.py").write_text("raise ImportError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    monkeypatch.delitem(sys.modules, ort_plugin.MODULE, raising=False)
    if not ort_plugin.is_installed():
        assert ORT.missing("cuda:0") is not None
    (tmp_path / f"{ort_plugin.MODULE}.py").write_text("raise ImportError('imported')")
    assert ORT.missing("cuda:0") is None


def test_fp32_and_a_cpu_are_left_out(bench: Bench) -> None:
    assert "TF32" in (ORT.unsupported(case(bench, precision="fp32"), "cuda:0") or "")
    assert "CUDA device" in (ORT.unsupported(case(bench), "cpu") or "")
    assert ORT.unsupported(case(bench, precision="fp16", cuda_graph=True), "cuda:0") is None
