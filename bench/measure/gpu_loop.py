"""``throughput`` on a GPU: a closed loop over lanes, with the copies of one overlapped with the calls of others."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import msgspec
import numpy as np

from bench.measure.cuda import CudaClock
from bench.measure.gpu_transfer import Transfer, stream_of
from bench.measure.loop import evenly, quiet
from bench.measure.result import WINDOW, most_calls
from bench.measure.together import ALONE, Others, Share, Start
from bench.model.lanes import Lane, RemoteLane
from bench.model.run import Measurement
from bench.model.seam import Clock
from bench.model.suite import Policy
from bench.system.cleanup import Cleanup

# A lane's first calls may set things up: TorchScript compiles in the second.
_SETTING_UP = 2
_LOOP_PARTS = ("total", "enqueue", "h2d", "compute", "d2h")
NOTHING: AbstractContextManager[Any] = contextlib.nullcontext()


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
    parts, window_ns = _join(shares)
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


def _join(shares: Sequence[Share]) -> tuple[dict[str, list[int]], int]:
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
        lane_count=max(1, lanes // depth),
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
