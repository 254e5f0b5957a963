"""What a comparison takes from a calibration, and which calibrations it takes."""

from __future__ import annotations

import msgspec
import pytest

from bench.analysis import compare, spreads
from bench.analysis.calibration import levels
from bench.model.calibration import Calibration
from tests.analysis.test_calibration import sitting
from tests.analysis.test_compare import EAGER, HERE, INDUCTOR, case
from tests.analysis.test_compare import run as run_of


def calibration(*runs, **fields) -> Calibration:
    each, whole, _ = levels(runs, 7)
    return Calibration(
        **{"schema": 1, "calibration": "calibration-1", "created": "", "version": "", "environment": HERE,
           "sittings": ("A", "B"), "replicates": 7, "levels": tuple(each), "boundaries": tuple(whole)} | fields
    )  # fmt: skip


CALIBRATION = calibration(sitting("A", cases=(EAGER,)), sitting("B", 0.02, cases=(EAGER,)))


def test_sides_of_two_sittings_get_the_session_sd_and_those_of_one_do_not() -> None:
    (level,), (whole,) = CALIBRATION.levels, CALIBRATION.boundaries
    assert spreads.Spreads(CALIBRATION).of([EAGER.id], "latency") == (level.session_sd, level.process.sd)
    assert spreads.Spreads(CALIBRATION).of([INDUCTOR.id], "latency") == (whole.session.sd, whole.widest)
    assert spreads.Spreads(CALIBRATION).of([EAGER.id], "gpu") == (None, None)
    of_one = spreads.spread_of(CALIBRATION, sittings=False)
    assert of_one([EAGER, EAGER], "latency") == (0.0, level.process.sd)
    of_two = spreads.spread_of(CALIBRATION, sittings=True)
    assert of_two([EAGER, EAGER], "latency") == (level.session_sd, level.process.sd)
    assert of_two([EAGER, EAGER], "gpu") == (0.0, None)
    assert of_two([case(toolchain="old")], "latency") == (0.0, None)


def test_a_shift_that_sittings_explain_is_not_called_a_difference() -> None:
    a, b = run_of([(EAGER, 1.0)]), run_of([(EAGER, 1.02)], "B")
    assert compare.compare([a], [b]).pairs[0].kind == "SLOWER"
    whole = compare.compare([a], [b], spread=spreads.spread_of(CALIBRATION, sittings=True))
    assert whole.pairs[0].kind == "INCONCLUSIVE"
    marked = spreads.mark(whole, CALIBRATION, "", sittings=True)
    assert marked.calibration == "calibration-1"
    assert marked.session_sd == {"latency": (CALIBRATION.levels[0].session_sd,) * 2}
    assert spreads.mark(whole, None, "why", sittings=True).calibration_note == "why"


def test_a_calibration_of_one_sitting_says_nothing_of_two_runs() -> None:
    alone = calibration(sitting("A", cases=(EAGER,)))
    of_two = spreads.spread_of(alone, sittings=True)
    assert of_two([EAGER, EAGER], "latency") == (0.0, None)
    a, b = run_of([(EAGER, 1.0)], processes=1), run_of([(EAGER, 1.2)], "B", processes=1)
    whole = compare.compare([a], [b], spread=of_two)
    assert whole.pairs[0].kind == "INCONCLUSIVE"
    marked = spreads.mark(whole, alone, "", sittings=True)
    assert (marked.calibration, marked.session_sd) == ("", {})
    assert marked.calibration_note == "calibration-1 is of one sitting, which does not show how runs differ"
    gpu = msgspec.structs.replace(alone, boundaries=())
    assert spreads.mark(whole, gpu, "", sittings=True).calibration_note == "calibration-1 has no latency"


def test_the_backends_of_one_run_by_one_process_each_have_an_interval_and_no_verdict() -> None:
    alone = calibration(sitting("A", cases=(EAGER,)))
    run = run_of([(EAGER, 1.0), (INDUCTOR, 0.8)], processes=1)
    whole = compare.compare([run], axis="backend", spread=spreads.spread_of(alone, sittings=False))
    (pair,) = whole.pairs
    assert (pair.kind, pair.verdict.basis) == ("INCONCLUSIVE", "calibration")
    assert pair.verdict.high < 0.9
    assert pair.verdict.needed == 4
    assert not whole.fails(slower=0.0)
    assert whole.fails(inconclusive=True)
    assert spreads.mark(whole, alone, "", sittings=False).calibration == "calibration-1"
    several = compare.compare([run_of([(EAGER, 1.0), (INDUCTOR, 0.8)])], axis="backend")  # 7 processes each
    assert spreads.mark(several, alone, "", sittings=False) == several


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
    assert [each.text for each in spreads.mismatch(CALIBRATION, [HERE, here], across)] == texts
