"""The gate of pull requests, with local commits: gate.sh does all that the workflow does but for the posting."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import bench

ROOT = Path(bench.__file__).parent.parent
GATE = ROOT / "examples" / "gate"
PAGE = ROOT / "docs" / "continuous-gate.md"
SUITE = """\
schema: 1
name: gate
models:
  net: {factory: "zoo.py:net", inputs: {x: {shape: [batch, 3], dtype: float32}}}
matrix: {model: [net], backend: [fake], batch: [1]}
measure: {max_time: 1s, throughput_time: 0.1s}
"""
TIME, SLOW = "self._ns = parse_time(options.time) * scale", "self._ns = parse_time(options.time) * scale * 1.05"
BROKEN = 'raise ValueError("the commit is broken")'


class Repository:
    """A repository whose code is a copy of this one's: what a commit changes in it changes what is measured."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT / "bench", folder / "bench", ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "suite.yaml").write_text(SUITE)
        self.git("init", "--quiet", "--initial-branch=main")
        self.base = self.commit("base")

    def git(self, *words: str) -> str:
        identity = ("-c", "user.name=T", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
        command = ["git", *identity, *words]
        return subprocess.run(command, cwd=self.folder, check=True, text=True, capture_output=True).stdout.strip()

    def commit(self, message: str, old: str = "", new: str = "") -> str:
        """A commit in which a text of the fake backend is another one; its id."""
        file = self.folder / "bench" / "backends" / "fake.py"
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new) if old else file.read_text())
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def gate(self, base: str, head: str, suite: str = "suite.yaml", setup: str = "") -> tuple[int, str, str]:
        """The exit code, the comment and what was printed."""
        env = {"GATE_SETUP": setup} | {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
        env |= {"GATE_RUN": f"{sys.executable} -m bench", "TRTBENCH_CACHE": str(self.folder.parent / "cache")}
        ran = subprocess.run(
            [str(GATE / "gate.sh"), base, head, suite], cwd=self.folder, env=env, text=True, capture_output=True
        )
        comment = self.folder / "gate-results" / "comment.md"
        return ran.returncode, comment.read_text() if comment.exists() else "", ran.stdout + ran.stderr


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    folder = tmp_path / "repository"
    folder.mkdir()
    return Repository(folder)


@pytest.mark.long
def test_a_commit_that_is_slower_by_5_percent_fails_and_one_that_changes_nothing_does_not(
    repository: Repository,
) -> None:
    same = repository.commit("nothing")
    code, comment, log = repository.gate(repository.base, same)
    assert code == 0, log
    assert comment.startswith("**trtbench: 1 SAME**\n\nNo case changed.\n")

    slow = repository.commit("5 % slower", TIME, SLOW)
    code, comment, log = repository.gate(same, slow)
    assert code == 1, log
    assert comment.startswith("**trtbench: 1 SLOWER**\n")
    row = next(line for line in comment.splitlines() if line.startswith("| net/fake/"))
    assert "| 1.050 \\[1.0" in row
    assert row in PAGE.read_text().splitlines()  # simulated, and seeded: the page has these figures
    assert len(list((repository.folder / "gate-results" / "runs").rglob("*.jsonl"))) == 4
    assert repository.git("worktree", "list").count("\n") == 0  # those of the gate are removed

    repository.commit("as fast as before", SLOW, TIME)
    broken = repository.commit("broken", TIME, f"{TIME}\n        {BROKEN}")
    code, comment, log = repository.gate(same, broken)
    assert code == 1, log
    assert "1 not judged" in comment
    assert "not judged, B failed: ValueError: net/fake/fp32/batch=1" in comment


@pytest.mark.long
def test_a_gate_without_two_sides_says_so(repository: Repository) -> None:
    (repository.folder / "new.yaml").write_text(SUITE)
    head = repository.commit("a suite")
    code, comment, _ = repository.gate(repository.base, head, "new.yaml")
    assert (code, comment) == (
        0,
        f"**trtbench: new.yaml is not in {repository.base}, so there is nothing to compare**\n",
    )
    for wrong, what in (
        ((repository.base, "nowhere"), "there is no commit nowhere"),
        (("nowhere", head), "there is no commit nowhere"),
        ((repository.base, head, "none.yaml"), f"none.yaml is not in {head}"),
        ((head, head, "new.yaml", "echo begin; false; echo end"), f"GATE_SETUP failed in {head}"),
    ):
        code, comment, _ = repository.gate(*wrong)
        assert (code, comment) == (2, f"**trtbench: {what}, so there is nothing to compare**\n")
    assert repository.gate(repository.base, head, "")[0] == 2


@pytest.mark.long
def test_a_commit_whose_suite_shares_no_case_with_the_base_is_told_in_the_comment(repository: Repository) -> None:
    (repository.folder / "suite.yaml").write_text(SUITE.replace("batch: [1]", "batch: [2]"))
    code, comment, log = repository.gate(repository.base, repository.commit("another batch"))
    assert code == 2, log
    assert comment.endswith("the two sides have no case in common, so there is nothing to compare**\n")
    (repository.folder / "suite.yaml").write_text("schema: 1\n")
    head = repository.commit("no suite")
    assert repository.gate(repository.base, head)[:2] == (
        2,
        f"**trtbench: {head} was not measured (exit code 2, see the log), so there is nothing to compare**\n",
    )


def test_the_workflow_is_the_one_of_the_page_and_calls_the_script() -> None:
    text = (GATE / "trtbench.yml").read_text()
    assert text in PAGE.read_text()
    (job,) = yaml.safe_load(text)["jobs"].values()
    (measure,) = [step for step in job["steps"] if "gate.sh" in step.get("run", "")]
    script = (GATE / "gate.sh").read_text()
    assert all(f"${{{name}:-" in script for name in measure["env"])
    assert "gate-results/comment.md" in job["steps"][2]["run"]
    assert ":-gate-results}" in script
