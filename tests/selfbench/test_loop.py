"""What the loop reports for a call that does nothing: the floor under every latency on the host (goal: 1 us)."""

from __future__ import annotations

from typing import Any

import pytest

from bench.measure.clock import HostClock
from bench.measure.host import latency
from bench.measure.loop import sample, warm_up
from bench.measure.stop import StopRule
from bench.model.suite import Policy
from bench.stats import median, quantile

pytestmark = pytest.mark.selfbench
SAMPLES = 10_000


class Idle:
    stream: int | None = None

    def call(self) -> None:
        pass


def test_the_latency_of_a_call_that_does_nothing(benchmark: Any) -> None:
    clock = HostClock()
    take = latency(Idle(), clock)  # type: ignore[arg-type]
    policy = Policy(min_samples=SAMPLES, max_samples=SAMPLES)
    warm_up(take, policy, clock)

    samples = benchmark.pedantic(lambda: sample(take, StopRule(policy, clock)), rounds=5)
    assert len(samples) == SAMPLES
    start = clock.now()
    sample(take, StopRule(policy, clock))
    each = (clock.now() - start) / SAMPLES
    benchmark.extra_info["median_ns"] = median(samples)
    print(
        f"\nlatency of a call that does nothing: median {median(samples):.0f} ns, p99 {quantile(samples, 0.99):.0f} ns "
        f"(goal <= 1000 ns); a sample costs {each:.0f} ns with the loop around it"
    )
