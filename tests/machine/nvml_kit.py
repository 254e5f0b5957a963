"""A made-up NVML with the function names of the real one: two GPUs of one kind, the first perhaps in slices."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar

import pynvml

from bench.machine.nvml import GpuTelemetry, warnings
from bench.model.telemetry import GpuFigures

GIB = 1 << 30
S = 1_000_000_000
WORKER, HELPER, STRANGER, LATECOMER = 100, 101, 7, 8
IDLE, POWER_CAP, APPLICATION, THERMAL = 0x1, 0x4, 0x2, 0x20


def _by_uuid(fake: FakeNvml, uuid: str) -> str:
    if uuid.startswith("MIG-"):
        return f"slice {fake.slices.index(uuid.removeprefix('MIG-'))} of gpu 0"
    if uuid not in fake.UUIDS:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
    return f"gpu {fake.UUIDS.index(uuid)}"


def _slice(fake: FakeNvml, gpu: str, index: int) -> str:
    if not fake.slices[index]:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
    return f"slice {index} of {gpu}"


def _memory(fake: FakeNvml, handle: str) -> SimpleNamespace:
    share = 7 if handle.startswith("slice") else 1
    return SimpleNamespace(total=80 * GIB // share, free=1, used=fake.used // share)


ANSWERS: dict[str, Callable[..., Any]] = {
    "nvmlInit": lambda fake: setattr(fake, "inits", fake.inits + 1),
    "nvmlShutdown": lambda fake: setattr(fake, "inits", fake.inits - 1),
    "nvmlSystemGetDriverVersion": lambda _: "580.65.06",
    "nvmlDeviceGetCount": lambda fake: len(fake.UUIDS),
    "nvmlDeviceGetHandleByIndex": lambda _, index: f"gpu {index}",
    "nvmlDeviceGetHandleByUUID": _by_uuid,
    "nvmlDeviceGetUUID": lambda fake, gpu: fake.UUIDS[int(gpu.split()[-1])],
    "nvmlDeviceGetMigMode": lambda fake, _: [int(fake.slices is not None)] * 2,
    "nvmlDeviceGetMaxMigDeviceCount": lambda fake, _: len(fake.slices),
    "nvmlDeviceGetMigDeviceHandleByIndex": _slice,
    "nvmlDeviceGetDeviceHandleFromMigDeviceHandle": lambda _, part: part.split(" of ")[1],
    "nvmlDeviceGetAttributes": lambda *_: SimpleNamespace(multiprocessorCount=16),
    "nvmlDeviceGetName": lambda fake, h: fake.name + (f" MIG {fake.slices[int(h[6])]}" if h[0] == "s" else ""),
    "nvmlDeviceGetCudaComputeCapability": lambda *_: (9, 0),
    "nvmlDeviceGetEnforcedPowerLimit": lambda *_: 700_000,
    "nvmlDeviceGetMaxClockInfo": lambda *_: 1980,
    "nvmlDeviceGetApplicationsClock": lambda *_: 1980,
    "nvmlDeviceGetEccMode": lambda *_: [1, 1],
    "nvmlDeviceGetPersistenceMode": lambda *_: 1,
    "nvmlDeviceGetComputeMode": lambda *_: 0,
    "nvmlDeviceGetClockInfo": lambda fake, _, clock: fake.sm if clock == pynvml.NVML_CLOCK_SM else 2619,
    "nvmlDeviceGetCurrentClocksEventReasons": lambda fake, _: fake.reasons,
    "nvmlDeviceGetCurrentClocksThrottleReasons": lambda fake, _: fake.reasons,
    "nvmlDeviceGetPowerUsage": lambda fake, _: fake.mw,
    "nvmlDeviceGetTotalEnergyConsumption": lambda fake, _: fake.mj,
    "nvmlDeviceGetUtilizationRates": lambda fake, _: SimpleNamespace(gpu=fake.percent, memory=1),
    "nvmlDeviceGetTemperatureV": lambda fake, _, sensor: {pynvml.NVML_TEMPERATURE_GPU: fake.celsius}[sensor],
    "nvmlDeviceGetTemperature": lambda fake, _, sensor: {pynvml.NVML_TEMPERATURE_GPU: fake.celsius}[sensor],
    "nvmlDeviceGetMemoryInfo": _memory,
    "nvmlDeviceGetComputeRunningProcesses": lambda fake, _: fake.listed(),
    "nvmlDeviceGetComputeRunningProcesses_v2": lambda fake, _: fake.listed(),
}
CONSTANTS = (
    "NVMLError", "NVMLError_NotFound", "NVMLLibraryMismatchError",
    "NVML_CLOCK_SM", "NVML_CLOCK_MEM", "NVML_TEMPERATURE_GPU",
)  # fmt: skip


class FakeNvml:
    """A GPU's state, which a test sets; ``errors`` maps a function's name to the error it ends with, a code or other.

    ``slices`` are the MIG profiles of GPU 0 by index ("" where there is none), None where MIG is off.
    """

    UUIDS: ClassVar[list[str]] = [
        "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6",
        "GPU-11111111-2222-3333-4444-555555555555",
    ]

    def __init__(self, errors: dict[str, Any] | None = None) -> None:
        self.errors = errors or {}
        self.asked: list[str] = []
        self.handles: list[str] = []
        self.inits = 0
        self.name = "NVIDIA H100 80GB HBM3"
        self.slices: tuple[str, ...] | None = None
        self.sm, self.reasons, self.percent, self.mw, self.mj = 1980, 0, 90, 300_000, 5_000_000
        self.celsius, self.used = 50, 2 * GIB
        self.pids: dict[int, int | None] = {}

    def __getattr__(self, name: str) -> Any:
        if name in CONSTANTS:
            return getattr(pynvml, name)
        if name not in ANSWERS or self.errors.get(name) is AttributeError:
            raise AttributeError(name)

        def call(*args: Any) -> Any:
            self.asked.append(name)
            if _is_reading(name):
                self.handles.append(args[0])
            if error := self.errors.get(name):
                raise pynvml.NVMLError(error) if isinstance(error, int) else error
            return ANSWERS[name](self, *args)

        return call

    def lose(self) -> None:
        """Every question about the device ends as NVML does when it fell off the bus."""
        self.errors = {name: pynvml.NVML_ERROR_GPU_IS_LOST for name in ANSWERS if name.startswith("nvmlDevice")}

    def listed(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in self.pids.items()]


def _is_reading(name: str) -> bool:
    """Whether a function is asked for readings, not to find the device."""
    return name.startswith(
        ("nvmlDeviceGetClock", "nvmlDeviceGetCurrent", "nvmlDeviceGetMemory", "nvmlDeviceGetCompute")
    )


def group_of(pid: int) -> int:
    """The process groups of this made-up system; other PIDs are of another PID namespace."""
    groups = {WORKER: WORKER, HELPER: WORKER, STRANGER: STRANGER, LATECOMER: LATECOMER}
    if pid not in groups:
        raise ProcessLookupError(pid)
    return groups[pid]


def watch(fake: FakeNvml, *steps: dict[str, object]) -> GpuTelemetry:
    """Start, one tick per step half a second apart with the attributes set before it, and stop at the last step."""
    watched = GpuTelemetry(0, fake, group_of)
    for index, step in enumerate(steps):
        for name, value in step.items():
            setattr(fake, name, value)
        if index == 0:
            watched.start(WORKER, 0)
        elif index == len(steps) - 1:
            watched.stop(index * S // 2)
        else:
            watched.tick(index * S // 2)
    return watched


def kinds(figures: GpuFigures) -> list[str]:
    return [warning.kind for warning in warnings(figures)]
