"""A factory that does not return costs one timeout: it is not called again, neither alone nor to count its work."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from bench.machine.environment import describe
from bench.model.events import Event, Note
from bench.model.run import Failure, Work
from bench.model.seam import Stage
from bench.model.suite import Case, Input
from bench.runner import jobs
from bench.runner.dispatch import in_factory
from bench.runner.preflight import Preflight
from bench.runner.side_by_side import Slots
from bench.runner.stages import Maker, Postponed
from bench.runner.toolchains import Interpreter
from tests.conftest import Trtbench

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
        self.maker = Maker(folder, None, folder, "cpu", 0, self)

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
    assert (worker.maker.hung(CASE, HERE), worker.maker.hung(other, HERE)) == (worker.failure, None)
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


ZOO = """\
import signal
import torch

def hangs():
    signal.pause()

def good():
    return torch.nn.Linear(3, 3)
"""
SUITE = """\
schema: 1
device: cpu
models:
  hangs: {factory: zoo.py:hangs, inputs: {input: {shape: [b, 3]}}}
  good: {factory: zoo.py:good, inputs: {input: {shape: [2, 3]}}}
matrix: {backend: eager, b: [1, 2, 4]}
measure: {replicates: 1, max_time: 1s, warmup: 0s, boundaries: [latency], timeout: 40s}
"""


@pytest.mark.torch
@pytest.mark.long
def test_a_run_calls_it_once_for_each_size_that_is_made_at_the_same_time(trtbench: Trtbench, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "zoo.py").write_text(ZOO)
    (tmp_path / "s.yaml").write_text(SUITE)
    assert trtbench("run", tmp_path / "s.yaml", "--prestart", 2, "--progress", "json") == 1, trtbench.err
    (run,) = trtbench.runs()
    failures = [record.failure for record in run.records if record.label.startswith("hangs")]
    assert len(failures) == 3
    assert all(failure is not None and in_factory(failure, "hangs") for failure in failures)
    assert [record.failure for record in run.records if record.label.startswith("good")] == [None]
    events = trtbench.events()
    calls = [event for event in events if event["event"] == "step" and "factory of hangs" in str(event["phase"])]
    assert len(calls) == 3  # counting, and two references beside it
    assert not [event for event in events if event["event"] == "note" and "made again alone" in str(event["text"])]
