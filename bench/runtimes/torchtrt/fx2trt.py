"""The original fx2trt of torch_tensorrt 2.2: a model traced, split, and lowered to TRTModules."""

from __future__ import annotations

import contextlib
import copy
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.model.suite import Case, Range
from bench.runtimes import shapes
from bench.runtimes.trt import library, versions

if TYPE_CHECKING:
    import torch

# What torch_tensorrt.compile(ir="fx") would take otherwise is 32 MiB, too little for many convolutions.
_WORKSPACE = 1 << 30
# Tolerances that accept any finite output. Both must be set, and a relative one of infinity makes NaN of an expected 0.
_ANY_ABSOLUTE = float("inf")
_ANY_RELATIVE = 1.0


def unsupported(case: Case) -> str | None:
    """Why fx2trt can never run the case, or None."""
    if case.precision == "bf16":
        return "TensorRT 8.6, which ir fx needs, has no bf16"
    axes = {axis for of in shapes.dynamic_axes(case).values() for axis in of}
    if len(case.dynamic) > 1 or axes - {0}:
        return "ir fx has one dynamic dimension, the first of the inputs"
    return None


def lower(
    module: torch.nn.Module,
    example: Mapping[str, torch.Tensor],
    case: Case,
    api: library.Api,
    *,
    workspace: int | None,
    min_block_size: int | None,
    cache: Path,
    scratch: Path,
) -> torch.nn.Module:
    """The module split into TRTModules and what stays in PyTorch.

    What fx2trt calls FP32 is TF32 by TensorRT's default; fp32 switches that off. Its own check of the outputs accepts
    any finite output, as the accuracy is measured.
    """
    from torch_tensorrt.fx.lower import Lowerer
    from torch_tensorrt.fx.lower_setting import LowerSetting
    from torch_tensorrt.fx.utils import LowerPrecision

    more = {} if min_block_size is None else {"min_acc_module_size": min_block_size}
    span = next(iter(case.dynamic.values()), None)
    setting = LowerSetting(
        lower_precision=LowerPrecision.FP16 if case.precision == "fp16" else LowerPrecision.FP32,
        max_workspace_size=workspace or _WORKSPACE,
        explicit_batch_dimension=True,
        dynamic_batch=span is not None,
        max_batch_size=span.max if span else case.batch,
        opt_profile_replica=1,
        correctness_atol=_ANY_ABSOLUTE,
        correctness_rtol=_ANY_RELATIVE,
        **more,
    )
    lowerer = Lowerer.create(
        setting,
        interpreter_builder=lambda part_setting: _interpreter(part_setting, api, span, case.precision == "tf32", cache),
    )
    with _graph_logs_in(scratch):
        result: torch.nn.Module = lowerer(module, tuple(example.values()))
    return result


def load(path: Path, api: library.Api) -> torch.nn.Module:
    """A module that torch.save wrote; Unsupported, with TensorRT's log, if a plan cannot be loaded."""
    import torch

    module: torch.nn.Module = torch.load(path, weights_only=False)
    if any(hasattr(child, "engine") and child.engine is None for child in module.children()):
        raise library.refusal(api, "TensorRT cannot load an engine of fx2trt")
    return module


def another(module: torch.nn.Module) -> torch.nn.Module:
    """The same module with execution contexts of its own over the same engines, to run on another stream."""
    from torch_tensorrt.fx.trt_module import TRTModule

    twin = copy.copy(module)
    for name, child in module.named_children():
        if isinstance(child, TRTModule):
            setattr(twin, name, TRTModule(child.engine, child.input_names, child.output_names))
    return twin


def _interpreter(setting: Any, api: library.Api, span: Range | None, tf32: bool, cache: Path) -> Callable[..., Any]:
    """Builds the engine of one part, as torch_tensorrt's LowerTrtInterpreter does.

    In addition: TF32 on or off, the range's own ``min`` and ``opt`` (LowerSetting has only a ``max``), one timing
    cache for all parts, and TensorRT's log in the error if it cannot build an engine.
    """
    from torch_tensorrt.fx import TRTInterpreter

    def interpret(module: Any, inputs: Any, name: str) -> Any:
        interpreter = TRTInterpreter(
            module,
            input_specs=[_with_range(spec, span) for spec in setting.input_specs],
            explicit_batch_dimension=True,
            logger_level=api.module.Logger.WARNING,
        )
        interpreter.builder = _Builder(interpreter.builder, api, tf32)
        result = interpreter.run(
            max_batch_size=setting.max_batch_size,
            max_workspace_size=setting.max_workspace_size,
            lower_precision=setting.lower_precision,
            timing_cache=bytearray(cache.read_bytes()) if cache.is_file() else None,
        )
        _write(cache, bytes(result.serialized_cache))
        return result

    return interpret


class _Builder:
    """TensorRT's builder, with TF32 on or off in every configuration that it creates."""

    def __init__(self, builder: Any, api: library.Api, tf32: bool) -> None:
        self._builder = builder
        self._api = api
        self._tf32 = tf32

    def __getattr__(self, name: str) -> Any:
        return getattr(self._builder, name)

    def create_builder_config(self) -> Any:
        config = self._builder.create_builder_config()
        versions.set_flags(self._api, config, (), tf32=self._tf32)
        return config

    def build_engine(self, network: Any, config: Any) -> Any:
        return library.create(self._api, "an engine", lambda: self._builder.build_engine(network, config))


def _with_range(spec: Any, span: Range | None) -> Any:
    if span is None or not spec.shape_ranges:
        return spec
    sizes = (span.min, span.opt, span.max)
    points = tuple(tuple(size if dim == -1 else dim for dim in spec.shape) for size in sizes)
    return spec._replace(shape_ranges=[points])


def _write(path: Path, data: bytes) -> None:
    """In one step, so that a build that is killed leaves the old file."""
    if data:
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        fresh.write_bytes(data)
        fresh.replace(path)


@contextlib.contextmanager
def _graph_logs_in(folder: Path) -> Iterator[None]:
    """fx2trt writes each graph before and after each of its passes to temporary files that it leaves behind."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
