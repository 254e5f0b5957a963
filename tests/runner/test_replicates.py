"""More processes for a finished run: `--resume RUN --replicates N`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

import bench
from bench import store
from bench.errors import UsageError
from bench.model.run import Footer
from bench.runner import resume
from tests.conftest import Trtbench
from tests.store.kit import FOOTER, header, record

pytestmark = pytest.mark.workers

Suite = Callable[..., Path]


def replicates(path: Path) -> list[int]:
    return [record.replicate for record in store.read(path).records]


def test_a_finished_run_is_given_more_processes_and_keeps_its_records(trtbench: Trtbench, fake_suite: Suite) -> None:
    assert trtbench("run", fake_suite(replicates=1), "--select", "batch=1") == 0
    path = store.runs(trtbench.store, rehearsals=True)[0]
    before = path.read_bytes()
    assert trtbench("run", "--resume", path.stem, "--replicates", 3) == 0, trtbench.err
    assert path.read_bytes().startswith(before)
    run = store.read(path)
    assert replicates(path) == [0, 1, 2]
    assert (run.header.policy.replicates, run.damage) == (3, "")
    assert run.footer is not None
    assert (run.footer.status, run.footer.records) == ("complete", 3)
    (listed,) = store.summaries(trtbench.store, rehearsals=True)
    assert (listed.records, listed.processes, listed.state) == (3, 3, "complete")
    assert run.footer.replicates == 3  # on the last line too, which is all that is read of a complete run
    # The number stays: a later resume has nothing to do, and one with fewer is refused.
    assert trtbench("run", "--resume", path.stem) == 0
    assert trtbench("run", "--resume", path.stem, "--replicates", 2) == 2
    assert "the run has 3 processes per case, and none is taken away" in trtbench.err
    assert replicates(path) == [0, 1, 2]


def test_a_part_of_a_run_is_given_more_and_the_rest_is_missing(trtbench: Trtbench, fake_suite: Suite) -> None:
    trtbench("run", fake_suite(replicates=1))
    path = store.runs(trtbench.store, rehearsals=True)[0]
    assert trtbench("run", "--resume", path.stem, "--replicates", 2, "--select", "batch=8") == 0
    run = store.read(path)
    assert replicates(path) == [0, 0, 1]
    assert run.footer is not None
    assert run.footer.status == "interrupted"
    trtbench("run", "--resume", path.stem)
    assert sorted(replicates(path)) == [0, 0, 1, 1]


def test_the_number_is_known_when_nothing_after_it_was_written(tmp_path: Path) -> None:
    writer = store.create(tmp_path, header())
    writer.append(record())
    writer.amend(msgspec.structs.replace(FOOTER, status="interrupted", replicates=5))
    writer.append(record(replicate=1))
    writer.close()
    run = store.read(writer.path)
    assert (run.header.policy.replicates, run.footer) == (5, None)
    assert len(run.records) == 2


def test_a_footer_without_the_number_is_written_and_read_as_before(tmp_path: Path) -> None:
    writer = store.create(tmp_path, header())
    writer.finish(FOOTER)
    assert b"replicates" not in writer.path.read_bytes().splitlines()[-1]
    assert store.read(writer.path).header.policy.replicates == header().policy.replicates
    assert isinstance(store.read(writer.path).footer, Footer)


def test_too_many_processes_need_a_word(trtbench: Trtbench, fake_suite: Suite) -> None:
    trtbench("run", fake_suite(), "--select", "batch=1")
    path = store.runs(trtbench.store, rehearsals=True)[0]
    before = path.read_bytes()
    assert trtbench("run", "--resume", path.stem, "--replicates", 100_001) == 2
    assert "the plan has 100,001 processes" in trtbench.err
    large = resume._with_replicates(store.read(path).header, 100_001, path, True)
    assert large.policy.replicates == 100_001
    assert path.read_bytes() == before
    with pytest.raises(UsageError, match="none is taken away"):
        bench.resume(path, replicates=-1)
