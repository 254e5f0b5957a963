"""Two states and drift: recognised where they are, and rarely where they are not."""

from __future__ import annotations

import numpy as np
import pytest

from bench.analysis.states import two_states, two_states_of_processes
from bench.model.samples import SortedSamples
from bench.stats import drift

PLAIN = {
    "normal": lambda rng, n: 0.02 * rng.standard_normal(n),
    "uniform": lambda rng, n: 0.05 * rng.random(n),
    "a long tail": lambda rng, n: 0.05 * rng.exponential(size=n),
    "outliers": lambda rng, n: 0.003 * rng.standard_normal(n) + 0.1 * (rng.random(n) < 0.03),
    "heavy tails": lambda rng, n: 0.01 * rng.standard_t(2, n),
    "drift": lambda rng, n: np.linspace(0, 0.05, n) + 0.002 * rng.standard_normal(n),
    "ticks": lambda rng, n: np.log(np.round(30 + 0.4 * rng.standard_normal(n))),
    "a constant": lambda rng, n: np.zeros(n),
}


def times(logs) -> list[int]:
    return np.round(500_000 * np.exp(logs)).astype(int).tolist()


@pytest.mark.parametrize("shape", PLAIN)
def test_samples_of_one_state_are_rarely_called_of_two(shape: str) -> None:
    rng = np.random.default_rng(3)
    for n in (50, 200):
        assert sum(two_states(times(PLAIN[shape](rng, n))) is not None for _ in range(200)) <= 4


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_samples_of_two_states_are_told_with_both(share: float) -> None:
    rng = np.random.default_rng(4)
    for _ in range(20):
        samples = times(0.0315 * (rng.random(256) < share) + 0.004 * rng.standard_normal(256))
        seen = two_states(samples)
        assert seen is not None
        assert seen == two_states(SortedSamples(samples))
        assert seen.low == pytest.approx(500_000, rel=0.002)
        assert seen.high == pytest.approx(516_000, rel=0.003)
        assert seen.share == pytest.approx(share, abs=0.1)


def test_few_samples_and_small_steps_tell_nothing() -> None:
    assert two_states([500, 501, 502, 520, 521, 522] * 8) is None
    assert two_states([500, 501, 502, 520, 521, 522] * 9) is not None
    assert two_states([50_000, 50_001, 50_002, 50_400, 50_401, 50_402] * 50) is None  # 0.8 %
    assert two_states([500, 520] * 100) is None  # of a clock with ticks of 20 ns
    assert two_states([0, 520] * 100) is None
    assert two_states([]) is None


@pytest.mark.parametrize("shape", ["normal", "uniform"])
def test_processes_of_one_state_are_rarely_called_of_two(shape: str) -> None:
    rng = np.random.default_rng(5)
    said = [two_states_of_processes(np.exp(PLAIN[shape](rng, 7)).tolist()) is not None for _ in range(2000)]
    assert sum(said) / len(said) <= 0.02


def test_processes_of_two_states_are_told_with_both() -> None:
    seen = two_states_of_processes([531.2, 530.9, 548.1, 531.0, 547.7, 548.3, 531.1])
    assert seen is not None
    assert (seen.low, seen.high, seen.share) == (pytest.approx(531.05), 548.1, pytest.approx(3 / 7))
    assert two_states_of_processes([531, 531, 548, 531, 531, 531, 531]) is None  # one alone may be an outlier
    assert two_states_of_processes([531, 548, 531, 548, 531, 548]) is None
    assert two_states_of_processes([0, 548, 531, 548, 531, 548, 531]) is None


@pytest.mark.parametrize(("n", "step"), [(7, 0.004), (30, 0.001), (256, 0.0002)])
def test_what_rises_or_falls_drifts(n: int, step: float) -> None:
    rng = np.random.default_rng(6)
    rising = np.exp(step * np.arange(n) + step / 4 * rng.standard_normal(n)).tolist()
    for series, sign in ((rising, 1), (rising[::-1], -1)):
        seen = drift(series)
        assert seen is not None
        assert np.sign(seen.score) == np.sign(seen.last - seen.first) == sign
    assert drift([1 + (time - 1) / 10 for time in rising]) is None  # by less than 1 %


@pytest.mark.parametrize("n", [7, 12, 256])
def test_noise_rarely_drifts(n: int) -> None:
    rng = np.random.default_rng(7)
    said = [drift(np.exp(0.05 * rng.standard_normal(n)).tolist()) is not None for _ in range(1000)]
    assert sum(said) <= 20
    assert drift([1.0] * 6) is None
    assert drift([]) is None
