"""What coming turns need is made side by side, before anything is measured; what fails so is made again alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from bench.machine.environment import describe
from bench.model.events import Event, Note
from bench.model.run import Failure, Run
from bench.model.seam import Stage
from bench.model.suite import Case
from bench.runner import toolchains
from bench.runner.ahead import Ahead, Turn
from bench.runner.prestart import Prestart
from bench.runner.side_by_side import Slots, Threads
from bench.runner.stages import Postponed, Ready
from bench.runner.templates import Templates
from tests.conftest import Trtbench
from tests.runner.kit import started_with

Suite = Callable[..., Path]
BUILT = "[{name: fake, tactics: 0.1}, {name: fake, tactics: 0.2}]"  # four cases, each with a build of its own


def steps(trtbench: Trtbench) -> list[str]:
    return [str(event["phase"]) for event in trtbench.events() if event["event"] == "step"]


def builds(run: Run) -> list[tuple[bool, bool]]:
    """Of each phase ``build``: whether it was made in this turn, and beside others."""
    return [(phase.cold, phase.beside) for r in run.records for phase in r.phases if phase.name == "build"]


# ------------------------------------------------------------------------------------------------------ whole runs


@pytest.mark.workers
def test_builds_come_before_the_first_measurement_and_show_no_time(trtbench: Trtbench, fake_suite: Suite) -> None:
    assert trtbench("run", fake_suite(BUILT, replicates=2), "--prestart", 3, "--progress", "json") == 0
    phases = steps(trtbench)
    last = max(index for index, phase in enumerate(phases) if phase == "build (fake-build)")
    assert phases.count("build (fake-build)") == 4
    assert last < phases.index("measure")
    (run,) = trtbench.runs()
    assert builds(run) == [(True, True)] * 4 + [(False, True)] * 4
    assert trtbench("show", run.header.run, "--phases") == 0, trtbench.err
    assert " build" not in trtbench.out, trtbench.out
    assert trtbench("show", run.header.run, "--format", "json") == 0
    assert not any("build" in row["phases"] for row in json.loads(trtbench.out)["rows"])


@pytest.mark.workers
@pytest.mark.parametrize("options", [(), ("--cold",), ("--prestart", 1)])
def test_a_build_that_is_made_alone_shows_its_time(
    trtbench: Trtbench, fake_suite: Suite, options: tuple[object, ...]
) -> None:
    assert trtbench("run", fake_suite("[{name: fake, tactics: 0.1}]"), "--select", "batch=1", *options) == 0
    (run,) = trtbench.runs()
    assert builds(run) == [(True, False)]
    assert trtbench("show", run.header.run, "--phases") == 0
    assert " build" in trtbench.out


@pytest.mark.workers
@pytest.mark.parametrize(
    ("way", "kind"),
    [("memory", "OutOfMemory"), pytest.param("segfault", "Crash", marks=pytest.mark.long), ("hang", "Timeout")],
)
def test_what_others_may_have_caused_is_tried_again_alone(
    trtbench: Trtbench, fake_suite: Suite, way: str, kind: str
) -> None:
    suite = fake_suite(f"[{{name: fake, tactics: 0.1, fail_build: {way}}}, fake]", timeout="2s")
    suite.write_text(suite.read_text().replace("[1, 8]", "[1]"))
    assert trtbench("run", suite, "--prestart", 4, "--progress", "json") == 1
    assert steps(trtbench).count("build (fake-build)") == 2
    (note,) = [event["text"] for event in trtbench.events() if event["event"] == "note"]
    assert f"build ended in {kind} beside other workers; it is made again alone, and from now on at most 2" in str(note)
    (run,) = trtbench.runs()
    failures = [record.failure for record in run.records]
    assert [failure.kind if failure else "" for failure in failures] == [kind, ""]
    assert failures[0] is not None
    assert failures[0].details.keys() == ({"stage_ns", "limit_ns"} if kind == "Timeout" else set())


@pytest.mark.workers
def test_what_no_other_can_have_caused_is_tried_once(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = fake_suite("[{name: fake, tactics: 0.1, fail_build: unsupported}, fake]")
    assert trtbench("run", suite, "--prestart", 4, "--progress", "json") == 1
    assert steps(trtbench).count("build (fake-build)") == 2  # of two cases
    assert not [event for event in trtbench.events() if event["event"] == "note"]


@pytest.mark.workers
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_all_that_are_at_work_and_leaves_nothing(
    tmp_path: Path, fake_suite: Suite, number: signal.Signals
) -> None:
    suite = fake_suite("[{name: fake, tactics: 0.1, fail_build: hang}, {name: fake, tactics: 0.2, fail_build: hang}]")
    env = dict(os.environ) | {"TMPDIR": str(tmp_path / "tmp"), "PYTHONPATH": os.pathsep.join(sys.path)}
    Path(env["TMPDIR"]).mkdir()
    command = [
        *(sys.executable, "-m", "bench", "run", str(suite), "--store", str(tmp_path / "results")),
        *("--cache", str(tmp_path / "cache"), "--prestart", "4", "--progress", "json"),
    ]
    with started_with(number, signal.SIG_DFL):
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True)
    with child:
        assert child.stdout is not None
        begun = 0
        while begun < 4:  # each build hangs once its worker is there
            begun += "build (fake-build)" in child.stdout.readline()
        child.send_signal(number)
        out, err = child.communicate()
    assert child.returncode == 130, err
    assert "Traceback" not in err
    assert out.count('"interrupted: the workers that prepare cases are ended"') == 1
    assert list((tmp_path / "tmp").rglob("trtbench-*")) in ([], [tmp_path / "tmp" / f"trtbench-{os.geteuid()}"])
    assert not list((tmp_path / "cache").glob("*/.making-*"))
    assert not (tmp_path / "results").exists() or not list((tmp_path / "results").rglob("*.jsonl"))
    assert str(tmp_path).encode() not in b"".join(_command_lines())


def _command_lines() -> Iterator[bytes]:
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if path.stat().st_uid == os.geteuid() and int(path.parent.name) != os.getpid():
                yield path.read_bytes()
        except OSError:  # it has ended
            continue


# ----------------------------------------------------------------------------------------------- which, and when


class Makers:
    """Notes what is made, and ends as it is told to."""

    def __init__(self, ends: Sequence[Ready | Failure | Postponed] = ()) -> None:
        self.made: list[tuple[str, int, bool]] = []
        self.notes: list[str] = []
        self._ends = list(ends)
        self._lock = threading.Lock()

    def __call__(
        self, case: Case, build: int, slots: Slots | None, stages: Sequence[Stage] | None = None
    ) -> Ready | Failure | Postponed:
        with self._lock:
            self.made.append((case.model, build, slots is not None))
            return self._ends.pop(0) if self._ends else Ready(folders={})

    def note(self, event: Event) -> None:
        if isinstance(event, Note):
            self.notes.append(event.text)


def cases(count: int) -> list[Case]:
    return [Case(model=f"m{n}", factory="f:m", inputs={}, backend="fake") for n in range(count)]


def ahead(makers: Makers, size: int, builds: int = 1) -> Ahead:
    imports = Prestart(1, "cpu", Path(), makers.note, gates=False)
    return Ahead(size, builds, imports, None, makers, lambda: None, makers.note)


def test_a_window_of_builds_is_made_when_the_first_of_it_comes() -> None:
    makers = Makers()
    soon = ahead(makers, 2, builds=2)
    turns = [(case, n) for n in range(4) for case in cases(6)]
    windows = []
    for index, (case, replicate) in enumerate(turns):
        before = len(makers.made)
        soon.prepare(lambda index=index: iter(turns[index:]), {})  # type: ignore[misc]
        if len(makers.made) > before:
            windows.append((index, len(makers.made) - before))
        soon.ready(case, replicate % 2)
    # Twelve builds in windows of 4 x 2; each is looked up again when its case comes back.
    assert windows == [(0, 8), (8, 4)]
    assert [beside for _, _, beside in makers.made].count(True) == 12
    assert len(makers.made) == 12 + 12


def test_one_worker_makes_nothing_ahead_but_does_the_other_work() -> None:
    makers, other = Makers(), list[int]()
    turns: list[Turn] = [(case, 0) for case in cases(3)]
    ahead(makers, 1).prepare(lambda: iter(turns), {}, [lambda: other.append(1)])
    assert (makers.made, other) == ([], [1])


def test_that_fewer_work_at_once_is_told_where_it_is_so() -> None:
    memory = Failure(kind="OutOfMemory", stage="build", message="")
    stopped = Failure(kind="Crash", stage="build", message="", details={"signal": "SIGTERM", "attempts": 1})
    makers = Makers([Postponed(stage="build", failure=each) for each in (stopped, memory, memory)])
    ahead(makers, 2).prepare(lambda: iter([(case, 0) for case in cases(3)]), {})
    assert sorted(text.partition("made again alone")[2] for text in makers.notes) == [
        "",
        "",
        ", and from now on at most 1 are at work at once",
    ]


def test_what_was_postponed_is_made_alone_and_fewer_work_after_a_failure() -> None:
    failure = Failure(kind="OutOfMemory", stage="export", message="")
    makers = Makers(
        [Postponed(stage="build"), Postponed(stage="build", failure=failure), Postponed(stage="build", failure=failure)]
    )
    soon = ahead(makers, 8)
    turns: list[Turn] = [(case, 0) for case in cases(3)]
    soon.prepare(lambda: iter(turns), {})
    assert [text.rpartition(" at most ")[2] for text in makers.notes] == [
        "4 are at work at once",
        "2 are at work at once",
    ]
    makers.made.clear()
    for case, _ in turns:
        assert isinstance(soon.ready(case, 0), Ready)
    assert sorted(makers.made) == [(f"m{n}", 0, False) for n in range(3)]


def test_an_error_beside_is_raised_and_ends_the_rest() -> None:
    halts: list[bool] = []
    makers = Makers()
    imports = Prestart(1, "cpu", Path(), makers.note, gates=False)
    soon = Ahead(2, 1, imports, None, makers, lambda: halts.append(True), makers.note)

    def wrong() -> None:
        raise ValueError("a wrong factory")

    with pytest.raises(ValueError, match="a wrong factory"):
        soon.prepare(lambda: iter(()), {}, [wrong])
    assert halts == [True]


@pytest.mark.workers
def test_a_turn_of_one_card_waits_for_no_import_of_another(tmp_path: Path) -> None:
    """Of several cards each has its own templates; those before the first turn are waited for, all of them."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    (tmp_path / "waits.py").write_text(f"open({str(gate)!r}).close()\n")
    env = toolchains.worker_env(toolchains.package_link(tmp_path), {})
    env["PYTHONPATH"] += os.pathsep + str(tmp_path)
    interpreter = toolchains.Interpreter(
        name="default", command=toolchains.worker_command(""), env=env, environment=describe("fake")
    )
    makers, order = Makers(), list[str]()
    shared = Templates(makers.note)
    turns: list[Turn] = [(case, 0) for case in cases(2)]
    imports = [Prestart(1, "cpu", Path(), makers.note, gates=False) for _ in range(2)]
    of_card, before_all = (
        Ahead(2, 1, each, shared, makers, lambda: None, makers.note, window)
        for each, window in zip(imports, (0, 8), strict=True)
    )
    try:
        shared.warm(interpreter, ("waits",))
        of_card.prepare(lambda: iter(turns), {"default": interpreter})

        def prepare() -> None:
            before_all.prepare(lambda: iter(turns), {"default": interpreter})
            order.append("ready")

        waiting = threading.Thread(target=prepare)
        waiting.start()
        order.append("goes on")
        gate.open("w").close()  # once the import is there
        waiting.join(60)
    finally:
        shared.close()
    assert order == ["goes on", "ready"]
    assert makers.notes == []


# ------------------------------------------------------------------------------------------------- side by side


def test_as_many_as_there_are_slots_work_at_once() -> None:
    slots, most, now, lock = Slots(2), [0], [0], threading.Lock()
    both = threading.Barrier(2)

    def work() -> None:
        with slots.one() as room:
            assert room
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
            both.wait(60)  # which needs two at once
            with lock:
                now[0] -= 1

    with Threads(slots, lambda: None) as threads:
        threads.results([threads.submit(work) for _ in range(8)])
    assert most == [2]


def test_halved_slots_never_reach_none() -> None:
    slots = Slots(5)
    assert [slots.halve() for _ in range(4)] == [2, 1, 1, 1]


def test_halted_slots_give_no_room_to_those_that_wait() -> None:
    slots, rooms = Slots(1), list[bool]()

    def wait() -> None:
        with slots.one() as room:
            rooms.append(room)

    with slots.one():
        waiting = threading.Thread(target=wait)
        waiting.start()
        slots.halt()
        waiting.join(60)
    assert rooms == [False]


def test_an_interrupt_of_the_block_halts_the_tasks() -> None:
    slots, ended = Slots(1), threading.Event()
    threads = Threads(slots, ended.set)
    threads.submit(lambda: ended.wait(60))
    threads.__exit__(KeyboardInterrupt)
    assert ended.is_set()
    assert slots.halted
