"""The environment of a run: device, driver, library versions, limits and flags, read without importing a runtime."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from bench.errors import DeviceUnavailable, Unavailable
from bench.machine import gpus
from bench.model.data import digest
from bench.model.distributions import TENSORRT, TENSORRT_BINDINGS
from bench.model.run import Environment
from bench.model.suite import BOUNDARIES
from bench.system import home

Device = Literal["auto", "cpu", "cuda", "fake"]
# Distributions whose version can change a number.
LIBRARIES = (
    "torch", "triton", "torch-tensorrt", *TENSORRT, *TENSORRT_BINDINGS,
    "onnx", "onnxruntime", "onnxruntime-gpu", "onnxscript", "transformers", "timm", "torchvision", "numpy",
    "cuda-bindings", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13", "nvidia-cublas-cu12", "nvidia-cublas",
)  # fmt: skip
# Environment variables that can change a number.
FLAGS = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_PROC_BIND", "KMP_AFFINITY", "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA",
    "CUDA_MODULE_LOADING", "CUDA_LAUNCH_BLOCKING", "CUDA_DEVICE_MAX_CONNECTIONS", "NVIDIA_TF32_OVERRIDE",
    "CUBLAS_WORKSPACE_CONFIG", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF", "TORCH_CUDNN_V8_API_DISABLED",
    "MALLOC_CONF", "LD_PRELOAD",
)  # fmt: skip


def describe(device: Device, distributions: Iterable[str] = ()) -> Environment:
    """The environment of this interpreter for ``device``; ``auto`` is the first visible GPU, else the CPU.

    ``distributions`` are those whose versions count besides LIBRARIES, as the backends of the cases name them.
    DeviceUnavailable if ``cuda`` is requested and no GPU can be used, with the reason.
    """
    common: dict[str, Any] = {
        "python": platform.python_version(),
        "libraries": libraries(distributions),
        "flags": {name: home.abbreviate(os.environ[name]) for name in FLAGS if name in os.environ},
        "boundaries": digest(BOUNDARIES)[:12],
        "host": hashlib.sha256(socket.gethostname().encode()).hexdigest()[:12],
        "observed": {"kernel": platform.release(), "os": _os_name()},
    }
    if device == "fake":
        return Environment(kind="fake", arch="fake", device="simulated device", slug="simulated", **common)
    if device in ("auto", "cuda"):
        try:
            gpu = gpus.describe()
        except Unavailable as error:
            if device == "cuda":
                raise DeviceUnavailable(f"no CUDA device can be used: {error.what}", fix=error.fix) from error
        else:
            machine = {"cores": str(len(os.sched_getaffinity(0))), "cpu": _cpuinfo("model name")}
            common["observed"] |= machine | gpu.pop("observed", {})
            return Environment(kind="cuda", slug=slugify(gpu["device"]), **gpu, **common)
    return _cpu(common)


def libraries(more: Iterable[str] = ()) -> dict[str, str]:
    """The installed versions of the distributions in LIBRARIES, and of ``more``."""
    import importlib.metadata  # as slow as the rest of this module, and most workers do not need it

    versions = {}
    for name in dict.fromkeys((*LIBRARIES, *more)):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def slugify(text: str) -> str:
    """``"NVIDIA H100 80GB HBM3"`` -> ``"nvidia-h100-80gb-hbm3"``."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "unknown"


def _cpu(common: dict[str, Any]) -> Environment:
    name = _cpuinfo("model name") or platform.processor() or platform.machine()
    limits = {"cores": str(len(os.sched_getaffinity(0)))}
    for key, path in (
        ("governor", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        ("boost", "/sys/devices/system/cpu/cpufreq/boost"),
        ("max_khz", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq"),
        ("smt", "/sys/devices/system/cpu/smt/active"),
    ):
        if text := _read(path):
            limits[key] = text
    if isa := [flag for flag in ("amx_tile", "avx512f", "avx2") if flag in _cpuinfo("flags").split()]:
        limits["isa"] = isa[0]
    return Environment(
        kind="cpu",
        arch=f"cpu-{platform.machine()}",
        device=name,
        slug=slugify(name),
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        limits=limits,
        **common,
    )


def _cpuinfo(field: str) -> str:
    for line in _read("/proc/cpuinfo").splitlines():
        if line.split(":")[0].strip() == field:
            return line.split(":", 1)[1].strip()
    return ""


def _os_name() -> str:
    with contextlib.suppress(OSError):
        return str(platform.freedesktop_os_release().get("PRETTY_NAME", ""))
    return platform.system()


def _read(path: str) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text().strip()
    return ""
