"""A factory that does not return costs one timeout: it is not called again, to make, count or measure anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.machine.environment import describe
from bench.model.events import Event, Note
from bench.model.run import Failure, Measurement, Record, Work
from bench.model.seam import Stage
from bench.model.suite import DEFAULT_POLICY, Case, Input, Threshold
from bench.runner import jobs
from bench.runner.dispatch import UNWATCHED, Dispatcher
from bench.runner.hung_factories import HungFactories, in_factory
from bench.runner.in_turn import Player
from bench.runner.preflight import Preflight
from bench.runner.resume import remaining
from bench.runner.side_by_side import Slots
from bench.runner.stages import Maker, Postponed
from bench.runner.toolchains import Interpreter
from bench.system.process import Outcome

pytestmark = pytest.mark.workers

CASE = Case(model="a", factory="f:m", inputs={"x": Input(shape=(1,))}, backend="fake")
REFERENCE = Stage(name="reference", kind="reference", producer="fake", key={"batch": 1})
LARGER = msgspec.structs.replace(REFERENCE, key={"batch": 8})
HERE = Interpreter(name="default", command=(), env={}, environment=describe("fake"))


def timeout(stage: str = "reference: factory of a", stage_ns: int = 5, **details: int) -> Failure:
    return Failure(kind="Timeout", stage=stage, message="late", details={"stage_ns": stage_ns, "limit_ns": 8} | details)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (timeout(), True),
        (timeout("inspect: factory of a"), True),
        (timeout("reference: factory of aa"), False),
        (timeout("reference"), False),
        (timeout(stage_ns=3), False),  # imports took most of the time: alone they may take less
        (msgspec.structs.replace(timeout(), kind="Crash"), False),
        (msgspec.structs.replace(timeout(), details={}), False),
    ],
)
def test_a_timeout_is_a_factorys_if_it_had_most_of_the_time(failure: Failure, expected: bool) -> None:
    assert in_factory(failure, "a") is expected


class Worker:
    """A maker whose jobs all end in ``failure``, and how many there were."""

    def __init__(self, folder: Path, failure: Failure) -> None:
        self.jobs = 0
        self.failure = failure
        self.hung = HungFactories()
        self.maker = Maker(folder, None, folder, "cpu", 0, self, hung=self.hung)

    def __call__(self, interpreter: Interpreter, job: jobs.JobType, label: str) -> Failure:
        self.jobs += 1
        return self.failure

    def ready(self, case: Case, stage: Stage, slots: Slots | None) -> object:
        return self.maker.ready(case, [stage], {"default": HERE}, lambda event: None, beside=slots)


def test_a_factory_that_did_not_return_beside_others_is_not_called_again(tmp_path: Path) -> None:
    worker = Worker(tmp_path, timeout())
    other = msgspec.structs.replace(CASE, model="b", args={"width": 3})
    assert worker.ready(CASE, REFERENCE, Slots(4)) == worker.failure
    assert worker.ready(CASE, REFERENCE, None) == worker.failure
    assert worker.ready(CASE, LARGER, None) == worker.failure
    assert worker.jobs == 1
    assert (worker.hung.failure(CASE, "default"), worker.hung.failure(other, "default")) == (worker.failure, None)
    worker.ready(other, LARGER, None)
    assert worker.jobs == 2


def test_what_waits_for_a_slot_meanwhile_is_not_begun(tmp_path: Path) -> None:
    slots = Slots(1)
    others: list[Future[object]] = []

    class Slow(Worker):
        def __call__(self, interpreter: Interpreter, job: jobs.JobType, label: str) -> Failure:
            if not self.jobs:
                others.append(pool.submit(worker.ready, CASE, LARGER, slots))
            return super().__call__(interpreter, job, label)

    worker = Slow(tmp_path, timeout())
    with ThreadPoolExecutor(1) as pool:
        assert worker.ready(CASE, REFERENCE, slots) == worker.failure
        assert others[0].result() == worker.failure
    assert worker.jobs == 1


def test_another_case_of_the_model_names_the_first_in_place_of_its_timeout(tmp_path: Path) -> None:
    worker = Worker(tmp_path, timeout())
    larger = msgspec.structs.replace(CASE, symbols={"b": 8})
    worker.ready(CASE, REFERENCE, None)
    failure = worker.ready(larger, LARGER, None)
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.stage) == ("Timeout", worker.failure.stage)
    assert failure.message == f"not begun, as the same factory did not return in {CASE.label}: late"
    assert worker.jobs == 1


EAGER = msgspec.structs.replace(CASE, backend="eager")


def variant(**fields: object) -> Case:
    return msgspec.structs.replace(EAGER, **fields)


@pytest.mark.parametrize(
    ("case", "toolchain", "begins"),
    [
        (variant(symbols={"b": 8}), "default", False),
        (variant(model="same", precision="fp16"), "default", False),
        (variant(backend="inductor"), "default", False),
        (variant(backend="torchscript"), "default", False),
        (variant(backend="torchscript", options={"executor": "cpp"}), "default", True),  # it runs what was built
        (variant(backend="aoti"), "default", True),
        (variant(args={"width": 3}), "default", True),
        (variant(factory="f:other"), "default", True),
        (EAGER, "other", True),
    ],
)
def test_only_what_calls_the_same_factory_is_not_measured(case: Case, toolchain: str, begins: bool) -> None:
    hung = HungFactories()
    assert hung.add(EAGER, "default", timeout("load: factory of a"), measuring=True)
    assert (hung.failure_of_measuring(case, toolchain) is None) == begins


def test_a_backend_whose_worker_has_hung_is_known_to_call_it() -> None:
    hung = HungFactories()
    first, second = (variant(backend="aoti", symbols={"b": size}) for size in (1, 2))
    hung.add(first, "default", timeout())
    assert hung.failure_of_measuring(second, "default") is None
    hung.add(first, "default", timeout("load: factory of a"), measuring=True)
    assert hung.failure_of_measuring(second, "default") is not None


def test_a_case_that_has_been_measured_is_tried_again() -> None:
    hung = HungFactories()
    other = variant(symbols={"b": 8})
    hung.has_measured(other.id)
    hung.add(EAGER, "default", timeout("load: factory of a"), measuring=True)
    assert hung.failure_of_measuring(other, "default") is None
    assert hung.failure_of_measuring(EAGER, "default") == timeout("load: factory of a")


class Scripted:
    """A worker that measures, or whose factory hangs: its time is over as soon as it has said so."""

    def __init__(self, hangs: bool) -> None:
        self.alive = self.closed = False
        self._hangs = hangs

    def say(self, line: bytes) -> None:
        self._job = line

    def hear(self, limit_ns: int, on_line: Callable[[bytes], None], *_: object, **__: object) -> bool:
        return False

    def finish(self, job: bytes, limit_ns: int, on_line: Callable[[bytes], None], **_: object) -> Outcome:
        asked = msgspec.json.decode(job or self._job, type=jobs.Measure)
        reply: jobs.Reply = jobs.Doing(phase=f"load: factory of {asked.case.model}")
        if not self._hangs:
            reply = jobs.Measured(record=_record(asked.case))
        on_line(jobs.encode(msgspec.structs.replace(reply, ticket=asked.ticket)))
        return Outcome(code=-9 if self._hangs else 0, timed_out=self._hangs, log="")

    def close(self) -> None:
        self.closed = True


class Cases:
    """A dispatcher whose workers hang for the cases of ``hanging``; ``begun`` has the labels of those that it began."""

    def __init__(self, hanging: Sequence[Case]) -> None:
        self.begun: list[str] = []
        self._hanging = [case.id for case in hanging]
        self._dispatcher = Dispatcher(1, False, lambda event: None, start=self._start)

    def _start(self, interpreter: Interpreter, job: jobs.Job, keep: Sequence[int], env: dict[str, str]) -> Any:
        assert isinstance(job, jobs.Measure)
        self.begun.append(job.case.label)
        return Scripted(job.case.id in self._hanging)

    def measure(self, case: Case, worker: Any = None) -> object:
        """How measuring it ends."""
        return self._dispatcher.run(HERE, _job(case), case.label, worker=worker)

    def take_turns(self, case: Case) -> object:
        """How measuring it in turn with others ends, before its first turn."""
        player = Player(self._dispatcher, lambda event: None, HERE, _job(case), case.label, UNWATCHED, None)
        player.play()
        return player.end


def _record(case: Case) -> Record:
    samples = (1_000_000,) * 3
    return Record(case=case.id, label=case.label, measurements=(Measurement(boundary="latency", samples=samples),))


def _job(case: Case) -> jobs.Measure:
    return jobs.Measure(device="cpu", case=case, policy=DEFAULT_POLICY, threshold=Threshold(), artifacts={}, scratch="")


@pytest.mark.parametrize("how", [Cases.measure, Cases.take_turns])
def test_where_it_hangs_as_a_case_is_measured_later_ones_are_not_begun(how: Callable[[Cases, Case], object]) -> None:
    before, first, later = (variant(symbols={"b": size}) for size in (1, 2, 4))
    cases = Cases([first])
    assert isinstance(how(cases, before), jobs.Measured)
    end = how(cases, first)
    assert isinstance(end, Failure)
    assert in_factory(end, "a")
    waiting = Scripted(hangs=True)
    assert isinstance(cases.measure(later, waiting), Failure)
    assert waiting.closed
    end = how(cases, later)
    assert isinstance(end, Failure)
    assert end.message.startswith(f"not begun, as the same factory did not return in {first.label}: no result within")
    assert (end.details, end.is_final) == ({"not_begun": True}, False)
    assert isinstance(how(cases, before), jobs.Measured)
    assert cases.begun == [before.label, first.label, before.label]


def test_a_resumed_run_tries_what_was_not_begun_and_not_what_has_hung(tmp_path: Path) -> None:
    worker = Worker(tmp_path, timeout())
    first, second, third = (variant(symbols={"b": size}) for size in (1, 2, 4))
    ends = [worker.ready(first, REFERENCE, None), worker.ready(second, LARGER, None)]
    records = [
        Record(case=case.id, label=case.label, failure=end)
        for case, end in zip((first, second), ends, strict=True)
        if isinstance(end, Failure)
    ]
    assert remaining((first, second, third), records, 1) == [second, third]


@pytest.mark.parametrize("failure", [timeout("reference"), timeout(stage_ns=3)])
def test_any_other_timeout_beside_others_is_tried_again_alone(tmp_path: Path, failure: Failure) -> None:
    worker = Worker(tmp_path, failure)
    assert worker.ready(CASE, REFERENCE, Slots(4)) == Postponed(stage="reference", failure=failure)
    assert worker.ready(CASE, REFERENCE, None) == failure
    assert worker.jobs == 2


@pytest.mark.parametrize("known", [False, True])
def test_the_work_of_the_others_is_counted_once_without_it(tmp_path: Path, known: bool) -> None:
    counted: list[str] = []
    notes: list[str] = []

    def answer(job: jobs.JobType, label: str) -> jobs.ReplyType | Failure:
        assert isinstance(job, jobs.Inspect)
        models = [case.model for case in job.cases]
        counted.append("".join(models))
        if "b" in models:
            return timeout("inspect: factory of b")
        return jobs.Inspected(work={case.id: Work(flops=1, bytes=1) for case in job.cases})

    def note(event: Event) -> None:
        if isinstance(event, Note):
            notes.append(event.text)

    cases = [msgspec.structs.replace(CASE, model=name, factory=f"{name}.py:m") for name in "abc"]
    hung = lambda case: timeout() if known and case.model == "b" else None  # noqa: E731
    preflight = Preflight(tmp_path, tmp_path, "s.yaml", "cpu", describe("fake"), answer, note, hung=hung)
    assert preflight.work(cases, {}, 0).keys() == {cases[0].id, cases[2].id}
    assert ["".join(sorted(models)) for models in counted] == (["ac"] if known else ["abc", "ac"])
    assert notes == ["b/fp32: no speed of light, as its work cannot be counted: late"]
