"""Calls that are hard to hold end held or let go, each time, and leave nothing behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.measure import gpu_samples
from bench.measure.cuda import CudaClock, HoldBroken
from bench.measure.gate import create_gate
from bench.measure.selftest import holds
from bench.measure.selftest.spin import GraphLane, SpinLane
from tests.measure.simulated_api import SimulatedDriver


@pytest.fixture
def driver() -> Iterator[SimulatedDriver]:
    gate = create_gate()
    driver = SimulatedDriver(gate)
    yield driver
    driver.parent.close()
    gate.close()


def test_each_kind_ends_as_often_as_it_was_begun_and_says_how(driver: SimulatedDriver) -> None:
    clock = CudaClock(driver, driver.gate)
    told: list[str] = []
    found = list(holds.readings(driver, clock, 3, told.append))  # type: ignore[arg-type]
    assert [text.partition(" held")[0] for text in told] == ["0 of 3"] * 5
    assert [(reading.measured, reading.expected, reading.ok) for reading in found] == [(3, 3, True)] * 5
    ends = [reading.what.partition(": ")[2] for reading in found]
    let_go, held = "0 held, 3 let go and timed unheld", "3 held, 0 let go and timed unheld"
    assert ends == [let_go, let_go, let_go, held, held]
    clock.close()
    assert driver.live == set()


def test_without_runs_there_is_nothing_to_read(driver: SimulatedDriver) -> None:
    clock = CudaClock(driver, driver.gate)
    assert list(holds.readings(driver, clock, 0, print)) == []  # type: ignore[arg-type]
    clock.close()


def test_a_gate_that_was_tripped_holds_the_next_call(driver: SimulatedDriver) -> None:
    clock = CudaClock(driver, driver.gate)
    lane = holds.ReadingBack(driver, 1_000)  # type: ignore[arg-type]
    with pytest.raises(HoldBroken):
        gpu_samples.gpu(lane, clock, hold=True)()
    plain = SpinLane(driver, 40_000, 5)  # type: ignore[arg-type]
    driver.synchronize()
    assert gpu_samples.gpu(plain, clock, hold=True)() == 5 * 40_000
    for each in (lane, plain):
        each.close()
    clock.close()
    assert driver.live == set()


def test_a_graph_of_a_call_takes_what_the_call_takes_in_one_launch(driver: SimulatedDriver) -> None:
    clock = CudaClock(driver, driver.gate)
    inner = SpinLane(driver, 7_000, 30)  # type: ignore[arg-type]
    lane = GraphLane(driver, inner)  # type: ignore[arg-type]
    driver.log.clear()
    assert gpu_samples.gpu(lane, clock, hold=True)() == 30 * 7_000
    assert [name for name, _ in driver.log] == ["register", "hold", "record", "kernel", "record"]
    lane.close()
    inner.close()
    clock.close()
    assert driver.live == set()
