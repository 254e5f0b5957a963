"""Samples of one call at a time on a simulated GPU: the order of operations, the numbers they give, the clean-up."""

from __future__ import annotations

import os

import pytest

from bench.measure import gpu_samples
from bench.measure.cuda import CudaClock, CudaFailure, HoldBroken
from bench.measure.gate import Gate, create_gate

from .simulated import ISSUE, Rig, SimulatedGpu, SimulatedLane


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


class NotHere(SimulatedGpu):
    """A platform that says it can hold streams, and cannot map the page."""

    def register(self, address: int, nbytes: int) -> int:
        raise CudaFailure("CUDA_ERROR_NOT_SUPPORTED in a CUDA call")


def test_a_hold_that_the_platform_refuses_is_found_before_it_is_needed() -> None:
    gate = create_gate()
    refusing = NotHere(gate)
    clock, before = CudaClock(refusing, gate), len(refusing.live)
    assert "CUDA_ERROR_NOT_SUPPORTED" in clock.can_hold()
    assert len(refusing.live) == before
    assert gate.stuck is None
    gate.close()
