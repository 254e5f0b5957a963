"""Copies between pinned host memory and the buffers of a lane, and the stream that they and its calls are issued to."""

from __future__ import annotations

from bench.errors import Unsupported
from bench.measure.cuda import Driver
from bench.model.lanes import Buffer, Lane
from bench.system.cleanup import Cleanup

# Addresses of pinned host memory, each with the device buffer that it is a copy of.
PinnedCopies = list[tuple[int, Buffer]]


def stream_of(lane: Lane) -> int:
    """The lane's stream. Unsupported for the legacy default stream, which nothing can hold or overlap."""
    if not lane.stream:
        raise Unsupported("the backend runs on the default stream, where it cannot be timed apart from others")
    return lane.stream


class Transfer:
    """Pinned host copies of one lane's inputs and outputs; without transfers, copies of nothing."""

    def __init__(self, driver: Driver, lane: Lane, *, on: bool) -> None:
        self._driver = driver
        self._on = on
        self._pins: dict[str, int] = {}
        self._sizes: dict[str, int] = {}
        self._inputs: PinnedCopies = []
        with Cleanup() as undo:
            undo.callback(self.close)
            self._inputs = [(self._pin(f"in {name}", buffer), buffer) for name, buffer in lane.inputs().items() if on]
            for pin, buffer in self._inputs:
                driver.copy(pin, buffer.ptr, buffer.nbytes, stream_of(lane))  # real data, never zeros
            driver.synchronize()
            undo.pop_all()

    def _pin(self, name: str, buffer: Buffer) -> int:
        if self._sizes.get(name, -1) < buffer.nbytes:
            if name in self._pins:
                self._driver.free_pinned(self._pins.pop(name))
            self._pins[name] = self._driver.allocate_pinned(buffer.nbytes)
            self._sizes[name] = buffer.nbytes
        return self._pins[name]

    def host_to_device(self, stream: int) -> None:
        """Issue the copies of the inputs."""
        for pin, buffer in self._inputs:
            self._driver.copy(buffer.ptr, pin, buffer.nbytes, stream)

    def find_outputs(self, lane: Lane) -> PinnedCopies:
        """Where the outputs of the lane's latest call lie, and pinned memory for each.

        Host work of some 10 us: a GPU with nothing queued would spend it between the events of ``d2h``.
        """
        if not self._on:
            return []
        return [(self._pin(f"out {name}", buffer), buffer) for name, buffer in lane.outputs().items()]

    def device_to_host(self, outputs: PinnedCopies, stream: int) -> None:
        """Issue the copies of ``outputs``, those of ``find_outputs``."""
        for pin, buffer in outputs:
            self._driver.copy(pin, buffer.ptr, buffer.nbytes, stream)

    def close(self) -> None:
        """Free the pinned memory."""
        with Cleanup() as cleanup:
            for address in self._pins.values():
                cleanup.callback(self._driver.free_pinned, address)
            self._pins.clear()
