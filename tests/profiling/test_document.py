"""The file of profiles on a disk that fills: a limit on the size of files stands for it."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

import bench
from bench.errors import StoreError
from bench.model.profile import CaseProfile, CondensedProfile, ProfileRun
from bench.model.run import Failure
from bench.profiling.condense import condense
from bench.profiling.document import Document
from tests.profile_kit import US, Timeline

ROW = 600  # bytes that the failure of a case takes at most
FULL = "its profile cannot be written: File too large"


@contextlib.contextmanager
def room(size: int) -> Iterator[None]:
    """No file may become larger than ``size`` bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def condensed(kernels: int) -> CondensedProfile:
    timeline = Timeline()
    with timeline.range("iteration", "0"):
        for _ in range(kernels):
            timeline.launch("gemm", 20 * US)
        timeline.sync()
    return condense(timeline.profile())


def case(name: str, kernels: int = 40) -> CaseProfile:
    return CaseProfile(case=name, label=f"net/{name}", condensed=condensed(kernels))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "profile.json"


@pytest.fixture
def document(path: Path) -> Document:
    run = ProfileRun(created="2026-11-28T10:15:00+00:00", version="1", tool="torch", suite="s")
    return Document(path, run, 3)


def names(path: Path) -> dict[str, bool]:
    """The cases of the file, and whether each has its profile."""
    return {each.case: each.condensed is not None for each in bench.read_profiles(path).cases}


def test_a_profile_without_room_is_a_failure_until_there_is_room(document: Document, path: Path) -> None:
    a, b, c = case("a"), case("b"), case("c")
    assert document.add(a) == a
    with room(path.stat().st_size + ROW):
        row = document.add(b)
        assert row.condensed is None
        assert row.failure is not None
        assert (row.failure.kind, row.failure.stage, row.failure.message) == ("StoreError", "store", FULL)
        assert "free some disk space" in row.failure.hint
        assert names(path) == {"a": True, "b": False}
    assert document.add(c) == c
    assert document.end().cases == (a, b, c)
    assert names(path) == {"a": True, "b": True, "c": True}


def test_a_small_profile_goes_on_beside_one_without_room(document: Document, path: Path) -> None:
    large, small = case("large", 400), case("small", 1)
    document.add(case("a"))
    with room(path.stat().st_size + 6 * ROW):
        document.add(large)
        assert document.add(small) == small
        assert document.end().cases[1].failure is not None
    assert names(path) == {"a": True, "large": False, "small": True}


def test_what_was_stored_stays_where_nothing_more_can_be_written(document: Document, path: Path) -> None:
    failed = CaseProfile(case="c", label="net/c", failure=Failure(kind="Crash", stage="profile", message="ended"))
    document.add(case("a"))
    with room(path.stat().st_size):
        assert document.add(case("b")).failure is not None
        assert document.add(failed) == failed
        with pytest.raises(StoreError, match=r"cannot be written: File too large; the file has 1 of 3 cases") as caught:
            document.end()
    assert caught.value.where == str(path)
    assert names(path) == {"a": True}
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_room_at_the_end_is_enough(document: Document, path: Path) -> None:
    cases = (case("a"), case("b"))
    with room(100):
        for each in cases:
            document.add(each)
        assert not path.exists()
    assert document.end().cases == cases
    assert names(path) == {"a": True, "b": True}


def test_a_folder_that_cannot_be_written_ends_it_at_once(tmp_path: Path) -> None:
    run = ProfileRun(created="2026-11-28T10:15:00+00:00", version="1", tool="torch", suite="s")
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot be written: (Not a directory|File exists)"):
        Document(tmp_path / "file" / "profile.json", run, 1).add(case("a"))
