"""Why the records of a case cannot be used: each reason, and the gravest of several."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from bench.analysis import calibration, flaws
from bench.analysis.pool import Pool, gather, gather_one
from bench.model.run import Accuracy, Failure, Record, Run, Warning
from tests.store import kit

CASE = kit.case()
SOUND = kit.record(CASE)
FAILURE = Failure(kind="Crash", stage="measure", message="SIGSEGV")
# From the gravest on.
UNSOUND = {
    "failed: Crash": msgspec.structs.replace(SOUND, failure=FAILURE, measurements=()),
    "is inaccurate": msgspec.structs.replace(SOUND, accuracy=Accuracy(ok=False, outputs=())),
    "has other outputs in each call": msgspec.structs.replace(
        SOUND, accuracy=Accuracy(ok=False, outputs=(), varies=True)
    ),
    "has only empty outputs": msgspec.structs.replace(SOUND, accuracy=Accuracy(ok=True, outputs=(), empty=True)),
    "has calls that are not alike": msgspec.structs.replace(SOUND, warnings=(Warning(kind="StateChanges"),)),
}


def pool(*records: Record) -> Pool:
    return gather_one(CASE, records)


def test_a_sound_pool_has_no_flaw() -> None:
    scored = msgspec.structs.replace(SOUND, accuracy=Accuracy(ok=True, outputs=()), warnings=(Warning(kind="Noisy"),))
    with_metric = Accuracy(ok=True, outputs=(), empty=True, metric={"score": 0.75})
    assert pool(SOUND, scored, msgspec.structs.replace(SOUND, accuracy=with_metric)).flaw is None


@pytest.mark.parametrize("text", UNSOUND)
def test_one_process_makes_a_pool_unsound(text: str) -> None:
    flaw = pool(SOUND, UNSOUND[text], SOUND).flaw
    assert flaw is not None
    assert flaw == flaws.flaw_of(UNSOUND[text])
    assert flaw.text == text
    assert flaw.kind in flaws.ORDER


def test_a_pool_has_the_gravest_flaw_of_its_processes() -> None:
    for (text, grave), (_, light) in itertools.combinations(UNSOUND.items(), 2):
        for several in ((grave, light), (light, grave)):
            flaw = pool(*several).flaw
            assert flaw is not None
            assert flaw.text == text


def test_a_pool_without_samples_is_unsound_too() -> None:
    empty = msgspec.structs.replace(SOUND, measurements=())
    assert pool().flaw == flaws.UNMEASURED
    assert pool(empty).flaw == flaws.UNSAMPLED
    assert pool(empty, SOUND).flaw is None
    assert pool(UNSOUND["failed: Crash"]).flaw == flaws.flaw_of(UNSOUND["failed: Crash"])


def test_a_failure_that_was_measured_again_does_not_count() -> None:
    run = Run(header=kit.header((CASE,)), records=(UNSOUND["failed: Crash"], SOUND), path="r.jsonl")
    assert gather(run)[0].flaw is None


def test_a_calibration_leaves_out_what_no_sitting_measured() -> None:
    run = Run(header=kit.header((CASE,)), records=(), path="r.jsonl")
    assert calibration.levels([run], 7)[2] == {CASE.label: "it was not measured"}
