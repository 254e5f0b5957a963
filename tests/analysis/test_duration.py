"""How long a plan takes."""

from bench.analysis.duration import bounds
from bench.model.suite import Policy
from bench.units import NS_PER_S


def test_both_bounds_grow_with_processes_boundaries_and_limits() -> None:
    least, most = bounds(1, Policy(), gpu=True)
    assert 0 < least < most
    assert bounds(6, Policy(), gpu=True) == (6 * least, 6 * most)
    assert bounds(0, Policy(), gpu=True) == (0, 0)
    assert bounds(7, Policy(), gpu=True, devices=2) == (4 * least, 7 * most)
    cpu = bounds(1, Policy(), gpu=False)
    assert (cpu[0] < least, cpu[1] < most) == (True, True)
    quick = bounds(1, Policy(max_time_ns=NS_PER_S), gpu=True)
    assert (quick[0], quick[1] < most) == (least, True)
    energy = bounds(1, Policy(energy_ns=5 * NS_PER_S), gpu=True)
    assert energy == (least + 5 * NS_PER_S, most + 5 * NS_PER_S)


def test_the_most_is_never_below_the_least() -> None:
    tight = Policy(warmup_ns=60 * NS_PER_S, warmup_limit_ns=0, max_time_ns=0)
    least, most = bounds(1, tight, gpu=False)
    assert least <= most
