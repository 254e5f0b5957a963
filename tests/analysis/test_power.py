"""What is computed of the rule's power is what the rule does on seeded draws."""

from __future__ import annotations

import numpy as np
import pytest

from bench.analysis import power
from bench.analysis.verdict import verdict

DRAWS = 600


@pytest.mark.parametrize(
    ("process_sd", "session_sd", "replicates", "effect"),
    [
        (0.009, 0.0, 3, 0.03),
        (0.009, 0.0, 5, 0.03),
        (0.009, 0.005, 7, 0.03),  # between sittings
        (0.003, 0.0, 7, 0.012),  # near the least difference that is called one
        (0.02, 0.0, 12, 0.03),
    ],
)
def test_the_power_is_that_of_the_verdict(process_sd: float, session_sd: float, replicates: int, effect: float) -> None:
    rng = np.random.default_rng(20261128)
    logs = process_sd * rng.standard_normal((2, DRAWS, replicates)) + session_sd * rng.standard_normal((2, DRAWS, 1))
    a, b = np.exp(logs).tolist()
    kinds = [
        verdict(x, [(1 + effect) * time for time in y], session_sd=session_sd).kind for x, y in zip(a, b, strict=True)
    ]
    expected = power.power(effect, process_sd, session_sd, replicates)
    error = max((expected * (1 - expected) / DRAWS) ** 0.5, 0.003)
    assert kinds.count("SLOWER") / DRAWS == pytest.approx(expected, abs=3.5 * error)


def test_the_smallest_effect_and_the_processes_it_needs_agree() -> None:
    effect = power.smallest_effect(0.009, 0.0, 7)
    assert effect is not None
    assert power.power(effect, 0.009, 0.0, 7) == pytest.approx(power.POWER, abs=1e-3)
    assert power.replicates_needed(effect, 0.009, 0.0) == 7
    assert power.replicates_needed(effect / 1.05, 0.009, 0.0) == 8
    finer = power.smallest_effect(0.009, 0.0, 8)
    assert finer is not None
    assert finer < effect


def test_what_no_number_of_processes_finds_is_none() -> None:
    assert power.replicates_needed(0.01, 0.001, 0.0) is None  # the verdict calls nothing below 1 %
    assert power.replicates_needed(0.03, 0.001, 0.02) is None  # sittings differ by more
    assert power.smallest_effect(0.9, 0.0, 3) is None


def test_times_without_any_spread_are_decided_by_the_least_difference() -> None:
    assert power.power(0.0099, 0.0, 0.0, 7) == 0
    assert power.power(0.0101, 0.0, 0.0, 7) == 1


def test_one_process_has_no_power() -> None:
    with pytest.raises(ValueError, match="one process"):
        power.power(0.1, 0.01, 0.0, 1)
