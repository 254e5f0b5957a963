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
ZEROS = {"constant": {"y": 0}, "repeated": [], "samples": 1, "outputs": 1, "single": 0}
# From the gravest on.
UNSOUND = {
    "failed: Crash": msgspec.structs.replace(SOUND, failure=FAILURE, measurements=()),
    "is inaccurate": msgspec.structs.replace(SOUND, accuracy=Accuracy(ok=False, outputs=())),
    "has other outputs in each call": msgspec.structs.replace(
        SOUND, accuracy=Accuracy(ok=False, outputs=(), varies=True)
    ),
    "has only empty outputs": msgspec.structs.replace(SOUND, accuracy=Accuracy(ok=True, outputs=(), empty=True)),
    "has a reference that does not depend on the inputs": msgspec.structs.replace(
        SOUND, accuracy=Accuracy(ok=True, outputs=()), warnings=(Warning(kind="BlindReference", figures=ZEROS),)
    ),
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


@pytest.mark.parametrize(
    ("figures", "accuracy", "is_blind"),
    [
        ({}, Accuracy(ok=True, outputs=()), True),
        ({"constant": {}, "repeated": ["y"], "samples": 4}, Accuracy(ok=True, outputs=()), True),
        ({"outputs": 2}, Accuracy(ok=True, outputs=()), False),
        ({"single": 1}, Accuracy(ok=True, outputs=()), False),
        ({}, Accuracy(ok=True, outputs=(), metric={"score": 0.0}), False),
        ({}, None, False),
    ],
    ids=["all is constant", "all is repeated", "one of two", "another of one element", "a metric", "not compared"],
)
def test_a_reference_is_blind_if_nothing_tells_whether_the_model_is_computed(figures, accuracy, is_blind) -> None:
    warning = Warning(kind="BlindReference", figures=ZEROS | figures)
    record = msgspec.structs.replace(SOUND, accuracy=accuracy, warnings=(warning,))
    assert flaws.is_blind(record) is is_blind
    assert pool(record).sound is not is_blind


def test_a_warning_without_figures_hides_nothing() -> None:
    warning = Warning(kind="BlindReference", message="the accuracy says nothing")  # of schema 1
    scored = msgspec.structs.replace(SOUND, accuracy=Accuracy(ok=True, outputs=()), warnings=(warning,))
    assert pool(scored).flaw is None


def test_an_earlier_record_that_counts_no_outputs_of_one_element_is_judged_as_it_was() -> None:
    warning = Warning(kind="BlindReference", figures={name: ZEROS[name] for name in ZEROS if name != "single"})
    record = msgspec.structs.replace(SOUND, accuracy=Accuracy(ok=True, outputs=()), warnings=(warning,))
    assert pool(record).flaw is None


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
