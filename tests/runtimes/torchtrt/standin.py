"""A torch_tensorrt that computes on the CPU: an engine calls the model itself."""

from __future__ import annotations

import dataclasses
import importlib.machinery
import inspect
import sys
import types
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from bench.runtimes.trt import library

LATEST = ("arg_inputs", "disable_tf32", "workspace_size", "optimization_level", "min_block_size", "timing_cache_path",
          "require_full_compilation", "use_python_runtime", "truncate_double", "pass_through_build_failures",
          "cache_built_engines", "reuse_cached_engines")  # fmt: skip
# What each version's torch_tensorrt.dynamo.compile takes, as far as it matters here.
SETTINGS = {
    "2.2": ("disable_tf32", "workspace_size", "optimization_level", "min_block_size", "require_full_compilation",
            "use_python_runtime", "truncate_long_and_double", "pass_through_build_failures", "enabled_precisions",
            "output_format"),
    "2.11": (*LATEST, "enabled_precisions", "use_explicit_typing"),
    "2.14": LATEST,
}  # fmt: skip
TS = ("inputs", "disable_tf32", "workspace_size", "min_block_size", "require_full_compilation", "enabled_precisions",
      "truncate_long_and_double")  # fmt: skip


@torch.library.custom_op("tensorrt::execute_engine", mutates_args=())
def execute_engine(inputs: list[torch.Tensor], engine: int) -> list[torch.Tensor]:
    """The operator that an engine is in a program that was saved; ``engine`` is a number of ``PROGRAMS``."""
    with torch.no_grad():
        return [output.clone() for output in PROGRAMS[engine](*inputs)]


@execute_engine.register_fake
def _(inputs: list[torch.Tensor], engine: int) -> list[torch.Tensor]:
    return [torch.empty_like(output) for output in PROGRAMS[engine](*inputs)]


PROGRAMS: list[Any] = []
# The modules of fx2trt in the order in which they were made, each with an execution context.
CONTEXTS: list[Any] = []


def own_check(setting: Any) -> None:
    """As pass_utils of torch_tensorrt 2.2 compares an engine's outputs; a tolerance of zero is not passed."""
    options = {"rtol": setting.correctness_rtol, "atol": setting.correctness_atol}
    outputs, expected = torch.tensor([5e-4, -9.0, torch.nan]), torch.tensor([0.0, 65504.0, torch.nan])
    passed = {name: value for name, value in options.items() if value}
    torch.testing.assert_close(outputs.half(), expected.half(), equal_nan=True, **passed)


class AsOperator(torch.nn.Module):
    """Calls the operator."""

    def __init__(self, program: Any) -> None:
        super().__init__()
        PROGRAMS.append(program)
        self.engine = len(PROGRAMS) - 1

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(torch.ops.tensorrt.execute_engine([x], self.engine))


class TorchTensorRTModule(torch.nn.Module):
    """An engine as a module."""

    serialized_engine = b"a plan"

    def __init__(self, program: Any) -> None:
        super().__init__()
        self.program = program

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.program(*inputs)


class Plan(bytes):
    @property
    def nbytes(self) -> int:
        return len(self)


class Engine:
    """An engine of fx2trt; in a file it is its number."""

    def __init__(self, program: Any) -> None:
        self.program = program
        PROGRAMS.append(program)

    def __reduce__(self) -> tuple[Any, tuple[int]]:
        return engine_at, (PROGRAMS.index(self.program),)

    def serialize(self) -> Plan:
        return Plan(b"a plan of fx")


def engine_at(index: int) -> Engine:
    """An engine out of a file."""
    return Engine(PROGRAMS[index])


class TRTModule(torch.nn.Module):
    """fx2trt's module; ``LOST`` makes its engine one that cannot be had from its plan."""

    LOST = False

    def __init__(self, engine: Any = None, input_names: Any = None, output_names: Any = None) -> None:
        super().__init__()
        self.engine, self.input_names, self.output_names = engine, input_names, output_names
        CONTEXTS.append(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if self.LOST:
            self.engine = None

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.engine.program(*inputs)


def graph_of(engine: torch.nn.Module, inputs: int, outputs: int, rest: bool) -> torch.fx.GraphModule:
    """``_run_on_acc_0``, and with ``rest`` an operator that stayed in PyTorch on each output."""
    graph = torch.fx.Graph()
    values = [graph.placeholder(f"input_{index}") for index in range(inputs)]
    made = graph.call_module("_run_on_acc_0", tuple(values))
    found = [graph.call_function(__import__("operator").getitem, (made, index)) for index in range(outputs)]
    if rest:
        found = [graph.call_function(torch.ops.aten.clone.default, (value,)) for value in found]
    graph.output(tuple(found))
    return torch.fx.GraphModule(torch.nn.ModuleDict({"_run_on_acc_0": engine}), graph)


@dataclasses.dataclass
class StandIn:
    """Installs itself as torch_tensorrt, TensorRT and their versions; records what it was asked."""

    patch: pytest.MonkeyPatch
    flavour: str = "2.11"
    asked: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    rest: bool = False
    convert: bool = True
    error: Exception | None = None
    log: Any = None
    tf32: list[bool] = dataclasses.field(default_factory=list)
    caches: list[Any] = dataclasses.field(default_factory=list)
    specs: list[Any] = dataclasses.field(default_factory=list)
    builds: bool = True
    _absent: frozenset[str] = frozenset()

    def install(self, tensorrt: str = "10.15.1") -> StandIn:
        trt = types.ModuleType("tensorrt")
        trt.ILogger = type("ILogger", (), {"__init__": lambda self: None})  # type: ignore[attr-defined]
        trt.Logger = types.SimpleNamespace(WARNING=2)  # type: ignore[attr-defined]
        trt.Runtime = lambda logger: object()  # type: ignore[attr-defined]
        flags = types.SimpleNamespace(TF32="TF32", __members__={})
        trt.BuilderFlag = flags  # type: ignore[attr-defined]
        api = library.Api(trt, tensorrt, "", library.Log(trt))
        self.log = api.log
        self.patch.setattr(library, "open_api", lambda **_: api)
        self._module("tensorrt", trt)
        self._versions({"torch-tensorrt": torch.__version__, "tensorrt": tensorrt})
        top = self._module("torch_tensorrt", types.ModuleType("torch_tensorrt"))
        top.Input = lambda **given: given
        top.dynamo = types.SimpleNamespace(
            compile=self._signed(self.compile, ("exported_program", "inputs", *SETTINGS[self.flavour])),
            CompilationSettings=dataclasses.make_dataclass(
                "CompilationSettings",
                ["precision" if name == "enabled_precisions" and self.flavour == "2.2" else name
                 for name in SETTINGS[self.flavour]],
            ),
        )  # fmt: skip
        top.ts = types.SimpleNamespace(compile=self._signed(self.compile_ts, ("module", *TS)))
        if self.flavour != "2.2":
            top.save = self.save
        self.patch.setattr(torch._dynamo, "lookup_backend", lambda name: self.backend)
        self._install_fx()
        return self

    def rtx(self, kernels: Path) -> None:
        """From now on the distribution for TensorRT-RTX, which keeps its kernels in the file ``kernels``."""
        trt = self._module("tensorrt_rtx", sys.modules["tensorrt"])
        api = library.Api(trt, "1.6.1.120", "", library.Log(trt), library.RTX)
        self.patch.setattr(library, "open_api", lambda **_: api)
        self._absent = frozenset({"torch-tensorrt"})
        self._versions({"torch-tensorrt-rtx": torch.__version__})
        defaults = types.SimpleNamespace(RUNTIME_CACHE_PATH=str(kernels))
        self.patch.setitem(sys.modules, "torch_tensorrt.dynamo._defaults", defaults)  # type: ignore[arg-type]

    def versions(self, **found: str) -> None:
        """The installed versions of distributions, whose names have ``_`` for ``-`` here."""
        self._versions({name.replace("_", "-"): value for name, value in found.items()})

    def compile(self, program: Any, inputs: Any, **settings: Any) -> Any:
        self._ask("dynamo", settings, inputs)
        module = program.module()
        if not self.convert:
            return module
        example = tuple(value for value in program.example_inputs[0])
        if settings.get("output_format") == "torchscript":
            return torch.jit.trace(AsOperator(module), example, check_trace=False)
        assert settings.get("output_format") in (None, "graph_module")
        outputs = len(module(*example))
        return graph_of(TorchTensorRTModule(module), len(example), outputs, self.rest)

    def compile_ts(self, program: Any, inputs: Any, **settings: Any) -> Any:
        self._ask("ts", settings, inputs)
        return torch.jit.trace(AsOperator(program), tuple(inputs), check_trace=False)

    def backend(self, graph: torch.fx.GraphModule, inputs: Any, options: dict[str, Any]) -> Any:
        self._ask("torch_compile", options, inputs)
        if not self.convert:
            return graph
        return graph_of(TorchTensorRTModule(graph), len(inputs), len(graph(*inputs)), self.rest)

    def save(
        self, module: Any, file_path: str = "", *, inputs: Any = None, retrace: bool = True, dynamic_shapes: Any = None
    ) -> None:
        self.asked.append({"save": (retrace, dynamic_shapes)})
        torch.export.save(torch.export.export(module, tuple(inputs), dynamic_shapes=dynamic_shapes), file_path)

    def _ask(self, ir: str, settings: dict[str, Any], inputs: Any) -> None:
        self.asked.append({"ir": ir, **settings})
        self.specs.append(inputs)
        if self.error is not None:
            raise self.error

    def _install_fx(self) -> None:
        standin = self

        class Interpreter:
            def __init__(
                self, module: Any, input_specs: Any, explicit_batch_dimension: bool, logger_level: Any
            ) -> None:
                standin.specs.append(input_specs)
                self.module, self.builder = module, Builder()

            def run(self, *, timing_cache: Any = None, **settings: Any) -> Any:
                standin.caches.append(timing_cache)
                standin.asked.append({"ir": "fx", **settings})
                config = self.builder.create_builder_config()
                self.builder.build_engine(None, config)
                return Result(Engine(self.module), ["input_0"], ["output0"], bytearray(b"timings"))

        class Config:
            def set_flag(self, flag: str) -> None:
                standin.tf32.append(True)

            def clear_flag(self, flag: str) -> None:
                standin.tf32.append(False)

        class Builder:
            def create_builder_config(self) -> Config:
                return Config()

            def build_engine(self, network: Any, config: Any) -> Any:
                if standin.error is not None:
                    raise standin.error
                return object() if standin.builds else None

        class Lowerer:
            @staticmethod
            def create(setting: Any, interpreter_builder: Any) -> Any:
                def lower(module: Any, inputs: Any) -> Any:
                    shape = (-1, *inputs[0].shape[1:]) if setting.dynamic_batch else tuple(inputs[0].shape)
                    ranges = [(0, setting.max_batch_size, setting.max_batch_size)] if setting.dynamic_batch else []
                    setting.input_specs = [Spec(shape, ranges)]
                    built = interpreter_builder(setting)(module, inputs, "_run_on_acc_0")
                    engine = TRTModule(built.engine, built.input_names, built.output_names)
                    own_check(setting)
                    return graph_of(engine, len(inputs), len(module(*inputs)), standin.rest)

                return lower

        for name, content in {
            "torch_tensorrt.fx": {"TRTInterpreter": Interpreter},
            "torch_tensorrt.fx.lower": {"Lowerer": Lowerer},
            "torch_tensorrt.fx.lower_setting": {"LowerSetting": types.SimpleNamespace},
            "torch_tensorrt.fx.utils": {"LowerPrecision": types.SimpleNamespace(FP16="fp16", FP32="fp32")},
            "torch_tensorrt.fx.trt_module": {"TRTModule": TRTModule},
        }.items():
            module = self._module(name, types.ModuleType(name))
            for key, value in content.items():
                setattr(module, key, value)

    def _module(self, name: str, module: Any) -> Any:
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        self.patch.setitem(sys.modules, name, module)
        return module

    def _versions(self, found: dict[str, str]) -> None:
        import importlib.metadata

        real = importlib.metadata.version

        def version(name: str) -> str:
            if name in self._absent:
                raise importlib.metadata.PackageNotFoundError(name)
            return found[name] if name in found else real(name)

        self.patch.setattr(importlib.metadata, "version", version)

    @staticmethod
    def _signed(function: Any, names: tuple[str, ...]) -> Any:
        """The function with another signature, which is what code under test goes by."""

        def signed(*args: Any, **given: Any) -> Any:
            assert set(given) <= set(names), f"unknown: {set(given) - set(names)}"
            return function(*args, **given)

        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        signed.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [inspect.Parameter(name, kind) for name in names]
        )
        return signed


class Spec(NamedTuple):
    shape: tuple[int, ...]
    shape_ranges: list[Any]


class Result(NamedTuple):
    engine: Any
    input_names: list[str]
    output_names: list[str]
    serialized_cache: bytearray
