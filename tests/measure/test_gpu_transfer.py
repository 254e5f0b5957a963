"""Copies through pinned memory on a simulated GPU: what they take, and that memory is given back."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

import pytest

from bench.errors import OutOfMemory, Unsupported
from bench.measure import gpu_loop, gpu_samples
from bench.model.lanes import Buffer
from bench.model.suite import Policy

from .simulated import ISSUE, Rig, SimulatedGpu, SimulatedLane


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
    loop = gpu_loop.throughput(
        [lane], rig.clock, rig.gpu.host, Policy(throughput_ns=20_000_000), batch=1, depth=1, transfers=True
    )
    assert max(loop.parts["d2h"]) <= 20_000 + ISSUE


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
    gpu_loop.throughput(lanes, rig.clock, rig.gpu.host, policy, batch=1, depth=2, transfers=True)


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


def test_the_default_stream_is_refused(rig: Rig) -> None:
    lane = SimulatedLane(rig.gpu)
    lane.stream = 0
    with pytest.raises(Unsupported, match="default stream"):
        gpu_samples.gpu(lane, rig.clock, hold=True)
