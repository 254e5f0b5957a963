"""How long a plan takes."""

from pathlib import Path

import pytest

from bench import store
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


def test_a_loop_for_throughput_is_no_part_of_a_plan_without_that_boundary() -> None:
    both, one = Policy(boundaries=("latency", "throughput")), Policy(boundaries=("latency",))
    assert bounds(1, both, gpu=False)[0] - bounds(1, one, gpu=False)[0] == both.throughput_ns


RESULTS = Path(__file__).parents[2] / "results"


@pytest.mark.parametrize("name", ["20261129T225416Z-int8_cpu", "20261129T203208Z-qdq", "20261129T211947Z-clock_aa"])
def test_no_run_was_shorter_than_the_least_nor_longer_than_the_most(name: str) -> None:
    """Runs of short calls, on the CPU and on a GPU, of one boundary and of several."""
    (path,) = RESULTS.rglob(f"{name}*.jsonl")
    run = store.read(path)
    assert run.footer
    taken = sum(ns for name, ns in run.footer.times.items() if name not in ("builds", "references"))
    gpu = run.header.environments["default"].kind == "cuda"
    least, most = bounds(len(run.records), run.header.policy, gpu=gpu)
    assert least < taken < most
