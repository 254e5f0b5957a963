"""A worker's pipe is not trusted: what is no reply to the job is a row, and what is one counts once."""

from __future__ import annotations

import msgspec
import pytest

from bench.machine.environment import describe
from bench.model.events import Ended, Event, Step
from bench.model.run import Failure, Measurement, Phase, Record, Work
from bench.runner import jobs
from bench.runner.dispatch import Dispatcher
from bench.runner.toolchains import Interpreter
from bench.system import process
from bench.units import NS_PER_S
from tests.runner.dispatch_kit import CASE, MEASURE, Parent, answer

pytestmark = pytest.mark.workers

TIMED = Measurement(boundary="latency", samples=(5, 6))
GOOD = Record(case=CASE.id, label=CASE.label, measurements=(TIMED,))


def changed(**fields: object) -> jobs.Measured:
    return jobs.Measured(record=msgspec.structs.replace(GOOD, **fields))


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (r"write(b'\xff\xfe\0garbage\n')", "which is no reply"),
        ("write(b'[' * 100_000 + b'\\n')", "which is no reply"),
        ("write(b'[1, 2]\\n')", "which is no reply"),
        ('reply(\'{"reply":"measured","record":7}\\n\')', "which is no reply"),
        ('reply(\'{"reply":"measured"}\\n\')', "which is no reply"),
        ('reply(\'{"reply":"unheard"}\\n\')', "which is no reply"),
        (f"write({jobs.encode(changed()) + chr(10).encode()!r})", "none to its job"),
        (f"write(b'x' * {process.LINE_LIMIT + 100})", "a line of more than"),
    ],
)
def test_what_is_no_reply_is_a_row(parent: Parent, script: str, told: str) -> None:
    found = parent.ask(f"{script}\nimport signal; signal.pause()", job=MEASURE)
    assert isinstance(found, Failure)
    assert (found.kind, told in found.message) == ("Crash", True)
    assert "file descriptor" in found.hint


def test_the_events_say_which_worker_does_what_and_when_it_has_ended(parent: Parent) -> None:
    doing = "".join(answer(jobs.Doing(phase=phase)) + "; " for phase in ("import", "load"))
    parent.ask(doing + answer(jobs.Produced(phases=())))
    parent.ask("", job=MEASURE, label="other")
    first, second = (event.worker for event in parent.told if isinstance(event, Step) and event.phase == "start")
    assert first != second
    assert parent.told == [
        *(Step(label="case", phase=p, worker=first, work="reference") for p in ("start", "import", "load")),
        Ended(label="case", worker=first),
        Step(label="other", phase="start", worker=second, work="measure"),
        Ended(label="other", worker=second),
    ]


def test_a_worker_that_cannot_be_started_has_ended_too(parent: Parent) -> None:
    gone = Interpreter(name="default", command=("/nowhere/python",), env={}, environment=describe("fake"))
    told: list[Event] = []
    with pytest.raises(OSError, match="nowhere"):
        Dispatcher(NS_PER_S, False, told.append).run(gone, MEASURE, "case")
    assert [type(event) for event in told] == [Step, Ended]


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (changed(case="0123456789ab"), "another case"),
        (changed(label="m/other/fp32"), "another label"),
        (changed(replicate=1), "another replicate"),
        (changed(build=3), "another build"),
        (changed(toolchain="other"), "another toolchain"),
        (changed(measurements=()), "without measurements"),
        (changed(wall_ns=-1), "a time that cannot be"),
        (changed(phases=(Phase(name="load", ns=-5),)), "a time that cannot be"),
        (changed(measurements=(Measurement(boundary="latency", samples=(5, -6)),)), "a time that cannot be"),
        (changed(measurements=(TIMED, TIMED)), "a boundary twice"),
        (jobs.Produced(phases=()), "Produced where Measured answers"),
        (jobs.Preloaded(), "Preloaded where Measured answers"),
        (jobs.Rates(ceilings={"fp32": 1.0}), "Rates where Measured answers"),
    ],
)
def test_a_reply_of_another_job_or_an_impossible_record_is_a_row(parent: Parent, reply: jobs.Reply, told: str) -> None:
    found = parent.ask(answer(reply), job=MEASURE)
    assert isinstance(found, Failure)
    assert (found.kind, told in found.message) == ("Crash", True)


def test_only_what_belongs_to_the_job_is_taken_from_inspection_and_ceilings(parent: Parent) -> None:
    inspect = jobs.Inspect(device="cpu", cases=(CASE,))
    work = Work(flops=1, bytes=1)
    assert isinstance(parent.ask(answer(jobs.Inspected(work={CASE.id: work})), job=inspect), jobs.Inspected)
    for wrong in (jobs.Inspected(work={"x": work}), jobs.Inspected(work={CASE.id: Work(flops=-1, bytes=1)})):
        assert isinstance(parent.ask(answer(wrong), job=inspect), Failure)
    ceilings = jobs.Ceilings(device="cpu")
    assert isinstance(parent.ask(answer(jobs.Rates(ceilings={"fp32": 2.0})), job=ceilings), jobs.Rates)
    assert isinstance(parent.ask(answer(jobs.Rates(ceilings={"fp32": -2.0})), job=ceilings), Failure)


@pytest.mark.parametrize(
    ("after", "told"),
    [
        ("sys.exit(3)", "exit code 3 after it had answered"),
        ("os.abort()", "SIGABRT after it had answered"),
        (answer(changed()), "more after its reply (Measured)"),
        (answer(jobs.Doing(phase="measure")), "more after its reply (Doing)"),
    ],
)
def test_a_reply_counts_only_if_the_worker_ends_with_it(parent: Parent, after: str, told: str) -> None:
    found = parent.ask(f"{answer(changed())}\n{after}", job=MEASURE)
    assert isinstance(found, Failure)
    assert told in found.message
    kept = parent.ask(answer(changed()), job=MEASURE)
    assert isinstance(kept, jobs.Measured)
    assert kept.record == GOOD


def test_messages_and_phases_of_a_worker_are_bounded(parent: Parent) -> None:
    long = "x" * 20_000
    found = parent.ask(answer(jobs.Doing(phase=long)) + "\n" + answer(jobs.Failed(kind="E", stage=long, message=long)))
    assert isinstance(found, Failure)
    assert max(len(text) for text in (found.message, found.stage)) < 5000
    assert all(len(getattr(event, "phase", "")) < 5000 for event in parent.told)
