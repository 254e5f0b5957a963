"""Whether the workers that measure are forked, and what the header says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import store
from tests.conftest import Trtbench
from tests.runner.test_prestart import groups

pytestmark = [pytest.mark.workers, pytest.mark.torch]
pytest.importorskip("torch")

ZOO = "import torch\n\n\ndef net():\n    return torch.nn.Linear(4, 4)\n"
SUITE = """\
schema: 1
name: forks
device: cpu
models: {net: {factory: "zoo.py:net", inputs: {input: {shape: [batch, 4]}}}}
matrix: {backend: eager, batch: [1, 2]}
measure: {boundaries: [latency], replicates: 1, max_time: 1s}
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "zoo.py").write_text(ZOO)
    (tmp_path / "forks.yaml").write_text(SUITE)
    return tmp_path / "forks.yaml"


@pytest.mark.long
def test_workers_are_forked_unless_they_are_not_to_be(trtbench: Trtbench, suite: Path) -> None:
    assert trtbench("run", suite, "--prestart", 2, "--progress", "json") == 0
    assert groups(trtbench) == []  # nothing is left to import ahead
    first = store.runs(trtbench.store)[-1]
    assert trtbench("run", suite, "--prestart", 2, "--no-fork", "--progress", "json") == 0
    assert groups(trtbench) == ["prestart: 2 workers"]
    (second,) = set(store.runs(trtbench.store)) - {first}
    forked, new = store.read(first), store.read(second)
    assert (forked.header.fork, new.header.fork) == (True, False)
    assert [len(run.records) for run in (forked, new)] == [2, 2]
    assert not any(record.failure for run in (forked, new) for record in run.records)


@pytest.mark.long
@pytest.mark.parametrize(("words", "fork"), [((), False), (("--fork",), True)])
def test_a_single_worker_is_a_new_process_unless_it_is_to_be_forked(
    trtbench: Trtbench, suite: Path, words: tuple[str, ...], fork: bool
) -> None:
    assert trtbench("run", suite, "--prestart", 1, *words, "--progress", "json") == 0
    (run,) = trtbench.runs()
    assert run.header.fork is fork
    assert [record.failure for record in run.records] == [None, None]
    imports = [event["label"] for event in trtbench.events() if event.get("phase") == "import, once for all workers"]
    assert ("torch" in imports) is fork


def test_a_run_that_goes_on_starts_its_workers_as_it_was_begun(trtbench: Trtbench, suite: Path) -> None:
    assert trtbench("run", "--resume", "RUN", "--no-fork") == 2
    assert "without --no-fork" in trtbench.err
    assert trtbench("run", suite, "--cold", "--fork") == 2
    assert "a forked worker has none" in trtbench.err
