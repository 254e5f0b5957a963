"""Classifies failures on a GPU: a lost card, a full one, an old driver, a kernel that broke its context."""

from __future__ import annotations

import re

import msgspec

from bench.errors import LESS_MEMORY, OUT_OF_DEVICE_MEMORY, OutOfMemory, text_of
from bench.machine.gpus import State
from bench.model.run import Failure
from bench.units import format_size

# Memory that a driver keeps for itself, as a fraction of all: up to this much in use belongs to no process.
_RESERVED_FRACTION = 0.05
_SHOWN_PROCESSES = 3
_RESUME = "nvidia-smi --gpu-reset, or restart the machine; then trtbench run --resume RUN"
_FREE = "end what uses the GPU (nvidia-smi), take another one (CUDA_VISIBLE_DEVICES), or a smaller batch"
# Kinds whose message already says what to do.
_CLEAR_KINDS = ("Unavailable", "OutOfMemory", "Timeout", "DeviceLost")

# Errors as the CUDA runtime names them, and where a word begins: cudaErrorIllegalAddress, cudaErrorECCUncorrectable.
_RUNTIME_NAME = re.compile(r"cudaError([A-Z][A-Za-z]+)")
_NEW_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
# Those that the driver has other words for; the rest are its own, spelt differently.
_DRIVER_WORDS = {
    "MemoryAllocation": "OUT_OF_MEMORY",
    "DevicesUnavailable": "DEVICE_UNAVAILABLE",
    "NoKernelImageForDevice": "NO_BINARY_FOR_GPU",
    "LaunchFailure": "LAUNCH_FAILED",
}

# What runtimes and the driver write: the pattern, what kind of failure it is, and what to try. The first match counts.
# Errors have the driver's names here, see _driver_names.
_TEXTS: tuple[tuple[re.Pattern[str], str, str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), kind, hint)
    for pattern, kind, hint in (
        (
            OUT_OF_DEVICE_MEMORY.pattern,
            "OutOfMemory",
            LESS_MEMORY,
        ),
        (
            r"driver on your system is too old|driver version is insufficient|INSUFFICIENT_DRIVER|"
            r"REQUIRES_NEWER_DRIVER|SYSTEM_DRIVER_MISMATCH|COMPAT_NOT_SUPPORTED_ON_DEVICE|"
            r"forward compatibility was attempted|UNSUPPORTED_PTX_VERSION|unsupported toolchain|"
            r"Function \"cu\w+\" not found",
            "Unavailable",
            "a newer NVIDIA driver, or a runtime built for an older CUDA (nvidia-smi shows what the driver takes)",
        ),
        (
            r"NO_BINARY_FOR_GPU|no kernel image is available",
            "Unavailable",
            "a build of the runtime with kernels for this GPU's architecture",
        ),
        (
            r"CUDA_ERROR_DEVICE_UNAVAILABLE|devices?(\(s\))? (is/are|are|is) busy or unavailable",
            "Unavailable",
            "end the process that has the GPU for itself, or nvidia-smi -c DEFAULT",
        ),
        (
            r"CUDA_ERROR_(NO|INVALID)_DEVICE\b|no CUDA-capable device|invalid device ordinal|"
            r"No CUDA GPUs are available|Found no NVIDIA driver",
            "Unavailable",
            "nvidia-smi -L shows the GPUs, CUDA_VISIBLE_DEVICES chooses among them",
        ),
        (
            r"CUDA_ERROR_SYSTEM_NOT_READY|system not yet initialized",
            "Unavailable",
            "start the fabric manager (systemctl start nvidia-fabricmanager)",
        ),
        (
            r"ECC_UNCORRECTABLE|uncorrectable ECC error|NVLINK_UNCORRECTABLE|CUDA_ERROR_CONTAINED",
            "CudaFailure",
            "the card's memory or link is failing: nvidia-smi -q -d ECC, then reset or replace it",
        ),
        (
            r"ILLEGAL_ADDRESS|illegal memory access|MISALIGNED_ADDRESS|misaligned address|ILLEGAL_INSTRUCTION|"
            r"illegal instruction was encountered|INVALID_ADDRESS_SPACE|global/shared address space|INVALID_PC|"
            r"invalid program counter|HARDWARE_STACK_ERROR|hardware stack error|"
            r"CUDA_ERROR_ASSERT|device-side assert|CUDA_ERROR_LAUNCH_FAILED|unspecified launch failure|"
            r"CUDA_ERROR_LAUNCH_TIMEOUT|the launch timed out|TENSOR_MEMORY_LEAK",
            "CudaFailure",
            "run the case alone with CUDA_LAUNCH_BLOCKING=1, or under compute-sanitizer, which names the kernel",
        ),
    )
)


def out_of_memory(error: Exception) -> bool:
    """Whether ``error``, of any runtime, reports that memory ran out."""
    is_python_error = (
        isinstance(error, OutOfMemory | MemoryError) or type(error).__name__ == "OutOfMemoryError"
    )  # torch's
    return is_python_error or _read(text_of(error))[0] == "OutOfMemory"


def explain(failure: Failure, gpu: State) -> Failure:
    """``failure`` of a case on a GPU, classified by its text and the GPU's state after it.

    If the GPU is lost, any failure becomes ``DeviceLost``. When memory ran out, the message names the other processes
    that use it (the worker's own is free by then). For a crash the log is read too.
    """
    if failure.kind == "DeviceLost":
        return msgspec.structs.replace(failure, message=f"the GPU was lost: {failure.message}", hint=_RESUME)
    if gpu.lost:
        message = f"the GPU was lost: {gpu.lost} (seen as {failure.kind}: {failure.message})"
        return msgspec.structs.replace(failure, kind="DeviceLost", message=message, hint=_RESUME)
    text = failure.message + (failure.log if failure.kind == "Crash" else "")
    # Runtimes report any CUDA error at start as Unavailable; the name of a CUDA error is more specific.
    names_error = failure.kind == "Unavailable" and "CUDA_ERROR_" in _driver_names(text)
    kind, hint = _read(text) if names_error or failure.kind not in _CLEAR_KINDS else ("", "")
    if kind:
        new_kind = "Crash" if failure.kind == "Crash" else kind
        failure = msgspec.structs.replace(failure, kind=new_kind, hint=hint)
    if "OutOfMemory" in (failure.kind, kind) and gpu.used > _RESERVED_FRACTION * gpu.total:
        message = f"{failure.message}; {_users(gpu)}"
        return msgspec.structs.replace(failure, message=message, hint=_FREE)
    return failure


def after_loss(loss: Failure, label: str) -> Failure:
    """The failure of everything that comes after ``label``, the case in which the GPU was lost."""
    return Failure(kind="DeviceLost", stage="start", message=f"the GPU was lost in {label}", hint=loss.hint)


def _read(text: str) -> tuple[str, str]:
    text = _driver_names(text)
    return next(((kind, hint) for pattern, kind, hint in _TEXTS if pattern.search(text)), ("", ""))


def _driver_names(text: str) -> str:
    """``text`` with the CUDA runtime's names for errors as the driver's: cudaErrorNoDevice as CUDA_ERROR_NO_DEVICE."""

    def name(match: re.Match[str]) -> str:
        return f"CUDA_ERROR_{_DRIVER_WORDS.get(match[1]) or _NEW_WORD.sub('_', match[1]).upper()}"

    return _RUNTIME_NAME.sub(name, text)


def _users(gpu: State) -> str:
    """``others use 60.0 GiB of its 80.0 GiB: process 123 (59.0 GiB)``, the largest first."""
    text = f"others use {format_size(gpu.used)} of its {format_size(gpu.total)}"
    largest = sorted(((size, pid) for pid, size in gpu.processes.items() if size), reverse=True)
    listing = ", ".join(f"process {pid} ({format_size(size)})" for size, pid in largest[:_SHOWN_PROCESSES])
    return f"{text}: {listing}" if listing else text
