"""A TensorRT that builds nothing, in the names of one real version: networks, settings, caches and plans as text.

What a build was asked for can be read back from its plan; the script says what goes wrong. ``model.onnx`` is what
``onnx_standin`` makes of ``{"inputs": [[name, type, shape]], "outputs": [[name, type, shape]]}``.
"""

from __future__ import annotations

import ctypes
import json
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.runtimes import memory
from tests.runtimes.trt import names as trt_names
from tests.runtimes.trt.network_standin import (
    NARROW,
    IDeconvolutionLayer,
    ILayer,
    INetworkDefinition,
    ITensor,
    OnnxParser,
    ParserError,
)
from tests.runtimes.trt.script import Named, Script


class HostMemory(bytes):
    """What TensorRT serialises to."""

    @property
    def nbytes(self) -> int:
        return len(self)


class ILogger(Named):
    def __init__(self) -> None:
        pass


class IProgressMonitor(Named):
    def __init__(self) -> None:
        pass


class ITimingCache(Named):
    def __init__(self, entries: set[str]) -> None:
        self._entries = entries

    def serialize(self) -> HostMemory:
        return HostMemory(json.dumps([self._script.version, sorted(self._entries)]).encode())

    def combine(self, input_cache: Any, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        self._entries |= input_cache._entries
        return True


class IOptimizationProfile(Named):
    def __init__(self) -> None:
        self._shapes: dict[str, Any] = {}

    def set_shape(self, input: str, min: Sequence[int], opt: Sequence[int], max: Sequence[int]) -> None:
        self._shapes[input] = [list(min), list(opt), list(max)]


def kept(name: str, default: Any) -> Any:
    """A property of the configuration, which may refuse what it is set to without a word."""

    def read(self: Any) -> Any:
        return self._set.get(name, default)

    def write(self: Any, value: Any) -> None:
        if name not in self._script.refused:
            self._set[name] = value

    return property(read, write)


class IBuilderConfig(Named):
    def __init__(self) -> None:
        self._set: dict[str, Any] = {}
        self._flags = {self._trt.BuilderFlag.TF32}
        self._pools: dict[Any, int] = {}
        self._sources = sum(1 << int(source) for source in self._trt.TacticSource)
        self._profiles: list[Any] = []
        self._preview: list[str] = []
        self._cache: Any = None

    builder_optimization_level = kept("builder_optimization_level", 3)
    max_aux_streams = kept("max_aux_streams", -1)
    profiling_verbosity = kept("profiling_verbosity", None)
    hardware_compatibility_level = kept("hardware_compatibility_level", None)
    progress_monitor = kept("progress_monitor", None)
    int8_calibrator = kept("int8_calibrator", None)

    def set_flag(self, flag: Any) -> None:
        self._flags.add(flag)

    def clear_flag(self, flag: Any) -> None:
        self._flags.discard(flag)

    def get_flag(self, flag: Any) -> bool:
        return flag in self._flags

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        if pool.name not in self._script.refused:
            self._pools[pool] = pool_size

    def get_memory_pool_limit(self, pool: Any) -> int:
        return self._pools.get(pool, 80 * 2**30)

    def set_tactic_sources(self, tactic_sources: int) -> bool:
        self._sources = tactic_sources
        return "tactic_sources" not in self._script.refused

    def get_tactic_sources(self) -> int:
        return self._sources

    def set_preview_feature(self, feature: Any, enable: bool) -> None:
        assert enable
        self._preview.append(feature.name)

    def add_optimization_profile(self, profile: Any) -> int:
        self._profiles.append(profile)
        return -1 if "profile" in self._script.refused else len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> Any:
        if not serialized_timing_cache:
            return self._trt.ITimingCache(set())
        version, entries = json.loads(serialized_timing_cache)
        return self._trt.ITimingCache(set(entries)) if version == self._script.version else None

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        self._cache = cache
        return True

    def get_timing_cache(self) -> Any:
        return self._cache


class Builder(Named):
    def __init__(self, logger: Any) -> None:
        if not self._script.gpu:
            logger.log(self._severity.WARNING, "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self._logger = logger

    def create_network(self, flags: int = 0) -> Any:
        network = self._trt.INetworkDefinition()
        network._flags = flags
        return network

    def create_builder_config(self) -> Any:
        return self._trt.IBuilderConfig()

    def create_optimization_profile(self) -> Any:
        return self._trt.IOptimizationProfile()

    def build_serialized_network(self, network: Any, config: Any) -> Any:
        for name, text in self._script.build_log:
            self._logger.log(self._severity[name], text)
        monitor = config.progress_monitor if self._script.major >= 10 else None
        for phase, parent, steps in self._script.steps if monitor else ():
            monitor.phase_start(phase, parent, steps)
            assert all(monitor.step_complete(phase, step) for step in range(steps))
            monitor.phase_finish(phase)
        if self._script.major < 10 and config.int8_calibrator:
            _calibrate(network, config.int8_calibrator)
        if self._script.fails:
            return None
        if self._script.fails_with_times and config._cache and config._cache._entries:
            self._logger.log(self._severity.ERROR, "4: The timing cache will not be used!")
            return None
        before = sorted(config._cache._entries) if config._cache else None
        if config._cache:
            config._cache._entries.update(self._script.entries)
        return HostMemory(json.dumps(_plan(self._trt, network, config, before), sort_keys=True).encode())


class IInt8EntropyCalibrator2(Named):
    def __init__(self) -> None:
        pass


def _calibrate(network: Any, calibrator: Any) -> None:
    """Take the calibration cache, or read all batches and write one."""
    if calibrator.read_calibration_cache():
        return
    names = [tensor.name for tensor in network._inputs]
    while calibrator.get_batch(names) is not None:
        pass
    scales = "".join(f"{name}: 3c010a14\n" for name in names)
    calibrator.write_calibration_cache(f"TRT-8601-EntropyCalibration2\n{scales}".encode())


class Runtime(Named):
    engine_host_code_allowed = False

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
        for line in self._script.load_log:
            self._logger.log(self._severity.ERROR, line)
        return None if self._script.load_log else ("engine", serialized_engine, self.engine_host_code_allowed)


class IPluginRegistry(Named):
    def load_library(self, plugin_path: str) -> Any:
        self._script.calls.append(f"registry {Path(plugin_path).name}")
        return object() if self._script.plugins else None


_OBJECTS = ("progress_monitor", "int8_calibrator")  # of settings, the ones that a plan does not hold

_STAND_INS = (
    ILogger, IProgressMonitor, ITensor, ILayer, IDeconvolutionLayer, INetworkDefinition, OnnxParser, ParserError,
    ITimingCache, IOptimizationProfile, IBuilderConfig, Builder, IInt8EntropyCalibrator2, Runtime, IPluginRegistry,
)  # fmt: skip


def module(script: Script) -> Any:
    """The stand-in for the package ``tensorrt``."""
    trt: Any = types.ModuleType("tensorrt")
    trt.__dict__.update(trt_names.enums(script.version), __version__=script.version)
    for cls in _STAND_INS:
        if cls.__name__ in trt_names.golden(script.version)["classes"]:
            bound = type(cls.__name__, (cls,), {"_trt": trt, "_script": script})
            setattr(trt, cls.__name__, trt_names.allow(bound, cls.__name__, script.version))

    def init_libnvinfer_plugins(logger: Any, namespace: str) -> bool:
        script.calls.append(f"own plugins {namespace!r}")
        return True

    trt.init_libnvinfer_plugins = init_libnvinfer_plugins
    trt.get_plugin_registry = trt.IPluginRegistry
    return trt


def _plan(trt: Any, network: Any, config: Any, cache: list[str] | None) -> dict[str, Any]:
    """What the build was asked for."""
    creation = trt.NetworkDefinitionCreationFlag
    if not hasattr(creation, "STRONGLY_TYPED") and {t.dtype.name for t in network._inputs} <= {"INT32", "BOOL"}:
        for tensor in network._outputs:  # as seen of BERT-base, whose output types the parser had set
            tensor.dtype = trt.DataType.FLOAT if tensor._parsed and tensor.dtype.name in NARROW else tensor.dtype
    ends = {
        kind: {t.name: [t.dtype.name, list(t.shape), t.allowed_formats] for t in tensors}
        for kind, tensors in (("inputs", network._inputs), ("outputs", network._outputs))
    }
    return ends | {
        "network": sorted(flag.name for flag in creation if network._flags >> int(flag) & 1),
        "flags": sorted(flag.name for flag in config._flags),
        "sources": sorted(source.name for source in trt.TacticSource if config._sources >> int(source) & 1),
        "pools": {pool.name: size for pool, size in config._pools.items()},
        "profiles": [profile._shapes for profile in config._profiles],
        "preview": config._preview,
        "set": {name: str(getattr(v, "name", v)) for name, v in config._set.items() if name not in _OBJECTS},
        "cache": cache,
    }


class Props:
    """What CUDA tells of the GPU."""

    name = b"NVIDIA Example 80GB"
    major, minor = 9, 0


def install(monkeypatch: pytest.MonkeyPatch, script: Script, libraries: Sequence[str] = ()) -> Any:
    """Make ``import tensorrt`` give the stand-in on a machine with a GPU, where ``libraries`` can be loaded."""
    trt = module(script)

    def cuda(function: str, *arguments: Any) -> Any:
        script.calls.append(f"{function}{arguments}")
        return Props() if function == "cudaGetDeviceProperties" else None

    def load(name: str, mode: int = 0) -> Any:
        if Path(name).name not in libraries:
            raise OSError(f"{name}: cannot open shared object file: No such file or directory")
        script.calls.append(f"load {Path(name).name}")
        return types.SimpleNamespace(getPluginCreators=None) if "listed" in name else types.SimpleNamespace()

    monkeypatch.setitem(sys.modules, "tensorrt", trt)
    monkeypatch.setattr(memory, "cuda", cuda)
    monkeypatch.setattr(ctypes, "CDLL", load)
    return trt
