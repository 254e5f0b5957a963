"""The closed loop on a simulated GPU: what overlaps, what counts, and what a failure leaves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from bench.measure import gpu_loop
from bench.model.suite import Policy

from .simulated import Rig, SimulatedLane


class SetsUp(SimulatedLane):
    """Its second call compiles, for 0.4 s."""

    def call(self) -> None:
        self.gpu.host.time += 400_000_000 * (self.calls == 1)
        super().call()


def test_what_a_further_lane_sets_up_in_its_first_calls_is_not_counted(rig: Rig) -> None:
    plain, sets_up = SimulatedLane(rig.gpu, kernel_ns=1_000_000), SetsUp(rig.gpu, kernel_ns=1_000_000)
    policy = Policy(throughput_ns=100_000_000)
    loop = gpu_loop.throughput([plain, sets_up], rig.clock, rig.gpu.host, policy, batch=1, depth=2, transfers=True)
    assert max(loop.parts["enqueue"]) < 1_000_000
    assert loop.calls == pytest.approx(200, rel=0.05)


def test_the_counted_block_is_the_loop_alone(rig: Rig) -> None:
    lane, seen = SimulatedLane(rig.gpu, kernel_ns=1_000_000), []

    @contextlib.contextmanager
    def counted() -> Iterator[None]:
        begun, pinned = rig.gpu.host.time, len(rig.gpu.live)
        yield
        seen.append(rig.gpu.host.time - begun)
        assert len(rig.gpu.live) == pinned

    policy = Policy(throughput_ns=100_000_000)
    loop = gpu_loop.throughput(
        [lane], rig.clock, rig.gpu.host, policy, batch=1, depth=1, transfers=True, during_window=counted()
    )
    assert seen == [pytest.approx(loop.window_ns, rel=0.01)]


def run_throughput(rig: Rig, lanes: int, kernel_ns: int, up: int, down: int) -> float:
    made = [SimulatedLane(rig.gpu, kernel_ns=kernel_ns, up=up, down=down) for _ in range(lanes)]
    policy = Policy(throughput_ns=50_000_000)
    total = gpu_loop.throughput(made, rig.clock, rig.gpu.host, policy, batch=1, depth=lanes, transfers=True)
    assert total.totals["compute"] == pytest.approx(total.calls * kernel_ns, rel=0.01)
    assert {name: len(part) for name, part in total.parts.items()} == dict.fromkeys(total.parts, len(total.samples))
    return total.window_ns / total.calls


def test_one_lane_waits_for_its_copies_and_two_overlap_them(rig: Rig) -> None:
    alone = run_throughput(rig, 1, kernel_ns=400_000, up=300_000, down=100_000)
    both = run_throughput(rig, 2, kernel_ns=400_000, up=300_000, down=100_000)
    assert alone == pytest.approx(800_000, rel=0.05)
    assert both == pytest.approx(400_000, rel=0.05)


def test_a_lane_that_raises_in_the_loop_gives_its_pinned_memory_back(rig: Rig) -> None:
    lane = SimulatedLane(rig.gpu)
    lane.fails = True
    before = len(rig.gpu.live)
    with pytest.raises(ValueError, match="the model raised"):
        gpu_loop.throughput([lane], rig.clock, rig.gpu.host, Policy(), batch=1, depth=1, transfers=True)
    rig.clock.close()
    assert len(rig.gpu.live) == before


def test_an_event_that_cannot_be_made_leaves_no_pinned_memory(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    make, left = rig.gpu.event, iter(range(10))

    def event() -> int:
        if next(left) == 9:  # one for the loop, six for its first slot
            raise RuntimeError("no event")
        return make()

    monkeypatch.setattr(rig.gpu, "event", event)
    lanes, before = [SimulatedLane(rig.gpu), SimulatedLane(rig.gpu)], set(rig.gpu.live)
    with pytest.raises(RuntimeError, match="no event"):
        gpu_loop.throughput(lanes, rig.clock, rig.gpu.host, Policy(), batch=1, depth=2, transfers=True)
    rig.clock.close()
    assert rig.gpu.live == before
