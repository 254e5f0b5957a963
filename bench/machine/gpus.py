"""The GPU that is CUDA's device 0: its description by NVML or the driver, and whether it is lost or full."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib
import itertools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.errors import Unavailable
from bench.model.data import Data
from bench.model.distributions import install

# Codes of NVMLError: the GPU fell off the bus, or its driver gave it up until it is reset.
LOST = (15, 16)
_NO_MATCH = (2, 6)  # INVALID_ARGUMENT, NOT_FOUND
_FIXES = {
    4: "let this user read and write /dev/nvidia* (in a container: --gpus all)",
    9: "load the NVIDIA driver's kernel module (modprobe nvidia), or install the driver",
    12: "install the NVIDIA driver; start a container with --gpus all",
    18: "restart the machine: the driver was updated while its kernel module was loaded",
}
_RESET = "nvidia-smi --gpu-reset, or restart the machine"
_DRIVER = Path("/proc/driver/nvidia/version")


class DeviceLost(Unavailable):
    """The GPU fell off the bus or needs a reset: nothing runs on it any more."""


class State(Data, frozen=True, kw_only=True):
    """A GPU at one moment: ``lost`` says why if it is, ``processes`` maps PIDs to bytes (0 if unknown)."""

    lost: str = ""
    used: int = 0
    total: int = 0
    processes: dict[int, int] = {}


class Gpu(Data, frozen=True, kw_only=True):
    """A GPU, or the slice of one in MIG mode that CUDA runs on: its ``uuid``, and the ``card`` that it is or is a part
    of, as ``Environment.observed`` has it; ``name`` is for messages, ``description`` as of ``describe``.
    """

    name: str
    uuid: str
    card: str
    description: dict[str, Any]


def visible_gpu(value: str | None) -> int | str | None:
    """Which NVML device ``CUDA_VISIBLE_DEVICES`` makes device 0: an index, a UUID, or None if it hides them all."""
    if value is None:
        return 0
    first = value.split(",")[0].strip()
    if not first or first == "-1":
        return None
    return int(first) if first.isascii() and first.isdigit() else first


def first_visible() -> int | str:
    """The device that CUDA_VISIBLE_DEVICES of this process makes device 0. Unavailable if it hides them all."""
    which = visible_gpu(os.environ.get("CUDA_VISIBLE_DEVICES"))
    if which is None:
        raise Unavailable("CUDA_VISIBLE_DEVICES hides every GPU", fix="unset CUDA_VISIBLE_DEVICES")
    return which


def _all_visible(nvml: Any) -> list[int | str]:
    """The devices that CUDA_VISIBLE_DEVICES of this process shows, up to one that hides the rest, in their order."""
    value = os.environ.get("CUDA_VISIBLE_DEVICES")
    if value is None:
        return list(range(nvml.nvmlDeviceGetCount()))
    devices = [visible_gpu(part) for part in value.split(",")]
    return [device for device in itertools.takewhile(lambda device: device is not None, devices) if device is not None]


@contextlib.contextmanager
def opened(nvml: Any = None) -> Iterator[Any]:
    """NVML for the block: Unavailable with NVML's reason for what it refuses there, DeviceLost for a lost GPU."""
    if nvml is None:
        try:
            nvml = importlib.import_module("pynvml")
        except ImportError as error:
            what = "the package nvidia-ml-py is not installed"
            raise Unavailable(what, fix=install("pynvml")) from error
    try:
        nvml.nvmlInit()
        try:
            yield nvml
        finally:
            with contextlib.suppress(nvml.NVMLError):
                nvml.nvmlShutdown()
    except nvml.NVMLError as error:
        kind = DeviceLost if error.value in LOST else Unavailable
        fix = _RESET if kind is DeviceLost else _FIXES.get(error.value, "nvidia-smi, to see the driver's state")
        raise kind(f"NVML says: {error}", fix=fix) from error


def find(nvml: Any, which: int | str) -> tuple[Any, Any]:
    """NVML's handles of a GPU by index, UUID or its beginning, and of the MIG slice that CUDA runs on, None without.

    CUDA uses the first slice of a GPU in MIG mode, or the one that a ``MIG-...`` UUID names. Unavailable, as CUDA finds
    none either, if there is no such device.
    """
    if isinstance(which, str) and which.startswith("MIG-"):
        part = nvml.nvmlDeviceGetHandleByUUID(which)
        return nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(part), part
    gpu = _by_index(nvml, which) if isinstance(which, int) else _by_uuid(nvml, which)
    return gpu, _first_slice(nvml, gpu)


def _by_index(nvml: Any, index: int) -> Any:
    count = nvml.nvmlDeviceGetCount()
    if index >= count:
        available = f"there {'is' if count == 1 else 'are'} {count}, counted from 0"
        raise Unavailable(f"CUDA_VISIBLE_DEVICES names GPU {index}, and {available}" if count else "there is no GPU",
                          fix="to list the GPUs: nvidia-smi -L")  # fmt: skip
    return nvml.nvmlDeviceGetHandleByIndex(index)


def _by_uuid(nvml: Any, uuid: str) -> Any:
    try:
        return nvml.nvmlDeviceGetHandleByUUID(uuid)
    except nvml.NVMLError as error:
        if error.value not in _NO_MATCH:
            raise
    every = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    matches = [gpu for gpu in every if nvml.nvmlDeviceGetUUID(gpu).startswith(uuid)]
    if len(matches) != 1:
        what = f"CUDA_VISIBLE_DEVICES={uuid} names {'several GPUs' if matches else 'no GPU of this machine'}"
        raise Unavailable(what, fix="nvidia-smi -L, to see their UUIDs")
    return matches[0]


def _first_slice(nvml: Any, gpu: Any) -> Any:
    try:
        if not nvml.nvmlDeviceGetMigMode(gpu)[0]:
            return None
    except nvml.NVMLError:  # a card without MIG
        return None
    for index in range(nvml.nvmlDeviceGetMaxMigDeviceCount(gpu)):
        with contextlib.suppress(nvml.NVMLError_NotFound):
            return nvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, index)
    raise Unavailable("the GPU is in MIG mode and has no slice", fix="nvidia-smi mig -cgi PROFILE -C, or -mig 0")


# ------------------------------------------------------------------------------------------- for the environment


def describe(nvml: Any = None) -> dict[str, Any]:
    """The first visible GPU as fields of an Environment: arch, device, memory, driver, limits, observed.

    ``observed`` identifies the card by a hash of its UUID. The source is NVML, or if that cannot be used the CUDA
    driver, which has no limits. Unavailable, with the reason, if there is no GPU.
    """
    which = first_visible()
    try:
        with opened(nvml) as library:
            return _by_nvml(library, which)
    except DeviceLost:
        raise
    except Unavailable:
        if nvml is None and (description := by_driver()):
            return description
        raise


def every(nvml: Any = None) -> list[Gpu]:
    """The GPUs that this process sees. Unavailable, with the reason, if NVML lists none or not one of them."""
    first_visible()
    gpus = []
    with opened(nvml) as library:
        for which in _all_visible(library):
            gpu, part = find(library, which)
            gpus.append(
                Gpu(
                    name=f"GPU {which}" if isinstance(which, int) else which[:12],
                    uuid=library.nvmlDeviceGetUUID(gpu if part is None else part),
                    card=_card(library, gpu),
                    description=_description(library, gpu, part),
                )
            )
    if not gpus:
        raise Unavailable("there is no GPU", fix="to list the GPUs: nvidia-smi -L")
    return gpus


def first_card(nvml: Any = None) -> str:
    """The id of the first visible GPU's card, as ``Environment.observed`` has it; empty if NVML does not tell."""
    try:
        which = first_visible()
        with opened(nvml) as library:
            return _card(library, find(library, which)[0])
    except Unavailable:
        return ""


def _card(nvml: Any, gpu: Any) -> str:
    return hashlib.sha256(nvml.nvmlDeviceGetUUID(gpu).encode()).hexdigest()[:12]


def _by_nvml(nvml: Any, which: int | str) -> dict[str, Any]:
    return _description(nvml, *find(nvml, which))


def _description(nvml: Any, gpu: Any, part: Any) -> dict[str, Any]:
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(gpu)
    name = nvml.nvmlDeviceGetName(gpu if part is None else part)
    return {
        "arch": f"sm_{major}{minor}",
        "device": name if part is None or "MIG" in name else f"{name} MIG",
        "memory": int(nvml.nvmlDeviceGetMemoryInfo(gpu if part is None else part).total),
        "driver": nvml.nvmlSystemGetDriverVersion(),
        "limits": _limits(nvml, gpu, part),
        "observed": {"card": _card(nvml, gpu)},
    }


def _limits(nvml: Any, gpu: Any, part: Any) -> dict[str, str]:
    """Power and clock limits and modes, as far as the card reports them; of a MIG slice its multiprocessors."""
    queries: dict[str, Callable[[], Any]] = {
        "power_mw": lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(gpu),
        "sm_mhz_max": lambda: nvml.nvmlDeviceGetMaxClockInfo(gpu, nvml.NVML_CLOCK_SM),
        "memory_mhz_max": lambda: nvml.nvmlDeviceGetMaxClockInfo(gpu, nvml.NVML_CLOCK_MEM),
        "application_sm_mhz": lambda: nvml.nvmlDeviceGetApplicationsClock(gpu, nvml.NVML_CLOCK_SM),
        "ecc": lambda: nvml.nvmlDeviceGetEccMode(gpu)[0],
        "mig": lambda: nvml.nvmlDeviceGetMigMode(gpu)[0],
        "persistence": lambda: nvml.nvmlDeviceGetPersistenceMode(gpu),
        "compute_mode": lambda: nvml.nvmlDeviceGetComputeMode(gpu),
    }
    if part is not None:
        queries["mig_multiprocessors"] = lambda: nvml.nvmlDeviceGetAttributes(part).multiprocessorCount
    limits = {}
    for key, query in queries.items():
        with contextlib.suppress(nvml.NVMLError):
            limits[key] = str(query())
    return limits


def by_driver(cuda: Any = None) -> dict[str, Any] | None:
    """The fields of ``describe`` from libcuda; None if it finds no device."""
    try:
        cuda = cuda or ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    device, major, minor, version = (ctypes.c_int() for _ in range(4))
    name, memory = ctypes.create_string_buffer(256), ctypes.c_size_t()
    if (
        cuda.cuInit(0)
        or cuda.cuDeviceGet(ctypes.byref(device), 0)
        or cuda.cuDeviceGetName(name, len(name), device)
        or cuda.cuDeviceGetAttribute(ctypes.byref(major), 75, device)  # COMPUTE_CAPABILITY_MAJOR
        or cuda.cuDeviceGetAttribute(ctypes.byref(minor), 76, device)  # COMPUTE_CAPABILITY_MINOR
        or cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
        or cuda.cuDriverGetVersion(ctypes.byref(version))
    ):
        return None
    return {
        "arch": f"sm_{major.value}{minor.value}",
        "device": name.value.decode(),
        "memory": memory.value,
        "driver": _kernel_module() or f"CUDA {version.value // 1000}.{version.value % 1000 // 10}",
        "limits": {},
    }


def _kernel_module() -> str:
    """The version of the loaded kernel module, which is the driver's; empty where the system does not show it."""
    try:
        match = re.search(r"Kernel Module[^\n]*?\s(\d+\.\d[\d.]*)", _DRIVER.read_text())
    except OSError:
        return ""
    return match[1] if match else ""


# ------------------------------------------------------------------------------------------ after something failed


def state(nvml: Any = None, visible: str | None = None) -> State:
    """The current state of the GPU with the UUID ``visible``, by default the first that is visible; empty if it cannot
    be read.
    """
    try:
        which = first_visible() if visible is None else visible
        with opened(nvml) as library:
            gpu, part = find(library, which)
            memory = library.nvmlDeviceGetMemoryInfo(gpu if part is None else part)
            processes = {}
            with contextlib.suppress(library.NVMLError):  # the memory is worth reporting without the processes
                running = library.nvmlDeviceGetComputeRunningProcesses(gpu if part is None else part)
                processes = {process.pid: process.usedGpuMemory or 0 for process in running}
            return State(used=int(memory.used), total=int(memory.total), processes=processes)
    except DeviceLost as error:
        return State(lost=error.what)
    except Unavailable:
        return State()
