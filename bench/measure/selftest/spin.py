"""Kernels of known length for the self-test: one that spins on the GPU's own timer, one that moves memory (as PTX)."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from bench.measure.cuda import CudaDriver
from bench.measure.gpu_samples import NullLane
from bench.model.lanes import Buffer
from bench.tensors import Array

# Written by hand, so that the driver compiles it and no CUDA toolkit is needed.
PTX = b"""
.version 7.0
.target sm_60
.address_size 64
.visible .entry spin(.param .u64 length, .param .u64 out)
{
    .reg .u64 %r<5>;
    .reg .pred %p;
    ld.param.u64 %r0, [length];
    ld.param.u64 %r1, [out];
    mov.u64 %r2, %globaltimer;
AGAIN:
    mov.u64 %r3, %globaltimer;
    sub.u64 %r4, %r3, %r2;
    setp.lt.u64 %p, %r4, %r0;
    @%p bra AGAIN;
    st.global.u64 [%r1], %r4;
    ret;
}
\0"""


class SpinLane(NullLane):
    """A lane whose call runs one thread for ``length_ns`` by %globaltimer; ``measured_ns`` is what that thread read."""

    def __init__(self, driver: CudaDriver, length_ns: int, launches: int = 1) -> None:
        self._driver = driver
        self._cu: Any = driver.api
        self._launches = launches
        self._module = driver.check(self._cu.cuModuleLoadData(PTX))
        self._kernel = driver.check(self._cu.cuModuleGetFunction(self._module, b"spin"))
        self._out = driver.allocate(8)
        self._arguments = ((length_ns, self._out), (ctypes.c_uint64, ctypes.c_uint64))
        super().__init__(driver.stream())

    def call(self) -> None:
        """Launch the kernel, ``launches`` times."""
        for _ in range(self._launches):
            self._driver.check(
                self._cu.cuLaunchKernel(self._kernel, 1, 1, 1, 1, 1, 1, 0, self.stream, self._arguments, 0)
            )

    def measured_ns(self) -> int:
        """Nanoseconds that the latest kernel measured of itself; waits for it."""
        self._driver.synchronize()
        result = np.zeros(1, np.uint64)
        self._driver.check(self._cu.cuMemcpyDtoH(result.ctypes.data, self._out, 8))
        return int(result[0])

    def read(self) -> dict[str, Array]:
        """Nothing but the time."""
        return {"took": np.array([self.measured_ns()])}

    def close(self) -> None:
        """Release everything."""
        self._driver.synchronize()
        self._driver.free(self._out)
        if self.stream is not None:
            self._driver.destroy_stream(self.stream)
        self._driver.check(self._cu.cuModuleUnload(self._module))


class GraphLane(NullLane):
    """A lane whose call launches a CUDA graph of another lane's call, captured when it is made."""

    def __init__(self, driver: CudaDriver, inner: SpinLane) -> None:
        super().__init__(inner.stream)
        self._driver = driver
        self._cu: Any = driver.api
        mode = self._cu.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        driver.check(self._cu.cuStreamBeginCapture(self.stream, mode))
        inner.call()
        self._graph = driver.check(self._cu.cuStreamEndCapture(self.stream))
        self._executable = driver.check(self._cu.cuGraphInstantiate(self._graph, 0))

    def call(self) -> None:
        """Launch the graph; the first launch also uploads it."""
        self._driver.check(self._cu.cuGraphLaunch(self._executable, self.stream))

    def close(self) -> None:
        """Destroy the graph; the inner lane stays as it is."""
        self._driver.synchronize()
        self._driver.check(self._cu.cuGraphExecDestroy(self._executable))
        self._driver.check(self._cu.cuGraphDestroy(self._graph))


class CopyLane:
    """A lane whose call copies ``nbytes`` on the device: bound by memory, so that it varies as models do."""

    def __init__(self, driver: CudaDriver, nbytes: int) -> None:
        self._driver = driver
        self._nbytes = nbytes
        self._source, self._target = driver.allocate(nbytes), driver.allocate(nbytes)
        self.stream: int | None = driver.stream()
        driver.fill(self._source, 0x5A, nbytes, self.stream)

    def call(self) -> None:
        """Issue the copy."""
        assert self.stream is not None
        self._driver.copy(self._target, self._source, self._nbytes, self.stream)

    def inputs(self) -> dict[str, Buffer]:
        """The source."""
        return {"x": Buffer(ptr=self._source, nbytes=self._nbytes, shape=(self._nbytes,), dtype="uint8")}

    def outputs(self) -> dict[str, Buffer]:
        """The target."""
        return {"y": Buffer(ptr=self._target, nbytes=self._nbytes, shape=(self._nbytes,), dtype="uint8")}

    def poison(self) -> None:
        """Fill the target."""
        assert self.stream is not None
        self._driver.fill(self._target, 0xFF, self._nbytes, self.stream)

    def read(self) -> dict[str, Array]:
        """The first byte of the target."""
        self._driver.synchronize()
        result = np.zeros(1, np.uint8)
        self._driver.check(self._driver.api.cuMemcpyDtoH(result.ctypes.data, self._target, 1))
        return {"y": result}

    def close(self) -> None:
        """Release everything."""
        self._driver.synchronize()
        for address in (self._source, self._target):
            self._driver.free(address)
        if self.stream is not None:
            self._driver.destroy_stream(self.stream)
