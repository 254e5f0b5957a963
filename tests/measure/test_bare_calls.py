"""What a lane adds to its runtime's own call, on a simulated GPU."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from bench.model.suite import Policy

from .simulated import ISSUE, SimulatedGpu, SimulatedLane, run


def test_what_a_lane_adds_to_its_runtimes_own_call_can_be_read_off(gpu: SimulatedGpu) -> None:
    class Wrapping(SimulatedLane):
        def call(self) -> None:
            self.gpu.host.time += 3_000
            super().call()

        def bare_call(self) -> Callable[[], object]:
            return super().call

    found = run(gpu, [Wrapping(gpu)], Policy(boundaries=("enqueue",), warmup_ns=1_000_000))
    (enqueue,) = found.measurements
    assert set(enqueue.samples) == {3_000 + ISSUE}
    assert found.facts.enqueue_bare_ns == ISSUE
    assert found.facts.enqueue_added_ns == 3_000
    assert found.facts.enqueue_added_low_ns == found.facts.enqueue_added_high_ns == 3_000


@pytest.mark.parametrize(("jitter", "known"), [(6_000, True), (900_000, False)])
def test_what_a_lane_adds_is_compared_until_it_is_known_or_a_quarter_of_a_second_has_passed(
    gpu: SimulatedGpu, jitter: int, known: bool
) -> None:
    rng = random.Random(0)

    class Uneven(SimulatedLane):
        def call(self) -> None:
            self.gpu.host.time += 3_000 + rng.randrange(jitter)
            super().call()

        def bare_call(self) -> Callable[[], object]:
            def alone() -> None:
                self.gpu.host.time += rng.randrange(jitter)
                SimulatedLane.call(self)

            return alone

    start = gpu.host.time
    found = run(gpu, [Uneven(gpu)], Policy(boundaries=("enqueue",), warmup_ns=1_000_000, max_time_ns=1_000_000))
    low, high = found.facts.enqueue_added_low_ns, found.facts.enqueue_added_high_ns
    assert low <= 3_000 <= high
    assert (high - low <= 2_000) is known
    assert (gpu.host.time - start > 250_000_000) is not known
