"""Runs that are resumed through the command line: what is missing, what must be as it was, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

import bench
from bench import store
from bench.model.run import Warning
from bench.report.warnings import describe
from tests.conftest import Trtbench

pytestmark = pytest.mark.workers

Suite = Callable[..., Path]


def test_resume_runs_exactly_what_is_missing(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = fake_suite(replicates=3)
    trtbench("run", suite)
    path = store.runs(trtbench.store, rehearsals=True)[0]
    whole = path.read_bytes().splitlines(keepends=True)
    kept = [whole[0], whole[1], whole[4]]
    path.write_bytes(b"".join(kept) + whole[5][:40])
    assert trtbench("run", "--resume", path.stem, "--progress", "json") == 0
    assert sum(event["event"] == "stored" for event in trtbench.events()) == 4
    run = store.read(path)
    assert len(run.records) == 6
    assert len({(r.case, r.replicate) for r in run.records}) == 6
    assert path.read_bytes().startswith(b"".join(kept))
    assert "nothing is missing" not in trtbench.err
    assert trtbench("run", "--resume", path.stem) == 0
    assert f"nothing is missing of {path.stem}; more processes of each case: --replicates N" in trtbench.err
    assert len(store.read(path).records) == 6


def test_resume_with_a_selection_runs_only_that_and_the_run_is_whole_when_nothing_is_missing(
    trtbench: Trtbench, fake_suite: Suite
) -> None:
    trtbench("run", fake_suite())
    path = store.runs(trtbench.store, rehearsals=True)[0]
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    assert trtbench("run", "--resume", path.stem, "--select", "batch=4") == 2
    assert "the run has batch: 1, 8" in trtbench.err
    assert trtbench("run", "--resume", path.stem, "--select", "batch=8") == 0
    run = store.read(path)
    assert [record.label for record in run.records] == ["net/fake/fp32/batch=8"]
    assert (run.footer and run.footer.status, "1 case not measured yet" in trtbench.out) == ("interrupted", True)
    assert trtbench("run", "--resume", path.stem, "--select", "option.time='1 ms'") == 0
    run = store.read(path)
    assert [record.label for record in run.records][1:] == ["net/fake/fp32/batch=1"]
    assert (run.footer and run.footer.status, "not measured yet" in trtbench.out) == ("complete", False)


def test_resume_refuses_another_environment(
    trtbench: Trtbench, fake_suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    trtbench("run", fake_suite())
    path = store.runs(trtbench.store, rehearsals=True)[0]
    before = path.read_bytes()
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert trtbench("run", "--resume", path.stem) == 2
    assert "in another environment: OMP_NUM_THREADS none -> 7\n" in trtbench.err
    assert path.read_bytes() == before


def test_what_is_resumed_on_another_machine_is_measured_and_marked(
    trtbench: Trtbench, fake_suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    trtbench("run", fake_suite(replicates=2))
    path = store.runs(trtbench.store, rehearsals=True)[0]
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    assert trtbench("run", "--resume", path.stem) == 0
    records = store.read(path).records
    marked = [[warning.kind for warning in record.warnings] for record in records]
    assert marked == [[], [], ["ResumedElsewhere"], ["ResumedElsewhere"]]
    first, second, *others = [record.telemetry.resumed_on for record in records]
    assert (first, second) == ("", "")
    assert len(set(others)) == 1
    assert others[0]
    assert "resumed on another machine" in trtbench.out


def test_what_another_version_resumes_is_measured_and_marked(trtbench: Trtbench, fake_suite: Suite) -> None:
    trtbench("run", fake_suite(replicates=2))
    path = store.runs(trtbench.store, rehearsals=True)[0]
    header, *records = path.read_bytes().splitlines(keepends=True)
    begun = header.replace(f'"version":"{bench.__version__}"'.encode(), b'"version":"0.0.9"')
    assert begun != header
    path.write_bytes(b"".join([begun, *records[:2]]))
    assert trtbench("run", "--resume", path.stem) == 0
    marked = [record.warnings for record in store.read(path).records]
    mark = Warning(kind="ResumedByAnother", figures={"version": bench.__version__, "begun_by": "0.0.9"})
    assert marked == [(), (), (mark,), (mark,)]
    message = f"measured by trtbench {bench.__version__}, the run was begun by 0.0.9: what it does with a model may"
    assert describe(mark).text == f"{message} differ"


PLANNED: dict[str, list[object]] = {
    "SUITE": ["suite.yaml"],
    "--backend": ["--backend", "fake"],
    "--device": ["--device", "cpu"],
    "--quick": ["--quick"],
    "--yes": ["--yes"],
    "--seed": ["--seed", 0],
    "--cold": ["--cold"],
    "--dry-run": ["--dry-run"],
}


def test_what_a_run_was_planned_with_is_refused_when_it_is_resumed(trtbench: Trtbench, fake_suite: Suite) -> None:
    path = begun(trtbench, fake_suite())
    before = path.read_bytes()
    for word, arguments in PLANNED.items():
        assert trtbench("run", *arguments, "--resume", path.stem) == 2, word
        assert f"--resume takes the run as it was planned, without {word}\n" in trtbench.err
        assert path.read_bytes() == before, word


def begun(trtbench: Trtbench, *arguments: object) -> Path:
    """A run of which only the first record is there."""
    trtbench("run", *arguments)
    path = store.runs(trtbench.store, rehearsals=True)[0]
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    return path


def test_a_resumed_run_goes_on_with_its_seed_and_its_cold_starts(
    trtbench: Trtbench, fake_suite: Suite, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "cache")  # the references that all tests share
    path = begun(trtbench, fake_suite(), "--seed", 7, "--cold")
    assert trtbench("run", "--resume", path.stem) == 0
    run = store.read(path)
    assert (run.header.seed, run.header.cold, len(run.records)) == (7, True, 2)
    # The reference of inputs of seed 7 is the only one; of a cold run references alone are kept.
    keys = [msgspec.json.decode(meta.read_bytes())["key"] for meta in (tmp_path / "cache").rglob("meta.json")]
    assert {key["seed"] for key in keys} == {7}


def test_a_resumed_cold_run_starts_nothing_ahead(trtbench: Trtbench, fake_suite: Suite) -> None:
    path = begun(trtbench, fake_suite(), "--cold")
    before = path.read_bytes()
    assert trtbench("run", "--resume", path.stem, "--prestart", 2) == 2
    assert "a --cold run is for true starts" in trtbench.err
    assert path.read_bytes() == before


@pytest.mark.parametrize(("change", "message"), [("def net(): return 2", "has changed since"), (None, "is not there")])
def test_a_run_is_not_resumed_with_another_model(
    trtbench: Trtbench, fake_suite: Suite, tmp_path: Path, change: str | None, message: str
) -> None:
    zoo = tmp_path / "zoo.py"
    zoo.write_text("def net(): return 1")
    path = begun(trtbench, fake_suite())
    before = path.read_bytes()
    zoo.unlink()
    if change:
        zoo.write_text(change)
    assert trtbench("run", "--resume", path.stem) == 2
    assert message in trtbench.err
    assert "zoo.py" in trtbench.err
    assert path.read_bytes() == before
    zoo.write_text("def net(): return 1")
    assert trtbench("run", "--resume", path.stem) == 0


def test_a_run_is_resumed_where_its_suite_is(
    trtbench: Trtbench, fake_suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "zoo.py").write_text("def net(): return 1")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    path = begun(trtbench, fake_suite().name)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert trtbench("run", "--resume", path.stem) == 2
    assert "go to the folder that the run was started in" in trtbench.err


def test_a_run_of_another_trtbench_is_refused_with_what_it_has(trtbench: Trtbench, fake_suite: Suite) -> None:
    path = begun(trtbench, fake_suite("[{name: fake, time: 2 ms}]"))
    text = path.read_text().replace('"time":"2 ms"', '"time":"1 ms"')
    for old, new, message in (
        ('"backend":"fake"', '"backend":"gone"', "unknown backend 'gone'"),
        ('"time":"1 ms"', '"tyme":"1 ms"', "tyme"),
        ('"default":{', '"other":{', "does not say where it was made"),
    ):
        assert old in text
        path.write_text(text.replace(old, new))
        for select in ([], ["--select", "model=net"]):
            assert trtbench("run", "--resume", path.stem, *select) == 2, new
            assert message in trtbench.err
            assert "Traceback" not in trtbench.err


def test_resume_measures_nothing_for_a_baseline_that_is_not_there(trtbench: Trtbench, fake_suite: Suite) -> None:
    path = begun(trtbench, fake_suite())
    before = path.read_bytes()
    assert trtbench("run", "--resume", path.stem, "--baseline", "fkae") == 2
    assert "Did you mean 'fake'?" in trtbench.err
    assert path.read_bytes() == before
