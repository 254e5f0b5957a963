"""Warm-up and sampling on simulated time."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from itertools import chain, pairwise, repeat

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.measure.clock import FakeClock
from bench.measure.loop import WarmUp, evenly, quiet, sample, warm_up
from bench.measure.stop import StopRule
from bench.model.suite import Policy

MS = 1_000_000
S = 1000 * MS


def taking(times: Iterator[float], clock: FakeClock) -> Callable[[], int]:
    def take() -> int:
        ns = round(next(times))
        clock.advance(ns)
        return ns

    return take


def warmed(times: Iterator[float], **policy: int) -> WarmUp:
    clock = FakeClock()
    return warm_up(taking(times, clock), Policy(**policy), clock)


def test_a_steady_model_is_warm_after_the_least_time() -> None:
    found = warmed(repeat(1 * MS))
    assert found == WarmUp(calls=200, ns=200 * MS, steady=True, spread=0.0)


def test_a_steady_slower_model_is_warm_after_the_least_calls() -> None:
    assert warmed(repeat(100 * MS)).calls == 10


def test_it_goes_on_until_the_time_has_settled() -> None:
    settling = chain((MS * (1 + 2 * 0.99**i) for i in range(1500)), repeat(MS))
    found = warmed(settling)
    assert found.steady
    assert found.calls > 400  # after 400 calls it still loses 0.36 % every ten


def test_what_keeps_drifting_is_not_steady_when_the_limit_is_reached() -> None:
    found = warmed(MS * 1.001**i for i in range(100_000))
    assert not found.steady
    assert found.spread > 0.01
    assert 10 * S <= found.ns < 11 * S


def test_noise_averages_out_in_the_growing_windows() -> None:
    rng = np.random.default_rng(2)
    found = warmed(MS * np.exp(rng.normal(0, 0.1)) for _ in repeat(None))
    assert found.steady
    assert found.ns < 10 * S


def test_a_model_of_five_seconds_a_call_is_warm_after_three() -> None:
    found = warmed(chain([9 * S], repeat(5 * S)))
    assert found.calls == 3
    assert not found.steady  # 9 s, 5 s, 5 s
    assert warmed(repeat(5 * S)) == WarmUp(calls=3, ns=15 * S, steady=True, spread=0.0)


def test_calls_that_take_no_measurable_time_end_too() -> None:
    clock = FakeClock()

    def take() -> int:
        clock.advance(1000)  # the loop itself takes time
        return 0

    assert warm_up(take, Policy(), clock).steady


def test_samples_come_in_the_order_taken_until_the_rule_has_a_reason() -> None:
    clock = FakeClock()
    rule = StopRule(Policy(min_samples=3, max_samples=4), clock)
    assert sample(taking(iter([5, 900, 7, 80, 1, 1]), clock), rule) == (5, 900, 7, 80)
    assert rule.reason == "MaxSamples"


def test_the_garbage_collector_is_off_while_samples_are_taken() -> None:
    seen = []

    def take() -> int:
        seen.append(gc.isenabled())
        return 1

    sample(take, StopRule(Policy(max_samples=2), FakeClock()))
    assert seen == [False, False]
    assert gc.isenabled()


def test_the_garbage_collector_is_on_again_after_an_error() -> None:
    def take() -> int:
        raise ValueError("broken model")

    with pytest.raises(ValueError, match="broken model"):
        sample(take, StopRule(Policy(), FakeClock()))
    assert gc.isenabled()


def test_a_garbage_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with quiet():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()


@given(st.integers(0, 2000), st.integers(1, 300))
def test_an_even_selection_keeps_order_count_and_spacing(size: int, limit: int) -> None:
    picked = evenly(range(size), limit)
    assert len(picked) == min(size, limit)
    gaps = {after - before for before, after in pairwise(picked)}
    assert not gaps or (min(gaps) >= 1 and max(gaps) - min(gaps) <= 1)
    assert picked[:1] == tuple(range(size))[:1]
