"""How many threads of the CPU workers have that make artifacts side by side."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path

import msgspec
import pytest

from bench.machine.environment import describe
from bench.model.run import Failure
from bench.model.seam import Stage
from bench.model.suite import Case
from bench.runner import jobs
from bench.runner.phase_log import PhaseLog
from bench.runner.side_by_side import Slots
from bench.runner.stages import Maker
from bench.runner.toolchains import Interpreter
from bench.runner.worker_jobs import produce
from tests.runner.test_worker_measure import Silent

CASE = Case(model="net", factory="fake:net", inputs={}, backend="fake")
EXPORT = Stage(name="export", kind="fake-export", producer="fake", key={})
ENGINE = msgspec.structs.replace(EXPORT, name="build", kind="fake-build", per_device=True)


@pytest.mark.parametrize(
    ("stage", "slots", "threads"), [(EXPORT, 4, 8), (EXPORT, 64, 1), (ENGINE, 4, 0), (EXPORT, None, 0)]
)
def test_workers_side_by_side_share_the_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stage: Stage, slots: int | None, threads: int
) -> None:
    def run_job(interpreter: Interpreter, job: jobs.JobType, label: str) -> Failure:
        assert isinstance(job, jobs.Produce)
        seen.append(job.threads)
        return Failure(kind="Crash", stage="start", message="no")

    seen: list[int] = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(32)))
    interpreter = Interpreter(name="default", command=(sys.executable,), env={}, environment=describe("fake"))
    maker = Maker(tmp_path, None, tmp_path, "cuda:0", 0, run_job)
    beside = None if slots is None else Slots(slots)
    maker.ready(CASE, [stage], {"default": interpreter}, lambda event: None, beside=beside)
    assert seen == [threads]


@pytest.mark.parametrize(
    ("own", "threads", "left"),
    [(None, 3, "3"), (None, 0, None), ("5", 3, "3"), ("2,1", 3, "2,1"), ("two", 3, "3"), ("5", 0, "5")],
)
def test_a_worker_has_so_many_threads_unless_the_user_has_set_fewer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own: str | None, threads: int, left: str | None
) -> None:
    limits: list[int] = []
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(set_num_threads=limits.append))
    monkeypatch.setenv("OMP_NUM_THREADS", own or "")
    if own is None:
        monkeypatch.delenv("OMP_NUM_THREADS")
    stage = Stage(name="reference", kind="fake-reference", producer="fake", key={})
    job = jobs.Produce(
        device="cpu", case=CASE, stage=stage, artifacts={}, out=str(tmp_path), scratch=str(tmp_path), threads=threads
    )
    produce(job, PhaseLog(Silent()))
    assert os.environ.get("OMP_NUM_THREADS") == left
    assert limits == ([threads] if left == str(threads) and own != left else [])
