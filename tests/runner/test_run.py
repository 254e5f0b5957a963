"""A whole run through the command line on the fake backend: isolation, order, failures as rows, interrupts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

import bench
from bench import store
from bench.model.events import End, Event
from bench.model.run import Record
from bench.report import progress
from tests.conftest import Trtbench
from tests.runner.kit import started_with

pytestmark = pytest.mark.workers

Suite = Callable[..., Path]


def outcomes(records: tuple[Record, ...]) -> dict[str, str]:
    """Backend label -> failure kind, or ok / inaccurate / empty."""
    found = {}
    for record in records:
        accurate = record.accuracy.accurate if record.accuracy else False
        verdict = {True: "ok", False: "inaccurate", None: "empty"}[accurate]
        found[record.label.split("/")[1]] = record.failure.kind if record.failure else verdict
    return found


def test_every_case_and_replicate_becomes_one_record_round_robin(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = fake_suite("[fake, {name: fake, time: 2 ms}]", replicates=3)
    assert trtbench("run", suite) == 0
    (run,) = trtbench.runs()
    assert run.footer is not None
    assert run.footer.status == "complete"
    assert [(r.case, r.replicate) for r in run.records] == [(c.id, n) for n in range(3) for c in run.header.cases]
    assert len(run.header.cases) == 4
    for record in run.records:
        boundaries = {m.boundary: m for m in record.measurements}
        assert boundaries.keys() == {"latency", "throughput"}
        expected = 2_000_000 if "2 ms" in record.label else 1_000_000
        assert boundaries["latency"].samples[0] == pytest.approx(expected, rel=0.2)
    assert "net" in trtbench.out


def test_replicates_differ_and_a_rerun_repeats_them(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = fake_suite(replicates=2)
    trtbench("run", suite, "--select", "batch=1")
    trtbench("run", suite, "--select", "batch=1")
    second, first = trtbench.runs()
    assert first.header.run != second.header.run
    samples = [[m.samples for m in r.measurements] for r in first.records]
    assert samples[0] != samples[1]
    assert samples == [[m.samples for m in r.measurements] for r in second.records]


WAYS = {
    "unavailable": "Unavailable",
    "unsupported": "Unsupported",
    "memory": "OutOfMemory",
    "raise": "ValueError",
    "exit": "Crash",
    "segfault": "Crash",
    "hang": "Timeout",
    "print": "ok",
    "fork": "ok",
    "nan": "inaccurate",
    "wrong": "inaccurate",
    "empty": "empty",
    "import": "Unavailable",
}


def test_a_case_of_which_nothing_was_compared_does_not_pass(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = fake_suite("[fake, {name: fake, fail: empty}]")
    assert trtbench("run", suite, "--select", "batch=1") == 1
    (run,) = trtbench.runs()
    assert outcomes(run.records) == {"fake": "ok", "fake[fail=empty]": "empty"}
    assert "the case has only empty outputs, so it does not pass" in " ".join(trtbench.out.split())
    assert not bench.succeeded(run)


def test_every_way_to_fail_is_a_row_and_the_rest_runs(trtbench: Trtbench, fake_suite: Suite) -> None:
    backends = [f"{{name: fake, fail: {way}}}" for way in WAYS]
    suite = fake_suite(f"[fake, {', '.join(backends)}]", replicates=2, timeout="3s")
    assert trtbench("run", suite, "--select", "batch=1") == 1
    (run,) = trtbench.runs()
    assert outcomes(run.records) == {"fake": "ok", **{f"fake[fail={way}]": kind for way, kind in WAYS.items()}}
    by_label = {record.label.split("/")[1]: record for record in run.records}
    segfault = by_label["fake[fail=segfault]"].failure
    assert segfault is not None
    assert "SIGSEGV" in segfault.message
    hang = by_label["fake[fail=hang]"].failure
    assert hang is not None
    assert hang.stage == "first_call"
    raised = by_label["fake[fail=raise]"].failure
    assert raised is not None
    assert "the fake model raised an error" in raised.message
    assert "Traceback" in raised.log
    # A failed case is not tried again; the others have both replicates.
    counts = {label: sum(r.label.split("/")[1] == label for r in run.records) for label in by_label}
    assert counts["fake[fail=segfault]"] == 1
    assert counts["fake"] == 2
    wrong = by_label["fake[fail=wrong]"]
    assert wrong.accuracy is not None
    assert wrong.accuracy.why
    assert wrong.measurements


@pytest.mark.parametrize(("strict", "code"), [(False, 0), (True, 1)])
def test_a_missing_package_fails_the_run_only_under_strict(
    trtbench: Trtbench, fake_suite: Suite, strict: bool, code: int
) -> None:
    suite = fake_suite("[fake, {name: fake, fail: unavailable}]")
    assert trtbench("run", suite, *(["--strict"] if strict else [])) == code
    assert "pip install fake" in trtbench.out


def test_stored_events_are_told_after_the_record_is_on_disk(trtbench: Trtbench, fake_suite: Suite) -> None:
    assert trtbench("run", fake_suite(), "--progress", "json") == 0
    stored = [event for event in trtbench.events() if event["event"] == "stored"]
    assert [event["done"] for event in stored] == [1, 2]
    timed = [event["phase"] for event in trtbench.events() if event.get("timed")]
    assert timed
    assert set(timed) <= {"warmup", "measure", "latency", "throughput"}


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_signals_that_the_starter_ignores_stay_ignored(
    tmp_path: Path, fake_suite: Suite, number: signal.Signals
) -> None:
    command = [sys.executable, "-m", "bench", "run", fake_suite(), "--store", tmp_path / "r", "--progress", "json"]
    env = {**os.environ, "TRTBENCH_CACHE": str(tmp_path / "cache")}
    with started_with(number, signal.SIG_IGN):  # as nohup does, and a shell for its background jobs
        child = subprocess.Popen(command, stdout=subprocess.PIPE, env=env)
    with child:
        assert child.stdout is not None
        child.stdout.readline()
        child.send_signal(number)
        child.stdout.read()
    assert child.returncode == 0
    (path,) = store.runs(tmp_path / "r", rehearsals=True)
    assert len(store.read(path).records) == 2


@pytest.mark.parametrize("begun", [False, True])
def test_an_interrupt_says_that_nothing_is_stored_only_where_that_is_so(
    trtbench: Trtbench, fake_suite: Suite, monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    """Before a run has its file, or when its last event is told."""

    def interrupt(view: progress.Json, event: Event) -> None:
        if isinstance(event, End):
            raise KeyboardInterrupt

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(progress.Json, "__call__", interrupt)
    if not begun:
        monkeypatch.setattr("bench.runner.rig.Rig.__init__", interrupted)
    assert trtbench("run", fake_suite(), "--progress", "json") == 130
    assert ("interrupted before the first case; nothing new is stored" in trtbench.err) is not begun
    assert bool(store.runs(trtbench.store, rehearsals=True)) is begun


@pytest.mark.parametrize(("number", "signals"), [(signal.SIGINT, 1), (signal.SIGINT, 3), (signal.SIGTERM, 1)])
def test_an_interrupt_even_repeated_finishes_the_file(
    tmp_path: Path, fake_suite: Suite, number: signal.Signals, signals: int
) -> None:
    suite = fake_suite("[fake, {name: fake, fail: hang}]", replicates=1)
    command = [sys.executable, "-m", "bench", "run", str(suite), "--store", str(tmp_path / "r"), "--progress", "json"]
    env = {**os.environ, "TRTBENCH_CACHE": str(tmp_path / "cache")}
    with started_with(number, signal.SIG_DFL):  # whoever started the tests may ignore it
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True)
    with child:
        assert child.stdout is not None
        for line in child.stdout:
            event = msgspec.json.decode(line)
            if event["event"] == "step" and event["phase"] == "first_call" and "hang" in event["label"]:
                break
        for _ in range(signals):
            child.send_signal(number)
        _, stderr = child.communicate(timeout=60)
    assert child.returncode == 130, stderr
    (path,) = store.runs(tmp_path / "r", rehearsals=True)
    assert stderr.endswith(f"resume it with: trtbench run --resume {path}\n")
    run = store.read(path)
    assert run.footer is not None
    assert run.footer.status == "interrupted"
    assert run.damage == ""
    assert [record.label.split("/")[1] for record in run.records] == ["fake"]
    assert list((tmp_path / "cache" / "kept").iterdir()) == []  # what was to take generated code
