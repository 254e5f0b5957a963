"""Components of variance against draws of a known hierarchy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.analysis import variance
from bench.analysis.variance import Process

RNG_SEED = 20261128


def sittings(numbers: list[int], process: float, build: float = 0.0, session: float = 0.0, builds: int = 1, seed=0):
    """Processes of nested sittings, builds and processes, with these standard deviations."""
    rng = np.random.default_rng([RNG_SEED, seed])
    series = []
    for number in numbers:
        level, of_builds = session * rng.standard_normal(), build * rng.standard_normal(builds)
        logs = level + process * rng.standard_normal(number)
        series.append([Process(float(log + of_builds[n % builds]), n % builds) for n, log in enumerate(logs)])
    return series


def test_each_component_is_that_of_the_draws() -> None:
    drawn = [sittings([30, 20, 25], 0.01, 0.02, 0.03, builds=5, seed=seed) for seed in range(60)]
    process = np.mean([variance.process_component(each).sd ** 2 for each in drawn]) ** 0.5
    assert process == pytest.approx(0.01, rel=0.05)
    # Estimates below zero are cut off, which these are too far from to matter.
    builds = np.mean([variance.build_component(each).sd ** 2 for each in drawn]) ** 0.5
    assert builds == pytest.approx(0.02, rel=0.1)
    # Builds are other ones in another sitting, so that their spread is part of it.
    session = np.mean([variance.session_component([each]).sd ** 2 for each in drawn]) ** 0.5
    assert session == pytest.approx(math.hypot(0.03, 0.02 / math.sqrt(5)), rel=0.2)


def test_the_interval_of_the_process_sd_covers_it_in_95_of_100() -> None:
    components = [variance.process_component(sittings([8, 6], 0.01, session=0.05, seed=seed)) for seed in range(600)]
    inside = sum(each.low <= 0.01 <= each.high for each in components)
    assert 0.93 <= inside / 600 <= 0.97


def test_the_interval_of_the_session_sd_covers_it_about_as_often() -> None:
    components = [variance.session_component([sittings([8] * 6, 0.005, session=0.01, seed=n)]) for n in range(400)]
    assert 0.92 <= sum(each.low <= 0.01 <= each.high for each in components) / 400 <= 0.98


def test_sittings_that_do_not_differ_have_a_session_sd_of_about_zero() -> None:
    pooled = variance.session_component([sittings([14, 14], 0.01, seed=seed) for seed in range(40)])
    assert pooled.sd < 0.003
    assert pooled.dof == 1  # however many cases: what slows a sitting slows all of them


def test_what_cannot_be_known_is_none() -> None:
    assert variance.session_component([sittings([9], 0.01)]) is None
    assert variance.build_component(sittings([9, 9], 0.01)) is None
    assert variance.process_component([[Process(0.0, 0), Process(0.1, 1)]]) is None  # each has another build


def test_a_case_gets_its_own_session_sd_but_not_less_than_all_together() -> None:
    first, second = sittings([14, 14], 0.1)
    noisy, quiet = [first, [Process(each.log + 0.3, 0) for each in second]], sittings([14, 14], 0.002)
    session, scale = variance.session_component([noisy, quiet]), variance.relative_session_sd([noisy, quiet])
    assert variance.session_sd_of(noisy, session, scale) == variance.session_component([noisy]).sd
    of_quiet = variance.session_sd_of(quiet, session, scale)
    assert of_quiet > variance.session_component([quiet]).sd  # which is about zero by chance, as it has two sittings
    assert of_quiet == pytest.approx(scale * variance.process_component(quiet).sd)
    assert of_quiet < session.sd / 10  # what noisy cases show in absolute terms is not of a quiet one
    assert variance.session_sd_of(quiet, None, None) is None
