"""A process that runs one suite after the other, as a notebook does: no run leaves a file, a pipe or a process open."""

from __future__ import annotations

import contextlib
import gc
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import bench
from bench.errors import BenchError, InputError
from bench.model.events import Event, Started, Step

pytestmark = pytest.mark.workers

SUITE = """\
schema: 1
models:
  net:
    factory: zoo.py:net
    inputs: {{x: {{shape: [2, 3]}}}}
    metric: {metric}
matrix: {{backend: {backends}}}
measure: {{replicates: 1, max_time: 1s, warmup: 0s, timeout: 60s}}
"""
ZOO = """\
def score(outputs, reference): return {}
def without_arguments(): return {}
"""
BACKENDS = "[fake, {name: fake, fail: segfault}, {name: fake, fail: import}]"
WAYS = [{"fork": True}, {"fork": False, "prestart": 4}]


def open_files() -> list[str]:
    """What this process has open, pipes and sockets by their numbers, and the processes below it."""
    files = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # that of the list itself
            files.append(os.readlink(f"/proc/self/fd/{name}"))
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return sorted([*files, *children])


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Without the garbage collector, which closes files that nothing names any more."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Run:
    """A run of a suite of fake backends, again and again."""

    def __init__(self, folder: Path, options: dict[str, object], metric: str = "score") -> None:
        (folder / "zoo.py").write_text(ZOO)
        self.suite = folder / "suite.yaml"
        self.suite.write_text(SUITE.format(backends=BACKENDS, metric=f"zoo.py:{metric}"))
        self.options = {"store": folder / "results", "cache": folder / "cache", **options}

    def __call__(self, on_event: Callable[[Event], None] | None = None) -> bench.Run:
        return bench.run(self.suite, on_event=on_event, **self.options)


@pytest.mark.parametrize("options", WAYS)
def test_runs_leave_nothing_open(tmp_path: Path, uncollected: None, options: dict[str, object]) -> None:
    run = Run(tmp_path, options)
    before = open_files()
    for _ in range(2):
        assert len([record for record in run().records if record.failure]) == 2
        assert open_files() == before


def raising(event: Event) -> None:
    if isinstance(event, Started):
        raise RuntimeError("the caller's own")


def interrupting(event: Event) -> None:
    if isinstance(event, Step) and event.phase == "measure":
        raise KeyboardInterrupt


@pytest.mark.parametrize("options", WAYS)
@pytest.mark.parametrize(
    ("metric", "on_event", "error"),
    [
        ("without_arguments", None, InputError),
        ("score", raising, RuntimeError),
        ("score", interrupting, KeyboardInterrupt),
    ],
)
def test_runs_that_end_early_leave_nothing_open(
    tmp_path: Path,
    uncollected: None,
    metric: str,
    on_event: Callable[[Event], None] | None,
    error: type[BaseException],
    options: dict[str, object],
) -> None:
    run = Run(tmp_path, options, metric)
    before = open_files()
    with pytest.raises(error):
        run(on_event)
    assert open_files() == before


def test_a_run_for_whose_files_there_is_no_room_ends_the_workers_that_wait_for_their_turn(
    tmp_path: Path, uncollected: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path, WAYS[1])
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))

    def remove(event: Event) -> None:
        if isinstance(event, Started):
            temporary.rename(tmp_path / "elsewhere")

    before = open_files()
    with pytest.raises(BenchError, match="the run cannot go on"):
        run(remove)
    assert open_files() == before
