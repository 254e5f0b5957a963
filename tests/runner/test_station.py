"""What measures on one card of several: its own workers, and its own loss."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pynvml
import pytest

from bench.machine.environment import describe
from bench.model.run import Failure
from bench.model.seam import REFERENCES, Stage
from bench.model.suite import Case
from bench.runner import jobs
from bench.runner.cards import Card
from bench.runner.hung_factories import HungFactories
from bench.runner.prestart import Prestart
from bench.runner.side_by_side import Slots
from bench.runner.stages import Maker, Postponed, Ready
from bench.runner.station import Equipment, Interpreters, Station
from bench.runner.toolchains import Interpreter
from tests.machine.nvml_kit import GIB, FakeNvml
from tests.runner.test_prestart import children

pytestmark = pytest.mark.workers

CASE = Case(model="m", factory="f:m", inputs={}, backend="fake")
STAGE = Stage(name="reference", kind="reference", producer="fake", key={})
FIRST, SECOND = FakeNvml.UUIDS
TWO = (Card(id="a", name="GPU 0", visible=FIRST), Card(id="b", name="GPU 1", visible=SECOND))
# Fails, and says which card it saw.
FAILS = """
import json, os, sys
job = json.loads(sys.stdin.readline())
reply = {"reply": "failed", "ticket": job["ticket"], "kind": "CudaFailure", "stage": "measure", "hint": ""}
os.write(int(sys.argv[1]), json.dumps(reply | {"message": os.environ["CUDA_VISIBLE_DEVICES"]}).encode() + b"\\n")
"""


class OneLost(FakeNvml):
    """The second GPU is lost."""

    def __getattr__(self, name: str) -> Any:
        usual = super().__getattr__(name)

        def answer(*args: Any) -> Any:
            if name == "nvmlDeviceGetMemoryInfo" and args == ("gpu 1",):
                raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
            return usual(*args)

        return answer if name.startswith("nvmlDevice") else usual


def never_made(
    interpreters: Interpreters, case: Case, build: int, slots: Slots | None, stages: Sequence[Stage] | None = None
) -> Ready | Failure | Postponed:
    raise AssertionError("nothing is made here")


def new_imports(size: int, halted: Callable[[], bool] | None) -> Prestart:
    return Prestart(size, "cuda:0", Path(), lambda event: None, gates=False, halted=halted)


def stations(size: int = 1) -> list[Station]:
    equipment = Equipment(
        size=size, builds=1, limit_ns=60_000_000_000, cold=False, fork=False, several=True, templates=None,
        make=never_made, hung=HungFactories(), new_imports=new_imports, halted=lambda: False,
        on_event=lambda event: None,
    )  # fmt: skip
    interpreter = Interpreter(
        name="default", command=(sys.executable, "-c", FAILS), env={}, environment=describe("fake")
    )
    return [equipment.station(card, (CASE,), {"default": interpreter}, len(TWO)) for card in TWO]


def ask(station: Station) -> Failure:
    job = jobs.Produce(device="cuda:0", case=CASE, stage=STAGE, artifacts={}, out="", scratch="")
    reply = station.dispatcher.run(station.interpreters["default"], job, "case")
    assert isinstance(reply, Failure)
    return reply


def test_the_loss_of_a_card_ends_its_own_turns_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", OneLost())  # type: ignore[arg-type]
    sound, lost = stations()
    assert (ask(sound).kind, ask(lost).kind) == ("CudaFailure", "DeviceLost")
    assert (sound.dispatcher.gpu_lost, lost.dispatcher.gpu_lost) == (False, True)
    again = ask(sound)  # its workers still start, and see it alone
    assert (again.kind, again.message) == ("CudaFailure", FIRST)
    assert ask(lost).message == "the GPU was lost in case"
    assert sound.card.state().used == 2 * GIB


def test_nothing_but_imports_is_made_beside_other_cards() -> None:
    (first, _) = stations(size=4)
    first.ahead.prepare(lambda: iter([(CASE, 0), (CASE, 1)]), {"default": first.interpreters["default"]})
    first.ahead.close()


def test_imports_that_hang_are_given_up_when_the_run_is_over() -> None:
    hangs = Interpreter(
        name="default",
        command=(sys.executable, "-c", "import signal; signal.pause()"),
        env={},
        environment=describe("fake"),
    )
    before = children()
    imports = new_imports(2, lambda: True)
    imports.begin([(CASE, 0), (CASE, 1)], {"default": hangs})
    assert len(children() - before) == 2
    imports.wait()  # five minutes otherwise
    assert imports.take(CASE, 0) is None
    assert children() == before


def test_what_a_lost_card_could_not_make_another_one_tries(tmp_path: Path) -> None:
    def run_job(interpreter: Interpreter, job: jobs.JobType, label: str) -> Failure:
        asked.append(interpreter.card)
        kind = "DeviceLost" if interpreter.card == "b" else "Crash"
        return Failure(kind=kind, stage="start", message="no")

    asked: list[str] = []
    sound, lost = stations()
    maker = Maker(tmp_path, None, tmp_path, "cuda:0", 0, run_job)
    ends = [maker.ready(CASE, [STAGE], each.interpreters, lambda event: None) for each in (lost, sound, sound)]
    assert [end.kind for end in ends if isinstance(end, Failure)] == ["DeviceLost", "Crash", "Crash"]
    assert asked == ["b", "a"]  # a failure of the stage itself is of all


def test_rebuild_makes_the_program_of_all_models_once_more_too(tmp_path: Path) -> None:
    def run_job(interpreter: Interpreter, job: jobs.JobType, label: str) -> jobs.Produced:
        assert isinstance(job, jobs.Produce)
        (Path(job.out) / "program").write_text("1")
        asked.append(job.stage.name)
        return jobs.Produced(phases=())

    asked: list[str] = []
    stages = [
        msgspec.structs.replace(STAGE, name=name, kind=name, of_model=name != "runner", per_build=name == "build")
        for name in ("export", "build", "runner")
    ]
    (here, _) = stations()
    for rebuild in (False, False, True):
        maker = Maker(tmp_path, None, tmp_path, "cpu", 0, run_job, rebuild=rebuild)
        for _ in range(2):
            assert isinstance(maker.ready(CASE, stages, here.interpreters, lambda event: None), Ready)
        asked.append("/")
    assert asked == ["export", "build", "runner", "/", "/", "build", "runner", "/"]


def test_references_are_no_part_of_getting_ready_and_stay_in_the_cache_of_a_cold_run(tmp_path: Path) -> None:
    def run_job(interpreter: Interpreter, job: jobs.JobType, label: str) -> jobs.Produced:
        assert isinstance(job, jobs.Produce)
        (Path(job.out) / "outputs").write_text("1")
        produced.append(job.stage.name)
        return jobs.Produced(phases=())

    produced: list[str] = []
    stages = [msgspec.structs.replace(STAGE, name=name, kind=name) for name in (*REFERENCES, "export")]
    (here, _) = stations()
    for number in range(2):
        maker = Maker(tmp_path / "cache", tmp_path / f"cold{number}", tmp_path, "cpu", 0, run_job)
        ready = maker.ready(CASE, stages, here.interpreters, lambda event: None)
        assert isinstance(ready, Ready)
        assert list(ready.folders) == ["reference", "quantized_reference", "export"]
        assert [phase.name for phase in ready.phases] == ["export"]
    assert produced == ["reference", "quantized_reference", "export", "export"]
