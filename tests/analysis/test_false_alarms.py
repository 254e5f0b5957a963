"""False alarms: sides of the same processes, how many are called different, and how sure the rate is."""

from __future__ import annotations

import pytest

from bench.analysis import false_alarms


@pytest.mark.parametrize(
    ("rate", "number", "low", "high"), [(0, 10, 0, 0.3085), (1, 10, 0.6915, 1), (0.5, 10, 0.187, 0.813)]
)
def test_the_interval_of_a_rate(rate: float, number: int, low: float, high: float) -> None:
    assert false_alarms.rate_interval(rate, number) == pytest.approx(
        (low, high), abs=5e-4
    )  # Clopper and Pearson's tables
