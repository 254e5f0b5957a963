"""The boundaries on a GPU: gpu (held or not), enqueue, latency with its parts, throughput with copies overlapped."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import msgspec
import numpy as np

from bench.errors import Unsupported
from bench.measure.cuda import CudaClock, Driver
from bench.measure.loop import evenly, quiet
from bench.measure.result import WINDOW, most_calls
from bench.measure.together import ALONE, Others, Share, Start
from bench.model.lanes import Buffer, Lane, RemoteLane
from bench.model.run import Measurement
from bench.model.seam import Clock
from bench.model.suite import Boundary, Policy
from bench.system.cleanup import Cleanup
from bench.tensors import Array

Take = Callable[[], int]
Before = Callable[[], None] | None
# Addresses of pinned host memory, each with the device buffer that it is a copy of.
PinnedCopies = list[tuple[int, Buffer]]
# A lane's first calls may set things up: TorchScript compiles in the second.
_SETTING_UP = 2
_LOOP_PARTS = ("total", "enqueue", "h2d", "compute", "d2h")
NOTHING: AbstractContextManager[Any] = contextlib.nullcontext()


def stream_of(lane: Lane) -> int:
    """The lane's stream. Unsupported for the legacy default stream, which nothing can hold or overlap."""
    if not lane.stream:
        raise Unsupported("the backend runs on the default stream, where it cannot be timed apart from others")
    return lane.stream


def gpu(lane: Lane, clock: CudaClock, *, hold: bool, before: Before = None) -> Take:
    """Samples of ``gpu`` (held) or ``gpu_unheld``: event, call, event, with ``before`` issued ahead of the first event.

    Without a hold the host waits for ``before`` too. HoldBroken from a sample whose call waited for the GPU.
    """
    stream, start, end = stream_of(lane), clock.event(), clock.event()
    driver = clock.driver
    remote = lane if isinstance(lane, RemoteLane) else None  # such a question takes microseconds: none within a sample

    def issue() -> None:
        if remote is not None:
            remote.issue(start, end)
            return
        driver.record(start, stream)
        lane.call()
        driver.record(end, stream)

    def take() -> int:
        if hold:
            with clock.hold(stream):
                if before is not None:
                    before()
                issue()
        else:
            _run_before(before, stream, start, clock)
            issue()
        clock.wait(end)
        return clock.elapsed(start, end)

    return take


def _run_before(before: Before, stream: int, event: int, clock: CudaClock) -> None:
    """Issue ``before`` and wait for it: else the sample would wait for it too, or the host get ahead meanwhile."""
    if before is not None:
        before()
        clock.driver.record(event, stream)
        clock.wait(event)


def enqueue(
    lane: Lane, clock: CudaClock, host_clock: Clock, call: Callable[[], object] | None = None, *, ahead: bool = True
) -> Take:
    """Samples of ``enqueue``: the host's time in one call, with the stream empty before it.

    ``call`` is issued in place of the lane's own, on the lane's stream. ``ahead`` is for ``RemoteLane``.
    """
    if isinstance(lane, RemoteLane):
        return lane.timed(ahead=ahead)
    stream, end, issue = stream_of(lane), clock.event(), call or lane.call

    def take() -> int:
        start = host_clock.now()
        issue()
        ns = host_clock.now() - start
        clock.driver.record(end, stream)
        clock.wait(end)
        return ns

    return take


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


@contextlib.contextmanager
def latency(
    lane: Lane,
    clock: CudaClock,
    host_clock: Clock,
    *,
    transfers: bool,
    before: Before = None,
    ahead: bool = True,
) -> Iterator[tuple[Take, dict[Boundary, list[int]]]]:
    """Samples of ``latency`` on the host's clock, and the lists that fill with its parts h2d, compute and d2h.

    What ``before`` issues on the lane's stream is waited for ahead of each sample.
    """
    stream = stream_of(lane)
    start_event, input_event, compute_event, output_event, end_event = (clock.event() for _ in range(5))
    spans = ((start_event, input_event), (input_event, compute_event), (output_event, end_event))
    parts: dict[Boundary, list[int]] = {"h2d": [], "compute": [], "d2h": []}
    driver = clock.driver
    if isinstance(lane, RemoteLane):
        with contextlib.closing(lane.requests(transfers=transfers, ahead=ahead and before is None)) as requests:

            def take_remotely() -> int:
                _run_before(before, stream, start_event, clock)
                ns, *times = requests.take()
                for part, part_ns in zip(parts.values(), times, strict=True):
                    part.append(part_ns)
                return ns

            yield take_remotely, parts
        return
    copies = Transfer(driver, lane, on=transfers)

    def take() -> int:
        _run_before(before, stream, start_event, clock)
        start = host_clock.now()
        driver.record(start_event, stream)
        copies.host_to_device(stream)
        driver.record(input_event, stream)
        lane.call()
        driver.record(compute_event, stream)
        outputs = copies.find_outputs(lane)
        driver.record(output_event, stream)
        copies.device_to_host(outputs, stream)
        driver.record(end_event, stream)
        clock.wait(end_event)
        ns = host_clock.now() - start
        for part, (first, last) in zip(parts.values(), spans, strict=True):
            part.append(clock.elapsed(first, last))
        return ns

    with Cleanup() as cleanup:
        cleanup.callback(copies.close)
        cleanup.callback(driver.synchronize)
        take()  # the output's pinned memory is allocated here
        for part in parts.values():
            part.clear()
        yield take, parts


def throughput(
    lanes: Sequence[Lane],
    clock: CudaClock,
    host_clock: Clock,
    policy: Policy,
    *,
    batch: int,
    depth: int,
    transfers: bool,
    during_window: AbstractContextManager[Any] = NOTHING,
    others: Others | None = None,
) -> Measurement:
    """Closed loop over ``lanes``: each issues H2D, call and D2H, on three streams, as soon as its last D2H is done.

    Each lane first makes up to ``warmup_calls`` calls that do not count, at most for ``warmup_ns`` but two at least.
    ``during_window`` is entered for the calls that count alone.

    Counts calls over the GPU's time from the first H2D start to the last D2H end. ``parts`` are what trtexec shows: the
    host's time of each enqueue, and event times of each H2D, compute and D2H, inside the loop. Of samples and parts at
    most 256 (or ``max_samples``) are kept, evenly spaced and of the same calls; ``totals`` are of all calls.

    With ``others`` each process has as many lanes and a window of its own; the whole one is from the first start of all
    to the last end, with the starts set against each other by the host's clock.
    """
    if isinstance(lanes[0], RemoteLane):
        return _remote_throughput(lanes, policy, batch, depth, transfers, during_window)
    if others is not None:
        others.lead_in(policy)
    share = loop_share(
        lanes, clock, host_clock, policy, others or ALONE, transfers=transfers, during_window=during_window
    )
    shares = [share, *(others.shares() if others is not None else ())]
    parts, window_ns = _joined(shares)
    count = len(shares)
    whole = _throughput_of(parts, window_ns, count * len(lanes), policy, batch, depth, threads=count)
    return msgspec.structs.replace(whole, processes=count)


def loop_share(
    lanes: Sequence[Lane],
    clock: CudaClock,
    host_clock: Clock,
    policy: Policy,
    start: Start,
    *,
    transfers: bool,
    during_window: AbstractContextManager[Any] = NOTHING,
) -> Share:
    """The loop of this process, which begins with the others' at ``start``."""
    with contextlib.closing(_Loop(lanes, clock, host_clock, transfers=transfers)) as loop, quiet():
        loop.lead_in(policy)
        start.gather()
        with during_window:
            start.begin()
            begun = loop.run(policy.throughput_ns)
    return {name: np.array(values, np.int64) for name, values in {"begun": [begun], **loop.parts}.items()}


def _joined(shares: Sequence[Share]) -> tuple[dict[str, list[int]], int]:
    """The parts of all calls in the order of their ends, and the window from the first start to the last end, ns."""
    ends = np.concatenate([share["begun"] + share["ends"] for share in shares])
    order = np.argsort(ends, kind="stable")
    parts = {name: np.concatenate([share[name] for share in shares])[order].tolist() for name in _LOOP_PARTS}
    return parts, int(ends.max() - min(share["begun"][0] for share in shares))


def _remote_throughput(
    lanes: Sequence[Lane],
    policy: Policy,
    batch: int,
    depth: int,
    transfers: bool,
    during_window: AbstractContextManager[Any],
) -> Measurement:
    """The same by the process of the lanes, with a host thread for each stream."""
    first = lanes[0]
    assert isinstance(first, RemoteLane)
    threads = max(1, len(lanes) // depth)
    first.pipelines(len(lanes), threads, msgspec.structs.replace(policy, throughput_ns=0), transfers=transfers)
    with during_window:
        window_ns, calls = first.pipelines(
            len(lanes), threads, msgspec.structs.replace(policy, warmup_calls=0), transfers=transfers
        )
    parts = {name: calls[:, place].tolist() for place, name in enumerate(_LOOP_PARTS)}
    return _throughput_of(parts, window_ns, len(lanes), policy, batch, depth, threads=threads)


def _throughput_of(
    parts: Mapping[str, Sequence[int]],
    window_ns: int,
    lanes: int,
    policy: Policy,
    batch: int,
    depth: int,
    *,
    threads: int,
) -> Measurement:
    times = {name: evenly(times_of_calls, most_calls(policy)) for name, times_of_calls in parts.items()}
    return Measurement(
        boundary="throughput",
        samples=times.pop("total"),
        batch=batch,
        stop=WINDOW,
        calls=len(parts["total"]),
        window_ns=window_ns,
        lanes=max(1, lanes // depth),
        depth=depth,
        threads=threads,
        parts=times,
        totals={name: sum(parts[name]) for name in times},
    )


class _Slot:
    """One lane in the loop with its events: h2d start and end, compute start and end, d2h start and end."""

    def __init__(self, lane: Lane, clock: CudaClock, transfers: bool) -> None:
        self.lane = lane
        self.events = [clock.event() for _ in range(6)]
        self.copies = Transfer(clock.driver, lane, on=transfers)  # last: an event that cannot be made leaves no memory
        self.busy = False


class _Loop:
    """The state of a throughput loop: slots, copy streams, and the samples so far."""

    def __init__(self, lanes: Sequence[Lane], clock: CudaClock, host_clock: Clock, *, transfers: bool) -> None:
        self.clock = clock
        self.host_clock = host_clock
        self.driver = clock.driver
        self.parts: dict[str, list[int]] = {name: [] for name in (*_LOOP_PARTS, "ends")}
        self.first = clock.event()
        self.slots: list[_Slot] = []
        with Cleanup() as undo:
            self.up = self.driver.stream()
            undo.callback(self.driver.destroy_stream, self.up)
            self.down = self.driver.stream()
            undo.callback(self.driver.destroy_stream, self.down)
            for lane in lanes:
                self.slots.append(_Slot(lane, clock, transfers))
                undo.callback(self.slots[-1].copies.close)
            self._cleanup = undo.pop_all()
        self._cleanup.callback(self.driver.synchronize)

    def lead_in(self, policy: Policy) -> None:
        """Calls that do not count, in which lanes set things up, e.g. pinned memory for outputs."""
        self.driver.record(self.first, self.up)  # what each call is set against
        for slot in self.slots:
            start, calls = self.host_clock.now(), 0
            while calls < _SETTING_UP or (
                calls < policy.warmup_calls and self.host_clock.now() - start < policy.warmup_ns
            ):
                self._issue(slot)
                self._collect(slot)
                calls += 1
        self.driver.synchronize()
        for samples in self.parts.values():
            samples.clear()

    def run(self, window_ns: int) -> int:
        """Go round the slots until the window has passed, then let the calls in flight finish; the host's time at which
        the window began.
        """
        begun = self.host_clock.now()
        self.driver.record(self.first, self.up)
        deadline = begun + window_ns
        while self.host_clock.now() < deadline:
            for slot in self.slots:
                self._collect(slot)
                self._issue(slot)
        for slot in self.slots:
            self._collect(slot)
        return begun

    def _issue(self, slot: _Slot) -> None:
        stream, record = stream_of(slot.lane), self.driver.record
        up0, up1, run0, run1, down0, down1 = slot.events
        record(up0, self.up)
        slot.copies.host_to_device(self.up)
        record(up1, self.up)
        self.driver.wait_event(stream, up1)
        record(run0, stream)
        start = self.host_clock.now()
        slot.lane.call()
        self.parts["enqueue"].append(self.host_clock.now() - start)
        record(run1, stream)
        outputs = slot.copies.find_outputs(slot.lane)
        self.driver.wait_event(self.down, run1)
        record(down0, self.down)
        slot.copies.device_to_host(outputs, self.down)
        record(down1, self.down)
        slot.busy = True

    def _collect(self, slot: _Slot) -> None:
        """Wait for a slot's D2H and keep its times; slots end in the order in which they were issued."""
        if not slot.busy:
            return
        up0, up1, run0, run1, down0, down1 = slot.events
        self.clock.wait(down1)
        for name, a, b in (("total", up0, down1), ("h2d", up0, up1), ("compute", run0, run1), ("d2h", down0, down1)):
            self.parts[name].append(self.clock.elapsed(a, b))
        self.parts["ends"].append(self.clock.elapsed(self.first, down1))
        slot.busy = False

    def close(self) -> None:
        """Wait for the device, free the pinned memory and the copy streams."""
        self._cleanup.close()


class NullLane:
    """A lane on another lane's stream whose call does nothing: what it reads is the clock's floor."""

    def __init__(self, stream: int | None) -> None:
        self.stream = stream

    def call(self) -> None:
        """Nothing."""

    def inputs(self) -> dict[str, Buffer]:
        """None."""
        return {}

    def outputs(self) -> dict[str, Buffer]:
        """None."""
        return {}

    def poison(self) -> None:
        """Nothing to fill."""

    def read(self) -> dict[str, Array]:
        """Nothing."""
        return {}
