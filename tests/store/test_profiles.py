"""Profiles on disk: what is written is read and looked up, and what cannot be is refused."""

from __future__ import annotations

import datetime
from pathlib import Path

import msgspec
import pytest

from bench import store
from bench.errors import StoreError
from bench.model.profile import CaseProfile, CondensedProfile, ProfileRun
from bench.model.run import Environment, Failure
from bench.store import profiles
from tests.profile_kit import eager

HERE = Environment(kind="cuda", arch="sm_90", device="H100", slug="h100", python="3.11")
CREATED = datetime.datetime(2026, 11, 28, 12, tzinfo=datetime.UTC)
FAILURE = Failure(kind="Crash", stage="profile", message="the worker was ended by SIGSEGV")
RUN = ProfileRun(
    created=CREATED.isoformat(),
    version="0.2.0",
    tool="torch",
    suite="vision",
    environments={"default": HERE},
    cases=(
        CaseProfile(case="c1", label="net/eager", condensed=CondensedProfile(profile=eager().profile())),
        CaseProfile(case="c2", label="net/inductor", failure=FAILURE),
    ),
)


def written(root: Path, suite: str = "vision", day: int = 28) -> Path:
    path = profiles.path_of(root, HERE, suite, CREATED.replace(day=day), "0123456789")
    profiles.write(path, RUN)
    return path


def test_what_is_written_is_read_and_looked_up(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert path == tmp_path / "sm_90" / "h100" / "profile-20261128T120000Z-vision-0123456.json"
    assert profiles.read(path) == RUN
    assert profiles.resolve(tmp_path, "0123456") == profiles.resolve(tmp_path, "vision-0123456") == path
    newer = written(tmp_path, day=29)
    assert profiles.files(tmp_path) == [newer, path]
    assert [*tmp_path.rglob("*.part")] == []
    assert profiles.resolve(tmp_path) == newer
    assert profiles.resolve(tmp_path, "20261128") == path
    assert profiles.resolve(tmp_path, path.stem) == path
    assert profiles.resolve(tmp_path, str(path)) == path
    with pytest.raises(StoreError, match="fits 2 files of profiles"):
        profiles.resolve(tmp_path, "2026112")
    with pytest.raises(StoreError, match=f"Did you mean '{path.stem}'"):
        profiles.resolve(tmp_path, path.stem.replace("vision", "visoin"))
    with pytest.raises(StoreError, match="there are no profiles in"):
        profiles.resolve(tmp_path / "empty")


def test_a_store_of_profiles_has_no_runs(tmp_path: Path) -> None:
    written(tmp_path)
    assert store.runs(tmp_path, rehearsals=True) == []
    assert store.summaries(tmp_path) == []


def test_writing_replaces_the_file_or_leaves_it(tmp_path: Path) -> None:
    path = written(tmp_path)
    profiles.write(path, msgspec.structs.replace(RUN, cases=RUN.cases[:1]))
    assert len(profiles.read(path).cases) == 1
    (path.parent / f".{path.name}.part").mkdir()
    with pytest.raises(StoreError, match="cannot be written"):
        profiles.write(path, RUN)
    assert len(profiles.read(path).cases) == 1


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "not a file of profiles"),
        (b"[1]", "not a file of profiles"),
        (b"{}", "it has no schema"),
        (b'{"schema": 1}', "it has no tool"),
        (b'{"schema": 99, "tool": "torch"}', "it has schema 99; this trtbench reads files of profiles up to 1"),
        (b'{"schema": 1, "tool": "gdb"}', "not a file of profiles"),
        (b'{"schema": 1, "tool": "torch", "cases": [{"case": 1}]}', "not a file of profiles"),
        (b"[" * 100_000, "not a file of profiles"),
    ],
)
def test_what_is_no_file_of_profiles_is_refused(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "p.json"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=what):
        profiles.read(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read: No such file"):
        profiles.read(tmp_path / "p.json")
