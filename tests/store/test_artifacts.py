"""The cache gives back only what was finished and is whole."""

import errno
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.errors import CaseError, StoreError
from bench.model.run import Phase
from bench.store import artifacts

KEY = {"model": "m", "shapes": [1, 2]}


def make(root: Path, text: str = "payload") -> artifacts.Artifact:
    with artifacts.scratch(root, "onnx") as out:
        (out / "sub").mkdir()
        (out / "sub" / "model.onnx").write_text(text)
        return artifacts.keep(root, out, "onnx", KEY, (Phase(name="export", ns=5),), "2026-01-01")


def test_a_kept_artifact_is_found_by_its_key_whatever_the_order(tmp_path: Path) -> None:
    make(tmp_path)
    found, message = artifacts.find(tmp_path, "onnx", {"shapes": [1, 2], "model": "m"})
    assert found is not None
    assert message == ""
    assert (found.path / "sub" / "model.onnx").read_text() == "payload"
    assert found.meta.phases == (Phase(name="export", ns=5),)
    assert artifacts.find(tmp_path, "onnx", {**KEY, "shapes": [1, 3]}) == (None, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_is_the_cache_s_and_says_how_to_use_another(tmp_path: Path) -> None:
    with (
        pytest.raises(StoreError, match="the artifact cache cannot be used: No space left") as caught,
        artifacts.scratch(tmp_path, "onnx"),
        Path("/dev/full").open("wb", buffering=0) as disk,
    ):
        disk.write(b"x")
    assert "--cache DIR" in caught.value.fix


def test_an_error_of_another_file_is_not_the_cache_s(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="elsewhere") as caught, artifacts.scratch(tmp_path, "onnx"):
        raise OSError(errno.ENOSPC, "No space left on device", "/elsewhere")
    assert not isinstance(caught.value, StoreError)


def test_what_was_half_made_when_its_process_was_killed_is_removed(tmp_path: Path) -> None:
    make(tmp_path)
    half = tmp_path / "build" / ".making-engine"
    half.mkdir(parents=True)
    (half / "engine").write_text("half")
    half.with_name(".making-engine.held").write_text(platform.node())
    (tmp_path / ".making-of-another-run").mkdir(parents=True)  # which looks at the same cache just now
    artifacts.check_writable(tmp_path)
    assert list((tmp_path / "build").iterdir()) == []
    assert artifacts.find(tmp_path, "onnx", KEY)[0] is not None


@pytest.mark.parametrize("damage", ["cut", "changed", "gone", "meta"])
def test_a_corrupt_artifact_is_removed_and_reported(tmp_path: Path, damage: str) -> None:
    path = make(tmp_path).path
    payload = path / "sub" / "model.onnx"
    if damage == "cut":
        payload.write_text("pay")
    elif damage == "changed":
        payload.write_text("paylaod")
    elif damage == "gone":
        payload.unlink()
    else:
        (path / "meta.json").write_text('{"kind": ')
    found, message = artifacts.find(tmp_path, "onnx", KEY)
    assert found is None
    assert "corrupt" in message
    assert not path.exists()
    assert make(tmp_path).path == path


def test_an_unfinished_artifact_leaves_nothing(tmp_path: Path) -> None:
    with artifacts.scratch(tmp_path, "onnx") as out:
        (out / "half").write_text("x")
    assert list((tmp_path / "onnx").iterdir()) == []


def test_of_two_makers_the_first_wins(tmp_path: Path) -> None:
    first = make(tmp_path, "first")
    assert make(tmp_path, "second") == first


def test_a_cache_that_cannot_be_written_says_how_to_move_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="--cache DIR"), artifacts.scratch(tmp_path / "file", "onnx"):
        pass


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("TRTBENCH_CACHE", raising=False)
    assert artifacts.default_root() == tmp_path / "trtbench"
    monkeypatch.setenv("TRTBENCH_CACHE", str(tmp_path / "own"))
    assert artifacts.default_root() == tmp_path / "own"


def test_an_artifact_under_another_key_s_name_is_not_taken(tmp_path: Path) -> None:
    path = make(tmp_path).path
    other = {**KEY, "shapes": [7]}
    shutil.move(path, artifacts.folder(tmp_path, "onnx", other))
    assert artifacts.find(tmp_path, "onnx", other)[0] is None
    shutil.copytree(make(tmp_path).path, tmp_path / "engine" / path.name)
    assert artifacts.find(tmp_path, "engine", KEY)[0] is None
    assert artifacts.find(tmp_path, "onnx", KEY)[0] is not None


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _link(path: Path) -> None:
    copy = path.with_name("copy")
    path.rename(copy)
    path.symlink_to(copy)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("replace", [_fifo, _link, _folder])
@pytest.mark.parametrize("name", ["meta.json", "sub/model.onnx"])
def test_what_is_no_plain_file_is_removed_and_never_waited_for(tmp_path: Path, replace: object, name: str) -> None:
    path = make(tmp_path).path
    assert callable(replace)
    replace(path / name)
    artifact, message = artifacts.find(tmp_path, "onnx", KEY)
    assert artifact is None
    assert "corrupt" in message
    assert make(tmp_path).path == path


@pytest.mark.parametrize("target", ["elsewhere", "file", "fifo"])
def test_something_else_in_the_place_of_an_artifact_is_removed(tmp_path: Path, target: str) -> None:
    path = make(tmp_path).path
    shutil.move(path, tmp_path / "elsewhere")
    if target == "elsewhere":
        path.symlink_to(tmp_path / "elsewhere")
    elif target == "file":
        path.write_text("x")
    else:
        os.mkfifo(path)
    artifacts.find(tmp_path, "onnx", KEY)
    assert make(tmp_path).path == path
    assert (tmp_path / "elsewhere" / "sub" / "model.onnx").read_text() == "payload"


def test_files_that_leave_the_folder_are_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("payload")
    path = make(tmp_path).path
    meta = (path / "meta.json").read_text()
    (path / "meta.json").write_text(meta.replace("sub/model.onnx", "../../secret"))
    assert artifacts.find(tmp_path, "onnx", KEY)[0] is None
    assert (tmp_path / "secret").exists()


@pytest.mark.parametrize("kind", ["fifo", "link", "folder link"])
def test_a_payload_with_more_than_files_is_the_case_s_fault(tmp_path: Path, kind: str) -> None:
    with artifacts.scratch(tmp_path, "onnx") as out:
        if kind == "fifo":
            os.mkfifo(out / "odd")
        else:
            (out / "odd").symlink_to(tmp_path if kind == "folder link" else "/etc/hostname")
        with pytest.raises(CaseError, match="'odd' is neither"):
            artifacts.keep(tmp_path, out, "onnx", KEY, (), "")


STARTS = """
import sys
from pathlib import Path
from bench.store import artifacts
sys.stdin.readline()
for _ in range(100):
    artifacts.check_writable(Path(sys.argv[1]))
"""


def test_many_runs_may_start_on_one_cache_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STARTS, str(tmp_path / "cache")]
    starts = [subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
    for start in starts:
        assert start.stdin is not None
        start.stdin.write(b"\n")
        start.stdin.flush()
    assert [start.communicate()[1] for start in starts] == [b""] * 3
    assert [path.name for path in (tmp_path / "cache").iterdir()] == []


def test_without_a_home_folder_the_cache_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CACHE_HOME", "TRTBENCH_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)
    with pytest.raises(StoreError, match="--cache DIR"):
        artifacts.default_root()
