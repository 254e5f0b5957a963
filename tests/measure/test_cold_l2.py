"""Cases with ``l2: cold`` on a simulated GPU: when the cache is filled, and what is left out."""

from __future__ import annotations

import pytest

from bench.errors import Unsupported
from bench.model.suite import Boundary, Policy
from bench.report.warnings import describe

from .simulated import SimulatedGpu, SimulatedLane, run


def test_a_cold_l2_is_filled_before_each_sample_outside_the_interval(gpu: SimulatedGpu) -> None:
    found = run(
        gpu, [SimulatedLane(gpu, kernel_ns=70_000)], Policy(boundaries=("gpu",), warmup_ns=1_000_000), l2="cold"
    )
    assert {m.boundary: set(m.samples) for m in found.measurements}["gpu"] == {70_000}
    assert ("fill", found.measurements[0].samples[0]) not in gpu.log
    assert sum(name == "fill" for name, _ in gpu.log) >= 50


def fills(gpu: SimulatedGpu) -> int:
    return sum(name == "fill" for name, _ in gpu.log)


@pytest.mark.parametrize("boundary", ["gpu", "gpu_unheld", "latency"])
def test_a_cold_l2_is_filled_before_each_sample_of_a_boundary_and_in_none(
    gpu: SimulatedGpu, boundary: Boundary
) -> None:
    policy = Policy(boundaries=(boundary,), warmup_ns=1_000_000)
    warm = {m.boundary: m for m in run(gpu, [SimulatedLane(gpu, kernel_ns=70_000)], policy).measurements}
    assert fills(gpu) == 0
    cold = {m.boundary: m for m in run(gpu, [SimulatedLane(gpu, kernel_ns=70_000)], policy, l2="cold").measurements}
    assert fills(gpu) >= len(cold[boundary].samples)
    assert cold.keys() == warm.keys()
    for name, measured in cold.items():
        assert measured.samples == warm[name].samples


def test_a_cold_case_has_no_throughput_or_energy_and_says_what_to_do(gpu: SimulatedGpu) -> None:
    lane = SimulatedLane(gpu, kernel_ns=200_000)
    found = run(gpu, [lane], Policy(warmup_ns=1_000_000, energy_ns=5_000_000_000), l2="cold")
    assert [m.boundary for m in found.measurements] == ["enqueue", "gpu", "latency", "h2d", "compute", "d2h"]
    assert found.facts.saturated_ns is None
    (warning,) = found.warnings
    assert (warning.kind, warning.figures) == ("NotCold", {"left_out": ["throughput", "energy"]})
    assert describe(warning).hint == "the same case with l2: warm"
    assert "throughput and energy left out" in describe(warning).text


def test_a_cold_case_of_throughput_alone_is_unsupported(gpu: SimulatedGpu) -> None:
    policy = Policy(boundaries=("throughput",))
    with pytest.raises(Unsupported, match="cold") as raised:
        run(gpu, [SimulatedLane(gpu)], policy, l2="cold")
    assert "l2: warm" in raised.value.fix
