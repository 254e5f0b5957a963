"""The GPU's clock: CUDA events on a stream that a host flag holds back until everything is issued (cuda-bindings)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

from bench.errors import CudaFailure, OutOfMemory, Unavailable
from bench.measure.gate import PAGE, Gate
from bench.model.distributions import install
from bench.system.cleanup import Cleanup
from bench.units import format_size

T = TypeVar("T")

# Why a stream cannot be held, and what to try.
BLOCKING = "CUDA_LAUNCH_BLOCKING makes every launch wait for the GPU"
SERIAL_LAUNCHES = "a profiler or sanitizer serialises launches"
NO_OPERATIONS = "the driver offers no stream memory operations"
# Errors that a kernel causes, and that every later call repeats.
_BY_A_KERNEL = ("ILLEGAL_ADDRESS", "MISALIGNED_ADDRESS", "ILLEGAL_INSTRUCTION", "LAUNCH_FAILED", "ASSERT")


class HoldBroken(Exception):
    """The call did not return while its stream was held, as it waits for the GPU; the parent released the stream."""


class Driver(Protocol):
    """What the clock and the boundaries need of CUDA; handles and addresses are integers, times nanoseconds."""

    def event(self) -> int:
        """A new event that keeps time."""
        ...

    def destroy(self, event: int) -> None:
        """Destroy an event."""
        ...

    def record(self, event: int, stream: int) -> None:
        """Mark a point on a stream."""
        ...

    def is_done(self, event: int) -> bool:
        """Whether the GPU has passed the event."""
        ...

    def elapsed(self, start: int, end: int) -> int:
        """Nanoseconds of GPU time between two passed events (resolution about 0.5 us)."""
        ...

    def wait_value(self, stream: int, address: int, value: int) -> None:
        """Make a stream wait until the 32-bit word at a device address has reached ``value`` (cyclic >=)."""
        ...

    def wait_event(self, stream: int, event: int) -> None:
        """Make a stream wait for an event of another."""
        ...

    def copy(self, target: int, source: int, nbytes: int, stream: int) -> None:
        """Copy asynchronously; the direction follows from the addresses."""
        ...

    def fill(self, target: int, byte: int, nbytes: int, stream: int) -> None:
        """Fill device memory asynchronously."""
        ...

    def stream(self) -> int:
        """A new non-blocking stream."""
        ...

    def destroy_stream(self, stream: int) -> None:
        """Destroy a stream."""
        ...

    def l2_bytes(self) -> int:
        """The size of the L2 cache."""
        ...

    def allocate_pinned(self, nbytes: int) -> int:
        """The address of new page-locked host memory."""
        ...

    def free_pinned(self, address: int) -> None:
        """Free page-locked memory."""
        ...

    def allocate(self, nbytes: int) -> int:
        """The address of new device memory."""
        ...

    def free(self, address: int) -> None:
        """Free device memory."""
        ...

    def register(self, address: int, nbytes: int) -> int:
        """Page-lock host memory that exists and map it: its device address."""
        ...

    def unregister(self, address: int) -> None:
        """Undo ``register``."""
        ...

    def can_hold(self) -> str:
        """Empty if streams can wait on memory here, else why not."""
        ...

    def synchronize(self) -> None:
        """Wait for the whole device."""
        ...


class CudaClock:
    """Times calls on a stream by events; ``hold`` keeps the GPU from starting until the host has issued everything."""

    name = "cuda events"

    def __init__(self, driver: Driver, gate: Gate) -> None:
        self.driver = driver
        self._gate = gate
        self._flag: int | None = None
        self._events: list[int] = []
        self._why_not: str | None = None

    def event(self) -> int:
        """A new event, destroyed with the clock."""
        event = self.driver.event()
        self._events.append(event)
        return event

    @contextlib.contextmanager
    def hold(self, stream: int) -> Iterator[None]:
        """Hold ``stream`` for the block: what the block issues starts only when the block has ended.

        HoldBroken if the parent had to release the stream. A stream is released whatever the block raises.
        """
        if self._flag is None:
            self._flag = self.driver.register(self._gate.address, PAGE)
        value = self._gate.arm()
        try:
            self.driver.wait_value(stream, self._flag, value)
            yield
        finally:
            in_time = self._gate.release()
        if not in_time:
            raise HoldBroken

    def twice(self, take: Callable[[], T]) -> T:
        """The result of ``take``, tried once more if a hold breaks: one also breaks where this process was suspended
        for a moment. HoldBroken if it breaks again; the device is idle then.
        """
        try:
            return take()
        except HoldBroken:
            self.driver.synchronize()
        try:
            return take()
        except HoldBroken:
            self.driver.synchronize()
            raise

    def can_hold(self) -> str:
        """Empty if streams can be held here, else why not: the driver's answer, confirmed by holding one once."""
        if self._why_not is None:
            self._why_not = self.driver.can_hold() or self._refusal()
        return self._why_not

    def _refusal(self) -> str:
        """Why a first hold fails, empty if it works: whether memory can be page-locked and mapped shows only then."""
        try:
            stream = self.driver.stream()
            try:
                with self.hold(stream):
                    pass
                self.driver.synchronize()
            finally:
                self.driver.destroy_stream(stream)
        except CudaFailure as error:
            return f"a stream cannot be held here ({error.what})"
        except HoldBroken:  # this process was suspended meanwhile
            self.driver.synchronize()
        return ""

    def wait(self, event: int) -> None:
        """Spin until the GPU has passed ``event``: a blocking wait would add the wake-up of a thread."""
        while not self.driver.is_done(event):
            pass

    def elapsed(self, start: int, end: int) -> int:
        """Nanoseconds between two events that the GPU has passed."""
        return self.driver.elapsed(start, end)

    def close(self) -> None:
        """Wait for the device and release everything."""
        with Cleanup() as cleanup:
            if self._flag is not None:
                cleanup.callback(self.driver.unregister, self._gate.address)
            for event in self._events:
                cleanup.callback(self.driver.destroy, event)
            self._events, self._flag = [], None
            cleanup.callback(self.driver.synchronize)


class CudaDriver:
    """The driver API through cuda-bindings, on the primary context of the first device (shared with every runtime)."""

    def __init__(self) -> None:
        try:
            from cuda.bindings import driver
        except ImportError as error:
            raise Unavailable("the package 'cuda-bindings' is not installed", fix=install("cuda.bindings")) from error
        self.api: Any = driver
        try:
            self.check(driver.cuInit(0))
        except RuntimeError as error:  # cuda-bindings raises this when libcuda is not there
            raise Unavailable(f"no NVIDIA driver: {error}", fix="nvidia-smi") from error
        self._device = self.check(driver.cuDeviceGet(0))
        context = self.check(driver.cuDevicePrimaryCtxRetain(self._device))
        self.check(driver.cuCtxSetCurrent(context))

    def check(self, result: tuple[Any, ...]) -> Any:
        """The value of a call, or CudaFailure with the driver's name for what went wrong."""
        code, *values = result
        if code != self.api.CUresult.CUDA_SUCCESS:
            _, name = self.api.cuGetErrorName(code)
            text = name.decode() if isinstance(name, bytes) else str(code)
            if text == "CUDA_ERROR_OUT_OF_MEMORY":
                raise OutOfMemory("the GPU has no memory left", fix="a smaller batch, or free the GPU (nvidia-smi)")
            broke = text.removeprefix("CUDA_ERROR_") in _BY_A_KERNEL
            fix = "run the case alone under compute-sanitizer" if broke else "to see the GPU and its driver: nvidia-smi"
            raise CudaFailure(f"{text} in a CUDA call", fix=fix)
        return values[0] if len(values) == 1 else tuple(values)

    def _check_lock(self, result: tuple[Any, ...], nbytes: int) -> Any:
        """The value of a call that page-locks memory; it is the host's memory that runs out there."""
        if result[0] == self.api.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
            what = f"the host has no {format_size(nbytes)} that it can page-lock"
            raise CudaFailure(what, fix="a smaller batch, transfers: off, or a higher memory limit (ulimit -l, cgroup)")
        return self.check(result)

    def attribute(self, name: str) -> int:
        """A CU_DEVICE_ATTRIBUTE by the end of its name, e.g. ``L2_CACHE_SIZE`` (bytes)."""
        enumerator = getattr(self.api.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
        return int(self.check(self.api.cuDeviceGetAttribute(enumerator, self._device)))

    def event(self) -> int:
        """cuEventCreate."""
        return int(self.check(self.api.cuEventCreate(self.api.CUevent_flags.CU_EVENT_DEFAULT)))

    def destroy(self, event: int) -> None:
        """cuEventDestroy."""
        self.check(self.api.cuEventDestroy(event))

    def record(self, event: int, stream: int) -> None:
        """cuEventRecord."""
        self.check(self.api.cuEventRecord(event, stream))

    def is_done(self, event: int) -> bool:
        """cuEventQuery."""
        result = self.api.cuEventQuery(event)
        if result[0] == self.api.CUresult.CUDA_ERROR_NOT_READY:
            return False
        self.check(result)
        return True

    def elapsed(self, start: int, end: int) -> int:
        """cuEventElapsedTime, which gives milliseconds as a float."""
        return round(float(self.check(self.api.cuEventElapsedTime(start, end))) * 1e6)

    def wait_value(self, stream: int, address: int, value: int) -> None:
        """cuStreamWaitValue32 with GEQ."""
        geq = self.api.CUstreamWaitValue_flags.CU_STREAM_WAIT_VALUE_GEQ
        self.check(self.api.cuStreamWaitValue32(stream, address, value, geq))

    def wait_event(self, stream: int, event: int) -> None:
        """cuStreamWaitEvent."""
        self.check(self.api.cuStreamWaitEvent(stream, event, 0))

    def copy(self, target: int, source: int, nbytes: int, stream: int) -> None:
        """cuMemcpyAsync."""
        self.check(self.api.cuMemcpyAsync(target, source, nbytes, stream))

    def fill(self, target: int, byte: int, nbytes: int, stream: int) -> None:
        """cuMemsetD8Async."""
        self.check(self.api.cuMemsetD8Async(target, byte, nbytes, stream))

    def stream(self) -> int:
        """cuStreamCreate, non-blocking against the legacy default stream."""
        return int(self.check(self.api.cuStreamCreate(self.api.CUstream_flags.CU_STREAM_NON_BLOCKING)))

    def destroy_stream(self, stream: int) -> None:
        """cuStreamDestroy."""
        self.check(self.api.cuStreamDestroy(stream))

    def l2_bytes(self) -> int:
        """The device's attribute."""
        return self.attribute("L2_CACHE_SIZE")

    def allocate_pinned(self, nbytes: int) -> int:
        """cuMemHostAlloc, portable."""
        return int(self._check_lock(self.api.cuMemHostAlloc(max(nbytes, 1), 1), nbytes))

    def free_pinned(self, address: int) -> None:
        """cuMemFreeHost."""
        self.check(self.api.cuMemFreeHost(address))

    def allocate(self, nbytes: int) -> int:
        """cuMemAlloc."""
        return int(self.check(self.api.cuMemAlloc(max(nbytes, 1))))

    def free(self, address: int) -> None:
        """cuMemFree."""
        self.check(self.api.cuMemFree(address))

    def register(self, address: int, nbytes: int) -> int:
        """cuMemHostRegister, mapped, and its device pointer."""
        self._check_lock(self.api.cuMemHostRegister(address, nbytes, 2), nbytes)
        return int(self.check(self.api.cuMemHostGetDevicePointer(address, 0)))

    def unregister(self, address: int) -> None:
        """cuMemHostUnregister."""
        self.check(self.api.cuMemHostUnregister(address))

    def can_hold(self) -> str:
        """Held streams need stream memory operations and asynchronous launches."""
        if os.environ.get("CUDA_LAUNCH_BLOCKING", "0") not in ("", "0"):
            return BLOCKING
        if any(
            name in os.environ
            for name in ("NV_COMPUTE_PROFILER_PERFWORKS_DIR", "CUDA_MEMCHECK", "NV_SANITIZER_INJECTION_PORT_BASE")
        ):
            return SERIAL_LAUNCHES
        # The V1 attribute is that of an older interface that newer drivers deny; 64-bit operations imply 32-bit ones.
        names = ("CAN_USE_64_BIT_STREAM_MEM_OPS", "CAN_USE_64_BIT_STREAM_MEM_OPS_V1", "CAN_USE_STREAM_MEM_OPS_V1")
        existing = [name for name in names if hasattr(self.api.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")]
        if not any(self.attribute(name) for name in existing):
            return NO_OPERATIONS
        return ""

    def synchronize(self) -> None:
        """cuCtxSynchronize."""
        self.check(self.api.cuCtxSynchronize())
