"""The calls of the CUDA driver API that lanes of the self-test make, on the simulated GPU.

A call that waits for a held stream is let go by the parent at once, as the real one does within a second.
"""

from __future__ import annotations

import ctypes
import os
from types import SimpleNamespace

from bench.measure.gate import Gate

from .simulated import SimulatedGpu

OK = 0
QUEUE = 1_024


class SimulatedDriver(SimulatedGpu):
    """SimulatedGpu with ``api`` and ``check``, as CudaDriver has; kernels run as long as their argument says."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(gate)
        self.api = self
        self.parent = Gate(os.dup(gate.fd))
        self.CUstreamCaptureMode = SimpleNamespace(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL=1)
        self.graphs: dict[int, list[int]] = {}
        self.uploaded: set[int] = set()
        self._capturing: list[int] | None = None
        self._queued = 0

    @staticmethod
    def check(result: tuple) -> object:
        assert result[0] == OK
        return result[1] if len(result) > 1 else None

    def _blocked(self) -> None:
        """The process waits for the GPU: if a stream is held, the parent sees it and opens the gate."""
        if self.parent.stuck is not None:
            self.parent.trip()
        self.synchronize()
        self._queued = 0

    def cuModuleLoadData(self, image: bytes) -> tuple:
        assert image.endswith(b"\0")
        return OK, self._handle()

    def cuModuleGetFunction(self, module: int, name: bytes) -> tuple:
        assert module in self.live
        assert name == b"spin"
        return OK, 1

    def cuModuleUnload(self, module: int) -> tuple:
        self.live.remove(module)
        return (OK,)

    def cuLaunchKernel(self, function: int, *rest: object) -> tuple:
        *_, stream, arguments, _extra = rest
        length = arguments[0][0]
        if self._capturing is not None:
            self._capturing.append(length)
            return (OK,)
        self._queued += 1
        if self._queued > QUEUE:
            self._blocked()
        self.kernel(stream, length)
        return (OK,)

    def cuMemcpyDtoH(self, target: int, source: int, nbytes: int) -> tuple:
        self._blocked()
        ctypes.memset(target, 0, nbytes)
        return (OK,)

    def cuMemcpyDtoHAsync(self, target: int, source: int, nbytes: int, stream: int) -> tuple:
        self.copy(target, source, nbytes, stream)
        return (OK,)

    def cuStreamSynchronize(self, stream: int) -> tuple:
        self._blocked()
        return (OK,)

    def free(self, address: int) -> None:
        self._blocked()
        super().free(address)

    def synchronize(self) -> None:
        self._queued = 0
        super().synchronize()

    def cuStreamBeginCapture(self, stream: int, mode: int) -> tuple:
        assert mode == 1
        self._capturing = []
        return (OK,)

    def cuStreamEndCapture(self, stream: int) -> tuple:
        graph = self._handle()
        assert self._capturing is not None
        self.graphs[graph], self._capturing = self._capturing, None
        return OK, graph

    def cuGraphInstantiate(self, graph: int, flags: int) -> tuple:
        executable = self._handle()
        self.graphs[executable] = self.graphs[graph]
        return OK, executable

    def cuGraphLaunch(self, executable: int, stream: int) -> tuple:
        assert executable in self.live
        self.uploaded.add(executable)
        self.kernel(stream, sum(self.graphs[executable]))
        return (OK,)

    def cuGraphExecDestroy(self, executable: int) -> tuple:
        self.live.remove(executable)
        return (OK,)

    cuGraphDestroy = cuGraphExecDestroy
