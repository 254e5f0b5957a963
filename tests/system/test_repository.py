"""The commit of a folder, with git itself."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import api
from bench.runner.run import new_session
from bench.system import repository

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")


def git(folder: Path, *words: str) -> str:
    names = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", "-C", folder, *names, *words], check=True, capture_output=True, text=True).stdout


def test_the_commit_and_whether_files_were_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert repository.commit(tmp_path) == ""
    git(tmp_path, "init", "-q")
    assert repository.commit(tmp_path) == ""  # nothing is committed yet
    (tmp_path / "model.py").write_text("a")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    git(tmp_path, "tag", "v1")
    head = git(tmp_path, "rev-parse", "HEAD").strip()[:12]
    assert repository.commit(tmp_path) == head
    (tmp_path / "results.jsonl").write_text("")  # not tracked, so that a run does not make its own repository dirty
    assert repository.commit(tmp_path) == head
    (tmp_path / "model.py").write_text("b")
    assert repository.commit(tmp_path) == f"{head}-dirty"


def test_without_git_or_folder_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert repository.commit(tmp_path / "no") == ""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert repository.commit(Path(__file__).parent) == ""


def test_a_run_has_the_commit_of_its_suite(tmp_path: Path, fake_suite: Callable[..., Path]) -> None:
    request = api.request(fake_suite(), cache=tmp_path / "cache", store=tmp_path / "results")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "rehearsal.yaml")
    git(tmp_path, "commit", "-qm", "first")
    with new_session(request, lambda event: None) as session:
        assert session.header.commit == git(tmp_path, "rev-parse", "HEAD").strip()[:12]
