"""`run --devices`: rehearsals on several simulated cards at once."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from bench import store
from tests.conftest import Trtbench
from tests.runner.kit import started_with
from tests.runner.test_prestart import children

pytestmark = pytest.mark.workers

Suite = Callable[..., Path]


def test_two_cards_measure_at_once_each_case_on_one_and_tell_it(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = fake_suite("[fake, {name: fake, fail: segfault}]", replicates=2)
    before = children()
    assert trtbench("run", suite, "--devices", "all", "--progress", "json") == 1
    events = trtbench.events()
    (run,) = trtbench.runs()
    assert run.footer is not None
    assert run.footer.status == "complete"
    # Each card has the cases of one size in the order of the plan, replicate by replicate; what failed is not repeated.
    for card, batch in (("simulated-0", 1), ("simulated-1", 8)):
        fine, crash = (case.id for case in run.header.cases if case.symbols["batch"] == batch)
        assert [(r.case, r.replicate) for r in run.records if r.card == card] == [(fine, 0), (crash, 0), (fine, 1)]
    measured = [r for r in run.records if r.measurements]
    assert [r.failure.kind for r in run.records if r.failure] == ["Crash", "Crash"]
    assert [[warning.kind for warning in r.warnings] for r in measured[:2]] == [["SharedHost"]] * 2
    stored = [int(str(event["done"])) for event in events if event["event"] == "stored"]
    assert stored == sorted(stored)
    assert {event["card"] for event in events if event["event"] == "started"} == {"simulated-0", "simulated-1"}
    # Where the time went adds up, though turns overlap.
    assert all(r.times for r in run.records)
    assert sum(ns for r in run.records for ns in r.times.values()) <= sum(run.footer.times.values())
    assert children() == before

    assert trtbench("show", run.header.run, "--verbose") == 0
    assert "cards: simulated-0 (3 processes), simulated-1 (3 processes)" in trtbench.out
    assert trtbench("show", run.header.run, "--format", "json") == 0
    rows = msgspec.json.decode(trtbench.out)["rows"]
    assert [row["cards"] for row in rows] == [[f"simulated-{int(row['symbols']['batch'] == 8)}"] for row in rows]


def test_artifacts_of_all_cards_are_made_before_any_measures(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = fake_suite("[{name: fake, tactics: 0.1}]")
    assert trtbench("run", suite, "--devices", "2", "--prestart", "4", "--progress", "json") == 0
    works = [event.get("work") for event in trtbench.events() if event["event"] == "step"]
    built = [number for number, work in enumerate(works) if work == "build"]
    assert built
    assert max(built) < works.index("measure")


def test_resume_on_one_card_says_what_was_begun_on_another(trtbench: Trtbench, fake_suite: Suite) -> None:
    trtbench("run", fake_suite(replicates=2), "--devices", "2")
    path = store.runs(trtbench.store, rehearsals=True)[0]
    whole = store.read(path)
    lines = path.read_bytes().splitlines(keepends=True)
    first = [line for line, r in zip(lines[1:-1], whole.records, strict=True) if not r.replicate]
    path.write_bytes(lines[0] + b"".join(first))
    assert trtbench("run", "--resume", path.stem) == 0
    run = store.read(path)
    assert run.footer is not None
    assert run.footer.status == "complete"
    assert len(run.records) == 4
    again = [(r.card, r.label.split("/")[-1], [w.kind for w in r.warnings]) for r in run.records[2:]]
    assert again == [("simulated-0", "batch=1", []), ("simulated-0", "batch=8", ["ResumedElsewhere"])]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("--devices", "0"), "'0' is neither all nor an integer of 1 or more"),
        (("--devices", "some"), "'some' is neither all nor an integer of 1 or more"),
        (("--devices", "2", "--cold"), "a --cold run is for true starts"),
        (("--devices", "2", "--device", "cpu"), "--devices is for GPUs, and this run is on the CPU"),
    ],
)
def test_what_cannot_be_is_refused(trtbench: Trtbench, fake_suite: Suite, options: tuple[str, ...], what: str) -> None:
    assert trtbench("run", fake_suite(), *options) == 2
    assert what in trtbench.err
    assert trtbench.runs() == []


ONE_HANGS = """\
schema: 1
name: rehearsal
models:
  quick: &net {factory: "zoo.py:net", inputs: {x: {shape: [batch, 3]}}}
  hangs: *net
matrix:
  model: quick
  backend: fake
  batch: 1
  include: [{model: hangs, backend: {name: fake, fail: hang}}]
measure: {boundaries: [latency, throughput], replicates: 3, timeout: 120s}
"""


@contextlib.contextmanager
def at_work(tmp_path: Path, suite: Path) -> Iterator[subprocess.Popen[str]]:
    """A run on two cards, with its events on stdout."""
    words = ["run", str(suite), "--store", str(tmp_path / "r"), "--progress", "json", "--devices", "2"]
    env = {**os.environ, "TRTBENCH_CACHE": str(tmp_path / "cache"), "TMPDIR": str(tmp_path)}
    with started_with(signal.SIGINT, signal.SIG_DFL):
        child = subprocess.Popen(
            [sys.executable, "-m", "bench", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True
        )
    with child:
        try:
            yield child
        finally:
            child.kill()  # nothing, once it has ended


def test_a_card_waits_for_no_other_one(tmp_path: Path) -> None:
    """All turns of one card end while the other one is in its first, also at boundaries that share the host."""
    suite = tmp_path / "hangs.yaml"
    suite.write_text(ONE_HANGS)
    (tmp_path / "zoo.py").touch()
    with at_work(tmp_path, suite) as child:
        assert child.stdout is not None
        stored = 0
        for line in child.stdout:
            event = msgspec.json.decode(line)
            stored += event["event"] == "stored"
            if stored == 3:
                break
        child.send_signal(signal.SIGINT)
        _, stderr = child.communicate(timeout=60)
    assert child.returncode == 130, stderr
    (path,) = store.runs(tmp_path / "r", rehearsals=True)
    records = store.read(path).records
    assert [(r.label, r.replicate) for r in records] == [("quick/fake/fp32/batch=1", n) for n in range(3)]
    assert [[warning.kind for warning in r.warnings] for r in records] == [["SharedHost"]] * 3


def test_an_interrupt_ends_all_cards_and_finishes_the_file(tmp_path: Path, fake_suite: Suite) -> None:
    suite = fake_suite("[fake, {name: fake, fail: hang}]")
    with at_work(tmp_path, suite) as child:
        assert child.stdout is not None
        hanging = set()
        for line in child.stdout:
            event = msgspec.json.decode(line)
            if event["event"] == "step" and event["phase"] == "first_call" and "hang" in event["label"]:
                hanging.add(event["label"])
            if len(hanging) == 2:
                break
        child.send_signal(signal.SIGINT)
        _, stderr = child.communicate(timeout=60)
    assert child.returncode == 130, stderr
    (path,) = store.runs(tmp_path / "r", rehearsals=True)
    run = store.read(path)
    assert run.footer is not None
    assert run.footer.status == "interrupted"
    assert run.damage == ""
    assert sorted(r.label for r in run.records) == ["net/fake/fp32/batch=1", "net/fake/fp32/batch=8"]
    assert list((tmp_path / "cache" / "kept").iterdir()) == []
    assert list(tmp_path.glob("trtbench-*")) == []  # no temporary folder
