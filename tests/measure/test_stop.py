"""The stop rule, fed with numbers only."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.measure.clock import FakeClock
from bench.measure.stop import StopRule, drifts, half_width
from bench.model.suite import DEFAULT_POLICY, Policy
from bench.stats import median_interval

POLICY = DEFAULT_POLICY


def fed(samples: Iterable[float], policy: Policy = POLICY, clock: FakeClock | None = None) -> StopRule:
    """A rule fed until it has a reason."""
    clock = clock or FakeClock()
    rule = StopRule(policy, clock)
    for ns in samples:
        clock.advance(round(ns))
        rule.add(round(ns))
        if rule.reason:
            return rule
    raise AssertionError(f"no reason after {len(rule.samples)} samples")


def noise(sd: float, seed: int = 0, n: int = 256) -> np.ndarray:
    return 1e6 * np.exp(np.random.default_rng(seed).normal(0, sd, n))


def test_equal_samples_reach_the_target_with_the_fewest_allowed() -> None:
    rule = fed([1000] * 300)
    assert (rule.reason, len(rule.samples)) == ("TargetReached", 30)


def test_samples_of_no_time_at_all_reach_the_target() -> None:
    assert fed([0] * 300).reason == "TargetReached"


def test_the_target_is_reached_when_both_ends_of_the_interval_are_near_the_median() -> None:
    rule = fed(noise(0.015))
    assert rule.reason == "TargetReached"
    assert 30 < len(rule.samples) < 100
    low, centre, high = median_interval(rule.samples)
    assert max(high - centre, centre - low) <= 0.005 * centre


def test_a_skewed_interval_counts_by_its_farther_end() -> None:
    samples = [1000] * 26 + [1100] * 24
    assert half_width(median_interval(samples)) == pytest.approx(0.1)


def test_a_wider_target_is_reached_sooner() -> None:
    wide = fed(noise(0.02), msgspec.structs.replace(POLICY, target_ci=0.02))
    assert len(wide.samples) < len(fed(noise(0.02)).samples)


def test_the_most_samples_end_it_when_the_target_stays_out_of_reach() -> None:
    rule = fed(noise(0.1))
    assert (rule.reason, len(rule.samples)) == ("MaxSamples", 100)


def test_time_ends_it_with_however_few_samples() -> None:
    rule = fed([5_000_000_000] * 10)
    assert (rule.reason, len(rule.samples)) == ("MaxTime", 3)


def test_a_second_is_enough_for_one_process_that_has_its_least_samples() -> None:
    rule = fed(30_000_000 * noise(0.1) / 1e6)
    assert rule.reason == "Enough"
    assert 1e9 <= sum(rule.samples) < 1.05e9
    rule = fed(200_000_000 * noise(0.1) / 1e6)
    assert (rule.reason, len(rule.samples)) == ("Enough", 10)
    assert fed([200_000_000] * 20).reason == "TargetReached"


def test_few_samples_in_a_row_do_not_reach_the_target_however_few_are_asked_for() -> None:
    assert len(fed([1000] * 99, Policy(min_samples=6)).samples) == 30
    assert len(fed([1000] * 99, Policy(min_samples=6, max_samples=8)).samples) == 8


def test_time_counts_from_when_the_rule_was_made() -> None:
    clock = FakeClock()
    clock.advance(10**12)
    rule = StopRule(POLICY, clock)
    rule.add(1)
    assert rule.reason == ""


def test_time_outside_the_samples_counts_too() -> None:
    clock = FakeClock()
    rule = StopRule(POLICY, clock)
    clock.advance(POLICY.max_time_ns)
    rule.add(1)
    assert (rule.reason, rule.samples) == ("MaxTime", [1])


def test_drifting_time_is_a_plateau() -> None:
    rule = fed(noise(0.03) * np.exp(np.linspace(0, 0.8, 256)))
    assert rule.reason == "Plateau"
    assert len(rule.samples) in (67, 100)


def test_drift_too_slow_to_widen_the_interval_is_seen_in_the_end() -> None:
    drift = np.exp(np.linspace(0, 0.1, 100))
    seen = [fed(noise(0.03, seed, 100) * drift).reason for seed in range(100)]
    assert seen.count("Plateau") >= 90


def test_noise_alone_seldom_drifts() -> None:
    """For 1.7 % of independent series of any length the tenths' medians rise or fall that much."""
    assert sum(drifts(noise(0.1, seed, n).tolist()) for n in (30, 100) for seed in range(300)) <= 20
    assert not drifts([1.0] * 100)


def test_a_plateau_is_rarely_seen_in_independent_noise_and_mostly_in_drift() -> None:
    drift = np.exp(np.linspace(0, 0.8, 256))
    independent = [fed(noise(0.1, seed)).reason for seed in range(200)]
    drifting = [fed(noise(0.03, seed) * drift).reason for seed in range(200)]
    assert independent.count("Plateau") <= 20
    assert drifting.count("Plateau") >= 160


def test_the_order_of_samples_is_kept() -> None:
    samples = [round(ns) for ns in noise(0.1)]
    assert fed(samples).samples == samples[:100]


def test_fewer_samples_than_an_interval_needs_never_reach_the_target() -> None:
    policy = Policy(min_samples=1, max_samples=5)
    assert fed([1000] * 9, policy).reason == "MaxSamples"


@given(
    st.lists(st.integers(0, 10**10), min_size=400, max_size=400),
    st.integers(1, 100),
    st.integers(1, 300),
)
def test_whatever_the_samples_it_ends_within_its_limits(samples: list[int], least: int, most: int) -> None:
    rule = fed(samples, Policy(min_samples=least, max_samples=most))
    assert 1 <= len(rule.samples) <= most
    reasons = {"MaxSamples", "Plateau"} if len(rule.samples) == most else {"MaxTime"}  # Plateau: they drift
    if len(rule.samples) >= least:
        reasons |= {"TargetReached", "Enough", "Plateau"}
    assert rule.reason in reasons
