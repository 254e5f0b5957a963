"""Steps on seeded series: none in noise, each located, single outliers ignored, and the fit is the best there is."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from bench.analysis import steps

RNG_SEED = 20261128


def noise(n: int, sd: float = 0.01, seed: int = 0) -> np.ndarray:
    return sd * np.random.default_rng([RNG_SEED, n, seed]).standard_normal(n)


def steps_of(values: np.ndarray, sd: float | None = None) -> list[int]:
    series = values.tolist()
    return steps.steps(series, [sd or steps.noise(series) or math.nan] * len(series))


@pytest.mark.parametrize(("n", "draws"), [(8, 300), (20, 300), (60, 150), (200, 50)])
@pytest.mark.parametrize("sd", [None, 0.01])
def test_noise_has_a_step_in_at_most_two_of_a_hundred_series(n: int, draws: int, sd: float | None) -> None:
    assert sum(bool(steps_of(noise(n, seed=seed), sd)) for seed in range(draws)) <= 0.02 * draws


@pytest.mark.parametrize(("place", "size"), [(20, 0.05), (20, -0.05), (3, 0.08), (37, -0.08)])
def test_a_step_is_located_to_the_run(place: int, size: float) -> None:
    exact = near = 0
    for seed in range(100):
        values = noise(40, seed=seed)
        values[place:] += size
        at = steps_of(values)
        exact += at == [place]
        near += len(at) == 1 and abs(at[0] - place) <= 1
    assert exact >= 90  # the value before the step can look like one after it
    assert near >= 95


def test_several_steps_are_told_apart() -> None:
    values = noise(60, seed=4)
    values[20:] += 0.08
    values[40:] -= 0.05
    assert steps_of(values) == [20, 40]


def test_one_value_is_no_step_wherever_it_is_and_two_at_the_end_are() -> None:
    for place in (0, 10, 29):
        values = noise(30, seed=1)
        values[place] += 0.5
        assert steps_of(values, 0.01) == []
    values = noise(30, seed=1)
    values[28:] += 0.1
    assert steps_of(values, 0.01) == [28]


def test_values_of_more_processes_count_more() -> None:
    values = [0.0, 0.0, 0.0, 0.03, 0.03, 0.03]
    assert steps.steps(values, [0.005] * 6) == [3]
    assert steps.steps(values, [0.05] * 6) == []


def cost(values: list[float], sds: list[float], places: tuple[int, ...]) -> float:
    """The least cost of levels that change at ``places``."""
    total = steps.PRICE * len(places)
    for start, end in itertools.pairwise([0, *places, len(values)]):
        total += min(
            sum(min(abs(values[n] - level) / sds[n], steps.MOST) for n in range(start, end))
            for level in values[start:end]
        )
    return total


@pytest.mark.parametrize("seed", range(12))
def test_no_other_steps_cost_less(seed: int) -> None:
    rng = np.random.default_rng([RNG_SEED, seed])
    values = (0.01 * rng.standard_normal(9) + np.repeat(rng.choice([0, 0.05, 0.2], 3), 3)).tolist()
    sds = rng.uniform(0.003, 0.02, 9).tolist()
    every = (places for size in range(5) for places in itertools.combinations(range(1, 9), size))
    least = min(cost(values, sds, places) for places in every)
    assert cost(values, sds, tuple(steps.steps(values, sds))) == pytest.approx(least)


def test_small_steps_are_left_out_the_smallest_first() -> None:
    values = [0.0] * 5 + [0.004] * 5 + [0.05] * 5
    assert steps.without_small(values, [5, 10], 0.01) == [10]
    assert steps.without_small(values, [5], 0.01) == [5]  # against the median of all that follows


def test_noise_is_told_by_neighbours_so_that_a_step_does_not_count() -> None:
    values = noise(100)
    values[50:] += 1
    assert steps.noise(values.tolist()) == pytest.approx(0.01, rel=0.25)
    assert steps.noise([0.0] * 5) is None
    assert steps.noise([0.0] * 6) > 0  # a series without any noise still has that of rounding


@pytest.mark.parametrize("values", [[0.0, math.nan], [math.inf, 0.0]])
def test_what_is_no_number_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="is no value of a series"):
        steps.steps(values, [0.01, 0.01])
    with pytest.raises(ValueError, match="no value"):
        steps.steps([0.0, 0.0], [0.01, 0.0])
    with pytest.raises(ValueError, match="2 values have 1"):
        steps.steps([0.0, 0.0], [0.01])


def test_one_value_or_none_has_no_step() -> None:
    assert steps.steps([], []) == steps.steps([1.0], [0.1]) == []
