"""Opening TensorRT: what can be imported, which versions are taken, and what is not called without a driver."""

from __future__ import annotations

import ctypes
import importlib
import sys
import types
from typing import Any

import pytest

from bench.errors import Unavailable
from bench.runtimes import memory
from bench.runtimes.trt import library, versions
from tests.runtimes.trt import builder_standin as trt_builder
from tests.runtimes.trt.names import VERSIONS
from tests.runtimes.trt.script import Script

V8, V10, V11 = VERSIONS


def finder(error: Exception) -> Any:
    def find(name: str) -> Any:
        raise error

    return find


@pytest.mark.parametrize(
    ("error", "message", "fix"),
    [
        (ModuleNotFoundError("No module", name="tensorrt"), "the package 'tensorrt' is not installed", "pip install"),
        (
            ImportError("libnvinfer.so.10: cannot open shared object file: No such file or directory"),
            r"its libraries are not found: libnvinfer\.so\.10",
            "LD_LIBRARY_PATH",
        ),
        (OSError("libcudnn.so.8: cannot open shared object file"), "its libraries are not found", "LD_LIBRARY_PATH"),
        (ImportError("undefined symbol: getNvOnnxParserVersion"), "of different versions", "same version"),
        (ImportError("numpy.core.multiarray failed to import"), "cannot be imported: numpy", "pip install"),
    ],
)
def test_a_tensorrt_that_cannot_be_imported_is_unavailable(
    monkeypatch: pytest.MonkeyPatch, error: Exception, message: str, fix: str
) -> None:
    monkeypatch.setattr(importlib, "import_module", finder(error))
    with pytest.raises(Unavailable, match=message) as caught:
        library.open_api()
    assert fix in caught.value.fix


def test_a_version_before_8_6_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", types.SimpleNamespace(__version__="8.5.3.1"))
    with pytest.raises(Unavailable, match=r"TensorRT 8\.5\.3\.1 is too old: 8\.6"):
        library.open_api()


@pytest.mark.parametrize(
    ("version", "number", "loaded", "name"),
    [
        (V8, 8600, "8.6.0", "TensorRT 8.6.1 (libnvinfer 8.6.0)"),
        (V8, 8601, "8.6.1", "TensorRT 8.6.1"),
        (V10, 101601, "10.16.1", "TensorRT 10.16.1"),
    ],
)
def test_the_librarys_version_is_told_where_it_is_another(
    monkeypatch: pytest.MonkeyPatch, version: str, number: int, loaded: str, name: str
) -> None:
    trt_builder.install(monkeypatch, Script(version))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: types.SimpleNamespace(getInferLibVersion=lambda: number))
    api = library.open_api()
    assert (api.library, api.name) == (loaded, name)


@pytest.mark.parametrize(("number", "asked"), [(8600, []), (8601, ["parser NATIVE_INSTANCENORM"])])
def test_a_parser_of_8_6_0_is_not_asked_for_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, number: int, asked: list[str]
) -> None:
    script = Script(V8)
    trt_builder.install(monkeypatch, script)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: types.SimpleNamespace(getInferLibVersion=lambda: number))
    api = library.open_api()
    versions.new_parser(api, versions.new_network(api, api.module.Builder(api.log.logger), False))
    assert [call for call in script.calls if call.startswith("parser")] == asked


def test_libraries_of_another_minor_version_are_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    trt_builder.install(monkeypatch, Script(V10))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: types.SimpleNamespace(getInferLibVersion=lambda: 100300))
    with pytest.raises(Unavailable, match=r"bindings are version 10\.16\.1, the libnvinfer that was found is 10\.3\.0"):
        library.open_api()


def test_without_a_driver_nothing_of_tensorrt_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(V8)
    trt_builder.install(monkeypatch, script)

    def cuda(function: str, *arguments: Any) -> Any:
        raise RuntimeError(f"{function} failed: cudaErrorInsufficientDriver")

    monkeypatch.setattr(memory, "cuda", cuda)
    with pytest.raises(Unavailable, match="needs an NVIDIA GPU: cudaSetDevice failed: cudaErrorInsufficientDriver"):
        library.open_api()
    assert script.calls == []


def test_the_device_is_the_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(V10)
    trt_builder.install(monkeypatch, script)
    library.open_api(device="cuda:1")
    assert script.calls[0] == "cudaSetDevice(1,)"
