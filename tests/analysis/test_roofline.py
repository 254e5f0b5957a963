"""Fractions of the roofline against its formula, and what is past it."""

from __future__ import annotations

import pytest

from bench.analysis import roofline
from bench.model.run import Measurement, Work
from bench.report.warnings import describe


def test_the_fraction_is_the_larger_of_both_roofs_over_the_median() -> None:
    latency = Measurement(boundary="latency", samples=(2_000, 4_000, 3_000))
    loop = Measurement(boundary="throughput", samples=(1,), calls=10, window_ns=20_000)
    ceilings = {"fp32": 1e9, "copy": 1e9}
    compute = roofline.achieved(Work(flops=1500, bytes=300), "fp32", ceilings, (latency, loop))
    assert compute.bound == "compute"
    assert compute.fraction == {"latency": pytest.approx(0.5), "throughput": pytest.approx(0.75)}
    memory = roofline.achieved(Work(flops=300, bytes=1500), "fp32", ceilings, (latency,))
    assert memory.bound == "memory"
    assert memory.fraction == {"latency": pytest.approx(0.5)}


def test_without_a_rate_there_is_no_fraction() -> None:
    work = Work(flops=1, bytes=1)
    assert roofline.achieved(work, "fp8", {"fp32": 1.0, "copy": 1.0}, ()) == work
    assert roofline.achieved(work, "fp32", {}, ()) == work


CEILINGS = {"fp32": 1e9, "copy": 1e9}


@pytest.mark.parametrize(
    ("work", "took", "past"),
    [
        (Work(flops=3340, bytes=1), 1_000, "334%"),
        (Work(flops=1490, bytes=1), 1_000, ""),
        (Work(flops=100, bytes=9000), 1_000, ""),  # what a cache holds is faster than a copy
        (Work(flops=2000, bytes=9000), 1_000, "200%"),  # its arithmetic cannot be faster, whatever bounds it
        (Work(flops=0, bytes=9000), 1_000, ""),
        (Work(flops=0, bytes=0), 1_000, ""),
    ],
)
def test_arithmetic_well_past_its_ceiling_is_warned_of(work: Work, took: int, past: str) -> None:
    measured = (Measurement(boundary="gpu", samples=(took,)), Measurement(boundary="latency", samples=(10 * took,)))
    found = roofline.warnings(roofline.achieved(work, "fp32", CEILINGS, measured), "fp32", CEILINGS)
    assert [(w.kind, describe(w).text.partition(" of ")[0]) for w in found] == [
        ("FasterThanLight", f"gpu is at {past}")
    ] * bool(past)


def test_calls_side_by_side_disprove_no_ceiling() -> None:
    loop = Measurement(boundary="throughput", samples=(1_000,), calls=10, window_ns=1_000)
    work = roofline.achieved(Work(flops=1000, bytes=1), "fp32", CEILINGS, (loop,))
    assert work.fraction == {"throughput": pytest.approx(10)}
    assert roofline.warnings(work, "fp32", CEILINGS) == ()


def test_without_a_rate_nothing_is_past_it() -> None:
    work = Work(flops=1000, bytes=1, fraction={"latency": 9.0})
    assert roofline.warnings(work, "fp8", CEILINGS) == ()
    assert roofline.warnings(work, "fp32", {}) == ()
