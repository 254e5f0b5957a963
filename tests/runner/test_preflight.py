"""What is found out before a run: the machine's rates, which are kept; those of a busy one for an hour."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench.errors import SuiteError
from bench.machine import gpus
from bench.machine.environment import describe
from bench.model.events import Event, Note
from bench.model.run import Failure, Run, Work
from bench.model.suite import Case, Input
from bench.runner import jobs
from bench.runner.preflight import Preflight, RunJob
from tests.conftest import Trtbench

pytestmark = pytest.mark.workers


CASE = Case(model="m", factory="f:m", inputs={}, backend="eager")


class Asked:
    """Answers with rates that rise from one time to the next."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, job: jobs.JobType, label: str) -> jobs.ReplyType:
        assert isinstance(job, jobs.Ceilings)
        self.times += 1
        return jobs.Rates(ceilings={"fp32": 1e9 * self.times, "copy": 1e9})


HOUR = 3600 * 10**9
BUSY = 1e6  # cores in use


def survey(cache: Path, asked: RunJob, load: float, device: str = "cpu", now: int = 0) -> Preflight:
    return Preflight(
        cache, cache, "s.yaml", device, describe("fake"), asked, print, lambda: load, now=lambda: 10 * HOUR + now
    )


def test_rates_are_measured_once_and_kept(tmp_path: Path) -> None:
    asked = Asked()
    found = [survey(tmp_path, asked, 0.0).ceilings([CASE]) for _ in range(2)]
    assert found == [{"fp32": 1e9, "copy": 1e9}] * 2
    assert asked.times == 1


def test_only_rates_that_cases_need_are_measured_and_added_to_those_kept(tmp_path: Path) -> None:
    precisions: list[tuple[str, ...]] = []

    def ask(job: jobs.JobType, label: str) -> jobs.ReplyType:
        assert isinstance(job, jobs.Ceilings)
        precisions.append(job.precisions)
        has = [precision for precision in job.precisions if precision != "bf16"]  # which this machine lacks
        return jobs.Rates(ceilings={**dict.fromkeys(has, 1e9), "copy": 1e9})

    def rates(*names: str) -> dict[str, float]:
        cases = [msgspec.structs.replace(CASE, precision=name) for name in names]
        return Preflight(tmp_path, tmp_path, "", "cpu", describe("fake"), ask, print, lambda: 0.0).ceilings(cases)

    assert rates() == {}
    assert rates("fp32").keys() == {"fp32", "copy"}
    assert rates("bf16", "fp32", "int8").keys() == {"fp32", "copy"}
    assert rates("bf16", "fp16").keys() == {"fp32", "fp16", "copy"}
    assert rates("bf16", "fp16", "fp32").keys() == {"fp32", "fp16", "copy"}
    assert precisions == [("fp32",), ("bf16",), ("fp16",)]


@pytest.mark.parametrize(("device", "times"), [("cpu", 2), ("cuda:0", 1)])
def test_rates_of_a_busy_cpu_stand_in_until_one_finds_it_idle(tmp_path: Path, device: str, times: int) -> None:
    asked = Asked()
    found = [survey(tmp_path, asked, load, device).ceilings([CASE])["fp32"] for load in (BUSY, BUSY, 0.0, BUSY)]
    assert asked.times == times
    assert found == [1e9, 1e9, times * 1e9, times * 1e9]


def test_stand_ins_are_measured_again_after_an_hour_and_never_fall(tmp_path: Path) -> None:
    speeds = iter([3e9, 2e9, 4e9])

    def ask(job: jobs.JobType, label: str) -> jobs.ReplyType:
        assert isinstance(job, jobs.Ceilings)
        return jobs.Rates(ceilings={**dict.fromkeys(job.precisions, next(speeds)), "copy": 1e9})

    found = [survey(tmp_path, ask, BUSY, now=now).ceilings([CASE])["fp32"] for now in (0, HOUR - 1, HOUR, 2 * HOUR)]
    assert found == [3e9, 3e9, 3e9, 4e9]


def test_further_precisions_join_stand_ins_and_do_not_prolong_them(tmp_path: Path) -> None:
    precisions: list[tuple[str, ...]] = []

    def ask(job: jobs.JobType, label: str) -> jobs.ReplyType:
        assert isinstance(job, jobs.Ceilings)
        precisions.append(job.precisions)
        return jobs.Rates(ceilings={**dict.fromkeys(job.precisions, 1e9), "copy": 1e9})

    half = msgspec.structs.replace(CASE, precision="fp16")
    for now, case in ((0, CASE), (HOUR // 2, half), (HOUR // 2, CASE), (HOUR - 1, half), (HOUR, half)):
        assert case.precision in survey(tmp_path, ask, BUSY, now=now).ceilings([case])
    assert precisions == [("fp32",), ("fp16",), ("fp16",)]


def test_rates_of_a_gpu_that_others_use_stand_in_until_it_is_idle(tmp_path: Path) -> None:
    asked = Asked()
    for processes in ({7: 1 << 30}, {7: 1 << 30}, {}, {7: 1 << 30}):
        state = gpus.State(processes=processes)
        Preflight(
            tmp_path, tmp_path, "s.yaml", "cuda:0", describe("fake"), asked, print, gpu=lambda state=state: state
        ).ceilings([CASE])
    assert asked.times == 2


def test_disproved_rates_are_forgotten_once_and_measured_anew(tmp_path: Path) -> None:
    asked, notes = Asked(), list[Event]()
    of_run = Preflight(tmp_path, tmp_path, "s.yaml", "cpu", describe("fake"), asked, notes.append, lambda: 0.0)
    first = of_run.ceilings([CASE])
    for label in ("a", "b"):
        of_run.forget(first, label)
    (note,) = notes
    assert isinstance(note, Note)
    assert note.text.startswith("a is faster than this machine's ceilings allow")
    second = survey(tmp_path, asked, 0.0).ceilings([CASE])
    assert (first, second) == ({"fp32": 1e9, "copy": 1e9}, {"fp32": 2e9, "copy": 1e9})
    # A resumed run may go on with rates that are no longer those that are kept.
    of_run.forget(first, "c")
    assert survey(tmp_path, asked, 0.0).ceilings([CASE]) == second
    assert len(notes) == 1


def test_disproved_stand_ins_are_forgotten_and_rates_that_are_not_kept_are_no_news(tmp_path: Path) -> None:
    asked, notes = Asked(), list[Event]()
    busy = Preflight(tmp_path, tmp_path, "s.yaml", "cpu", describe("fake"), asked, notes.append, lambda: BUSY)
    first = busy.ceilings([CASE])
    busy.forget({"fp32": 7e9, "copy": 1e9}, "a")
    assert notes == []
    busy.forget(first, "a")
    assert len(notes) == 1
    assert busy.ceilings([CASE])["fp32"] == 2e9


def told(cache: Path, failure: Failure, bad: str, *names: str) -> tuple[dict[str, Work], list[str]]:
    """What a survey of models finds out of which ``bad`` ends the worker with ``failure``, and its notes."""
    notes: list[Event] = []

    def ask(job: jobs.JobType, label: str) -> jobs.ReplyType | Failure:
        if isinstance(job, jobs.Ceilings):
            return failure
        assert isinstance(job, jobs.Inspect)
        if bad in [case.model for case in job.cases]:
            return failure
        return jobs.Inspected(work={case.id: Work(flops=1, bytes=1) for case in job.cases})

    cases = [Case(model=n, factory=f"{n}.py:m", inputs={"x": Input(shape=(1,))}, backend="eager") for n in names]
    found = Preflight(cache, cache, "s.yaml", "cpu", describe("fake"), ask, notes.append)
    work = found.work(cases, {}, 0)
    assert found.ceilings([CASE]) == {}
    models = {case.id: case.model for case in cases}
    return {models[key]: value for key, value in work.items()}, [n.text for n in notes if isinstance(n, Note)]


@pytest.mark.parametrize("kind", ["Timeout", "Crash", "OutOfMemory", "ValueError"])
def test_a_model_that_ends_the_survey_has_no_work_and_the_others_have(tmp_path: Path, kind: str) -> None:
    failure = Failure(kind=kind, stage="inspect", message="it broke")
    work, notes = told(tmp_path, failure, "b", "a", "b", "c")
    assert set(work) == {"a", "c"}
    assert notes == [
        "b/fp32: no speed of light, as its work cannot be counted: it broke",
        "no speed of light, as this machine's ceilings cannot be measured: it broke",
    ]


def test_what_is_the_suites_fault_ends_the_run_at_its_place(tmp_path: Path) -> None:
    failure = Failure(
        kind="SuiteError", stage="inspect", message="no such factory", hint="correct it", where="s.yaml:5"
    )
    with pytest.raises(SuiteError, match="no such factory") as caught:
        told(tmp_path, failure, "b", "a", "b")
    assert (caught.value.where, caught.value.fix) == ("s.yaml:5", "correct it")


ZOO = """
import torch

class Refuses(torch.nn.Linear):
    def forward(self, x):
        if not x.any():
            raise ValueError("nothing to do")
        return super().forward(x)

class Wrong(torch.nn.Linear):
    def forward(self, x):
        return super().forward(x, x)

class Good(torch.nn.Linear):
    def forward(self, x):
        return super().forward(x)

def refuses():
    return Refuses(4, 4)

def wrong():
    return Wrong(4, 4)

def good():
    return Good(4, 4)
"""
SUITE = """\
schema: 1
name: survey
device: cpu
models:
  refuses: {factory: zoo.py:refuses, inputs: &x {x: {shape: [2, 4]}}}
  wrong: {factory: zoo.py:wrong, inputs: *x}
  good: {factory: zoo.py:good, inputs: *x}
matrix: {backend: eager}
measure: {replicates: 1, max_time: 1s}
"""


@pytest.mark.torch
@pytest.mark.long
def test_models_that_fail_on_zeros_or_in_every_call_are_rows_beside_the_others(
    trtbench: Trtbench, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    (tmp_path / "zoo.py").write_text(ZOO)
    (tmp_path / "survey.yaml").write_text(SUITE)
    assert trtbench("run", tmp_path / "survey.yaml") == 1, trtbench.err
    (run,) = trtbench.runs()
    rates = run.header.ceilings
    assert rates.keys() == {"fp32", "copy"}  # what its rows need
    assert min(rates.values()) > 0
    failed = {record.label.partition("/")[0]: record.failure and record.failure.kind for record in run.records}
    assert failed == {"refuses": None, "wrong": "TypeError", "good": None}
    assert {record.label.partition("/")[0] for record in run.records if record.work} == {"good"}
    counting = "no speed of light, as its work cannot be counted: the model cannot be run on zeros"
    assert f"refuses/fp32: {counting}: nothing to do" in trtbench.err
    assert (
        f"wrong/fp32: {counting}: Wrong.forward()" in trtbench.err or f"wrong/fp32: {counting}: Linear" in trtbench.err
    )


FAST = """
import torch

class Guess(torch.nn.Linear):
    def forward(self, input):
        return super().forward(input) + torch.rand(2, 4)

def good():
    return torch.nn.Linear(4, 4)

def guess():
    return Guess(4, 4)
"""
FAST_SUITE = """\
schema: 1
name: fast
device: cpu
models:
  good: {factory: fast.py:good, inputs: &x {input: {shape: [2, 4]}}}
  guess: {factory: fast.py:guess, inputs: *x}
matrix: {backend: eager}
measure: {replicates: 2, max_time: 1s}
"""


def kept(tmp_path: Path, rate: float) -> float:
    """FLOP/s of fp32 that a run would find in the cache; where there is none, ``rate`` is put there."""
    ask: RunJob = lambda job, label: jobs.Rates(ceilings={"fp32": rate, "copy": 1e18})  # noqa: E731
    here, cache = describe("cpu"), tmp_path / "cache"
    return Preflight(cache, tmp_path, "", "cpu", here, ask, print, lambda: 0.0).ceilings([CASE])["fp32"]


def past(run: Run) -> list[tuple[str, bool]]:
    """The models of a run's records, and whether they were warned to be faster than light."""
    return [(r.label.partition("/")[0], "FasterThanLight" in [w.kind for w in r.warnings]) for r in run.records]


@pytest.mark.long
@pytest.mark.torch
def test_a_case_past_the_kept_rates_is_warned_of_and_the_run_keeps_to_them(trtbench: Trtbench, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "fast.py").write_text(FAST)
    (tmp_path / "fast.yaml").write_text(FAST_SUITE)
    assert kept(tmp_path, 1.0) == 1.0
    assert trtbench("run", tmp_path / "fast.yaml") == 1, trtbench.err  # `guess` is not accurate
    # What gives wrong outputs may be fast because of that.
    (run,) = trtbench.runs()
    assert past(run) == [("good", True), ("guess", False)] * 2
    assert "FasterThanLight" in trtbench.out, trtbench.out
    assert trtbench.err.count("good/eager/fp32 is faster than this machine's ceilings allow") == 1

    assert kept(tmp_path, 1e18) == 1e18  # they were forgotten; measured anew they allow everything
    path = Path(run.path)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    trtbench("run", "--resume", path.stem)
    (run,) = trtbench.runs()
    assert run.header.ceilings["fp32"] == 1.0
    assert past(run) == [("good", True), ("guess", False)] * 2
    assert "ceilings allow" not in trtbench.err
    assert kept(tmp_path, 2.0) == 1e18
