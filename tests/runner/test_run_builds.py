"""Builds of a run: independent ones in turn, made again, and after a resume."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import store
from bench.model.run import Record
from tests.conftest import Trtbench
from tests.runner.test_run import Suite

pytestmark = pytest.mark.workers


def with_builds(suite: Path, builds: int) -> Path:
    suite.write_text(suite.read_text().replace("measure: {", f"measure: {{builds: {builds}, "))
    return suite


def latencies(records: tuple[Record, ...]) -> list[int]:
    return [record.measurements[0].samples[0] for record in records]


def test_replicates_measure_independent_builds_in_turn(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = with_builds(fake_suite("[{name: fake, tactics: 0.5, noise: 0.0, drift: 0.0}]", replicates=4), 2)
    assert trtbench("run", suite, "--select", "batch=1") == 0
    (run,) = trtbench.runs()
    assert [record.build for record in run.records] == [0, 1, 0, 1]
    first, second, *again = latencies(run.records)
    assert first != second
    assert again == [first, second]
    built = [next(phase for phase in record.phases if phase.name == "build").cold for record in run.records]
    assert built == [True, True, False, False]


def test_the_first_build_is_the_one_of_a_suite_without_builds(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = fake_suite("[{name: fake, tactics: 0.5}]", replicates=1)
    trtbench("run", suite, "--select", "batch=1")
    trtbench("run", with_builds(suite, 3), "--select", "batch=1")
    after, before = trtbench.runs()
    assert latencies(before.records) == latencies(after.records)
    assert [phase.cold for phase in after.records[0].phases if phase.name == "build"] == [False]


def test_rebuild_makes_each_build_once_more_and_nothing_else(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = with_builds(fake_suite("[{name: fake, tactics: 0.5}]", replicates=4), 2)
    trtbench("run", suite, "--select", "batch=1")
    assert trtbench("run", suite, "--select", "batch=1", "--rebuild", "--progress", "json") == 0
    made = [event["phase"] for event in trtbench.events() if "(" in str(event.get("phase", ""))]
    assert len(made) == 2
    assert all(phase.startswith("build") for phase in made)
    phases = [phase for record in trtbench.runs()[0].records for phase in record.phases if phase.name == "build"]
    assert [phase.cold for phase in phases] == [True, True, False, False]


def test_a_resumed_run_goes_on_with_the_builds_it_would_have_measured(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = with_builds(fake_suite("[{name: fake, tactics: 0.5}]", replicates=4), 3)
    trtbench("run", suite, "--select", "batch=1")
    path = store.runs(trtbench.store, rehearsals=True)[0]
    whole = store.read(path)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    assert trtbench("run", "--resume", path.stem) == 0
    assert [record.build for record in store.read(path).records] == [0, 1, 2, 0]
    assert latencies(store.read(path).records) == latencies(whole.records)


def test_a_corrupt_reference_is_made_again(trtbench: Trtbench, fake_suite: Suite, tmp_path: Path) -> None:
    suite = fake_suite()
    trtbench("run", suite)
    for path in (tmp_path / "cache").rglob("outputs.safetensors"):
        path.write_bytes(b"rubbish")
    assert trtbench("run", suite) == 0
    assert "corrupt" in trtbench.err


def test_simulated_and_real_backends_do_not_share_a_run(trtbench: Trtbench, fake_suite: Suite) -> None:
    assert trtbench("run", fake_suite("[fake, eager]")) == 2
    assert "rehearsal.yaml:9: " in trtbench.err
    assert "simulated and real backends" in trtbench.err
    assert trtbench("list", fake_suite("[fake, eager]")) == 2
    assert trtbench("list", fake_suite("[fake, eager]"), "--select", "backend != fake") == 0
    assert not trtbench.store.exists()


def test_a_build_is_made_again_where_its_toolchain_sets_other_variables(
    trtbench: Trtbench, fake_suite: Suite, tmp_path: Path
) -> None:
    suite = fake_suite("[{name: fake, tactics: 0.5}]")
    suite.write_text(suite.read_text().replace("batch: [1, 8]", "batch: 1\n  toolchain: own"))
    compilers = ("A: 2, CXX: clang", "A: 2, CXX: clang, TORCHINDUCTOR_FREEZING: 1")
    for builds, env in ((1, "A: 1"), (1, "A: 1"), (2, "A: 2"), *enumerate(compilers, 3)):
        (tmp_path / "toolchains.yaml").write_text(f"own: {{env: {{{env}}}}}")
        assert trtbench("build", suite) == 0
        assert len(list((tmp_path / "cache" / "fake-build").iterdir())) == builds


def test_a_compilers_own_cache_is_no_reason_to_build_again(
    trtbench: Trtbench, fake_suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = fake_suite("[{name: fake, tactics: 0.5}]")
    for folder in ("a", "b"):
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", folder)
        assert trtbench("run", suite, "--select", "batch=1") == 0
    assert len(list((tmp_path / "cache" / "fake-build").iterdir())) == 1
