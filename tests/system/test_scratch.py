"""Folders for the time being: what a killed process leaves is removed by the next."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bench.system import locks, scratch

HOLDER = """
import sys
from pathlib import Path
from bench.system import scratch
with scratch.folder(Path(sys.argv[1])) as path:
    (path / "file").write_text("x")
    print(path, flush=True)
    sys.stdin.read()
"""


def test_a_folder_is_empty_and_its_owner_s_and_gone_at_the_end(tmp_path: Path) -> None:
    with scratch.folder(tmp_path) as path:
        assert path.parent == tmp_path
        assert path.stat().st_mode & 0o777 == 0o700
        (path / "deep").mkdir()
        (path / "deep" / "file").write_text("x")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_gone_after_an_error_and_when_it_was_renamed(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), scratch.folder(tmp_path):
        raise ZeroDivisionError
    with scratch.folder(tmp_path) as path:
        path.rename(tmp_path / "kept")
    assert [each.name for each in tmp_path.iterdir()] == ["kept"]


def test_the_folder_of_a_killed_process_is_removed_and_that_of_a_living_one_stays(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        theirs = Path(child.stdout.readline().strip())
        with scratch.folder(tmp_path):
            assert (theirs / "file").is_file()
        child.kill()
        child.wait()
        assert theirs.is_dir()
        with scratch.folder(tmp_path) as mine:
            assert {each.name.partition(".")[0] for each in tmp_path.iterdir()} == {mine.name}


def left_by(parent: Path, name: str, host: bytes) -> Path:
    """A folder that a killed process of ``host`` left."""
    (parent / name).mkdir()
    (parent / f"{name}.held").write_bytes(host)
    return parent / name


def test_what_another_host_or_another_user_left_is_not_ours_to_remove(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = platform.node().encode()
    ours, theirs = left_by(tmp_path, "trtbench-ours", here), left_by(tmp_path, "trtbench-theirs", b"another host")
    unlocked = left_by(tmp_path, "trtbench-unlocked", b"")
    monkeypatch.setattr("os.geteuid", lambda: os.getuid() + 1)
    scratch.sweep(tmp_path, "trtbench-")
    assert ours.is_dir()
    monkeypatch.undo()
    scratch.sweep(tmp_path, "trtbench-")
    assert [ours.exists(), theirs.exists(), unlocked.exists()] == [False, True, True]


def test_the_lock_of_a_process_killed_before_it_had_a_folder_is_removed(tmp_path: Path) -> None:
    (tmp_path / "trtbench-early.held").touch()
    scratch.sweep(tmp_path, "trtbench-")
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_the_place_of_a_lock_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(platform.node().encode())
    (tmp_path / "trtbench-results").mkdir()
    (tmp_path / "trtbench-results.held").symlink_to(target)
    scratch.sweep(tmp_path, "trtbench-")
    assert (tmp_path / "trtbench-results").is_dir()


def test_only_folders_of_the_same_prefix_are_looked_at_and_no_lock_of_a_device(tmp_path: Path) -> None:
    (tmp_path / "trtbench-of-an-earlier-version").mkdir()
    left_by(tmp_path, ".making-other", platform.node().encode())
    with locks.hold(tmp_path / "trtbench-cpu.lock", "me", print):
        before = set(tmp_path.iterdir())
        with scratch.folder(tmp_path):
            assert before < set(tmp_path.iterdir())
    with scratch.folder(tmp_path):
        pass
    assert set(tmp_path.iterdir()) == before
    with scratch.folder(tmp_path, ".making-"):
        pass
    assert before - set(tmp_path.iterdir()) == {tmp_path / ".making-other", tmp_path / ".making-other.held"}


def test_many_at_once_never_take_each_other_s(tmp_path: Path) -> None:
    wrong: list[Path] = []

    def work() -> None:
        for _ in range(50):
            with scratch.folder(tmp_path) as path:
                (path / "file").touch()
                if [each.name for each in path.iterdir()] != ["file"]:
                    wrong.append(path)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert list(tmp_path.iterdir()) == []
