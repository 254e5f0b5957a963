"""What the runtime of TensorRT-RTX has besides TensorRT's: configurations of contexts, and caches of kernels."""

from __future__ import annotations

from typing import Any

from tests.runtimes.trt import names as trt_names

VERSION = "1.7.1.116"
STALE = b"stale"  # kernels of another driver


class IRuntimeCache:
    """Its kernels are text: ``serialize`` adds one for what was compiled since ``deserialize``."""

    def __init__(self) -> None:
        self._kernels = b""

    def deserialize(self, blob: bytes) -> bool:
        self._kernels = b"" if blob == STALE else bytes(blob)
        return bool(self._kernels)

    def serialize(self) -> bytes:
        return self._kernels + b"+"


class IRuntimeConfig:
    """Has the default strategies."""

    def __init__(self, trt: Any) -> None:
        self._trt, self._cache = trt, None
        self.cuda_graph_strategy = trt.CudaGraphStrategy["DISABLED"]
        self.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy["LAZY"]

    cuda_graph_strategy: Any = None
    dynamic_shapes_kernel_specialization_strategy: Any = None

    def create_runtime_cache(self) -> Any:
        return trt_names.allow(IRuntimeCache, "IRuntimeCache", trt_names.RTX)()

    def set_runtime_cache(self, cache: Any) -> bool:
        self._cache = cache
        return True


def config(trt: Any) -> Any:
    """A configuration that has the names of the real one and no others."""
    return trt_names.allow(IRuntimeConfig, "IRuntimeConfig", trt_names.RTX)(trt)
