"""Workers that are started before their turn: all of a group wait before one is measured, and none is left behind."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from bench.machine.environment import describe
from bench.model.events import Event, Note
from bench.model.run import Record
from bench.model.suite import Case
from bench.runner import jobs, toolchains
from bench.runner.phase_log import PhaseLog
from bench.runner.prestart import Prestart, import_limit_ns
from bench.runner.worker_jobs import preload
from bench.units import NS_PER_S
from tests import distribution_kit
from tests.conftest import Trtbench

pytestmark = pytest.mark.workers

Suite = Callable[..., Path]
CASE = Case(model="m", factory="f:m", inputs={}, backend="fake")


def children() -> set[str]:
    """The processes that this one has started and not ended."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def ahead(record: Record) -> bool:
    return "prestart" in {phase.name for phase in record.phases}


def groups(trtbench: Trtbench) -> list[str]:
    """What was told of starting workers ahead, in order."""
    told = [event for event in trtbench.events() if event["event"] == "step"]
    return [str(event["phase"]) for event in told if str(event["phase"]).startswith("prestart")]


def test_the_same_cases_are_measured_in_the_same_order_with_the_same_samples(
    trtbench: Trtbench, fake_suite: Suite
) -> None:
    suite = fake_suite("[fake, {name: fake, time: 2 ms}]", replicates=3)
    before = children()
    assert trtbench("run", suite, "--select", "batch=1") == 0
    assert trtbench("run", suite, "--select", "batch=1", "--prestart", 4, "--progress", "json") == 0
    assert groups(trtbench) == ["prestart: 4 workers", "prestart: 2 workers"]
    usual, early = sorted(trtbench.runs(), key=lambda run: ahead(run.records[0]))
    assert [(r.case, r.replicate) for r in early.records] == [(r.case, r.replicate) for r in usual.records]
    assert [r.measurements for r in early.records] == [r.measurements for r in usual.records]
    assert all(ahead(record) for record in early.records)
    assert not any(ahead(record) for record in usual.records)
    assert children() == before


def test_a_group_waits_whole_before_its_first_is_measured(trtbench: Trtbench, fake_suite: Suite) -> None:
    assert trtbench("run", fake_suite("[fake, {name: fake, time: 2 ms}]"), "--prestart", 4, "--progress", "json") == 0
    phases = [str(event["phase"]) for event in trtbench.events() if event["event"] == "step"]
    assert phases.count("measure") == 4
    assert [name for name in phases if name.startswith("prestart") or name == "measure"] == [
        "prestart: 4 workers",
        *["measure"] * 4,
    ]


def test_one_that_cannot_import_is_started_in_its_turn_and_tells_why(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = fake_suite("[fake, {name: fake, fail: import}]", replicates=2)
    before = children()
    assert trtbench("run", suite, "--prestart", 8, "--progress", "plain") == 0
    assert "net/fake/fp32/batch=1: prestart\n" in trtbench.err
    assert trtbench.err.count("started in its turn") == 1
    assert "as it cannot be started ahead: the fake package is installed but cannot be imported\n" in trtbench.err
    run = trtbench.runs()[0]
    failed = [record for record in run.records if record.failure]
    assert [record.failure.kind for record in failed if record.failure] == ["Unavailable"] * 2
    assert not any(ahead(record) for record in failed)
    assert [ahead(record) for record in run.records if not record.failure] == [True] * 4
    assert children() == before


def test_what_cannot_be_imported_ahead_is_told_once_and_tried_for_no_further_case(
    trtbench: Trtbench, fake_suite: Suite
) -> None:
    suite = fake_suite("[{name: fake, fail: preload}]", replicates=2)
    suite.write_text(suite.read_text().replace("batch: [1, 8]", "batch: [1, 2, 4, 8]"))
    assert trtbench("run", suite, "--prestart", 2, "--progress", "json") == 0
    assert groups(trtbench) == ["prestart: 2 workers"]
    notes = [event for event in trtbench.events() if event["event"] == "note"]
    assert len(notes) == 1
    records = trtbench.runs()[0].records
    assert len(records) == 4 * 2
    assert not any(ahead(record) or record.failure for record in records)


def test_the_workers_of_a_case_that_fails_are_ended(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = fake_suite("[{name: fake, fail: segfault}, fake]", replicates=3)
    before = children()
    assert trtbench("run", suite, "--prestart", 5, "--progress", "json") == 1
    # 12 turns. Of the first five the two of the failing backend end it, and so their later turns are none.
    assert groups(trtbench) == ["prestart: 5 workers", "prestart: 4 workers"]
    assert len(trtbench.runs()[0].records) == 2 + 2 * 3
    assert children() == before


def test_one_left_of_a_run_is_started_as_usual(trtbench: Trtbench, fake_suite: Suite) -> None:
    assert trtbench("run", fake_suite("[fake]"), "--select", "batch=8", "--prestart", 4, "--progress", "json") == 0
    assert groups(trtbench) == []
    assert not ahead(trtbench.runs()[0].records[0])


def test_cold_starts_cannot_be_made_ahead(trtbench: Trtbench, fake_suite: Suite) -> None:
    assert trtbench("run", fake_suite(), "--cold", "--prestart", 2) == 2
    assert "a --cold run is for true starts" in trtbench.err
    assert trtbench.runs() == []


def test_a_worker_that_is_not_needed_after_all_leaves_in_silence(tmp_path: Path) -> None:
    line = jobs.encode(jobs.Preload(device="cpu", case=CASE)) + b"\n"
    read, write = os.pipe()
    command = [*toolchains.worker_command(""), str(write)]
    env = toolchains.worker_env(toolchains.package_link(tmp_path), {})
    done = subprocess.run(command, input=line, env=env, pass_fds=[write], capture_output=True, check=False)
    os.close(write)
    with os.fdopen(read, "rb") as replies:
        told = [jobs.decode_reply(reply) for reply in replies.read().splitlines()]
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert told[-1] == jobs.Preloaded()


def test_an_import_that_starts_cuda_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    log = PhaseLog(SimpleNamespace(send=lambda reply: None))  # type: ignore[arg-type]
    job = jobs.Preload(device="cuda:0", case=CASE)
    for started in (False, True):
        torch = SimpleNamespace(cuda=SimpleNamespace(is_initialized=lambda started=started: started))
        monkeypatch.setitem(sys.modules, "torch", torch)
        if started:
            with pytest.raises(RuntimeError, match="starts CUDA"):
                preload(job, log)
        else:
            preload(job, log)
        assert gc.isenabled()


def interpreter_with(backend: str, folder: Path) -> toolchains.Interpreter:
    return toolchains.Interpreter(
        name="default",
        command=toolchains.worker_command(""),
        env=toolchains.worker_env(toolchains.package_link(folder), {}),
        environment=describe("fake"),
        backends={backend: None},
    )


@pytest.mark.parametrize(("case", "limit"), [(8, 60), (120, 120), (1200, 300)])
def test_an_import_has_the_time_of_a_case_within_bounds(case: int, limit: int) -> None:
    assert import_limit_ns(case * NS_PER_S) == limit * NS_PER_S


STOPS = """
import os, signal
from bench.backends.fake import Fake
class Stops(Fake):
    def preload(self, case, suite_dir):
        os.kill(os.getpid(), signal.SIGSTOP)
BACKEND = Stops()
"""


def test_workers_whose_import_stops_them_are_given_up_at_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with distribution_kit.installed(tmp_path / "site", "stops", STOPS, monkeypatch):
        events: list[Event] = []
        interpreter = interpreter_with("stops", tmp_path)
        case = msgspec.structs.replace(CASE, backend="stops")
        before = children()
        workers = Prestart(2, "cpu", tmp_path, events.append, gates=False, limit_ns=NS_PER_S)
        turns = [(case, 0), (case, 1)]
        workers.begin(turns, {"default": interpreter})
        workers.wait()
        assert [workers.take(*turn) for turn in turns] == [None, None]
        assert children() == before
        [note] = [event.text for event in events if isinstance(event, Note)]
        assert note.endswith("as it cannot be started ahead: it ended, or hangs")


def test_one_that_dies_while_it_waits_is_started_as_usual(tmp_path: Path) -> None:
    events: list[Event] = []
    interpreter = interpreter_with("fake", tmp_path)
    before = children()
    workers = Prestart(2, "cpu", tmp_path, events.append, gates=True)
    turns = [(CASE, 0), (CASE, 1)]
    workers.begin(turns, {"default": interpreter})
    workers.wait()
    keeper, other = sorted(children() - before, key=int)
    os.kill(int(keeper), signal.SIGKILL)
    os.waitid(os.P_PID, int(keeper), os.WEXITED | os.WNOWAIT)
    ends = [workers.take(*turn) for turn in turns]
    assert [end is None for end in ends] == [True, False]
    assert other in children()
    workers.drop(CASE.id)
    for end in ends:
        if end is not None:
            end.close()
    assert children() == before
    assert [type(event).__name__ for event in events].count("Ended") == 2
