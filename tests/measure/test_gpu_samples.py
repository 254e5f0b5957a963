"""The GPU's boundaries on a simulated GPU: the order of operations, the numbers they give, the clean-up."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator, Mapping

import pytest

from bench.errors import OutOfMemory, Unsupported
from bench.measure import gpu_samples
from bench.measure.cuda import CudaClock, CudaFailure, HoldBroken
from bench.measure.gate import Gate, create_gate
from bench.model.lanes import Buffer
from bench.model.suite import Policy

from .simulated import ISSUE, SimulatedGpu, SimulatedLane


class Rig:
    """A gate, a simulated GPU and the clock under test."""

    def __init__(self) -> None:
        self.gate = create_gate()
        self.gpu = SimulatedGpu(self.gate)
        self.clock = CudaClock(self.gpu, self.gate)

    def names(self) -> list[str]:
        return [name for name, _ in self.gpu.log]


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.clock.close()
    made.gate.close()


def test_held_issues_everything_before_the_gpu_may_start(rig: Rig) -> None:
    lane = SimulatedLane(rig.gpu, kernels=3)
    take = gpu_samples.gpu(lane, rig.clock, hold=True)
    take()
    assert rig.names() == ["register", "hold", "record", "kernel", "kernel", "kernel", "record"]
    assert rig.gate.stuck is None


def test_held_reads_the_kernels_alone_and_unheld_reads_the_host_too(rig: Rig) -> None:
    lane = SimulatedLane(rig.gpu, kernels=10, kernel_ns=2_000, host_ns=50_000)
    assert gpu_samples.gpu(lane, rig.clock, hold=True)() == 20_000
    unheld = gpu_samples.gpu(lane, rig.clock, hold=False)()
    assert unheld >= 9 * (50_000 + ISSUE)


def test_every_sample_closes_the_gate_anew(rig: Rig) -> None:
    lane = SimulatedLane(rig.gpu, kernel_ns=7_000, host_ns=30_000)
    take = gpu_samples.gpu(lane, rig.clock, hold=True)
    assert [take() for _ in range(5)] == [7_000] * 5


@pytest.mark.parametrize("step", ["hold", "record", "kernel"])
def test_whatever_raises_the_stream_is_released(rig: Rig, step: str) -> None:
    lane = SimulatedLane(rig.gpu)
    take = gpu_samples.gpu(lane, rig.clock, hold=True)
    rig.gpu.fail_on = step
    with pytest.raises(RuntimeError, match=f"{step} failed"):
        take()
    assert rig.gate.stuck is None
    rig.gpu.fail_on = ""
    assert take() == 10_000


def test_closing_the_clock_gives_back_events_and_the_page() -> None:
    rig = Rig()
    lane = SimulatedLane(rig.gpu)
    before = set(rig.gpu.live)
    gpu_samples.gpu(lane, rig.clock, hold=True)()
    with gpu_samples.latency(lane, rig.clock, rig.gpu.host, transfers=True) as (take, _):
        take()
    rig.clock.close()
    assert rig.gpu.live == before
    assert rig.names()[-1] == "unregister"
    rig.gate.close()


def test_the_parent_frees_a_call_that_waits_for_the_gpu(rig: Rig) -> None:
    parent = Gate(os.dup(rig.gate.fd))
    lane = SimulatedLane(rig.gpu)

    class Waiting(SimulatedLane):
        def call(self) -> None:
            super().call()
            assert parent.stuck is not None  # what the watching parent sees
            parent.trip()

    stuck = Waiting(rig.gpu)
    with pytest.raises(HoldBroken):
        gpu_samples.gpu(stuck, rig.clock, hold=True)()
    parent.close()
    assert gpu_samples.gpu(lane, rig.clock, hold=False)() == 10_000 + ISSUE


def test_a_gate_rises_and_a_trip_opens_it_until_it_is_armed_again() -> None:
    gate = create_gate()
    for number in (1, 2, 3):
        assert gate.arm() == number
        assert gate.stuck == number
        assert gate.release()
        assert gate.stuck is None
    assert gate.arm() == 4
    gate.trip()
    assert gate._words[0] > 1 << 29
    assert not gate.release()
    assert gate.arm() == 5
    assert gate._words[0] == 4
    assert gate.release()
    gate.close()


def test_a_parent_that_is_late_spoils_no_hold_unseen(rig: Rig) -> None:
    """It decides to open the gate, and writes when the process has gone on: before, in or after its next hold."""
    parent, lane = Gate(os.dup(rig.gate.fd)), SimulatedLane(rig.gpu)
    take = gpu_samples.gpu(lane, rig.clock, hold=True)
    held = take()
    parent.trip()  # late by a whole hold
    assert take() == held
    held_too = rig.names()[-4:]
    assert held_too == ["hold", "record", "kernel", "record"]

    class Late(SimulatedLane):
        def call(self) -> None:
            super().call()
            parent.trip()

    with pytest.raises(HoldBroken):
        gpu_samples.gpu(Late(rig.gpu), rig.clock, hold=True)()
    assert take() == held
    parent.close()


def test_a_hold_that_breaks_once_is_made_again_and_the_second_break_is_told(rig: Rig) -> None:
    parent = Gate(os.dup(rig.gate.fd))
    breaks = iter([True, False, True, True])

    class Sometimes(SimulatedLane):
        def call(self) -> None:
            super().call()
            if next(breaks):
                parent.trip()

    take = gpu_samples.gpu(Sometimes(rig.gpu), rig.clock, hold=True)
    assert rig.clock.twice(take) == 10_000
    with pytest.raises(HoldBroken):
        rig.clock.twice(take)
    assert rig.names()[-1] == "synchronize"
    parent.close()


def test_enqueue_is_the_host_time_of_the_call_alone(rig: Rig) -> None:
    lane = SimulatedLane(rig.gpu, kernels=4, kernel_ns=1_000_000, host_ns=500)
    assert gpu_samples.enqueue(lane, rig.clock, rig.gpu.host)() == 4 * (500 + ISSUE)


def test_latency_has_its_parts_and_copies_inputs_then_outputs(rig: Rig) -> None:
    lane = SimulatedLane(rig.gpu, kernel_ns=40_000, up=20_000, down=5_000)
    with gpu_samples.latency(lane, rig.clock, rig.gpu.host, transfers=True) as (take, parts):
        rig.gpu.log.clear()
        took = take()
        assert rig.names() == ["record", "copy", "record", "kernel", "record", "record", "copy", "record"]
    assert parts["compute"] == [40_000]
    assert parts["d2h"] == [5_000]
    assert sum(part[0] for part in parts.values()) <= took
    assert took == pytest.approx(65_000, rel=0.1)


def test_latency_without_transfers_copies_nothing(rig: Rig) -> None:
    lane = SimulatedLane(rig.gpu)
    with gpu_samples.latency(lane, rig.clock, rig.gpu.host, transfers=False) as (take, parts):
        take()
    assert "copy" not in rig.names()
    assert parts["d2h"][0] < 2 * ISSUE


class SlowOutputs(SimulatedLane):
    def outputs(self) -> Mapping[str, Buffer]:
        self.gpu.host.time += 30_000
        return super().outputs()


@pytest.mark.parametrize("kernel_ns", [1_000, 400_000])
def test_finding_the_outputs_is_no_part_of_their_copy(rig: Rig, kernel_ns: int) -> None:
    lane = SlowOutputs(rig.gpu, kernel_ns=kernel_ns, down=20_000)
    with gpu_samples.latency(lane, rig.clock, rig.gpu.host, transfers=True) as (take, parts):
        take()
    assert parts["d2h"][-1] <= 20_000 + ISSUE
    assert parts["compute"][-1] <= kernel_ns + ISSUE
    loop = gpu_samples.throughput(
        [lane], rig.clock, rig.gpu.host, Policy(throughput_ns=20_000_000), batch=1, depth=1, transfers=True
    )
    assert max(loop.parts["d2h"]) <= 20_000 + ISSUE


class SetsUp(SimulatedLane):
    """Its second call compiles, for 0.4 s."""

    def call(self) -> None:
        self.gpu.host.time += 400_000_000 * (self.calls == 1)
        super().call()


def test_what_a_further_lane_sets_up_in_its_first_calls_is_not_counted(rig: Rig) -> None:
    plain, sets_up = SimulatedLane(rig.gpu, kernel_ns=1_000_000), SetsUp(rig.gpu, kernel_ns=1_000_000)
    policy = Policy(throughput_ns=100_000_000)
    loop = gpu_samples.throughput([plain, sets_up], rig.clock, rig.gpu.host, policy, batch=1, depth=2, transfers=True)
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
    loop = gpu_samples.throughput(
        [lane], rig.clock, rig.gpu.host, policy, batch=1, depth=1, transfers=True, during_window=counted()
    )
    assert seen == [pytest.approx(loop.window_ns, rel=0.01)]


def run_throughput(rig: Rig, lanes: int, kernel_ns: int, up: int, down: int) -> float:
    made = [SimulatedLane(rig.gpu, kernel_ns=kernel_ns, up=up, down=down) for _ in range(lanes)]
    policy = Policy(throughput_ns=50_000_000)
    total = gpu_samples.throughput(made, rig.clock, rig.gpu.host, policy, batch=1, depth=lanes, transfers=True)
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
        gpu_samples.throughput([lane], rig.clock, rig.gpu.host, Policy(), batch=1, depth=1, transfers=True)
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
        gpu_samples.throughput(lanes, rig.clock, rig.gpu.host, Policy(), batch=1, depth=2, transfers=True)
    rig.clock.close()
    assert rig.gpu.live == before


class NotHere(SimulatedGpu):
    """A platform that says it can hold streams, and cannot map the page."""

    def register(self, address: int, nbytes: int) -> int:
        raise CudaFailure("CUDA_ERROR_NOT_SUPPORTED in a CUDA call")


class TwoInputs(SimulatedLane):
    def inputs(self) -> Mapping[str, Buffer]:
        return {name: Buffer(ptr=1, nbytes=64, shape=(64,), dtype="uint8") for name in "ab"}


def run_out(monkeypatch: pytest.MonkeyPatch, card: SimulatedGpu, refused: Callable[[int], bool]) -> None:
    """Page-locked memory is there but where ``refused`` says so of the bytes asked for."""
    allocate_pinned = card.allocate_pinned

    def allocate(nbytes: int) -> int:
        if refused(nbytes):
            raise OutOfMemory("no memory that can be page-locked")
        return allocate_pinned(nbytes)

    monkeypatch.setattr(card, "allocate_pinned", allocate)


def request(rig: Rig) -> None:
    with gpu_samples.latency(TwoInputs(rig.gpu), rig.clock, rig.gpu.host, transfers=True):
        pass


def closed_loop(rig: Rig) -> None:
    lanes = [TwoInputs(rig.gpu) for _ in range(2)]
    policy = Policy(throughput_ns=1_000_000, warmup_ns=1_000)
    gpu_samples.throughput(lanes, rig.clock, rig.gpu.host, policy, batch=1, depth=2, transfers=True)


@pytest.mark.parametrize(
    ("measure", "nth"),
    [(what, nth) for what, blocks in ((request, 3), (closed_loop, 6)) for nth in range(1, blocks + 1)],
)
def test_what_was_taken_before_memory_ran_out_is_given_back(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, measure: Callable[[Rig], None], nth: int
) -> None:
    asked, kept = itertools.count(1), set[int]()
    made = {name: getattr(rig.gpu, name) for name in ("stream", "allocate_pinned")}
    for name, make in made.items():
        monkeypatch.setattr(rig.gpu, name, lambda *size, make=make: kept.add(handle := make(*size)) or handle)
    run_out(monkeypatch, rig.gpu, lambda _: next(asked) == nth)
    with pytest.raises(OutOfMemory):
        measure(rig)
    assert not kept & rig.gpu.live


def test_memory_that_outputs_outgrow_is_given_back_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    class Growing(SimulatedLane):
        def outputs(self) -> Mapping[str, Buffer]:
            return {"y": Buffer(ptr=2, nbytes=64 * self.calls, shape=(64 * self.calls,), dtype="uint8")}

    run_out(monkeypatch, rig.gpu, lambda nbytes: nbytes > 128)
    with gpu_samples.latency(Growing(rig.gpu), rig.clock, rig.gpu.host, transfers=True) as (take, _):
        take()
        with pytest.raises(OutOfMemory):
            take()


def test_a_hold_that_the_platform_refuses_is_found_before_it_is_needed() -> None:
    gate = create_gate()
    refusing = NotHere(gate)
    clock, before = CudaClock(refusing, gate), len(refusing.live)
    assert "CUDA_ERROR_NOT_SUPPORTED" in clock.can_hold()
    assert len(refusing.live) == before
    assert gate.stuck is None
    gate.close()


def test_the_default_stream_is_refused(rig: Rig) -> None:
    lane = SimulatedLane(rig.gpu)
    lane.stream = 0
    with pytest.raises(Unsupported, match="default stream"):
        gpu_samples.gpu(lane, rig.clock, hold=True)
