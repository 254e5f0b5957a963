"""Components of variance against draws of a known hierarchy, false alarms, and what a comparison takes from them."""

from __future__ import annotations

import math
import random

import msgspec
import numpy as np
import pytest

from bench.analysis import calibration as known
from bench.analysis import compare
from bench.analysis.calibration import Process
from bench.model.calibration import Calibration
from tests.analysis.test_compare import EAGER, HERE, INDUCTOR, MS, case, record
from tests.analysis.test_compare import run as run_of

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
    process = np.mean([known.process_component(each).sd ** 2 for each in drawn]) ** 0.5
    assert process == pytest.approx(0.01, rel=0.05)
    # Estimates below zero are cut off, which these are too far from to matter.
    builds = np.mean([known.build_component(each).sd ** 2 for each in drawn]) ** 0.5
    assert builds == pytest.approx(0.02, rel=0.1)
    # Builds are other ones in another sitting, so that their spread is part of it.
    session = np.mean([known.session_component([each]).sd ** 2 for each in drawn]) ** 0.5
    assert session == pytest.approx(math.hypot(0.03, 0.02 / math.sqrt(5)), rel=0.2)


def test_the_interval_of_the_process_sd_covers_it_in_95_of_100() -> None:
    components = [known.process_component(sittings([8, 6], 0.01, session=0.05, seed=seed)) for seed in range(600)]
    inside = sum(each.low <= 0.01 <= each.high for each in components)
    assert 0.93 <= inside / 600 <= 0.97


def test_the_interval_of_the_session_sd_covers_it_about_as_often() -> None:
    components = [known.session_component([sittings([8] * 6, 0.005, session=0.01, seed=n)]) for n in range(400)]
    assert 0.92 <= sum(each.low <= 0.01 <= each.high for each in components) / 400 <= 0.98


def test_sittings_that_do_not_differ_have_a_session_sd_of_about_zero() -> None:
    pooled = known.session_component([sittings([14, 14], 0.01, seed=seed) for seed in range(40)])
    assert pooled.sd < 0.003
    assert pooled.dof == 1  # however many cases: what slows a sitting slows all of them


def test_what_cannot_be_known_is_none() -> None:
    assert known.session_component([sittings([9], 0.01)]) is None
    assert known.build_component(sittings([9, 9], 0.01)) is None
    assert known.process_component([[Process(0.0, 0), Process(0.1, 1)]]) is None  # each has another build


@pytest.mark.parametrize(
    ("rate", "number", "low", "high"), [(0, 10, 0, 0.3085), (1, 10, 0.6915, 1), (0.5, 10, 0.187, 0.813)]
)
def test_the_interval_of_a_rate(rate: float, number: int, low: float, high: float) -> None:
    assert known.rate_interval(rate, number) == pytest.approx((low, high), abs=5e-4)  # Clopper and Pearson's tables


# -------------------------------------------------------------------------------------------------------------- levels


def sitting(name: str, shift: float = 0.0, sd: float = 0.005, processes: int = 14, cases=(EAGER, INDUCTOR), **fields):
    """A run whose cases take 1 ms, give or take ``sd``; the ``shift`` is of the whole sitting."""
    rng = random.Random(f"{RNG_SEED}{name}")
    whole = run_of([(each, 1.0) for each in cases], name, **fields)
    records = [record(each, math.exp(shift + rng.gauss(0, sd)), n) for each in cases for n in range(processes)]
    return msgspec.structs.replace(whole, records=tuple(records))


def test_levels_have_the_spread_of_each_case_and_of_all() -> None:
    each, whole, left_out = known.levels([sitting("A"), sitting("B", 0.02)], 7)
    assert [(level.case, level.boundary, level.processes) for level in each] == [
        (EAGER.id, "latency", (14, 14)), (INDUCTOR.id, "latency", (14, 14)),
    ]  # fmt: skip
    assert not left_out
    (together,) = whole
    assert (together.case, together.processes) == ("", (28, 28))
    assert together.process.sd == pytest.approx(0.005, rel=0.25)
    assert together.widest == max(level.process.sd for level in each)
    assert together.session.sd == pytest.approx(0.02 / math.sqrt(2), rel=0.2)
    assert together.centre_ns is None
    assert each[0].centre_ns == pytest.approx(MS * math.exp(0.01), rel=0.005)


def test_identical_code_is_rarely_called_different_but_for_sittings_whose_spread_is_not_counted() -> None:
    _, (whole,), _ = known.levels([sitting("A"), sitting("B", 0.02)], 7)
    assert whole.within.rate <= 0.03
    assert whole.across.rate <= 0.01
    assert whole.without.rate >= 0.9
    assert whole.within.pairs == 4  # two cases, two sittings of 14, two sides of 7
    assert whole.within.low <= whole.within.rate <= whole.within.high


def test_effects_are_larger_between_sittings() -> None:
    (level, _), _, _ = known.levels([sitting("A"), sitting("B", 0.01)], 7)
    assert level.one_sitting < level.two_sittings
    assert [need.effect for need in level.needs] == [0.01, 0.02, 0.03, 0.05]
    assert level.needs[0].one_sitting is None
    assert level.needs[3].one_sitting <= level.needs[2].one_sitting


def test_the_same_seed_gives_the_same_alarms() -> None:
    runs = [sitting("A", sd=0.02, cases=(EAGER,))]
    assert known.levels(runs, 7, seed=1) == known.levels(runs, 7, seed=1)


def test_few_processes_are_split_into_smaller_sides() -> None:
    _, (whole,), _ = known.levels([sitting("A", processes=9)], 7)
    assert whole.within.replicates == 4
    assert (whole.across, whole.session, whole.two_sittings) == (None, None, None)
    _, (whole,), _ = known.levels([sitting("A", processes=3)], 7)
    assert whole.within is None


def test_what_has_no_figures_is_left_out_and_why() -> None:
    other = case("aoti", toolchain="old")
    whole = sitting("A", cases=(EAGER, INDUCTOR, other), processes=5)
    kept = [each for each in whole.records if each.case != INDUCTOR.id or each.replicate < 2]
    levels, _, left_out = known.levels([msgspec.structs.replace(whole, records=tuple(kept))], 7)
    assert [level.case for level in levels] == [EAGER.id]
    assert left_out == {
        INDUCTOR.label: "fewer than 3 processes of one build in a sitting",
        other.label: "it is of another toolchain",
    }


# --------------------------------------------------------------------------------------------------- in a comparison


def calibration(*runs, **fields) -> Calibration:
    each, whole, _ = known.levels(runs, 7)
    return Calibration(
        **{"schema": 1, "calibration": "calibration-1", "created": "", "version": "", "environment": HERE,
           "sittings": ("A", "B"), "replicates": 7, "levels": tuple(each), "boundaries": tuple(whole)} | fields
    )  # fmt: skip


CALIBRATION = calibration(sitting("A", cases=(EAGER,)), sitting("B", 0.02, cases=(EAGER,)))


def test_sides_of_two_sittings_get_the_session_sd_and_those_of_one_do_not() -> None:
    (level,), (whole,) = CALIBRATION.levels, CALIBRATION.boundaries
    assert known.Spreads(CALIBRATION).of([EAGER.id], "latency") == (level.session_sd, level.process.sd)
    assert known.Spreads(CALIBRATION).of([INDUCTOR.id], "latency") == (whole.session.sd, whole.widest)
    assert known.Spreads(CALIBRATION).of([EAGER.id], "gpu") == (None, None)
    of_one = known.spread_of(CALIBRATION, sittings=False)
    assert of_one([EAGER, EAGER], "latency") == (0.0, level.process.sd)
    of_two = known.spread_of(CALIBRATION, sittings=True)
    assert of_two([EAGER, EAGER], "latency") == (level.session_sd, level.process.sd)
    assert of_two([EAGER, EAGER], "gpu") == (0.0, None)
    assert of_two([case(toolchain="old")], "latency") == (0.0, None)


def test_a_case_gets_its_own_session_sd_but_not_less_than_all_together() -> None:
    first, second = sittings([14, 14], 0.1)
    noisy, quiet = [first, [Process(each.log + 0.3, 0) for each in second]], sittings([14, 14], 0.002)
    session, scale = known.session_component([noisy, quiet]), known.relative_session_sd([noisy, quiet])
    assert known.session_sd_of(noisy, session, scale) == known.session_component([noisy]).sd
    of_quiet = known.session_sd_of(quiet, session, scale)
    assert of_quiet > known.session_component([quiet]).sd  # which is about zero by chance, as it has two sittings
    assert of_quiet == pytest.approx(scale * known.process_component(quiet).sd)
    assert of_quiet < session.sd / 10  # what noisy cases show in absolute terms is not of a quiet one
    assert known.session_sd_of(quiet, None, None) is None


def test_a_shift_that_sittings_explain_is_not_called_a_difference() -> None:
    a, b = run_of([(EAGER, 1.0)]), run_of([(EAGER, 1.02)], "B")
    assert compare.compare([a], [b]).pairs[0].kind == "SLOWER"
    whole = compare.compare([a], [b], spread=known.spread_of(CALIBRATION, sittings=True))
    assert whole.pairs[0].kind == "INCONCLUSIVE"
    marked = known.mark(whole, CALIBRATION, "", sittings=True)
    assert marked.calibration == "calibration-1"
    assert marked.session_sd == {"latency": (CALIBRATION.levels[0].session_sd,) * 2}
    assert known.mark(whole, None, "why", sittings=True).calibration_note == "why"


def test_a_calibration_of_one_sitting_says_nothing_of_two_runs() -> None:
    alone = calibration(sitting("A", cases=(EAGER,)))
    of_two = known.spread_of(alone, sittings=True)
    assert of_two([EAGER, EAGER], "latency") == (0.0, None)
    a, b = run_of([(EAGER, 1.0)], processes=1), run_of([(EAGER, 1.2)], "B", processes=1)
    whole = compare.compare([a], [b], spread=of_two)
    assert whole.pairs[0].kind == "INCONCLUSIVE"
    marked = known.mark(whole, alone, "", sittings=True)
    assert (marked.calibration, marked.session_sd) == ("", {})
    assert marked.calibration_note == "calibration-1 is of one sitting, which does not show how runs differ"
    gpu = msgspec.structs.replace(alone, boundaries=())
    assert known.mark(whole, gpu, "", sittings=True).calibration_note == "calibration-1 has no latency"


def test_the_backends_of_one_run_are_judged_by_one_process_each() -> None:
    alone = calibration(sitting("A", cases=(EAGER,)))
    run = run_of([(EAGER, 1.0), (INDUCTOR, 0.8)], processes=1)
    whole = compare.compare([run], axis="backend", spread=known.spread_of(alone, sittings=False))
    assert [pair.kind for pair in whole.pairs] == ["FASTER"]
    assert known.mark(whole, alone, "", sittings=False).calibration == "calibration-1"
    several = compare.compare([run_of([(EAGER, 1.0), (INDUCTOR, 0.8)])], axis="backend")  # 7 processes each
    assert known.mark(several, alone, "", sittings=False) == several


@pytest.mark.parametrize(
    ("change", "across", "texts"),
    [
        ({}, [], []),
        ({"libraries": {"torch": "2.13.0"}}, [], ["torch 2.11.0 -> 2.13.0"]),
        ({"libraries": {"torch": "2.13.0"}}, ["library:torch"], []),
        ({"device": "H200"}, ["device"], ["device H100 -> H200"]),  # another machine, whatever is named
    ],
)
def test_another_environment_is_no_match(change: dict[str, object], across: list[str], texts: list[str]) -> None:
    here = msgspec.structs.replace(HERE, **change)
    assert [each.text for each in known.mismatch(CALIBRATION, [HERE, here], across)] == texts
