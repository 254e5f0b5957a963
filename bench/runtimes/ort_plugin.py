"""ONNX Runtime's provider of TensorRT-RTX, a package of its own: whether it is here, how a session gets it."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

from bench.errors import Unavailable
from bench.model.distributions import install
from bench.model.seam import Context
from bench.model.suite import Case

MODULE = "onnxruntime_ep_nv_tensorrt_rtx"
PROVIDER = "NvTensorRTRTXExecutionProvider"
_DRIVER = "TensorRT-RTX runs on compute capability 8.0 to 8.9 and 12.x; to see the GPU and its driver: nvidia-smi"


def is_installed() -> bool:
    """Whether the package is there; nothing is imported."""
    return importlib.util.find_spec(MODULE) is not None


def unsupported(case: Case) -> str | None:
    """What the provider cannot do, None if it can."""
    if case.precision == "fp32":
        return "provider tensorrt_rtx has no setting that keeps TF32 off (precision: tf32 has it on)"
    return None


def devices(context: Context) -> list[Any]:
    """The GPU of the case, as the provider knows it. Unavailable if the package, its libraries or the GPU are absent,
    or ONNX Runtime is too old for providers of other packages.
    """
    import onnxruntime

    if not hasattr(onnxruntime, "register_execution_provider_library"):
        what = f"onnxruntime {onnxruntime.__version__} takes no provider of another package; 1.24 is the first for this"
        raise Unavailable(what, fix="pip install 'onnxruntime>=1.24'")
    try:
        package = importlib.import_module(MODULE)
    except ModuleNotFoundError as error:
        raise Unavailable(f"the package {error.name!r} is not installed", fix=install(MODULE)) from error
    if not any(device.ep_name == PROVIDER for device in onnxruntime.get_ep_devices()):
        try:
            onnxruntime.register_execution_provider_library(PROVIDER, package.get_library_path())
        except Exception as error:  # ONNX Runtime's have no common base
            text = " ".join(str(error).split())
            raise Unavailable(f"the provider of TensorRT-RTX cannot be loaded: {text}", fix=_DRIVER) from error
    usable = [device for device in onnxruntime.get_ep_devices() if device.ep_name == PROVIDER]
    number = int(context.device.partition(":")[2] or 0)
    if number >= len(usable):
        gpus = f"{len(usable)} GPU{'s' * (len(usable) != 1)}"
        what = f"TensorRT-RTX supports {gpus} here, {context.device} is none of them"
        raise Unavailable(what, fix=_DRIVER)
    return [usable[number]]


def options(case: Case, context: Context, stream: int | None) -> dict[str, str]:
    """The provider's options: the stream, CUDA graphs, and the folder of its compiled kernels."""
    folder = cache(context)
    return {
        "has_user_compute_stream": "1",
        "user_compute_stream": str(stream),
        "enable_cuda_graph": "1" if case.cuda_graph else "0",
        **({"nv_runtime_cache_path": str(folder)} if folder else {}),
    }


def cache(context: Context) -> Path | None:
    """The folder of kernels that earlier processes compiled; only build 0 of a run has one."""
    if context.shared is None or context.build:
        return None
    folder = context.shared / "onnxruntime_rtx"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def cache_state(context: Context) -> str:
    """``warm`` where an earlier process has left kernels, ``cold`` where none has, ``off`` without a folder."""
    folder = cache(context)
    return "off" if folder is None else "warm" if any(folder.iterdir()) else "cold"
