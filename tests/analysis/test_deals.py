"""How rare a difference is among the deals: by hand, and drawn ones against all."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bench.analysis import deals


def test_the_most_extreme_deal_is_as_rare_as_its_number_says() -> None:
    assert deals.rarity([1, 2, 3, 4], [5, 6, 7, 8]) == 2 / 70
    assert deals.rarity([1, 2], [5, 6, 7]) == 1 / 10  # its mirror image has other numbers
    assert deals.rarity([1, 1, 1], [1, 1, 1]) == 1
    assert (deals.number(4, 4), deals.number(2, 3)) == (70, 10)


def test_every_deal_counts() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        a, b = rng.standard_normal(4).tolist(), rng.standard_normal(3).tolist()
        whole, apart = [*a, *b], abs(np.mean(a) - np.mean(b))
        others = [
            abs(np.mean([whole[n] for n in chosen]) - np.mean([whole[n] for n in range(7) if n not in chosen]))
            for chosen in itertools.combinations(range(7), 4)
        ]
        assert deals.rarity(a, b) == pytest.approx(np.mean([other >= apart - 1e-9 for other in others]))


@pytest.mark.parametrize("n", [9, 40])
def test_drawn_deals_are_as_rare_as_the_t_test_of_many_says(n: int) -> None:
    from scipy import stats

    rng = np.random.default_rng(2)
    a, b = rng.standard_normal(n), rng.standard_normal(n) + 2.2 / np.sqrt(n / 2)
    expected = stats.ttest_ind(a, b).pvalue
    assert deals.rarity(a.tolist(), b.tolist()) == pytest.approx(expected, abs=0.01)
    assert deals.rarity(a.tolist(), (b + 100).tolist()) > 0  # the deal itself counts
