"""Rehearsals: of many processes their workers are forked, and their records are those of new processes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench import store
from bench.model.run import Record, Run
from tests.conftest import Trtbench

pytestmark = pytest.mark.workers

SUITE = """\
schema: 1
name: rehearsed
models: {{net: {{factory: "zoo.py:net", inputs: {{input: {{shape: [batch, 4]}}}}}}}}
matrix: {{backend: [{backends}], batch: [{sizes}]}}
measure: {{boundaries: [latency], replicates: 1, max_time: 100ms, timeout: 5s}}
"""
WAYS = ("exit", "segfault", "raise", "hang", "fork", "print", "nan", "import")


def rehearse(trtbench: Trtbench, folder: Path, backends: str, sizes: int, *options: str) -> Run:
    suite = folder / "rehearsed.yaml"
    suite.write_text(SUITE.format(backends=backends, sizes=", ".join(map(str, range(1, sizes + 1)))))
    before = set(store.runs(trtbench.store, rehearsals=True))
    trtbench("run", suite, "--progress", "plain", *options)
    (path,) = set(store.runs(trtbench.store, rehearsals=True)) - before
    return store.read(path)


def timeless(record: Record) -> Record:
    """Without what the wall clock and the system say."""
    failure = record.failure
    if failure:
        details = {name: value for name, value in failure.details.items() if name != "stage_ns"}
        failure = msgspec.structs.replace(failure, log="", message="", details=details)
    phases = tuple(msgspec.structs.replace(phase, ns=0) for phase in record.phases)
    return msgspec.structs.replace(record, started="", wall_ns=0, times={}, phases=phases, failure=failure)


@pytest.mark.long
def test_a_forked_worker_measures_and_fails_as_a_new_process_does(trtbench: Trtbench, tmp_path: Path) -> None:
    backends = ", ".join(["fake", *(f"{{name: fake, fail: {way}}}" for way in WAYS)])
    forked = rehearse(trtbench, tmp_path, backends, 1, "--fork")
    new = rehearse(trtbench, tmp_path, backends, 1, "--no-fork")
    assert (forked.header.fork, new.header.fork) == (True, False)
    assert [timeless(record) for record in forked.records] == [timeless(record) for record in new.records]
    kinds = [record.failure.kind if record.failure else "" for record in forked.records]
    assert {"Crash", "Timeout", "Unavailable", ""} <= set(kinds)


@pytest.mark.parametrize(("cases", "options", "forks"), [(33, (), True), (2, (), False), (2, ("--fork",), True)])
def test_the_workers_of_many_processes_are_forked(
    trtbench: Trtbench, tmp_path: Path, cases: int, options: tuple[str, ...], forks: bool
) -> None:
    run = rehearse(trtbench, tmp_path, "fake", cases, *options)
    assert run.header.fork is forks
    assert len(run.records) == cases
    assert not any(record.failure for record in run.records)
