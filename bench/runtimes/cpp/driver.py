"""CUDA as the C++ program has it: what the clock needs, one request each."""

from __future__ import annotations

import os

from bench.errors import CudaFailure
from bench.runtimes.cpp.program import Runner

_L2_CACHE_SIZE = 38
_STREAM_MEMORY_OPERATIONS = (122, 93, 92)  # 64 bits, those and 32 bits of the older interface: CUdevice_attribute


class RemoteDriver:
    """``bench.measure.cuda.Driver`` over a program; ``gate`` is this process's descriptor of the page with the flag.

    Events, streams and addresses are the program's. Whether streams can be held is asked of its device.
    """

    def __init__(self, runner: Runner, gate: int) -> None:
        self._runner = runner
        self._gate = gate
        self._registered: dict[int, int] = {}

    def event(self) -> int:
        """A new event."""
        return self._runner.number("event")

    def destroy(self, event: int) -> None:
        """Destroy an event."""
        self._runner.ask("destroy", event)

    def record(self, event: int, stream: int) -> None:
        """Mark a point on a stream."""
        self._runner.ask("record", event, stream)

    def is_done(self, event: int) -> bool:
        """Whether the GPU has passed the event."""
        return bool(self._runner.number("is_done", event))

    def elapsed(self, start: int, end: int) -> int:
        """Nanoseconds between two passed events."""
        return self._runner.number("elapsed", start, end)

    def wait_value(self, stream: int, address: int, value: int) -> None:
        """Make a stream wait for the word at ``address``."""
        self._runner.ask("wait_value", stream, address, value)

    def wait_event(self, stream: int, event: int) -> None:
        """Make a stream wait for an event."""
        self._runner.ask("wait_event", stream, event)

    def copy(self, target: int, source: int, nbytes: int, stream: int) -> None:
        """Copy asynchronously."""
        self._runner.ask("copy", target, source, nbytes, stream)

    def fill(self, target: int, byte: int, nbytes: int, stream: int) -> None:
        """Fill device memory asynchronously."""
        self._runner.ask("fill", target, byte, nbytes, stream)

    def stream(self) -> int:
        """A new stream."""
        return self._runner.number("stream")

    def destroy_stream(self, stream: int) -> None:
        """Destroy a stream."""
        self._runner.ask("destroy_stream", stream)

    def l2_bytes(self) -> int:
        """The size of the L2 cache."""
        return self._runner.number("attribute", _L2_CACHE_SIZE)

    def allocate_pinned(self, nbytes: int) -> int:
        """Page-locked memory of the program."""
        return self._runner.number("allocate_pinned", nbytes)

    def free_pinned(self, address: int) -> None:
        """Free page-locked memory."""
        self._runner.ask("free_pinned", address)

    def allocate(self, nbytes: int) -> int:
        """Device memory."""
        return self._runner.number("allocate", nbytes)

    def free(self, address: int) -> None:
        """Free device memory."""
        self._runner.ask("free", address)

    def register(self, address: int, nbytes: int) -> int:
        """The device address of the page with the flag, which the program maps too."""
        path = f"/proc/{os.getpid()}/fd/{self._gate}"
        self._registered[address] = self._runner.number("register", path, nbytes)
        return self._registered[address]

    def unregister(self, address: int) -> None:
        """Undo ``register``."""
        self._runner.ask("unregister", self._registered.pop(address))

    def can_hold(self) -> str:
        """Empty if the device has stream memory operations and launches are asynchronous, else why not."""
        if os.environ.get("CUDA_LAUNCH_BLOCKING", "0") not in ("", "0"):
            return "CUDA_LAUNCH_BLOCKING makes every launch wait for the GPU"
        if not any(map(self._attribute, _STREAM_MEMORY_OPERATIONS)):
            return "the driver offers no stream memory operations"
        return ""

    def _attribute(self, number: int) -> int:
        """An attribute of the device; 0 for one that the driver does not know."""
        try:
            return self._runner.number("attribute", number)
        except CudaFailure:
            return 0

    def synchronize(self) -> None:
        """Wait for the whole device."""
        self._runner.ask("synchronize")
