"""Where runs lie, how they are listed, and how one is found by its name."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import pytest

from bench import store
from bench.errors import StoreError
from tests.store.kit import environment, header, started


def test_a_run_lies_under_its_architecture_and_device(tmp_path: Path) -> None:
    here = environment(arch="sm_90", slug="nvidia-h100")
    path = store.create(tmp_path / "results", header(environments={"default": here})).path
    assert path == tmp_path / "results" / "sm_90" / "nvidia-h100" / f"{header().run}.jsonl"
    assert store.run_path(tmp_path / "results", here, header().run) == path


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vision", "20261123T101500Z-vision-1a2b3c4"),
        ("compile_modes", "20261123T101500Z-compile_modes-1a2b3c4"),
        ("../My Süite!", "20261123T101500Z-my-s-ite-1a2b3c4"),
        ("???", "20261123T101500Z-suite-1a2b3c4"),
    ],
)
def test_a_run_is_named_by_time_suite_and_digest(name: str, expected: str) -> None:
    created = datetime.datetime(2026, 11, 23, 12, 15, 0, 999, datetime.timezone(datetime.timedelta(hours=2)))
    assert store.run_id(created, name, "1a2b3c4d5e6f") == expected


def test_runs_are_listed_newest_first_and_other_files_are_not(tmp_path: Path) -> None:
    made = [f"2026112{day}T101500Z-small-1a2b3c4" for day in (4, 3, 5)]
    for index, name in enumerate(made):
        started(tmp_path, 0, header(run=name, environments={"default": environment(arch=f"arch{index}")}))
    (tmp_path / "arch0" / "simulated" / "notes.jsonl").write_text("{}")
    (tmp_path / "arch0" / "simulated" / f"{made[0]}.torn").write_text("{")
    assert [path.stem for path in store.runs(tmp_path, rehearsals=True)] == sorted(made, reverse=True)
    assert store.runs(tmp_path / "nowhere") == []


def test_runs_of_the_same_second_are_listed_by_their_last_change(tmp_path: Path) -> None:
    names = ["20261123T101500Z-small-fffffff", "20261123T101500Z-small-0000000"]
    for seconds, name in enumerate(names):
        path = started(tmp_path, 0, header(run=name))
        os.utime(path, (seconds, seconds))
    assert [path.stem for path in store.runs(tmp_path, rehearsals=True)] == names[::-1]


def test_a_run_is_found_by_name_beginning_path_or_as_the_latest(tmp_path: Path) -> None:
    names = ["20261123T101500Z-small-1a2b3c4", "20261124T101500Z-small-5d6e7f8", "20261124T101500Z-small-5d6e7f8-x"]
    real = {"default": environment(kind="cpu", arch="cpu-x86_64")}
    paths = [started(tmp_path, 0, header(run=name, environments=real)) for name in names]
    assert store.resolve(tmp_path, None) == paths[2]
    assert store.resolve(tmp_path, names[1]) == paths[1]
    assert store.resolve(tmp_path, "20261123") == paths[0]
    assert store.resolve(tmp_path, "1a2b3c4") == paths[0]
    assert store.resolve(tmp_path, "small-5d6e7f8") == paths[1]
    assert store.resolve(tmp_path / "elsewhere", str(paths[0])) == paths[0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("20261124T1", "fits 2 runs: 20261124T101500Z-small-9, 20261124T101500Z-small-5"),
        ("a2b3c4", "no run 'a2b3c4'"),
        ("20261123T101500Z-smal-1", "Did you mean '20261123T101500Z-small-1'"),
        ("nothing/like.jsonl", "lists all; the latest is 20261124T101500Z-small-9"),
        ("", "no run ''"),
        ("x" * 5000, "no run"),
        ("\0", "no run"),
    ],
)
def test_a_name_that_fits_no_run_or_several_is_refused_with_a_suggestion(
    tmp_path: Path, name: str, message: str
) -> None:
    real = {"default": environment(kind="cpu", arch="cpu-x86_64")}
    for run in ("20261123T101500Z-small-1", "20261124T101500Z-small-5", "20261124T101500Z-small-9"):
        started(tmp_path, 0, header(run=run, environments=real))
    with pytest.raises(StoreError) as caught:
        store.resolve(tmp_path, name)
    assert message in str(caught.value)


def test_a_path_of_a_folder_or_of_a_link_to_nothing_is_refused_for_what_it_is(tmp_path: Path) -> None:
    path = started(tmp_path / "st", 0, header(run="20261123T101500Z-small-1"))
    link = path.with_name("20261123T101501Z-small-1.jsonl")
    link.symlink_to("nowhere.jsonl")
    with pytest.raises(StoreError, match=r"this is a link to nowhere\.jsonl, which is not there") as caught:
        store.resolve(tmp_path / "results", str(link))
    assert caught.value.where == str(link)
    link.unlink()
    with pytest.raises(StoreError, match="this is a folder, a run is a file") as caught:
        store.resolve(tmp_path / "results", f"{tmp_path}/st")
    assert caught.value.fix == f"the latest in it: {path}"
    with pytest.raises(StoreError, match="this is a folder, a run is a file"):
        store.resolve(tmp_path / "results", str(path.parent))


def test_a_name_that_fits_no_run_is_not_answered_with_a_rehearsal_as_the_latest_run(tmp_path: Path) -> None:
    started(tmp_path, 0, header(run="20261125T101500Z-small-1"))  # whose architecture is fake
    with pytest.raises(
        StoreError, match=r"trtbench runs --rehearsals --store .* lists all; the latest rehearsal is 20261125"
    ):
        store.resolve(tmp_path, "nothing")
    real = {"default": environment(kind="cpu", arch="cpu-x86_64")}
    started(tmp_path, 0, header(run="20261123T101500Z-small-1", environments=real))
    with pytest.raises(StoreError, match=r"trtbench runs --store .* lists all; the latest is 20261123T101500Z-small-1"):
        store.resolve(tmp_path, "nothing")


@pytest.mark.parametrize("name", [None, "20261123"])
def test_an_empty_store_says_how_to_make_a_run(tmp_path: Path, name: str | None) -> None:
    with pytest.raises(StoreError, match=r"trtbench run suites/smoke\.yaml"):
        store.resolve(tmp_path / "nowhere", name)


def test_a_run_is_typed_by_its_name_where_that_finds_it(tmp_path: Path) -> None:
    name = "20261123T101500Z-vision-1a2b3c4"
    assert store.run_argument(Path("results/sm_90/h100", f"{name}.jsonl")) == name
    assert store.run_argument(tmp_path / "a b.jsonl") == f"'{tmp_path}/a b.jsonl'"
