"""TensorRT's runtime without a GPU, on the CUDA runtime of ``cuda_standin``: a call computes at once.

Every step of either is written to one log, and any one of them can be made to fail. The classes have the names that the
real ones of a version have, and no more (``trt_names.allow``).
"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from bench.runtimes.trt import library, versions
from bench.runtimes.trt.builder import BuildInfo
from tests.runtimes.trt import names as trt_names
from tests.runtimes.trt import rtx_standin
from tests.runtimes.trt.cuda_standin import Cuda, Steps

GOLDEN = Path(__file__).parents[2] / "golden" / "layers"
PLAN = b"a plan"
REFUSED = "IExecutionContext::enqueueV3: Error Code 1: Myelin (no kernel image is available)"


@dataclasses.dataclass
class Io:
    """An input or output of an engine: ``shape`` has -1 for what ``span`` (min, opt, max) leaves open."""

    shape: tuple[int, ...]
    dtype: str = "FLOAT"
    span: tuple[tuple[int, ...], ...] = ()
    format: str = "LINEAR"
    host: bool = False


@dataclasses.dataclass
class Model:
    """What an engine computes: output ``i`` is twice input ``i`` plus one, of the same shape unless it says another."""

    inputs: dict[str, Io]
    outputs: dict[str, Io]
    report: str = ""  # what the inspector tells
    profile: tuple[tuple[str, float], ...] = ()  # what the profiler reports of one call, in milliseconds
    contexts: int = 0  # made so far

    @property
    def all(self) -> dict[str, Io]:
        return self.inputs | self.outputs


def model(version: str, dtype: str = "FLOAT", **fields: Any) -> Model:
    """One dynamic input of 1 to 8 rows of 3, and one output like it; layers as in the golden file of ``version``."""
    batch = Io((-1, 3), dtype, ((1, 3), (4, 3), (8, 3)))
    report = (GOLDEN / f"inspector-{version}.json").read_text()
    told = [layer for layer in json.loads(report)["Layers"] if layer["LayerType"] != "NoOp"]
    profile = tuple((layer["Name"], 0.01 * (index + 1)) for index, layer in enumerate(told))
    return Model(**({"inputs": {"x": batch}, "outputs": {"y": batch}, "report": report, "profile": profile} | fields))


class _Runtime:
    def __init__(self, logger: Any) -> None:
        self._logger = logger

    _engine: Any = None

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
        if serialized_engine == PLAN:
            return self._engine
        self._logger.log(
            SimpleNamespace(name="ERROR"), "Serialization assertion magicTag failed. Magic tag does not match"
        )
        return None


class _Engine:
    def __init__(self, world: World, model: Model) -> None:
        self._world = world
        self._model = model

    num_layers = 4
    num_aux_streams = 1
    device_memory_size = 4096
    device_memory_size_v2 = 8192

    def get_tensor_dtype(self, name: str) -> Any:
        return self._world.module.DataType[self._model.all[name].dtype]

    def get_tensor_format(self, name: str) -> Any:
        return self._world.module.TensorFormat[self._model.all[name].format]

    def get_tensor_format_desc(self, name: str) -> str:
        return "Channel major FP16 format where channel % 8 == 0"

    def get_tensor_location(self, name: str) -> Any:
        return self._world.module.TensorLocation["HOST" if self._model.all[name].host else "DEVICE"]

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        assert profile_index == 0
        io = self._model.inputs[name]
        return list(io.span or (io.shape,) * 3)

    def create_execution_context(self) -> Any:
        if not self._world.steps.step("create_execution_context"):
            return None
        self._model.contexts += 1
        # 8.6 gives profile 0 to the first context only.
        profile = 0 if self._model.contexts == 1 or not self._world.version.startswith("8") else -1
        return self._world.classes["IExecutionContext"](self._world, self._model, profile)

    def create_engine_inspector(self) -> Any:
        return self._world.classes["EngineInspector"](self._model)


class _RtxEngine(_Engine):
    """Of TensorRT-RTX, whose contexts are made with a configuration."""

    def create_runtime_config(self) -> Any:
        return rtx_standin.config(self._world.module)

    def create_execution_context(self, runtime_config: Any) -> Any:
        self._world.configs.append(runtime_config)
        return super().create_execution_context()


class _Context:
    def __init__(self, world: World, model: Model, profile: int) -> None:
        self._world, self._model, self._profile = world, model, profile
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._reports: list[tuple[tuple[str, float], ...]] = []
        self._alive = world.alive
        self._alive.add(id(self))
        self.enqueue_emits_profile = True
        self.profiler = None
        self.nvtx_verbosity = world.module.ProfilingVerbosity.DETAILED

    def __del__(self) -> None:
        self._alive.discard(id(self))
        self._world.steps.log.append("context deleted")

    @property
    def active_optimization_profile(self) -> int:
        return self._profile

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        if not self._world.steps.step("set_optimization_profile_async"):
            raise RuntimeError("Error in set optimization profile async.")
        self._profile = profile_index
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert self._profile == 0
        io = self._model.inputs[name]
        least, _, most = io.span or (io.shape,) * 3
        fits = len(shape) == len(least) and all(a <= n <= b for a, n, b in zip(least, shape, most, strict=True))
        if not self._world.steps.step("set_input_shape") or not fits:
            return False
        self._shapes[name] = tuple(shape)
        return True

    def infer_shapes(self) -> list[str]:
        self._world.steps.step("infer_shapes")
        return [name for name in self._model.inputs if name not in self._shapes]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if name in self._shapes:
            return self._shapes[name]
        io = self._model.outputs[name]
        return self._shapes[self._input_of(name)] if io.span else io.shape

    def _input_of(self, output: str) -> str:
        return list(self._model.inputs)[list(self._model.outputs).index(output)]

    def set_tensor_address(self, name: str, memory: int) -> bool:
        assert (memory in self._world.cuda.live) != self._model.all[name].host
        self._addresses[name] = memory
        return self._world.steps.step("set_tensor_address")

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert stream_handle in self._world.cuda.live
        if not self._world.steps.step("execute_async_v3"):
            self._world.complain(REFUSED)
            return False
        work = self._world.cuda.capturing.get(stream_handle)
        if work is None:
            self._compute()
        else:
            work.append(self._compute)
        return True

    def _compute(self) -> None:
        for name in self._model.outputs:
            source = self._array(self._input_of(name))
            target = self._array(name)
            target[...] = (
                (source.astype(np.float64) * 2 + 1)
                .astype(target.dtype)
                .reshape(-1)[: target.size]
                .reshape(target.shape)
            )
        if self.profiler is not None:
            assert not self.enqueue_emits_profile
            self._reports.append(self._model.profile)

    def _array(self, name: str) -> Any:
        dtype = np.dtype(versions.dtype_name(self._world.module.DataType[self._model.all[name].dtype]))
        shape = self.get_tensor_shape(name)
        memory = (ctypes.c_uint8 * (math.prod(shape) * dtype.itemsize)).from_address(self._addresses[name])
        return np.frombuffer(memory, dtype).reshape(shape)

    def report_to_profiler(self) -> bool:
        if not self._world.steps.step("report_to_profiler"):
            self._world.complain("reportToProfiler: the profiler is not ready")
            return False
        for name, ms in self._reports.pop():
            self.profiler.report_layer_time(name, ms)
        return True


class _Inspector:
    def __init__(self, model: Model) -> None:
        self._model = model
        self.execution_context = None

    def get_engine_information(self, format: Any) -> str:
        assert format.name == "JSON"
        assert self.execution_context is not None
        return self._model.report


class _Logger:
    def __init__(self) -> None: ...


class _Profiler:
    def __init__(self) -> None: ...

    def report_layer_time(self, layer_name: str, ms: float) -> None:
        raise AssertionError("to be overridden")


class World:
    """Both runtimes of one version; ``alive`` are the execution contexts that exist, ``configs`` what those of
    TensorRT-RTX were made with.
    """

    def __init__(self, version: str) -> None:
        self.version = version
        self.configs: list[Any] = []
        self.steps = Steps()
        self.cuda = Cuda(self.steps)
        self.alive: set[int] = set()
        own = {
            "Runtime": _Runtime,
            "ICudaEngine": _RtxEngine if version == trt_names.RTX else _Engine,
            "IExecutionContext": _Context,
            "EngineInspector": _Inspector,
            "ILogger": _Logger,
            "IProfiler": _Profiler,
        }
        self.classes = {name: trt_names.allow(cls, name, version) for name, cls in own.items()}
        self.module = SimpleNamespace(__version__=version, **trt_names.enums(version), **self.classes)
        product = library.RTX if version == trt_names.RTX else library.TENSORRT
        self.api = library.Api(self.module, version, "", library.Log(self.module), product)

    def complain(self, text: str) -> None:
        """Have TensorRT log an error."""
        self.api.log.logger.log(SimpleNamespace(name="ERROR"), text)

    def engine(self, of: Model) -> Any:
        """An engine, which a runtime of this module gives for the bytes ``PLAN`` too."""
        engine = self.classes["ICudaEngine"](self, of)
        self.classes["Runtime"]._engine = engine
        return engine


def built(**fields: Any) -> BuildInfo:
    """What the build of ``model`` would leave beside the plan."""
    defaults = {
        "runtime": "TensorRT", "plan_bytes": 1000, "build_ns": 2_500_000_000, "layers": 9, "inputs": {"x": "x"},
        "outputs": {"y": "y"}, "strongly_typed": True, "optimization_level": 3, "timing_cache": "cold", "opset": 17,
        "exporter": "legacy", "tactic_sources": ("JIT_CONVOLUTIONS",),
    }  # fmt: skip
    return BuildInfo(**(defaults | fields))
