"""The rule by its promise, on seeded draws: how often it is wrong, how often it decides, and what it is told."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench import stats
from bench.analysis.components import Sample, components, share
from bench.analysis.intervals import GroupSd
from bench.analysis.verdict import Verdict, can_differ, least_difference, verdict

RNG_SEED = 20261128


# Logs of process medians around 0 with a standard deviation of 1, as functions of a generator and a shape.
SHAPES = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "skewed": lambda rng, shape: rng.exponential(size=shape) - 1,
    "heavy tails": lambda rng, shape: rng.standard_t(3, shape) / math.sqrt(3),
    "uniform": lambda rng, shape: math.sqrt(12) * (rng.random(shape) - 0.5),
    "two states": lambda rng, shape: states(rng, shape, 0.5, 0.02),
    "two wide states": lambda rng, shape: states(rng, shape, 0.5, 0.25),
    "a rare state": lambda rng, shape: states(rng, shape, 0.2, 0.1),
    "three states": lambda rng, shape: (rng.integers(0, 3, shape) - 1) / math.sqrt(2 / 3),
    "drift": lambda rng, shape: drift(rng, shape),
}


def states(rng, shape, share: float, within: float):
    """Processes in one of two states: ``share`` of them in the upper one, with a spread of ``within`` the gap."""
    logs = (rng.random(shape) < share) - share + within * rng.standard_normal(shape)
    return logs / math.sqrt(share * (1 - share) + within**2)


def drift(rng, shape):
    """Processes of a run that slow down by three times what they differ by otherwise, and each run anew."""
    logs = 3 * np.linspace(-0.5, 0.5, shape[-1]) + rng.standard_normal(shape)
    return logs / math.sqrt(0.75 + 1)


def draws(
    pairs: int, n: int | tuple[int, int], sd: float, effect: float, shape: str = "normal", **options
) -> list[Verdict]:
    """Verdicts on pairs of sides of ``n`` processes each, whose logs have this standard deviation."""
    rng = np.random.default_rng(RNG_SEED)
    sides = n if isinstance(n, tuple) else (n, n)
    a, b = (1e6 * np.exp(sd * SHAPES[shape](rng, (pairs, count))) for count in sides)
    b *= 1 + effect
    return [verdict(*pair, **options) for pair in zip(a.tolist(), b.tolist(), strict=True)]


def rate(verdicts: list[Verdict], *kinds: str) -> float:
    return sum(each.kind in kinds for each in verdicts) / len(verdicts)


@pytest.mark.parametrize("sd", [0.002, 0.009, 0.05])
@pytest.mark.parametrize("n", [4, 7])
def test_identical_sides_are_called_different_in_at_most_one_of_a_hundred(n: int, sd: float) -> None:
    assert rate(draws(2000, n, sd, 0.0), "FASTER", "SLOWER") <= 0.0167  # 1 % and three standard errors


@pytest.mark.parametrize("n", [3, 5, 7, (3, 7), (2, 14)])
@pytest.mark.parametrize("shape", ["two states", "skewed"])
def test_identical_programs_with_states_are_rarely_called_different(n: int | tuple[int, int], shape: str) -> None:
    assert rate(draws(1000, n, 0.016, 0.0, shape), "FASTER", "SLOWER") <= 0.0194


@pytest.mark.long
@pytest.mark.parametrize("n", [3, 4, 5, 6, 7, 10, (3, 7), (4, 7), (5, 9), (2, 14)])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sd", [0.005, 0.05])
def test_no_shape_is_called_different_more_often(shape: str, n: int | tuple[int, int], sd: float) -> None:
    assert rate(draws(5000, n, sd, 0.0, shape), "FASTER", "SLOWER") <= 0.011 + 0.0044  # three standard errors


@pytest.mark.parametrize(("n", "power"), [(3, 0.0), (4, 0.67), (5, 0.886), (7, 0.993)])
def test_three_per_cent_are_found_as_often_as_the_documentation_says(n: int, power: float) -> None:
    verdicts = draws(2000, n, 0.009, 0.03)
    assert rate(verdicts, "SLOWER") == pytest.approx(power, abs=0.035)
    assert rate(verdicts, "FASTER") == 0


def test_three_processes_decide_on_what_is_beyond_any_state() -> None:
    assert rate(draws(500, 3, 0.009, 0.3), "SLOWER") >= 0.99
    assert rate(draws(500, 3, 0.009, 0.1), "SLOWER") == 0
    assert {each.needed for each in draws(500, 3, 0.009, 0.1)} <= {4, 5, None}


def test_a_real_difference_is_rarely_called_the_same() -> None:
    assert rate(draws(2000, 7, 0.009, 0.02), "SAME") <= 0.065  # 5 % where it is at the limit


@pytest.mark.parametrize(
    ("sd", "shape"), [(0.005, "normal"), (0.05, "normal"), (0.02, "skewed"), (0.016, "two states")]
)
def test_the_interval_covers_the_true_ratio_in_95_of_100(sd: float, shape: str) -> None:
    inside = [each.low <= 1.1 <= each.high for each in draws(2000, 7, sd, 0.1, shape) if each.low and each.high]
    assert len(inside) == 2000
    assert 0.93 <= sum(inside) / 2000 <= 0.97


@pytest.mark.parametrize("n", [(3, 7), (2, 14)])
@pytest.mark.parametrize("shape", ["normal", "two states"])
def test_few_processes_that_are_alike_by_chance_do_not_narrow_the_interval(n: tuple[int, int], shape: str) -> None:
    inside = [each.low <= 1.1 <= each.high for each in draws(1000, n, 0.016, 0.1, shape) if each.low and each.high]
    assert 0.93 <= sum(inside) / 1000 <= 0.995


@pytest.mark.parametrize(("effect", "kind"), [(0.03, "SLOWER"), (0.0, "SAME")])
def test_as_many_processes_as_are_needed_decide_in_nine_of_ten_cases(effect: float, kind: str) -> None:
    sd = 0.02
    half = sd * math.sqrt(1.5)  # three processes with exactly this spread
    a = [math.exp(half * n / math.sqrt(1.5)) for n in (-1, 0, 1)]
    first = verdict(a, [(1 + effect) * time for time in a])
    assert first.kind == "INCONCLUSIVE"
    assert first.needed is not None
    assert rate(draws(600, first.needed, sd, effect), kind) == pytest.approx(0.9, abs=0.05)
    assert rate(draws(600, first.needed * 2 // 3, sd, effect), kind) < 0.8


def test_one_process_has_no_interval_of_its_own() -> None:
    alone = verdict([1.0], [2.0, 2.0, 2.0])
    assert (alone.kind, alone.low, alone.high, alone.basis) == ("INCONCLUSIVE", None, None, "none")
    assert (alone.ratio, alone.needed, alone.processes) == (pytest.approx(2.0), None, (1, 3))


def test_one_process_has_the_interval_of_a_calibrated_spread_and_no_verdict() -> None:
    clear, close, same = (verdict([1.0], [time], process_sd=0.01) for time in (1.1, 1.015, 1.0))
    assert {each.kind for each in (clear, close, same)} == {"INCONCLUSIVE"}
    assert clear.basis == "calibration"
    assert clear.needed == 4
    assert clear.high is not None
    assert math.log(clear.high / clear.ratio) == pytest.approx(1.96 * 0.01 * math.sqrt(2), rel=1e-3)
    assert close.needed is not None
    assert close.needed > 4
    assert same.needed is not None
    assert same.needed >= 2


@pytest.mark.parametrize("processes", [1, 2, 9])
@pytest.mark.parametrize("effect", [0.0, 0.002, 0.03, 0.5])
@pytest.mark.parametrize("process_sd", [0.0, 0.001, 0.02])
def test_fewer_processes_never_give_a_stronger_verdict(processes: int, effect: float, process_sd: float) -> None:
    many = [1 + effect] * processes
    for a, b in (([1.0], many), (many, [1.0])):
        decided = verdict(a, b, process_sd=process_sd)
        assert decided.kind == "INCONCLUSIVE"
        assert decided.needed is None or decided.needed >= 2


def test_processes_that_are_to_decide_measure_their_own_spread() -> None:
    """A spread that is given has no degrees of freedom to lose; that of the processes that will be measured has."""
    needed = verdict([1.0], [1.03], process_sd=0.009).needed
    assert needed is not None
    assert rate(draws(1000, needed, 0.009, 0.03), "SLOWER") >= 0.85


def test_sessions_that_differ_widen_the_interval_until_no_number_decides() -> None:
    a, b = [1.0, 1.001, 0.999] * 3, [1.03, 1.031, 1.029] * 3
    assert verdict(a, b).kind == "SLOWER"
    apart = verdict(a, b, session_sd=0.01)
    assert (apart.kind, apart.needed) == ("INCONCLUSIVE", None)


@pytest.mark.parametrize("n", [(2, 2), (3, 3), (2, 7), (4, 3)])
@pytest.mark.parametrize("sds", [(1e-5, 6e-4), (1e-4, 1e-4), (0.0, 1e-3), (2e-4, 0.01)])
def test_the_floor_on_spread_never_narrows_an_interval(n: tuple[int, int], sds: tuple[float, float]) -> None:
    from scipy.stats import ttest_ind

    rng = np.random.default_rng(RNG_SEED)
    for _ in range(50):
        a, b = (np.exp(sd * rng.standard_normal(count)).tolist() for sd, count in zip(sds, n, strict=True))
        decided = verdict(a, b)
        assert decided.low is not None
        assert decided.high is not None
        welch = ttest_ind(np.log(b), np.log(a), equal_var=False).confidence_interval(0.95)
        assert decided.low <= math.exp(welch.low) * (1 + 1e-12)
        assert decided.high >= math.exp(welch.high) * (1 - 1e-12)
        floor = stats.critical(math.inf, 0.95) * 1e-3 / math.sqrt(12) * math.sqrt(1 / n[0] + 1 / n[1])
        assert math.log(decided.high / decided.ratio) >= floor


@pytest.mark.parametrize("n", [2, 3, 4, 7])
def test_sessions_never_narrow_an_interval(n: int) -> None:
    a, b = [1 + 1e-5 * k for k in range(n)], [1.03 * (1 + 1e-3 * k) for k in range(n)]
    alone = verdict(a, b)
    for session_sd in (1e-5, 1e-4, 3e-4, 1e-3, 1e-2):
        apart = verdict(a, b, session_sd=session_sd)
        assert apart.low <= alone.low < alone.high <= apart.high
    assert apart.high > alone.high


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_a_known_level_never_narrows_the_interval_of_an_uncertain_one(share: float) -> None:
    a, b = [100, 101, 100.4, 100.8], [102.9, 103.9, 103.2, 103.6]
    builds = [GroupSd(0.005, 2, (share, share))]
    alone = verdict(a, b, builds=builds)
    for session_sd in (1e-4, 1e-3, 1e-2):
        both = verdict(a, b, builds=builds, session_sd=session_sd)
        assert both.low <= alone.low < alone.high <= both.high
    assert alone.kind == verdict(a, b, builds=builds, session_sd=1e-3).kind == "INCONCLUSIVE"


def of_sessions(rng, runs: int, n: int, between: float, within: float) -> list[Sample]:
    levels = rng.normal(0, between, runs)
    return [Sample(levels[k] + rng.normal(0, within), k) for k in range(runs) for _ in range(n)]


@pytest.mark.parametrize("runs", [(2, 1), (2, 2), (3, 3)])
@pytest.mark.parametrize("between", [0.01, 0.02])
def test_few_sessions_of_one_case_are_rarely_called_different(runs: tuple[int, int], between: float) -> None:
    """Many processes tell nothing of what few sessions differ by."""
    rng, verdicts = np.random.default_rng(3), []
    for _ in range(1000):
        sides = [of_sessions(rng, count, 7, between, 0.01) for count in runs]
        known = components([side for side, count in zip(sides, runs, strict=True) if count > 1]).session
        shares = tuple(share(sample.session for sample in side) for side in sides)
        level = GroupSd(known.sd, known.dof, shares, known.of_means)
        a, b = ([math.exp(sample.log) for sample in side] for side in sides)
        groups = tuple([sample.session for sample in side] for side in sides)
        verdicts.append(verdict(a, b, session=level, groups=groups))
    assert rate(verdicts, "FASTER", "SLOWER") <= 0.01 + 3 * (0.01 / 1000) ** 0.5
    assert 0.93 <= sum(each.low <= 1 <= each.high for each in verdicts) / 1000 <= 0.98


@pytest.mark.parametrize("within", [0.0, 0.002, 0.01])
def test_more_spread_of_processes_never_narrows_what_few_sessions_leave_open(within: float) -> None:
    groups = [0] * 4 + [1] * 4, [0] * 4
    a = [math.exp(0.01 * (n // 4) + within * (-1) ** n) for n in range(8)]
    b = [math.exp(within * (-1) ** n) for n in range(4)]
    known = components([[Sample(math.log(time), group) for time, group in zip(a, groups[0], strict=True)]]).session
    decided = verdict(a, b, session=GroupSd(known.sd, 1, (0.5, 1.0), known.of_means), groups=groups)
    few = stats.critical(1, 0.95) * 0.01 * math.sqrt(1.5 / 2)  # of two sessions alone
    assert math.log(decided.high / decided.low) / 2 >= few * (1 - 1e-9)


@pytest.mark.parametrize("sd", [(0.002, 0.01), (0.005, 0.01), (0.01, 0.01)])
def test_a_calibrated_side_never_narrows_what_few_processes_of_the_other_leave_open(sd: tuple[float, float]) -> None:
    rng, inside = np.random.default_rng(4), 0
    for _ in range(1000):
        a, b = ([math.exp(log) for log in rng.normal(0, each, n)] for each, n in zip(sd, (1, 2), strict=True))
        decided = verdict(a, b, process_sd=sd[0])
        inside += decided.low <= 1 <= decided.high
    assert inside / 1000 >= 0.95 - 3 * (0.95 * 0.05 / 1000) ** 0.5


@pytest.mark.parametrize(
    ("n", "can"), [((1, 9), False), ((2, 2), False), ((2, 9), False), ((2, 10), True), ((3, 3), True), ((7, 7), True)]
)
def test_few_processes_can_never_be_called_different(n: tuple[int, int], can: bool) -> None:
    assert can_differ(*n) is can_differ(*n[::-1]) is can
    if min(n) > 1:
        a, b = [1 + 1e-6 * k for k in range(n[0])], [9 + 1e-6 * k for k in range(n[1])]
        assert (verdict(a, b).kind == "SLOWER") is can


@pytest.mark.parametrize(
    ("n", "least"), [((1, 9), None), ((2, 9), None), ((2, 10), 0.01), ((3, 3), 0.2), ((3, 5), 0.2), ((4, 4), 0.01)]
)
def test_the_least_difference_is_that_from_which_on_the_rule_decides(n: tuple[int, int], least: float | None) -> None:
    assert least_difference(*n) == least_difference(*n[::-1]) == least
    for ratio, can in ((0.999, False), (1.001, True)) if least else ():
        b = [(1 + least * ratio) * (1 + 1e-9 * k) for k in range(n[1])]
        assert (verdict([1 + 1e-9 * k for k in range(n[0])], b).kind == "SLOWER") is can


def test_times_without_any_spread_are_judged_by_their_rounding() -> None:
    assert verdict([100.0] * 3, [100.0] * 3).kind == "SAME"
    assert verdict([100.0] * 4, [102.0] * 4).kind == "SLOWER"
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


def test_a_side_of_one_process_has_the_calibrated_spread_and_the_other_its_own() -> None:
    tight, loose = (verdict([1.0], [1.1 * (1 + d * n) for n in (-1, 0, 1, 2)], process_sd=0.01) for d in (0.001, 0.05))
    assert tight.error == pytest.approx(math.hypot(0.01, 0.001 * math.sqrt(5 / 3 / 4)), rel=0.01)
    assert (tight.kind, loose.kind, tight.basis) == ("INCONCLUSIVE", "INCONCLUSIVE", "calibration")
    assert loose.error is not None
    assert loose.error > 3 * 0.01
    assert loose.dof is not None
    assert loose.dof < 4


def test_sessions_of_a_side_share_their_variance() -> None:
    a, b = [1.0, 1.001, 0.999] * 3, [1.03, 1.031, 1.029] * 3
    one, four = (verdict(a, b, session=GroupSd(0.01, shares=(1 / k, 1 / k))) for k in (1, 4))
    assert one == verdict(a, b, session_sd=0.01)
    assert four.shared == pytest.approx(0.01 * math.sqrt(2 / 4))
    assert (one.kind, four.kind) == ("INCONCLUSIVE", "SLOWER")
    assert verdict(a, b, session=GroupSd(0.01, 2.0, (0.25, 0.25))).kind == "INCONCLUSIVE"  # of two it is hardly known


def test_as_many_as_the_larger_side_has_may_be_enough() -> None:
    few, many = [1.0, 1.013], [1.03, 1.043, 1.03, 1.043, 1.03, 1.043, 1.03]
    unequal = verdict(few, many)
    assert unequal.kind == "INCONCLUSIVE"
    assert unequal.needed is not None
    assert unequal.needed <= len(many)
