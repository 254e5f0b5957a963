"""The layers of a build that fails: kept as figures, and named where its time ended."""

from __future__ import annotations

import msgspec
import pytest

from bench.model.run import Failure
from bench.runner import jobs
from bench.runner.answers import Answer
from bench.runner.dispatch import judge, with_layers
from bench.system import process
from tests.runner.dispatch_kit import CASE, MEASURE, STAGE, Parent, answer

pytestmark = pytest.mark.workers

LAYERS = jobs.LayersTimed(layers={"conv1 + relu": 41_200_000_000, "fc": 99_000_000, "{ForeignNode[a]}": 3_000_000_000})


@pytest.mark.parametrize(
    ("end", "kind", "hint"),
    [
        (
            answer(jobs.Failed(kind="Unsupported", stage="build", message="no", hint="another")),
            "Unsupported",
            "another",
        ),
        ("print(1, flush=True); os.kill(os.getpid(), 13)", "Crash", "--verbose shows what it wrote last"),
    ],
)
def test_a_build_that_fails_keeps_the_layers_that_took_longest_and_its_own_hint(
    parent: Parent, end: str, kind: str, hint: str
) -> None:
    found = parent.ask(f"{answer(LAYERS)}\n{end}", device="cpu")
    assert isinstance(found, Failure)
    assert found.kind == kind
    assert found.details == {"slowest_layers_s": {"conv1 + relu": 41.2, "{ForeignNode[a]}": 3.0}}
    assert found.hint == hint


@pytest.mark.parametrize(
    ("level", "advice"),
    [
        (None, "a lower `optimization_level` times fewer kernels"),
        (2, "a lower `optimization_level` times fewer kernels"),
        (0, "`optimization_level: 0` has it time the fewest kernels already"),
    ],
)
def test_the_layer_that_a_build_was_at_as_its_time_ended_is_among_them(level: int | None, advice: str) -> None:
    now = iter([1_000_000_000, 8_000_000_000])
    case = msgspec.structs.replace(CASE, options={"optimization_level": level})
    job = jobs.Produce(device="cpu", case=case, stage=STAGE, artifacts={}, out="", scratch="")
    waiting = Answer(job, now=lambda: next(now))
    told = jobs.LayersTimed(ticket=waiting.job.ticket, layers={"a": 2_000_000_000}, current="b" * 500)
    waiting.hear(jobs.encode(told))
    end = judge(waiting, process.Outcome(code=-9, timed_out=True, log=""), "build", 60_000_000_000)
    failure = with_layers(end, waiting.slowest_layers(), job)
    assert isinstance(failure, Failure)
    assert failure.kind == "Timeout"
    assert failure.details["slowest_layers_s"] == {"b" * 500: 7.0, "a": 2.0}
    assert failure.hint.endswith(f"; the builder spent most time on {'b' * 77}... (7.0 s), a (2.0 s): {advice}")
    assert failure.hint.startswith("raise `measure: {timeout: ...}` in the suite")


def test_a_build_without_such_layers_and_one_that_ended_well_are_as_they_were(parent: Parent) -> None:
    brief = parent.ask(f"{answer(jobs.LayersTimed(layers={'a': 5}))}\nos.abort()", device="cpu")
    assert isinstance(brief, Failure)
    assert brief.details == {}
    assert isinstance(parent.ask(f"{answer(LAYERS)}\n{answer(jobs.Produced(phases=()))}"), jobs.Produced)


def test_layers_of_what_is_no_build_and_times_that_cannot_be_are_refused(parent: Parent) -> None:
    wrong = jobs.LayersTimed(layers={"a": -1})
    for job, reply, what in ((MEASURE, LAYERS, "LayersTimed where Measured"), (None, wrong, "a time that cannot be")):
        found = parent.ask(answer(reply), job=job)
        assert isinstance(found, Failure)
        assert what in found.message
