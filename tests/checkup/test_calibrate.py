"""Calibrations of runs: which runs may be sittings of one, and which calibration a comparison gets."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

import bench
from bench.checkup import calibrate
from bench.errors import StoreError, UsageError
from bench.model.run import Duel, Run
from bench.model.suite import Policy
from bench.store import calibrations
from tests.analysis.test_calibration import sitting
from tests.analysis.test_compare import EAGER, HERE, INDUCTOR

ROOT = Path(bench.__file__).parent.parent


def on_card(name: str, card: str, **fields: object) -> Run:
    here = msgspec.structs.replace(HERE, observed={"card": card}, **fields)
    return sitting(name, 0.01 * len(card), cases=(EAGER,), here=here)


def named(runs: list[Run], name: str, replicates: int = 7):
    return msgspec.structs.replace(calibrate.make(runs, replicates), calibration=name)


def test_sittings_are_told_with_what_they_differ_in() -> None:
    other = on_card("B", "c2")
    header = msgspec.structs.replace(other.header, version="0.3.0", created="2026-01-02", seed=1)
    made = calibrate.make([msgspec.structs.replace(other, header=header), on_card("A", "c1")], 5)
    assert made.sittings == ("A", "B")  # in the order of time
    assert (made.cards, made.replicates, made.left_out) == (("c1", "c2"), 5, {})
    assert made.minor_differences == ("seed 0 -> 1", "trtbench 0.2.0 -> 0.3.0")
    assert made.environment.fingerprint == HERE.fingerprint
    again = calibrate.make([on_card("A", "c1")], 5)
    assert again.calibration != made.calibration


def test_what_is_no_sitting_is_refused() -> None:
    a = on_card("A", "c1")
    with pytest.raises(UsageError, match=r"different environments: driver 550 -> 570"):
        calibrate.make([a, on_card("B", "c1", driver="570")], 7)
    with pytest.raises(UsageError, match="the run A is named twice"):
        calibrate.make([a, a], 7)
    with pytest.raises(UsageError, match="one process a side"):
        calibrate.make([a], 1)
    with pytest.raises(UsageError, match=r"nothing to calibrate by: net/eager.* fewer than 3 processes"):
        calibrate.make([sitting("A", processes=2, cases=(EAGER,))], 7)
    with pytest.raises(UsageError, match=r"B: no case of this run has 3 processes of one build"):
        calibrate.make([a, sitting("B", processes=2, cases=(EAGER,))], 7)
    with pytest.raises(UsageError, match="A, B: the runs share no case"):
        calibrate.make([a, sitting("B", cases=(INDUCTOR,))], 7)
    duel = Duel(contests=((EAGER.id, INDUCTOR.id),), boundary="gpu", pairs=7)
    in_pairs = msgspec.structs.replace(a, header=msgspec.structs.replace(a.header, duel=duel))
    with pytest.raises(UsageError, match="A: this is a duel"):
        calibrate.make([in_pairs], 7)
    bare = msgspec.structs.replace(a, header=msgspec.structs.replace(a.header, environments={}))
    with pytest.raises(StoreError, match="has no environment"):
        calibrate.make([bare], 7)


def test_stored_runs_are_checked_before_anything_is_measured(tmp_path: Path) -> None:
    elsewhere = msgspec.structs.replace(HERE, arch="sm_90", slug="h100", device="H100")
    for runs, what in (
        ([sitting("A", cases=(EAGER,), here=elsewhere)], "made on H100, and this is "),
        ([sitting("A", processes=2, cases=(EAGER,))], "nothing to calibrate by"),
    ):
        with pytest.raises(UsageError, match=what):
            bench.calibrate(ROOT / "suites" / "smoke.yaml", runs=runs, store=tmp_path / "results", device="cpu")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(("processes", "sittings", "sizes"), [(28, 2, [14, 14]), (41, 2, [21, 20]), (6, 1, [6])])
def test_processes_are_split_over_sittings(processes: int, sittings: int, sizes: list[int]) -> None:
    assert calibrate.split(processes, sittings) == sizes


@pytest.mark.parametrize(("processes", "sittings"), [(5, 1), (8, 3), (28, 0)])
def test_too_few_processes_are_refused(processes: int, sittings: int) -> None:
    with pytest.raises(UsageError, match="too few to see how they differ"):
        calibrate.split(processes, sittings)


def test_the_replicates_of_a_suite_for_verdicts_count() -> None:
    assert calibrate.usual_replicates(None) == 7
    assert calibrate.usual_replicates(Policy(replicates=1)) == 7
    assert calibrate.usual_replicates(Policy(replicates=5)) == 5


def test_the_newest_calibration_of_the_environment_is_used(tmp_path: Path) -> None:
    runs = [on_card("A", "c1")]
    assert calibrate.suitable(tmp_path, runs, ()) == (None, "")
    calibrations.write(tmp_path, named(runs, "calibration-20260101T000000Z-aaaaaaa"))
    newest = named(runs, "calibration-20260103T000000Z-ccccccc")
    other = named([on_card("A", "c1", driver="570")], "calibration-20260102T000000Z-bbbbbbb")
    for each in (newest, other):
        calibrations.write(tmp_path, each)
    chosen, note = calibrate.suitable(tmp_path, runs, ())
    assert chosen == newest
    assert note == ""
    assert calibrate.suitable(tmp_path, runs, (), "none") == (None, "")
    calibrations.write(tmp_path, newest).write_text("{")  # damaged since
    chosen, _ = calibrate.suitable(tmp_path, runs, ())
    assert chosen is not None
    assert chosen.calibration.endswith("aaaaaaa")
    with pytest.raises(StoreError, match="not a calibration"):
        calibrate.suitable(tmp_path, runs, (), newest.calibration)
    with pytest.raises(UsageError, match="in another environment: driver 570 -> 550"):
        calibrate.suitable(tmp_path, runs, (), other.calibration)
    with_driver = calibrate.suitable(tmp_path, runs, ("driver",), other.calibration)
    assert with_driver[0] == other


def test_why_none_is_used_and_what_one_does_not_cover(tmp_path: Path) -> None:
    calibrations.write(tmp_path, named([on_card("A", "c1")], "calibration-20260101T000000Z-aaaaaaa"))
    newer = on_card("B", "c1", libraries={"torch": "2.13.0"})
    chosen, note = calibrate.suitable(tmp_path, [newer], ())
    assert chosen is None
    assert note == "calibration-20260101T000000Z-aaaaaaa was made in another environment: torch 2.11.0 -> 2.13.0"
    assert calibrate.of_device(tmp_path, [newer]) is not None  # for a history, over which libraries change
    assert calibrate.suitable(tmp_path, [on_card("B", "c2")], ())[1] == "its sittings are of another card"
    both = [on_card("B", "c1"), on_card("C", "c2")]
    assert calibrate.suitable(tmp_path, both, ())[1] == "its sittings are of one card, these runs of 2"
    elsewhere = on_card("B", "c1", device="H200", slug="h200")
    assert calibrate.suitable(tmp_path, [elsewhere], ()) == (None, "")  # another device's folder
