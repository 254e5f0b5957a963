"""A whole case on a simulated GPU: which boundaries come out, when the hold is given up, what is warned of."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

import msgspec
import pytest

from bench.measure import cuda, result
from bench.measure.cuda import CudaClock
from bench.measure.gate import Gate, create_gate
from bench.measure.gpu import lanes_needed, measure
from bench.measure.pace import BLOCKS, InTurn
from bench.model.run import Measurement
from bench.model.suite import Case, Input, Policy
from bench.report.warnings import describe

from . import simulated
from .simulated import Counting, SimulatedGpu, SimulatedLane, run


def test_every_boundary_is_measured_with_its_parts(gpu: SimulatedGpu) -> None:
    lanes = [SimulatedLane(gpu, kernel_ns=200_000) for _ in range(2)]
    found = run(gpu, lanes)
    names = [m.boundary for m in found.measurements]
    assert names == ["enqueue", "gpu", "latency", "h2d", "compute", "d2h", "throughput"]
    by_name = {m.boundary: m for m in found.measurements}
    assert set(by_name["gpu"].samples) == {200_000}
    assert by_name["throughput"].depth == 2
    assert found.warnings == ()
    assert set(found.spans) == set(names)
    assert {found.spans[part] for part in ("h2d", "compute", "d2h")} == {found.spans["latency"]}
    assert found.facts.gpu_floor_ns == 0
    assert found.facts.throughput_of_bound is not None


def test_a_process_that_takes_turns_waits_before_each_block_and_its_parts_are_those_of_the_samples(
    gpu: SimulatedGpu,
) -> None:
    waits: list[str] = []
    lanes = [SimulatedLane(gpu, kernel_ns=200_000) for _ in range(2)]
    pacing = InTurn(lambda: waits.append("wait"))
    policy = Policy(boundaries=("enqueue", "gpu", "latency", "throughput"), throughput_ns=20_000_000)
    case = Case(model="m", factory="f:m", inputs={"x": Input(shape=(1,))}, backend="b")
    with contextlib.closing(CudaClock(gpu, gpu.gate)) as clock:
        found = measure(lanes, case, policy, clock, gpu.host, pacing=pacing)
    assert len(waits) == 3 * BLOCKS + 1  # the loop of throughput is one block
    by_name = {m.boundary: m for m in found.measurements}
    for name in ("enqueue", "gpu", "latency", "h2d", "compute", "d2h"):
        assert by_name[name].blocks == (12,) * BLOCKS
        assert len(by_name[name].samples) == 12 * BLOCKS
    assert by_name["throughput"].blocks == ()
    assert set(by_name["gpu"].samples) == {200_000}


def test_a_rate_is_held_against_the_longest_part_of_a_request(gpu: SimulatedGpu) -> None:
    lanes = [SimulatedLane(gpu, kernel_ns=50_000, up=200_000, down=10_000) for _ in range(2)]
    hidden = run(gpu, lanes, Policy(boundaries=("latency", "throughput"), throughput_ns=20_000_000))
    assert hidden.facts.throughput_of_bound == pytest.approx(1, rel=0.05)
    alone = run(gpu, lanes[:1], Policy(boundaries=("latency", "throughput"), throughput_ns=20_000_000))
    assert alone.facts.throughput_of_bound == pytest.approx(200 / 260, rel=0.05)


def test_a_program_bound_by_the_host_is_steady_held_and_told(gpu: SimulatedGpu) -> None:
    lanes = [SimulatedLane(gpu, kernels=20, kernel_ns=1_000, host_ns=30_000) for _ in range(2)]
    found = run(gpu, lanes)
    assert {m.boundary: set(m.samples) for m in found.measurements}["gpu"] == {20_000}
    assert [warning.kind for warning in found.warnings] == ["HostBound"]
    (bound,) = found.warnings
    assert bound.figures["gpu_ns"] == 20_000 < bound.figures["enqueue_ns"]
    assert bound.figures["graph"] is False
    assert describe(bound).hint == "cuda_graph: on"


def test_a_call_that_waits_for_the_gpu_ends_unheld_with_the_reason(gpu: SimulatedGpu) -> None:
    parent = Gate(os.dup(gpu.gate.fd))

    class Waiting(SimulatedLane):
        def call(self) -> None:
            super().call()
            if parent.stuck is not None:
                parent.trip()

    found = run(gpu, [Waiting(gpu, kernel_ns=100_000)])
    parent.close()
    names = [m.boundary for m in found.measurements]
    assert "gpu_unheld" in names
    assert "gpu" not in names
    (unheld,) = [warning for warning in found.warnings if warning.kind == "Unheld"]
    assert unheld.figures == {"cause": "waits"}
    assert "waits for the GPU" in describe(unheld).text


@pytest.mark.parametrize("at", [1, 12, 40, 70])
def test_a_hold_that_breaks_once_does_not_cost_the_case_its_gpu_time(gpu: SimulatedGpu, at: int) -> None:
    parent = Gate(os.dup(gpu.gate.fd))

    class Stopped(SimulatedLane):
        """The process stands still in one held call, and the parent lets the stream go."""

        held = 0

        def call(self) -> None:
            super().call()
            self.held += parent.stuck is not None
            if self.held == at:
                self.held += 1
                parent.trip()

    found = run(gpu, [Stopped(gpu, kernel_ns=500_000)], Policy(boundaries=("gpu",), warmup_ns=1_000_000))
    parent.close()
    assert [m.boundary for m in found.measurements] == ["enqueue", "gpu"]
    assert set(found.measurements[-1].samples) == {500_000}
    assert found.warnings == ()


@pytest.fixture
def slow_collection(gpu: SimulatedGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    """Collecting garbage takes 300 ms."""

    def collect() -> None:
        gpu.host.time += 300_000_000

    monkeypatch.setattr("gc.collect", collect)


@pytest.mark.usefixtures("slow_collection")
def test_the_time_of_a_boundary_is_that_of_its_samples_alone(gpu: SimulatedGpu) -> None:
    """Neither garbage collection nor calls that do not count: telemetry marks samples by where they lie in it."""
    lanes = [SimulatedLane(gpu, kernel_ns=1_000_000) for _ in range(8)]
    policy = Policy(boundaries=("gpu", "throughput"), warmup_ns=20_000_000, throughput_ns=20_000_000)
    found = run(gpu, lanes, policy, streams=4)
    (on_gpu,) = [m for m in found.measurements if m.boundary == "gpu"]
    (rate,) = [m for m in found.measurements if m.boundary == "throughput"]
    lasted = {name: end - start for name, (start, end) in found.spans.items()}
    assert lasted["gpu"] < 1.1 * sum(on_gpu.samples)
    assert lasted["throughput"] < 1.1 * (rate.window_ns or 0)


@pytest.mark.usefixtures("slow_collection")
def test_collecting_garbage_is_no_part_of_the_time_that_samples_may_take(gpu: SimulatedGpu) -> None:
    policy = Policy(boundaries=("gpu",), warmup_ns=1_000_000, max_time_ns=100_000_000)
    found = run(gpu, [SimulatedLane(gpu, kernel_ns=1_000_000)], policy)
    assert [m.stop for m in found.measurements] == ["TargetReached"] * 2


class WithBare(SimulatedLane):
    def bare_call(self) -> Callable[[], object]:
        return super().call


@pytest.mark.parametrize("made", [SimulatedLane, WithBare])
def test_a_slow_model_is_called_a_few_times(monkeypatch: pytest.MonkeyPatch, made: type[SimulatedLane]) -> None:
    monkeypatch.setattr(simulated, "POLL", 1_000_000)
    gate = create_gate()
    card = SimulatedGpu(gate)
    lane = made(card, kernel_ns=5_000_000_000)
    phases = Counting(lane)
    asked = Case(model="m", factory="f:m", inputs={}, backend="b")
    policy = Policy(boundaries=("gpu",), max_time_ns=1_000_000_000)
    measure([lane], asked, policy, CudaClock(card, gate), card.host, phases)
    assert phases.calls["warmup"] <= 6
    assert phases.calls["measure"] <= 4
    gate.close()


class NoHold(SimulatedGpu):
    reason = cuda.BLOCKING

    def can_hold(self) -> str:
        return self.reason


@pytest.mark.parametrize(
    ("reason", "cause", "hint"),
    [
        (cuda.BLOCKING, "launch_blocking", "unset CUDA_LAUNCH_BLOCKING"),
        (cuda.SERIAL_LAUNCHES, "profiler", "run it without the profiler"),
        (cuda.NO_OPERATIONS, "driver", "another driver"),
    ],
)
def test_why_a_stream_is_not_held_comes_with_what_helps(reason: str, cause: str, hint: str) -> None:
    gate = create_gate()
    card = NoHold(gate)
    card.reason = reason
    found = run(card, [SimulatedLane(card)], Policy(boundaries=("gpu",), warmup_ns=1_000_000), cuda_graph=True)
    (unheld,) = [warning for warning in found.warnings if warning.kind == "Unheld"]
    assert unheld.figures == {"cause": cause, "reason": reason}
    assert reason in describe(unheld).text
    assert hint in describe(unheld).hint
    gate.close()


def test_a_graph_that_the_host_bounds_is_not_told_to_be_a_graph(gpu: SimulatedGpu) -> None:
    lane = SimulatedLane(gpu, kernel_ns=2_000, host_ns=10_000)
    found = run(gpu, [lane], Policy(boundaries=("gpu",), warmup_ns=1_000_000), cuda_graph=True)
    (bound,) = found.warnings
    assert (bound.kind, bound.figures["graph"]) == ("HostBound", True)
    assert describe(bound).hint == "a larger batch"


def test_copies_longer_than_the_call_are_told(gpu: SimulatedGpu) -> None:
    lanes = [SimulatedLane(gpu, kernel_ns=100_000, up=400_000, down=10_000) for _ in range(2)]
    found = run(gpu, lanes)
    (bound,) = [warning for warning in found.warnings if warning.kind == "TransferBound"]
    assert bound.figures == {"copies_ns": 411_000, "compute_ns": 100_000}
    assert describe(bound).text == "copies take 411 us of a request, compute 100 us"


class Pausing(SimulatedLane):
    """A lane whose host pauses for 1 ms in each call while ``slow`` says so."""

    slow: Callable[[], bool]

    def call(self) -> None:
        if self.slow():
            self.gpu.host.time += 1_000_000
        super().call()


def pausing(gpu: SimulatedGpu, slow: Callable[[], bool]) -> Pausing:
    lane = Pausing(gpu, kernels=20, kernel_ns=1_000, host_ns=30_000)
    lane.slow = slow
    return lane


def test_a_host_that_was_slower_while_issuing_was_timed_is_told(gpu: SimulatedGpu) -> None:
    def no_request_yet() -> bool:
        return all(name != "copy" for name, _ in gpu.log)

    found = run(gpu, [pausing(gpu, no_request_yet) for _ in range(2)])
    assert [warning.kind for warning in found.warnings] == ["HostBound", "HostDrift"]
    drift = found.warnings[1]
    assert drift.figures["enqueue_ns"] > drift.figures["latency_ns"] > 0
    assert "the host's speed changed" in describe(drift).text


def test_calls_that_win_nothing_by_overlapping_are_told(gpu: SimulatedGpu) -> None:
    found = run(gpu, [pausing(gpu, lambda: False), pausing(gpu, lambda: True)])
    assert [warning.kind for warning in found.warnings] == ["HostBound", "NoOverlap"]
    together = found.warnings[1]
    assert together.figures["in_flight_ns"] > together.figures["alone_ns"] > 0
    assert "overlapping gains nothing" in describe(together).text


@pytest.mark.parametrize(
    ("lanes", "depth", "calls", "told"), [(1, 2, 10, 1), (2, 1, 10, 1), (1, 1, 10, 0), (1, 2, 0, 0)]
)
def test_one_call_at_a_time_has_nothing_to_overlap_with(lanes: int, depth: int, calls: int, told: int) -> None:
    latency = Measurement(boundary="latency", samples=(100, 100, 100))
    loop = Measurement(boundary="throughput", samples=(), lane_count=lanes, depth=depth, calls=calls, window_ns=2_000)
    assert len(result.no_overlap(loop, latency)) == told


def test_two_lanes_a_stream_are_asked_for_only_where_throughput_is() -> None:
    asked = Case(model="m", factory="f:m", inputs={}, backend="b", streams=3)
    assert lanes_needed(asked, Policy()) == 6
    assert lanes_needed(asked, Policy(boundaries=("gpu",))) == 1
    cold = msgspec.structs.replace(asked, l2="cold")
    assert lanes_needed(cold, Policy(energy_ns=1_000_000_000)) == 1


def test_a_saturated_loop_tells_how_many_inferences_it_made_and_how_long_it_took(gpu: SimulatedGpu) -> None:
    lanes = [SimulatedLane(gpu, kernel_ns=100_000) for _ in range(2)]
    policy = Policy(boundaries=("enqueue",), warmup_ns=1_000_000, energy_ns=50_000_000)
    found = run(gpu, lanes, policy, symbols={"batch": 4})
    assert [m.boundary for m in found.measurements] == ["enqueue"]
    assert found.facts.saturated_ns == pytest.approx(50_000_000, rel=0.05)
    assert found.facts.saturated_inferences == pytest.approx(4_000, rel=0.1)  # the lanes' streams do not share


def test_energy_needs_as_many_lanes_as_throughput() -> None:
    asked = Case(model="m", factory="f:m", inputs={}, backend="b", streams=2)
    assert lanes_needed(asked, Policy(boundaries=("gpu",), energy_ns=5_000_000_000)) == 4
