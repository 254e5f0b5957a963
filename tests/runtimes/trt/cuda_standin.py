"""The CUDA runtime without a GPU: memory is the host's, every step is written down, and any can be made to fail."""

from __future__ import annotations

import ctypes
import enum
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np


class Steps:
    """The log of both runtimes; ``fail_at`` is the number of the step that fails, ``fail_on`` the name of those."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.fail_at = -1
        self.fail_on: set[str] = set()

    def step(self, name: str, detail: object = "") -> bool:
        """Write down a step; whether it works."""
        self.log.append(f"{name} {detail}".rstrip())
        return len(self.log) - 1 != self.fail_at and name not in self.fail_on

    def names(self) -> list[str]:
        """The steps without their arguments."""
        return [entry.partition(" ")[0] for entry in self.log]


class Cuda:
    """What ``cuda.bindings.runtime`` offers of what is used; ``live`` are the handles and memory not given back.

    Once a kernel has ``faulted`` every call fails, as it does on a GPU.
    """

    cudaStreamNonBlocking = 1
    cudaError_t = enum.IntEnum(
        "cudaError_t",
        {
            "cudaSuccess": 0,
            "cudaErrorMemoryAllocation": 2,
            "cudaErrorIllegalAddress": 700,
            "cudaErrorStreamCaptureInvalidated": 901,
        },
    )
    cudaMemcpyKind = enum.IntEnum("cudaMemcpyKind", {"cudaMemcpyHostToDevice": 1, "cudaMemcpyDeviceToHost": 2})
    cudaStreamCaptureMode = enum.IntEnum("cudaStreamCaptureMode", {"cudaStreamCaptureModeThreadLocal": 1})

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._handles = 0
        self.live: dict[Any, Any] = {}
        self.capturing: dict[int, list[Callable[[], None]]] = {}
        self.faulted = False

    def cudaStream_t(self, handle: int) -> int:
        return handle

    def _do(self, name: str, detail: object = "", **failures: Any) -> Any:
        worked = self._steps.step(name, detail)
        if self.faulted:
            return self.cudaError_t.cudaErrorIllegalAddress
        return self.cudaError_t.cudaSuccess if worked else failures.get("error", self.cudaError_t(901))

    def _new(self, name: str, thing: Any, detail: object = "") -> tuple[Any, ...]:
        if status := self._do(name, detail):
            return status, 0
        self._handles += 1
        self.live[self._handles] = thing
        return status, self._handles

    def _give_back(self, name: str, handle: int) -> tuple[Any, ...]:
        del self.live[handle]  # a KeyError here is a double free
        return (self._do(name),)

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Any, ...]:
        assert flags == self.cudaStreamNonBlocking
        return self._new("cudaStreamCreateWithFlags", "stream")

    def cudaStreamDestroy(self, stream: int) -> tuple[Any, ...]:
        return self._give_back("cudaStreamDestroy", stream)

    def cudaStreamSynchronize(self, stream: int) -> tuple[Any, ...]:
        assert stream in self.live
        return (self._do("cudaStreamSynchronize"),)

    def cudaGetDeviceProperties(self, device: int) -> tuple[Any, ...]:
        return self._do("cudaGetDeviceProperties"), SimpleNamespace(major=8, minor=9, name=b"NVIDIA RTX 4000")

    def cudaDeviceSynchronize(self) -> tuple[Any, ...]:
        return (self._do("cudaDeviceSynchronize"),)

    def cudaSetDevice(self, ordinal: int) -> tuple[Any, ...]:
        return (self._do("cudaSetDevice"),)

    def cudaMalloc(self, nbytes: int) -> tuple[Any, ...]:
        if status := self._do("cudaMalloc", nbytes, error=self.cudaError_t.cudaErrorMemoryAllocation):
            return status, 0
        memory = np.full(nbytes, 0xA5, np.uint8)
        self.live[int(memory.ctypes.data)] = memory
        return status, int(memory.ctypes.data)

    def cudaFree(self, address: int) -> tuple[Any, ...]:
        return self._give_back("cudaFree", address)

    def cudaMemcpy(self, target: int, source: int, nbytes: int, kind: int) -> tuple[Any, ...]:
        if status := self._do("cudaMemcpy"):
            return (status,)
        ctypes.memmove(target, source, nbytes)
        return (status,)

    def cudaMemset(self, address: int, byte: int, nbytes: int) -> tuple[Any, ...]:
        if status := self._do("cudaMemset"):
            return (status,)
        ctypes.memset(address, byte, nbytes)
        return (status,)

    def cudaStreamBeginCapture(self, stream: int, mode: int) -> tuple[Any, ...]:
        if status := self._do("cudaStreamBeginCapture", self.cudaStreamCaptureMode(mode).name):
            return (status,)
        self.capturing[stream] = []
        return (status,)

    def cudaStreamEndCapture(self, stream: int) -> tuple[Any, ...]:
        return self._new("cudaStreamEndCapture", self.capturing.pop(stream))

    def cudaGraphInstantiate(self, graph: int, flags: int) -> tuple[Any, ...]:
        return self._new("cudaGraphInstantiate", self.live[graph])

    def cudaGraphDestroy(self, graph: int) -> tuple[Any, ...]:
        return self._give_back("cudaGraphDestroy", graph)

    def cudaGraphExecDestroy(self, executable: int) -> tuple[Any, ...]:
        return self._give_back("cudaGraphExecDestroy", executable)

    def cudaGraphUpload(self, executable: int, stream: int) -> tuple[Any, ...]:
        assert executable in self.live
        return (self._do("cudaGraphUpload"),)

    def cudaGraphLaunch(self, executable: int, stream: int) -> tuple[Any, ...]:
        if status := self._do("cudaGraphLaunch"):
            return (status,)
        for work in self.live[executable]:
            work()
        return (status,)
