"""Samples of one call at a time on a GPU: gpu (held or not), enqueue, latency with its parts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from bench.measure.cuda import CudaClock
from bench.measure.gpu_transfer import Transfer, stream_of
from bench.model.lanes import Buffer, Lane, RemoteLane
from bench.model.seam import Clock
from bench.model.suite import Boundary
from bench.system.cleanup import Cleanup
from bench.tensors import Array

Take = Callable[[], int]
Before = Callable[[], None] | None


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
