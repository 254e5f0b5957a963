"""The levels of a calibration: of each case and of all, and what is left out."""

from __future__ import annotations

import math
import random

import msgspec
import pytest

from bench.analysis import calibration
from tests.analysis.test_compare import EAGER, INDUCTOR, MS, case, record
from tests.analysis.test_compare import run as run_of

RNG_SEED = 20261128


def sitting(name: str, shift: float = 0.0, sd: float = 0.005, processes: int = 14, cases=(EAGER, INDUCTOR), **fields):
    """A run whose cases take 1 ms, give or take ``sd``; the ``shift`` is of the whole sitting."""
    rng = random.Random(f"{RNG_SEED}{name}")
    whole = run_of([(each, 1.0) for each in cases], name, **fields)
    records = [record(each, math.exp(shift + rng.gauss(0, sd)), n) for each in cases for n in range(processes)]
    return msgspec.structs.replace(whole, records=tuple(records))


def test_levels_have_the_spread_of_each_case_and_of_all() -> None:
    each, whole, left_out = calibration.levels([sitting("A"), sitting("B", 0.02)], 7)
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
    _, (whole,), _ = calibration.levels([sitting("A"), sitting("B", 0.02)], 7)
    assert whole.within.rate <= 0.03
    assert whole.across.rate <= 0.01
    assert whole.without.rate >= 0.9
    assert whole.within.pairs == 4  # two cases, two sittings of 14, two sides of 7
    assert whole.within.low <= whole.within.rate <= whole.within.high


def test_effects_are_larger_between_sittings() -> None:
    (level, _), _, _ = calibration.levels([sitting("A"), sitting("B", 0.01)], 7)
    assert level.one_sitting < level.two_sittings
    assert [need.effect for need in level.needs] == [0.01, 0.02, 0.03, 0.05]
    assert level.needs[0].one_sitting is None
    assert level.needs[3].one_sitting <= level.needs[2].one_sitting


def test_the_same_seed_gives_the_same_alarms() -> None:
    runs = [sitting("A", sd=0.02, cases=(EAGER,))]
    assert calibration.levels(runs, 7, seed=1) == calibration.levels(runs, 7, seed=1)


def test_few_processes_are_split_into_smaller_sides() -> None:
    _, (whole,), _ = calibration.levels([sitting("A", processes=9)], 7)
    assert whole.within.replicates == 4
    assert (whole.across, whole.session, whole.two_sittings) == (None, None, None)
    _, (whole,), _ = calibration.levels([sitting("A", processes=3)], 7)
    assert whole.within is None


def test_what_has_no_figures_is_left_out_and_why() -> None:
    other = case("aoti", toolchain="old")
    whole = sitting("A", cases=(EAGER, INDUCTOR, other), processes=5)
    kept = [each for each in whole.records if each.case != INDUCTOR.id or each.replicate < 2]
    levels, _, left_out = calibration.levels([msgspec.structs.replace(whole, records=tuple(kept))], 7)
    assert [level.case for level in levels] == [EAGER.id]
    assert left_out == {
        INDUCTOR.label: "fewer than 3 processes of one build in a sitting",
        other.label: "it is of another toolchain",
    }
