"""Two runs on one device queue, and say so."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from bench.errors import UsageError
from bench.system import locks

HOLDER = """
import sys
from pathlib import Path
from bench.system import locks
with locks.hold(Path(sys.argv[1]), "run-1", print):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_free_lock_is_taken_without_waiting(tmp_path: Path) -> None:
    waited: list[str] = []
    with locks.hold(tmp_path / "lock", "me", waited.append):
        assert (tmp_path / "lock").read_text().strip() == "me"
    with locks.hold(tmp_path / "lock", "me again", waited.append):
        pass
    assert waited == []


def test_a_held_lock_is_waited_for_and_the_holder_is_named(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == "held\n"
        waited: list[str] = []

        def on_wait(holder: str) -> None:
            waited.append(holder)
            child.stdin.close()  # the holder ends only once we wait

        with locks.hold(tmp_path / "lock", "run-2", on_wait):
            assert waited == ["run-1"]


def test_a_lock_dies_with_its_holder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.kill()
        child.wait()
        with locks.hold(tmp_path / "lock", "run-2", lambda holder: None):
            assert (tmp_path / "lock").read_text().strip() == "run-2"


def take(path: Path) -> None:
    with locks.hold(path, "me", lambda holder: None):
        pass


def test_a_device_has_one_lock_in_a_folder_of_the_user_s_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = locks.lock_path("cuda:0")
    take(path)
    assert path == locks.lock_path("cuda:0") != locks.lock_path("cpu")
    assert str(os.geteuid()) in path.parent.name
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_a_link_in_the_place_of_a_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(UsageError, match="lock"):
        take(tmp_path / "lock")
    (tmp_path / "other").hardlink_to(tmp_path / "precious")
    with pytest.raises(UsageError, match="TMPDIR"):
        take(tmp_path / "other")
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_fifo_or_a_folder_of_others_is_refused_and_nothing_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lock")
    with pytest.raises(UsageError, match="not this user's alone"):
        take(tmp_path / "lock")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(UsageError, match="not this user's alone"):
        take(tmp_path / "open" / "lock")
    (tmp_path / "linked").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="linked"):
        take(tmp_path / "linked" / "lock")


def test_a_lock_file_is_never_cut(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("x" * 1000)
    take(tmp_path / "lock")
    assert (tmp_path / "lock").stat().st_size == 1000
    assert (tmp_path / "lock").read_text().startswith("me ")
