"""Duels between two revisions of a repository, each measured with its own code."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conftest import Trtbench
from tests.runner.duel_kit import ZOO, backend, write

pytestmark = pytest.mark.workers


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the suite, whose metric is 1 in the branch ``main`` and 2 in the working tree."""
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "n")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "n@example.org")
    suites = tmp_path / "repository" / "suites"
    suites.mkdir(parents=True)
    suite = write(suites)
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "one"]):
        subprocess.run(["git", "-C", str(suites.parent), *words], check=True, capture_output=True)
    (suites / "zoo.py").write_text(ZOO.replace("1.0", "2.0"))
    (suites / "results.jsonl").write_text("")  # not tracked, and no change of either side
    return suite


def worktrees(suite: Path) -> int:
    listed = subprocess.run(["git", "-C", str(suite.parent), "worktree", "list"], check=True, capture_output=True)
    return len(listed.stdout.splitlines())


@pytest.mark.long
def test_a_revision_is_measured_with_its_own_code_and_its_checkout_removed(
    trtbench: Trtbench, repository: Path
) -> None:
    words = ["duel", repository, "--select", backend("time=0.9"), "--against-rev", "main", "--max-time", "1ms"]
    assert trtbench(*words) == 0
    assert "1 uncommitted change; second side: main" in trtbench.err
    assert "INCONCLUSIVE after 1 pair, as the time was over" in trtbench.out.replace("\n     ", "")
    (run,) = trtbench.runs()
    versions = {
        record.toolchain: record.accuracy.metric["version"] for record in run.records if record.accuracy is not None
    }
    assert versions == {"here": 2.0, "main": 1.0}
    assert worktrees(repository) == 1
    assert run.header.duel is not None
    assert len(run.header.duel.commit) == 40
    assert "/revision" not in Path(run.path).read_text()


def test_what_cannot_be_checked_out_or_installed_is_an_error_and_leaves_nothing(
    trtbench: Trtbench, repository: Path
) -> None:
    words = ["duel", repository, "--select", backend("time=0.9"), "--against-rev"]
    assert trtbench(*words, "mian") == 2
    assert "branches and tags: main" in trtbench.err
    root = repository.parents[1]
    (root / "pyproject.toml").write_text("[project]\nname = 'x'\ndependencies = ['numpy']\n")
    (root / "suites" / "inner").mkdir()
    inner = write(root / "suites" / "inner")
    assert trtbench("duel", inner, "--select", backend("time=0.9"), "--against-rev", "main") == 2
    assert "main has no folder suites/inner" in trtbench.err
    subprocess.run(["git", "-C", str(root), "add", "-A"], check=True)
    subprocess.run(["git", "-C", str(root), "commit", "-qm", "two"], check=True)
    (root / "pyproject.toml").write_text("[project\n")
    assert trtbench(*words, "main") == 2
    assert "pyproject.toml of the working tree cannot be read" in trtbench.err
    assert worktrees(repository) == 1


def test_a_revision_without_a_function_that_the_suite_names_is_an_error_before_the_device_is_taken(
    trtbench: Trtbench, repository: Path
) -> None:
    (repository.parent / "zoo.py").write_text(ZOO.replace("version(", "newer("))
    repository.write_text(repository.read_text().replace("zoo.py:version", "zoo.py:newer"))
    assert trtbench("duel", repository, "--select", backend("time=0.9"), "--against-rev", "main") == 2
    assert "--against-rev: at main: zoo.py has no function 'newer'" in trtbench.err
    assert "fix: name a revision that has it" in trtbench.err
    assert not trtbench.runs()
    assert worktrees(repository) == 1


@pytest.mark.long
def test_a_revision_with_other_dependencies_has_an_environment_of_its_own_or_an_error(
    trtbench: Trtbench, repository: Path, tmp_path: Path
) -> None:
    root = repository.parents[1]
    project = root / "pyproject.toml"
    words = ["duel", repository, "--select", backend("time=0.9"), "--against-rev"]

    def commit(text: str, name: str) -> None:
        project.write_text(text)
        subprocess.run(["git", "-C", str(root), "add", "-A"], check=True)
        subprocess.run(["git", "-C", str(root), "commit", "-qm", name], check=True)
        subprocess.run(["git", "-C", str(root), "tag", name], check=True)

    # The build backend lies in the tree, so that nothing else is downloaded for it.
    build = "[build-system]\nrequires = []\nbuild-backend = 'no_such_backend'\n"
    commit(f"{build}[project]\nname = 'x'\nversion = '1'\ndependencies = ['numpy']\n", "broken")
    project.write_text("[project]\nname = 'x'\nversion = '1'\n")
    assert trtbench(*words, "broken") == 2
    assert "broken does not install" in trtbench.err
    assert not list((tmp_path / "cache" / "environments").iterdir())
    assert worktrees(repository) == 1
