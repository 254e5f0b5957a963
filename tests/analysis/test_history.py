"""Histories: points and gaps by device, steps with what changed, and the noise that they are looked for with."""

from __future__ import annotations

import random

import msgspec
import pytest

from bench.analysis import compare, differences, history
from bench.analysis.history import History
from bench.analysis.verdict import verdict
from bench.model.run import Failure, Run
from tests.analysis.test_calibration import sitting
from tests.analysis.test_compare import EAGER, HERE, INDUCTOR, MS, record
from tests.analysis.test_compare import run as run_of
from tests.analysis.test_spreads import calibration


def series(levels: list[float], sd: float = 0.002, here=HERE, first: int = 0, commits: bool = True) -> list[Run]:
    """A run a day whose case takes so many milliseconds, give or take ``sd`` from run to run."""
    rng = random.Random(f"20261128-{first}")
    runs = []
    for day, ms in enumerate(levels, first):
        run = run_of([(EAGER, ms * (1 + rng.gauss(0, sd)))], f"R{day:03}", here, processes=3)
        fields = {"created": f"2026-01-{day + 1:02}T00:00:00+00:00", "commit": f"{day:012x}" if commits else ""}
        runs.append(msgspec.structs.replace(run, header=msgspec.structs.replace(run.header, **fields)))
    return runs


def only(runs: list[Run], known=None, boundaries=()) -> History:
    ((whole, of_points),) = history.histories(runs, [EAGER], boundaries)
    return history.with_steps(whole, of_points, known)


def test_a_step_is_located_and_told_with_what_changed() -> None:
    newer = msgspec.structs.replace(HERE, libraries={"torch": "2.13.0"})
    runs = series([1.0] * 6) + series([1.05] * 6, here=newer, first=6)
    whole = only(runs[::-1])  # whatever their order
    (step,) = whole.steps
    assert (step.index, step.run) == (6, "R006")
    assert step.ratio == pytest.approx(1.05, abs=0.005)
    assert step.low < 1.05 < step.high
    assert [each.text for each in step.changes] == ["commit 000000000005 -> 000000000006", "torch 2.11.0 -> 2.13.0"]
    assert (whole.basis, whole.calibration) == ("runs", "")
    assert 0.0005 < whole.sd < 0.006  # by 11 differences
    assert [point.commit for point in whole.points][:2] == ["000000000000", "000000000001"]
    assert whole.points[0].level_ns == pytest.approx(MS, rel=0.005)
    assert whole.points[6].level_ns == step.after_ns


def test_runs_that_are_alike_by_chance_make_the_interval_of_a_step_no_narrower_than_a_verdict_has_it() -> None:
    """Two runs before the step are the same to a tick, those after it spread by 1 %."""
    after = [1.3 * (1 + n / 100) for n in (0, 1, -1, 0.5, -0.5, 0.7, -0.7, 0.3)]
    whole = only(series([1.0] * 2, sd=0.0) + series(after, sd=0.0, first=2))
    (step,) = whole.steps
    times = [point.ns for point in whole.points]
    decided = verdict(times[:2], times[2:])
    assert (step.low, step.high) == pytest.approx((decided.low, decided.high))
    assert step.high / step.low > 1 + 4 * 0.007 / 2**0.5  # more than the errors of two runs that spread like the others


def test_a_change_of_less_than_one_per_cent_is_no_step() -> None:
    assert only(series([1.0] * 8 + [1.006] * 8, sd=0.0002)).steps == ()


def test_noise_alone_has_no_step() -> None:
    assert only(series([1.0] * 20, sd=0.02)).steps == ()


def test_an_outlier_is_apart_and_no_step() -> None:
    whole = only(series([1.0] * 7 + [1.4] + [1.0] * 7))
    assert whole.steps == ()
    assert [point.run for point in whole.points if point.apart] == ["R007"]


def test_a_calibration_says_what_noise_is_where_runs_are_few() -> None:
    few = series([1.0, 1.001, 1.05, 1.051], sd=0.0)
    assert only(few).basis == "none"
    quiet = calibration(sitting("A", sd=0.002, cases=(EAGER,)), sitting("B", 0.003, sd=0.002, cases=(EAGER,)))
    whole = only(few, quiet)
    assert [step.index for step in whole.steps] == [2]
    assert (whole.basis, whole.calibration) == ("calibration", "calibration-1")
    shaky = calibration(sitting("A", cases=(EAGER,)), sitting("B", 0.1, cases=(EAGER,)))
    assert only(few, shaky).steps == ()  # sittings differ by as much
    other = calibration(sitting("A", cases=(INDUCTOR,)))
    assert only(few, msgspec.structs.replace(other, boundaries=())).basis == "none"  # it has no latency


def test_what_the_runs_show_counts_where_it_is_more_than_the_calibration() -> None:
    quiet = calibration(sitting("A", sd=0.001, cases=(EAGER,)), sitting("B", sd=0.001, cases=(EAGER,)))
    whole = only(series([1.0] * 20, sd=0.02), quiet)
    assert (whole.basis, whole.steps) == ("runs", ())


def test_each_device_has_a_history_of_its_own() -> None:
    other = msgspec.structs.replace(HERE, device="H200", slug="h200")
    both = history.histories(series([1.0] * 3) + series([0.5] * 2, here=other, first=3), [EAGER])
    assert [(whole.device, len(whole.points)) for whole, _ in both] == [("H100", 3), ("H200", 2)]


def test_a_boundary_that_is_defined_otherwise_begins_another_history() -> None:
    before, here = (msgspec.structs.replace(HERE, boundaries=digest) for digest in ("aaaa", "bbbb"))
    runs = series([1.0] * 3, here=before) + series([1.4] * 2, here=here, first=3) + series([1.0], here=before, first=5)
    (first, of_first), (second, of_second) = history.histories(runs, [EAGER])
    assert [point.run for point in first.points] == ["R000", "R001", "R002", "R005"]  # by the definition, not in a row
    assert [point.run for point in second.points] == ["R003", "R004"]
    assert (first.definition, second.definition) == ("aaaa", "bbbb")
    assert (first.redefined, [each.text for each in second.redefined]) == ((), ["boundaries aaaa -> bbbb"])

    def kinds(a: Run, b: Run) -> set[str]:
        return {pair.kind for pair in compare.compare([a], [b], across=differences.DIMENSIONS).pairs}

    # As compare has it, whatever is named.
    assert kinds(of_first[0], of_second[0]) == {"REFUSED"}
    assert "REFUSED" not in kinds(of_first[0], of_first[-1])


def test_what_can_be_named_does_not_break_a_history() -> None:
    newer = msgspec.structs.replace(HERE, libraries={"torch": "2.13.0"}, driver="580", python="3.13", flags={"A": "1"})
    (whole,) = history.histories(series([1.0] * 2) + series([1.0], here=newer, first=2), [EAGER])
    assert len(whole[0].points) == 3


def test_what_has_no_sound_time_is_a_gap() -> None:
    runs = series([1.0] * 5)
    failed = [record(EAGER, 1.0, failure=Failure(kind="Crash", stage="measure", message="x"), measurements=())]
    runs[1] = msgspec.structs.replace(runs[1], records=tuple(failed))
    runs[2] = msgspec.structs.replace(runs[2], records=())
    whole = only(runs)
    assert whole.gaps == (("R001", "it failed: Crash"), ("R002", "it was not measured"))
    assert [point.run for point in whole.points] == ["R000", "R003", "R004"]


@pytest.mark.parametrize(
    ("boundaries", "kind", "expected"),
    [
        (("latency",), "cuda", "latency"),
        (("throughput",), "cuda", "throughput"),
        ((), "cuda", "gpu"),
        ((), "cpu", "latency"),
    ],
)
def test_a_case_that_no_run_could_measure_has_the_boundary_that_it_was_to_have(boundaries, kind, expected) -> None:
    here = msgspec.structs.replace(HERE, kind=kind)
    (one,) = series([1.0], here=here)
    failed = record(EAGER, 1.0, failure=Failure(kind="ModelError", stage="load", message="x"), measurements=())
    policy = msgspec.structs.replace(one.header.policy, boundaries=boundaries)
    header = msgspec.structs.replace(one.header, policy=policy)
    whole = only([msgspec.structs.replace(one, header=header, records=(failed,))])
    assert (whole.boundary, whole.gaps) == (expected, (("R000", "it failed: ModelError"),))


def test_boundaries_that_were_not_measured_have_no_history() -> None:
    runs = series([1.0] * 3)
    assert only(runs).boundary == "latency"
    assert history.histories(runs, [EAGER], ["gpu"]) == []


def test_one_process_has_no_interval_and_one_run_no_step() -> None:
    whole = only([run_of([(EAGER, 1.0)], processes=1)])
    (point,) = whole.points
    assert (point.low, point.high, point.processes, point.commit) == (None, None, 1, "")
    assert (whole.basis, whole.sd) == ("none", None)


def test_a_case_is_named_by_its_label_or_the_beginning_of_its_id() -> None:
    both = [EAGER, INDUCTOR]
    assert history.matches(both, EAGER.label) == [EAGER]
    assert history.matches(both, INDUCTOR.id[:6]) == [INDUCTOR]
    assert history.matches(both, INDUCTOR.id[:3]) == []  # too short to mean it
    assert history.matches(both, "net") == []
