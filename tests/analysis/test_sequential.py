"""The rule that looks after every pair: how often it is wrong, how soon it decides, on seeded draws."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench import stats
from bench.analysis.sequential import FIRST, judge, levels

Draw = Callable[[np.random.Generator, tuple[int, int]], "np.ndarray[Any, np.dtype[np.float64]]"]


def normal(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return rng.standard_normal(shape)


def skewed(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The difference of two processes whose logs are themselves lognormal, with a standard deviation of 1."""
    side = functools.partial(rng.lognormal, 0, 0.8, shape)
    return (side() - side()) / math.sqrt(2 * (math.exp(0.64) - 1) * math.exp(0.64))


def two_states(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Processes of which one in six is in another state, 3 standard deviations of the noise away."""
    slow = (rng.random(shape) < 1 / 6) * 1.0 - (rng.random(shape) < 1 / 6)
    return slow * 1.2 + rng.standard_normal(shape) * 0.4 * math.sqrt(2)


class Outcome:
    """Duels of up to ``most`` pairs, ``true`` the ratio and ``sd`` the spread of pairs; the shares that end so."""

    def __init__(self, true: float, sd: float, most: int, draw: Draw = normal, duels: int = 20_000) -> None:
        logs = math.log(true) + sd * draw(np.random.default_rng(7), (duels, most))
        n = np.arange(1, most + 1)
        means = np.cumsum(logs, axis=1) / n
        spread = np.sqrt(np.maximum(np.cumsum(logs**2, axis=1) - n * means**2, 0) / np.maximum(n - 1, 1))
        means, errors = means[:, FIRST - 1 :], (spread / np.sqrt(n))[:, FIRST - 1 :]
        looks = n[FIRST - 1 :]

        def half(alpha: float) -> np.ndarray[Any, np.dtype[np.float64]]:
            critical = [stats.critical(k - 1, 1 - p) for k, p in zip(looks, levels(alpha, most), strict=True)]
            return np.asarray(critical) * errors

        different = (np.abs(means) > half(0.01)) & (np.abs(np.expm1(means)) >= 0.01)
        same = (np.exp(means - half(0.10)) >= 0.98) & (np.exp(means + half(0.10)) <= 1.02)
        decided = different | same
        self.first = np.where(decided.any(axis=1), decided.argmax(axis=1), most - FIRST)
        at = (np.arange(duels), self.first)
        self.logs = logs
        way = np.where(means[at] > 0, "SLOWER", "FASTER")
        self.kinds = np.where(different[at], way, np.where(same[at], "SAME", ""))
        self.alarms = float((np.abs(means) > half(0.01)).any(axis=1).mean())
        self.covered = float((np.abs(means - math.log(true)) <= half(0.05)).all(axis=1).mean())

    def share(self, *kinds: str) -> float:
        return float(np.isin(self.kinds, kinds).mean())

    @property
    def pairs(self) -> float:
        return float(self.first.mean()) + FIRST


def limit(share: float, duels: int = 20_000) -> float:
    """A share and three standard errors."""
    return share + 3 * math.sqrt(share * (1 - share) / duels)


@pytest.mark.parametrize("draw", [normal, skewed, two_states])
@pytest.mark.parametrize("most", [3, 10, 25])
def test_identical_sides_are_called_different_in_at_most_one_of_a_hundred_duels(most: int, draw: Draw) -> None:
    outcome = Outcome(1.0, 0.06, most, draw)
    assert outcome.alarms <= limit(0.01)
    assert outcome.share("FASTER", "SLOWER") <= outcome.alarms
    assert outcome.alarms >= 0.002 or draw is not normal  # the rule uses what it may spend


def test_the_interval_holds_at_all_looks() -> None:
    assert 1 - Outcome(1.3, 0.05, 25).covered <= limit(0.05)


@pytest.mark.parametrize("sd", [0.005, 0.01, 0.02])
@pytest.mark.parametrize("true", [1.02, 0.98])
def test_a_difference_of_two_percent_is_seldom_called_the_same(true: float, sd: float) -> None:
    assert Outcome(true, sd, 25).share("SAME") <= limit(0.05)


def test_five_percent_is_decided_within_25_pairs_of_a_host_bound_latency() -> None:
    # Ratios of paired processes on busy cores spread by 1.15x, which is a standard deviation of about 4 %.
    outcome = Outcome(1.05, 0.04, 25)
    assert outcome.share("SLOWER") >= 0.985
    assert outcome.pairs <= 14
    assert Outcome(1.05, 0.05, 25).share("SLOWER") >= 0.9
    assert Outcome(1.0, 0.01, 25).share("SAME") >= 0.99


def test_a_large_difference_ends_after_few_pairs() -> None:
    assert Outcome(2.0, 0.05, 25).pairs <= 4


def test_the_rule_is_the_one_that_was_simulated() -> None:
    outcome = Outcome(1.03, 0.03, 12, duels=150)
    standings = [judge(list(map(float, logs)), 12) for logs in outcome.logs]
    assert [standing.kind for standing in standings] == [kind or "INCONCLUSIVE" for kind in outcome.kinds]
    assert [standing.pairs for standing in standings] == [int(first) + FIRST for first in outcome.first]
    assert len({standing.kind for standing in standings}) > 1


def test_fewer_than_three_pairs_decide_nothing() -> None:
    for logs in ([], [1.0], [1.0, 1.0]):
        standing = judge(logs, 25)
        assert (standing.kind, standing.pairs, standing.low, standing.needed) == ("INCONCLUSIVE", len(logs), None, None)
    assert judge([], 25).ratio is None
    assert judge([0.1, 0.3], 25).ratio == pytest.approx(math.exp(0.2))


def test_what_follows_a_decision_does_not_change_it() -> None:
    standing = judge([0.7, 0.71, 0.69, -5.0, -5.0], 25)
    assert (standing.kind, standing.pairs) == ("SLOWER", 3)


def test_pairs_without_any_spread_decide() -> None:
    assert judge([0.0] * 3, 25).kind == "SAME"
    assert judge([-0.2] * 3, 25).kind == "FASTER"


def test_what_would_decide_is_more_than_there_are_and_decides() -> None:
    logs = [0.1, -0.04] * 4
    standing = judge(logs, 8)
    assert standing.kind == "INCONCLUSIVE"
    assert standing.needed is not None
    assert standing.needed > 8
    more = judge(logs * 10, 80)
    assert more.is_decided
    assert more.pairs <= standing.needed * 1.5


@pytest.mark.parametrize(("logs", "most"), [([math.nan], 25), ([math.inf], 25), ([], 2), ([], 201)])
def test_what_is_no_duel_is_an_error(logs: list[float], most: int) -> None:
    with pytest.raises(ValueError, match=r"a duel has|a pair has"):
        judge(logs, most)


def test_the_levels_spend_four_fifths_of_alpha_and_a_look_more_is_a_smaller_level() -> None:
    assert sum(levels(0.01, 3)) == pytest.approx(0.008, rel=1e-3)
    assert levels(0.01, 25)[5] < levels(0.01, 10)[5]
    assert len(levels(0.05, 25)) == 25 - FIRST + 1
