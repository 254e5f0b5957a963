"""Runs of several toolchains that are resumed: which of these are started, and which are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench import store
from tests.conftest import Trtbench
from tests.runner.toolchain_kit import both, script

pytestmark = pytest.mark.workers

Suite = Callable[..., Path]


def test_resume_starts_the_toolchains_only_while_the_suite_defines_them(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = both(fake_suite(replicates=2), "old: {env: {OMP_NUM_THREADS: 7}}")
    trtbench("run", suite)
    path = store.runs(trtbench.store, rehearsals=True)[0]
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    definitions, elsewhere = suite.with_name("toolchains.yaml"), suite.with_name("elsewhere")
    before = definitions.read_text()
    for other in (before.replace("7", "8"), before.replace("old", "new")):
        definitions.write_text(other)
        assert trtbench("run", "--resume", path.stem) == 2
        assert "the run" in trtbench.err
    definitions.write_text(before)
    suite.rename(elsewhere)
    assert trtbench("run", "--resume", path.stem) == 2
    assert "the run needs the toolchain 'old', and its suite cannot be read" in trtbench.err
    elsewhere.rename(suite)
    assert trtbench("run", "--resume", path.stem) == 0
    run = store.read(path)
    assert [record.toolchain for record in run.records] == ["default", "old", "default", "old"]


def test_resume_refuses_a_toolchain_that_has_changed(
    trtbench: Trtbench, fake_suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THREADS", "7")
    trtbench("run", both(fake_suite(), "old: {env: {OMP_NUM_THREADS: $THREADS}}"))
    path = store.runs(trtbench.store, rehearsals=True)[0]
    before = b"".join(path.read_bytes().splitlines(keepends=True)[:2])
    path.write_bytes(before)
    monkeypatch.setenv("THREADS", "8")
    assert trtbench("run", "--resume", path.stem) == 2
    assert "another environment of the toolchain 'old': OMP_NUM_THREADS 7 -> 8\n" in trtbench.err
    assert path.read_bytes() == before


def test_resume_of_a_part_needs_only_the_toolchains_of_that_part(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = both(fake_suite(), "old: {python: ./python}")
    script(suite.parent, 'exec PYTHON "$@"')
    trtbench("run", suite)
    path = store.runs(trtbench.store, rehearsals=True)[0]
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    (suite.parent / "python").unlink()
    assert trtbench("run", "--resume", path.stem, "--select", "toolchain=default") == 0
    assert [record.toolchain for record in store.read(path).records] == ["default"]
    assert trtbench("run", "--resume", path.stem) == 2
    assert "toolchain 'old'" in trtbench.err


def test_resume_needs_only_the_toolchains_of_what_is_missing(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = both(fake_suite(replicates=2), "old: {python: ./python}")
    script(suite.parent, 'exec PYTHON "$@"')
    trtbench("run", suite)
    path = store.runs(trtbench.store, rehearsals=True)[0]
    header, first, old, _, last, _ = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(header + first + old + last)
    (suite.parent / "python").unlink()
    assert trtbench("run", "--resume", path.stem) == 0
    assert [(r.toolchain, r.replicate) for r in store.read(path).records] == [
        ("default", 0),
        ("old", 0),
        ("old", 1),
        ("default", 1),
    ]
