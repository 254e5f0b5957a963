"""The rule by its promise, on seeded draws: how often it is wrong, how often it decides, and what it is told."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.analysis.verdict import Verdict, verdict

RNG_SEED = 20261128


def draws(pairs: int, n: int, sd: float, effect: float, skewed: bool = False) -> list[Verdict]:
    """Verdicts on pairs of sides of ``n`` processes each, whose logs have this standard deviation."""
    rng = np.random.default_rng(RNG_SEED)
    noise = rng.exponential(size=(2, pairs, n)) - 1 if skewed else rng.standard_normal((2, pairs, n))
    times = 1e6 * np.exp(sd * noise)
    times[1] *= 1 + effect
    return [verdict(a, b) for a, b in zip(times[0].tolist(), times[1].tolist(), strict=True)]


def rate(verdicts: list[Verdict], *kinds: str) -> float:
    return sum(each.kind in kinds for each in verdicts) / len(verdicts)


@pytest.mark.parametrize("sd", [0.002, 0.009, 0.05])
@pytest.mark.parametrize("n", [3, 7])
def test_identical_sides_are_called_different_in_at_most_one_of_a_hundred(n: int, sd: float) -> None:
    assert rate(draws(2000, n, sd, 0.0), "FASTER", "SLOWER") <= 0.0145  # 1 % and three standard errors


def test_identical_sides_of_skewed_times_are_rarely_called_different() -> None:
    assert rate(draws(2000, 7, 0.02, 0.0, skewed=True), "FASTER", "SLOWER") <= 0.0145


@pytest.mark.parametrize(("n", "power"), [(3, 0.29), (5, 0.90), (7, 0.995)])
def test_three_per_cent_are_found_as_often_as_the_design_says(n: int, power: float) -> None:
    found = rate(draws(2000, n, 0.009, 0.03), "SLOWER")
    assert found == pytest.approx(power, abs=0.035)
    assert rate(draws(2000, n, 0.009, 0.03), "FASTER") == 0


def test_a_real_difference_is_rarely_called_the_same() -> None:
    assert rate(draws(2000, 7, 0.009, 0.02), "SAME") <= 0.065  # 5 % where it is at the limit


@pytest.mark.parametrize(("sd", "skewed"), [(0.005, False), (0.05, False), (0.02, True)])
def test_the_interval_covers_the_true_ratio_in_95_of_100(sd: float, skewed: bool) -> None:
    inside = [each.low <= 1.1 <= each.high for each in draws(2000, 7, sd, 0.1, skewed) if each.low and each.high]
    assert len(inside) == 2000
    assert 0.93 <= sum(inside) / 2000 <= 0.97


def test_what_is_inconclusive_says_how_many_processes_would_decide() -> None:
    a, b = [1.0, 1.02, 0.99], [1.03, 1.05, 1.02]
    first = verdict(a, b)
    assert first.kind == "INCONCLUSIVE"
    assert first.needed is not None
    assert first.needed > 3
    # As many with the same spread decide, and one fewer do not.
    logs = np.log(a)

    def grown(side: list[float], n: int) -> list[float]:
        centre, sd = np.log(side).mean(), np.log(side).std(ddof=1)
        shape = np.linspace(-1, 1, n)
        return np.exp(centre + sd * shape / shape.std(ddof=1)).tolist()

    assert len(logs) == 3
    assert verdict(grown(a, first.needed), grown(b, first.needed)).kind == "SLOWER"
    assert verdict(grown(a, first.needed - 1), grown(b, first.needed - 1)).kind == "INCONCLUSIVE"


def test_one_process_has_no_interval_of_its_own() -> None:
    alone = verdict([1.0], [2.0, 2.0, 2.0])
    assert (alone.kind, alone.low, alone.high, alone.basis) == ("INCONCLUSIVE", None, None, "none")
    assert (alone.ratio, alone.needed, alone.processes) == (pytest.approx(2.0), None, (1, 3))


def test_one_process_is_judged_by_a_calibrated_spread() -> None:
    clear, close = (verdict([1.0], [time], process_sd=0.01) for time in (1.1, 1.015))
    assert (clear.kind, clear.basis) == ("SLOWER", "calibration")
    assert clear.high is not None
    assert math.log(clear.high / clear.ratio) == pytest.approx(1.96 * 0.01 * math.sqrt(2), rel=1e-3)
    assert close.kind == "INCONCLUSIVE"
    assert close.needed is not None


def test_sessions_that_differ_widen_the_interval_until_no_number_decides() -> None:
    a, b = [1.0, 1.001, 0.999] * 3, [1.03, 1.031, 1.029] * 3
    assert verdict(a, b).kind == "SLOWER"
    apart = verdict(a, b, session_sd=0.01)
    assert (apart.kind, apart.needed) == ("INCONCLUSIVE", None)


def test_times_without_any_spread_are_judged_by_their_rounding() -> None:
    assert verdict([100.0] * 3, [100.0] * 3).kind == "SAME"
    assert verdict([100.0] * 3, [102.0] * 3).kind == "SLOWER"
    assert verdict([100.0] * 2, [101.0] * 2).kind in ("INCONCLUSIVE", "SAME")


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan, math.inf])
def test_a_time_that_cannot_be_is_an_error(wrong: float) -> None:
    with pytest.raises(ValueError, match="b has the time"):
        verdict([1.0, 1.0], [1.0, wrong])
    with pytest.raises(ValueError, match="a has no process"):
        verdict([], [1.0])


@pytest.mark.parametrize("wrong", [-0.01, math.nan, math.inf])
def test_a_standard_deviation_that_cannot_be_is_an_error(wrong: float) -> None:
    for name in ("session_sd", "process_sd"):
        with pytest.raises(ValueError, match=name):
            verdict([1.0, 1.0], [1.0, 1.0], **{name: wrong})


def test_as_many_as_the_larger_side_has_may_be_enough() -> None:
    few, many = [1.0, 1.013], [1.03, 1.043, 1.03, 1.043, 1.03, 1.043, 1.03]
    unequal = verdict(few, many)
    assert unequal.kind == "INCONCLUSIVE"
    assert unequal.needed is not None
    assert unequal.needed <= len(many)
