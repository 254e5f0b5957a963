"""What only TensorRT-RTX has: compute capabilities of engines, strategies of its runtime, its cache of kernels."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from bench.errors import Unavailable, Unsupported
from bench.model.seam import Context
from bench.runtimes.trt import library, versions
from bench.runtimes.trt.cache_files import gpu_file
from bench.runtimes.trt.options import RtxOptions

_SM = "SM"
_OTHERS = "name those alone: --compute-capability, or the option compute_capabilities"
_NAME_A_GPU = "name the GPU that it is for: compute_capabilities: [8.9]"


def set_capabilities(api: library.Api, config: Any, options: RtxOptions) -> None:
    """Have the engine built for the GPUs that the options name; without any, for those of the builder's default.

    Unsupported for a compute capability that this version does not know.
    """
    requested = options.compute_capabilities
    if requested is None:
        return
    known = api.module.ComputeCapability.__members__
    names = ["CURRENT"] if requested == "current" else [f"{_SM}{round(float(n) * 10)}" for n in requested]
    for name in names:
        if name not in known:
            has = ", ".join(_number(each) for each in known if each.startswith(_SM))
            what = f"{api.name} does not build for compute capability {_number(name)}; it has {has}"
            raise Unsupported(what, fix=_OTHERS)
    config.num_compute_capabilities = len(names)
    for index, name in enumerate(names):
        if not config.set_compute_capability(known[name], index):
            raise library.refusal(api, f"{api.name} does not take the compute capability {_number(name)}")


def capabilities(config: Any) -> tuple[str, ...]:
    """The compute capabilities that a configuration has, as ``8.9`` or ``current``; none for the default."""
    return tuple(_number(config.get_compute_capability(index).name) for index in range(config.num_compute_capabilities))


def check_device(options: RtxOptions, device: str) -> None:
    """Unavailable for an engine for the current GPU where there is none."""
    if options.compute_capabilities == "current" and device == "cpu":
        raise Unavailable("compute_capabilities: current needs a GPU, and this machine has none", fix=_NAME_A_GPU)


def _number(name: str) -> str:
    """``SM89`` -> ``8.9``, ``SM120`` -> ``12.0``."""
    return f"{name[2:-1]}.{name[-1]}" if name.startswith(_SM) else name.lower()


# ------------------------------------------------------------------------------------------------------------- running


class Settings(msgspec.Struct, frozen=True, eq=False):
    """How an engine runs: ``config`` makes its contexts, the strategies are as read back from it.

    ``cache`` is ``warm`` where kernels of an earlier process were loaded, ``cold`` where none were, ``off`` without.
    """

    config: Any
    kernel_specialization: str
    cuda_graph_strategy: str
    cache: Literal["cold", "warm", "off"]

    @property
    def captures_graphs(self) -> bool:
        """Whether the runtime captures CUDA graphs itself."""
        return self.cuda_graph_strategy != "disabled"


def digest_of(plan: bytes) -> str:
    """What distinguishes a plan from others."""
    return hashlib.sha256(plan).hexdigest()[:16]


@contextlib.contextmanager
def open_settings(
    api: library.Api, engine: Any, digest: str, options: RtxOptions, context: Context
) -> Iterator[Settings]:
    """The settings of an engine's contexts, with the kernels that earlier processes compiled for its plan.

    What was compiled in the block is kept for later ones at its end, unless it raises. Only build 0 uses and keeps
    kernels, so that further builds are independent.
    """
    runtime_config = library.create(api, "a runtime configuration", engine.create_runtime_config)
    if options.kernel_specialization:
        strategy = api.module.DynamicShapesKernelSpecializationStrategy[options.kernel_specialization.upper()]
        versions.set_property(api, runtime_config, "dynamic_shapes_kernel_specialization_strategy", strategy)
    if options.cuda_graph_strategy:
        graphs = api.module.CudaGraphStrategy[options.cuda_graph_strategy.upper()]
        versions.set_property(api, runtime_config, "cuda_graph_strategy", graphs)
    cache, path = None, None
    state: Literal["cold", "warm", "off"] = "off"
    if options.runtime_cache:
        path = gpu_file(context, "tensorrt_rtx", f"{digest}-{{gpu}}-{api.version}.kernels")
        data = path.read_bytes() if path and path.exists() else b""
        cache = library.create(api, "a runtime cache", runtime_config.create_runtime_cache)
        # False for kernels of another version, GPU or driver.
        state = "warm" if data and cache.deserialize(data) else "cold"
        if not runtime_config.set_runtime_cache(cache):
            raise library.refusal(api, f"{api.name} does not take a runtime cache")
    yield Settings(
        config=runtime_config,
        kernel_specialization=runtime_config.dynamic_shapes_kernel_specialization_strategy.name.lower(),
        cuda_graph_strategy=runtime_config.cuda_graph_strategy.name.lower(),
        cache=state,
    )
    if cache is not None and path is not None:
        _keep(cache, path)


def _keep(cache: Any, path: Path) -> None:
    """Store the kernels whole: of two processes at once the later one's remain."""
    scratch = path.with_suffix(f".{os.getpid()}")
    with scratch.open("wb") as file:
        file.write(cache.serialize())
    scratch.replace(path)
