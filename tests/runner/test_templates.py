"""Workers forked from templates: what is imported once, what each has of its own, and what is done without one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bench.machine.environment import describe
from bench.runner import jobs, toolchains
from bench.system import process
from bench.system.template import first_own
from bench.units import format_time
from tests.runner.template_kit import LIMIT_NS, Runner
from tests.system.descriptors import open_at
from tests.system.test_process import Holders

pytestmark = pytest.mark.workers


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_what_is_named_is_imported_once_and_in_order_for_all_workers(runner: Runner) -> None:
    first = runner.module("first")
    second = runner.module("second", f"import sys; assert {first!r} in sys.modules")
    seen = [runner.look(runner.fork(first, second)) for _ in range(3)]
    shorter = runner.look(runner.fork(first))
    assert [each["modules"] for each in seen] == [[first, second]] * 3
    assert shorter["modules"] == [first]
    assert len(runner.importers(first)) == len(runner.importers(second)) == 1
    assert len({each["pid"] for each in (*seen, shorter)}) == 4
    assert runner.notes == []
    assert runner.imports[-2:] == [first, second]  # told, as nothing else may be at work meanwhile


def test_a_name_in_a_module_is_looked_up_as_libraries_import_what_they_name_then(runner: Runner) -> None:
    part = runner.module("part")
    lazy = runner.module("lazy", f"def __getattr__(name):\n  import {part}\n  return {part}")
    assert runner.look(runner.fork(f"{lazy}:part"))["modules"] == [lazy, part]
    assert len(runner.importers(part)) == 1


def test_each_has_what_a_new_process_would_have(runner: Runner) -> None:
    name = runner.module("name", "import random, numpy\nrandom.seed(1)\nnumpy.random.seed(1)")
    one, other = (runner.look(runner.fork(name)) for _ in range(2))
    new = runner.look(runner.new())
    assert one["random"] != other["random"]
    assert one["numpy"] != other["numpy"]
    assert one["frozen"] > 0 == new["frozen"]
    same = ("collects", "threads", "stdin", "path", "hash", "score", "session")
    assert {key: one[key] for key in same} == {key: new[key] for key in same}
    assert one["score"].strip() == "1000"


def test_templates_import_without_the_garbage_collector(runner: Runner) -> None:
    note = runner.folder / "collects.txt"
    code = f"import gc\nwith open({str(note)!r}, 'a') as f: f.write(f'{{gc.isenabled()}}\\n')"
    upper = runner.module("upper", code)
    lower = runner.module("lower", code)
    assert runner.look(runner.fork(upper, lower))["collects"]
    assert note.read_text().split() == ["False", "False"]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("raise ValueError('no such thing')", "ValueError: no such thing"),
        ("import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()", "a thread"),
        ("import subprocess\nsubprocess.Popen(['sleep', '600'])", "started processes"),
        ("os.kill(os.getpid(), 11)", "the import ends it"),
        ("raise SystemExit(0)", "a library, ended Python (exit code 0)"),
    ],
)
def test_what_cannot_be_forked_is_told_once_and_its_workers_are_of_the_template_before(
    runner: Runner, code: str, told: str
) -> None:
    names = first, bad, last = runner.module("first"), runner.module("bad", code), runner.module("last")
    seen = [runner.look(runner.fork(*names)) for _ in range(2)]
    assert [each["modules"] for each in seen] == [[first]] * 2
    assert len(runner.importers(first)) == len(runner.importers(bad)) == 1
    assert runner.importers(last) == []
    [note] = runner.notes
    assert note.startswith(f"each worker imports {bad} itself, and is not forked after it: ")
    assert told in note


def test_a_module_that_is_not_installed_is_left_to_the_rows_and_one_that_it_lacks_is_told(runner: Runner) -> None:
    first = runner.module("first")
    for absent in ("trtbench_absent", "trtbench_absent.models"):
        assert runner.look(runner.fork(first, absent))["modules"] == [first]
    assert runner.notes == []
    half = runner.module("half", "import trtbench_absent")
    assert runner.look(runner.fork(first, half))["modules"] == [first]
    [note] = runner.notes
    assert note.endswith("ModuleNotFoundError: No module named 'trtbench_absent'")


@pytest.mark.long
def test_an_import_that_hangs_is_given_up_at_the_limit(tmp_path: Path) -> None:
    runner = Runner(tmp_path, limit_ns=10_000_000_000)
    before = children()
    name = runner.module("hangs", "import signal; signal.pause()")
    assert runner.look(runner.fork(name))["modules"] == []
    why = f"the import takes more than {format_time(10_000_000_000)}"
    assert runner.notes == [f"each worker imports {name} itself, and is not forked after it: {why}"]
    runner.templates.close()
    assert children() == before


def test_closing_ends_all_and_gives_up_what_is_being_imported(tmp_path: Path) -> None:
    before = children()
    runner = Runner(tmp_path)
    os.mkfifo(tmp_path / "begun")
    name = runner.module("hangs", f"open({str(tmp_path / 'begun')!r}, 'w').close()\nimport signal; signal.pause()")
    worker = runner.fork()
    runner.templates.warm(runner.interpreter, (name,))
    (tmp_path / "begun").read_bytes()
    runner.templates.close()
    assert children() == before
    assert worker is not None
    assert worker.finish(b"", LIMIT_NS, print).code != 0
    worker.close()
    assert runner.notes == []
    assert runner.fork() is None


def test_halting_lets_nobody_wait_for_what_is_being_imported(tmp_path: Path) -> None:
    runner = Runner(tmp_path)
    os.mkfifo(tmp_path / "begun")
    name = runner.module("hangs", f"open({str(tmp_path / 'begun')!r}, 'w').close()\nimport signal; signal.pause()")
    workers: list[process.Child | None] = []
    waiting = threading.Thread(target=lambda: workers.append(runner.fork(name)))
    waiting.start()
    (tmp_path / "begun").read_bytes()
    runner.templates.halt()
    waiting.join(60)
    runner.templates.close()
    assert len(workers) == 1
    for worker in workers:
        if worker is not None:  # of the template before
            worker.close()
    assert runner.notes == []


def test_templates_are_made_side_by_side(runner: Runner, tmp_path: Path) -> None:
    for name in ("here", "there"):
        os.mkfifo(tmp_path / name)
    # Opening a pipe waits for the other end: each import ends only while the other runs.
    here, there = (str(tmp_path / name) for name in ("here", "there"))
    one = runner.module("one", f"open({here!r}, 'w').close(); open({there!r}).close()")
    other = runner.module("other", f"open({here!r}).close(); open({there!r}, 'w').close()")
    runner.templates.warm(runner.interpreter, (one,))
    assert runner.look(runner.fork(other))["modules"] == [other]
    assert runner.look(runner.fork(one))["modules"] == [one]


def test_after_its_template_has_ended_a_worker_comes_from_the_one_before(runner: Runner) -> None:
    first, second = runner.module("first"), runner.module("second")
    runner.look(runner.fork(first, second))
    [pid] = runner.importers(second)
    os.kill(int(pid), signal.SIGKILL)
    assert runner.look(runner.fork(first, second))["modules"] == [first]
    assert runner.look(runner.fork(first, second))["modules"] == [first]
    [note] = runner.notes
    assert note.startswith(f"each worker imports {second} itself, and is not forked after it: its template is lost")


def test_a_number_that_a_template_uses_itself_is_left_to_a_new_process(runner: Runner) -> None:
    job = jobs.CheckMetrics(device="cpu", metrics=())
    with open_at(first_own()) as number:  # that of its requests
        worker = runner.templates.start(runner.interpreter, job, keep=(number,))
    assert runner.look(worker)["frozen"] == 0
    assert runner.look(runner.templates.start(runner.interpreter, job))["frozen"] > 0
    assert runner.notes == []


def test_an_interpreter_in_which_no_worker_starts_has_no_templates(runner: Runner) -> None:
    command = (sys.executable, "-c", "raise SystemExit(3)")
    bad = toolchains.Interpreter(name="other", command=command, env={}, environment=describe("fake"))
    assert runner.templates.fork(bad, ("json",)) is None
    assert runner.notes == ["each worker in the toolchain 'other' is started, not forked: the import ends it"]


PARENT = """
import sys
import threading
from pathlib import Path
from tests.runner.template_kit import Runner
runner = Runner(Path(sys.argv[1]))
worker = runner.fork(runner.module("first"), runner.module("holds", sys.argv[2]))
print("forked", flush=True)
sys.stdin.read()
"""


def test_all_templates_and_workers_end_when_the_run_is_killed(tmp_path: Path) -> None:
    with contextlib.closing(Holders(tmp_path / "held")) as holders:
        words = [sys.executable, "-c", PARENT, str(tmp_path), holders.code]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
            assert parent.stdout is not None
            assert parent.stdout.readline() == b"forked\n"
            assert holders.ready()
            parent.kill()
        assert holders.released()
