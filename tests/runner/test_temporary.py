"""Workers keep temporary files in the run's own folder, and what torch keeps between runs where it was."""

from __future__ import annotations

import getpass
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.runner import temporary, toolchains
from bench.system import scratch

NAME = f"torchinductor_{getpass.getuser()}"


@pytest.fixture
def usual(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files of this process: a short one, as the system's is."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="t-") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", None)
        monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
        yield Path(folder)


def test_what_a_worker_leaves_goes_with_the_run_and_what_torch_keeps_stays(usual: Path) -> None:
    with scratch.folder() as own, temporary.folder(own):
        env = toolchains.worker_env(toolchains.package_link(own), {})
        folder = Path(env["TMPDIR"])
        assert folder.parent == own
        (folder / "cc1plus.s").write_text("of a compiler that was killed")
        (folder / NAME / "precompiled_headers").mkdir()
        assert env["TORCHINDUCTOR_CACHE_DIR"] == str(usual / NAME)
    assert sorted(path.name for path in usual.rglob("*")) == ["precompiled_headers", NAME]


def test_a_run_that_compiles_nothing_leaves_no_folder(usual: Path) -> None:
    with scratch.folder() as own, temporary.folder(own):
        assert (usual / NAME).is_dir()
    assert list(usual.iterdir()) == []


def test_folders_that_the_user_names_are_kept(usual: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "mine")
    with scratch.folder() as own, temporary.folder(own):
        link = toolchains.package_link(own)
        assert toolchains.worker_env(link, {})["TORCHINDUCTOR_CACHE_DIR"] == "mine"
        assert toolchains.worker_env(link, {"TMPDIR": "theirs"})["TMPDIR"] == "theirs"


@pytest.mark.parametrize(("length", "is_own"), [(52, True), (53, False)])
def test_a_path_in_which_sockets_would_have_no_room_is_not_used(
    usual: Path, monkeypatch: pytest.MonkeyPatch, length: int, is_own: bool
) -> None:
    deep = usual / ("d" * (length - len(str(usual)) - 1))
    deep.mkdir()
    monkeypatch.setenv("TMPDIR", str(deep))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with scratch.folder() as own, temporary.folder(own):
        folder = toolchains.worker_env(toolchains.package_link(own), {})["TMPDIR"]
    assert (folder == str(deep)) is not is_own
    assert len(f"{folder}/torch-shm-dir-abcdef/manager.sock") < 108
