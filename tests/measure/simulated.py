"""A GPU that is a table of times: streams in order, copies and kernels with lengths, a flag that holds a stream.

It implements ``bench.measure.cuda.Driver`` on virtual time and keeps a log of every call, so that tests can check both
the order in which the harness works and the numbers that this order gives.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Mapping

import numpy as np

from bench.measure.cuda import CudaClock
from bench.measure.gate import FLAG, Gate, create_gate
from bench.measure.gpu import measure
from bench.measure.result import CaseMeasurements
from bench.model.lanes import Buffer
from bench.model.suite import Case, Input, Policy

ISSUE = 1_000  # ns of host time that each call into the driver takes
POLL = 100
POLICY = Policy(throughput_ns=20_000_000, warmup_ns=1_000_000)


class Host:
    """The host's clock in the simulation; ``reads`` is how often it was read."""

    name = "simulated host"

    def __init__(self) -> None:
        self.time = 0
        self.reads = 0

    def now(self) -> int:
        self.reads += 1
        return self.time


class SimulatedGpu:
    """The driver: see the module's docstring. ``copy_ns_per_byte`` sets the speed of copies."""

    def __init__(self, gate: Gate, copy_ns_per_byte: float = 1.0) -> None:
        self.host = Host()
        self.gate = gate
        self.log: list[tuple[str, int]] = []
        self.fail_on = ""
        self._rate = copy_ns_per_byte
        self._free: dict[int, int] = defaultdict(int)
        self._held: dict[int, int] = {}
        self._pending: dict[int, list[tuple[str, int, int]]] = defaultdict(list)
        self._passed: dict[int, int] = {}
        self._handles = 100
        self._polled = (0, 0, 0)
        self._polling_since = 0
        self.live: set[int] = set()

    def _handle(self) -> int:
        self._handles += 1
        self.live.add(self._handles)
        return self._handles

    def _issue(self, name: str, stream: int, work: tuple[str, int, int]) -> None:
        self.host.time += ISSUE
        self.log.append((name, stream))
        if name == self.fail_on:
            raise RuntimeError(f"{name} failed")
        self._pending[stream].append((*work[:2], self.host.time) if work[0] != "value" else work)
        self._advance()

    def _advance(self) -> None:
        """Run what can run on every stream."""
        moved = True
        while moved:
            moved = False
            for stream, queue in self._pending.items():
                while queue and self._step(stream, *queue[0]):
                    queue.pop(0)
                    moved = True

    def _step(self, stream: int, kind: str, argument: int, issued: int) -> bool:
        if kind == "value":
            if self.gate._words[FLAG] < argument:
                return False
            self._free[stream] = max(self._free[stream], self.host.time)
            return True
        if kind == "event wait":
            if argument not in self._passed:
                return False
            self._free[stream] = max(self._free[stream], self._passed[argument])
            return True
        start = max(self._free[stream], issued)
        if kind == "record":
            self._passed[argument] = start
        self._free[stream] = start + (argument if kind == "work" else 0)
        return True

    def kernel(self, stream: int, ns: int) -> None:
        self._issue("kernel", stream, ("work", ns, 0))

    def event(self) -> int:
        return self._handle()

    def destroy(self, event: int) -> None:
        self.live.remove(event)

    def record(self, event: int, stream: int) -> None:
        self._passed.pop(event, None)
        self._issue("record", stream, ("record", event, 0))

    def is_done(self, event: int) -> bool:
        """Whether the GPU has passed ``event``. Who asks again and again has time pass quickly: a loop that does
        nothing else gets the answer of the first poll of POLL ns that finds it passed, and in one that reads the clock
        between two polls each takes a 64th of what it has waited so far.
        """
        before, self._polled = self._polled, (event, len(self.log), self.host.reads)
        if self._polled[:2] != before[:2]:
            self._polling_since = self.host.time
            self._advance()
        passed = self._passed.get(event)
        polls = 1
        if passed is not None and self._polled == before:
            polls = max(1, -((self.host.time - passed) // POLL))
        elif self._polled[:2] == before[:2]:
            polls = max(1, (self.host.time - self._polling_since) // (64 * POLL))
        self.host.time += polls * POLL
        self._advance()
        passed = self._passed.get(event)
        return passed is not None and passed <= self.host.time

    def elapsed(self, start: int, end: int) -> int:
        return self._passed[end] - self._passed[start]

    def wait_value(self, stream: int, address: int, value: int) -> None:
        self._issue("hold", stream, ("value", value, 0))

    def wait_event(self, stream: int, event: int) -> None:
        self._issue("wait", stream, ("event wait", event, 0))

    def copy(self, target: int, source: int, nbytes: int, stream: int) -> None:
        self._issue("copy", stream, ("work", round(nbytes * self._rate), 0))

    def fill(self, target: int, byte: int, nbytes: int, stream: int) -> None:
        self._issue("fill", stream, ("work", 5_000, 0))

    def stream(self) -> int:
        return self._handle()

    def destroy_stream(self, stream: int) -> None:
        self.live.remove(stream)

    def l2_bytes(self) -> int:
        return 1 << 20

    def allocate_pinned(self, nbytes: int) -> int:
        return self._handle()

    def free_pinned(self, address: int) -> None:
        self.live.remove(address)

    def allocate(self, nbytes: int) -> int:
        return self._handle()

    def free(self, address: int) -> None:
        self.live.remove(address)

    def register(self, address: int, nbytes: int) -> int:
        self.log.append(("register", 0))
        return address

    def unregister(self, address: int) -> None:
        self.log.append(("unregister", 0))

    def can_hold(self) -> str:
        return ""

    def synchronize(self) -> None:
        self.log.append(("synchronize", 0))
        self._advance()
        self.host.time = max([self.host.time, *self._free.values()])


class SimulatedLane:
    """A model of ``kernels`` kernels of ``kernel_ns`` each; issuing each takes the host 1 us plus ``host_ns``."""

    def __init__(
        self,
        gpu: SimulatedGpu,
        *,
        kernels: int = 1,
        kernel_ns: int = 10_000,
        host_ns: int = 0,
        up: int = 64,
        down: int = 64,
    ) -> None:
        self.gpu = gpu
        self.stream: int | None = gpu._handle()
        self.calls = 0
        self.fails = False
        self._kernels, self._kernel_ns, self._host_ns = kernels, kernel_ns, host_ns
        self._in, self._out = up, down

    def call(self) -> None:
        self.calls += 1
        if self.fails:
            raise ValueError("the model raised")
        assert self.stream is not None
        for _ in range(self._kernels):
            self.gpu.host.time += self._host_ns
            self.gpu.kernel(self.stream, self._kernel_ns)

    def inputs(self) -> Mapping[str, Buffer]:
        return {"x": Buffer(ptr=1, nbytes=self._in, shape=(self._in,), dtype="uint8")}

    def outputs(self) -> Mapping[str, Buffer]:
        return {"y": Buffer(ptr=2, nbytes=self._out, shape=(self._out,), dtype="uint8")}

    def poison(self) -> None:
        raise AssertionError("not while timing")

    def read(self) -> dict[str, np.ndarray]:
        raise AssertionError("not while timing")


def run(gpu: SimulatedGpu, lanes: list[SimulatedLane], policy: Policy = POLICY, **fields: object) -> CaseMeasurements:
    """A whole case of these lanes, measured."""
    asked = Case(model="m", factory="f:m", inputs={"x": Input(shape=(1,))}, backend="b", **fields)  # type: ignore[arg-type]
    clock = CudaClock(gpu, gpu.gate)
    try:
        return measure(lanes, asked, policy, clock, gpu.host)
    finally:
        clock.close()


class Rig:
    """A gate, a simulated GPU and the clock under test."""

    def __init__(self) -> None:
        self.gate = create_gate()
        self.gpu = SimulatedGpu(self.gate)
        self.clock = CudaClock(self.gpu, self.gate)

    def names(self) -> list[str]:
        return [name for name, _ in self.gpu.log]


class Counting:
    """Calls and seconds of each phase."""

    def __init__(self, lane: SimulatedLane) -> None:
        self.lane = lane
        self.calls: dict[str, int] = {}

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        before = self.lane.calls
        yield
        self.calls[name] = self.lane.calls - before
