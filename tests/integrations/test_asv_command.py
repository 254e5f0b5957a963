"""asv behind checks: each thing that it would measure wrongly is one message and exit code 2."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.integrations import asv_command, asv_process

pytest.importorskip("asv")

CONFIGURATION = '{"version": 1, "repo": ".", "environment_type": "virtualenv"} // of asv\n'


def git(folder: Path, *arguments: str) -> None:
    author = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    subprocess.run(["git", *author, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit, and the current folder."""
    (tmp_path / "asv.conf.json").write_text(CONFIGURATION)
    git(tmp_path, "init", "-b", "main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "Begin")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert asv_command.main(arguments) == 2
    return capsys.readouterr().err


def test_changes_that_no_commit_has_are_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "asv.conf.json").write_text(CONFIGURATION + "\n")
    (project / "notes.txt").write_text("of no commit, and of no matter")
    message = refusal(capsys, "continuous", "main", "HEAD")
    assert message == (
        f"trtbench: {project}: asv.conf.json: changed since the last commit, and asv measures commits\n"
        "  fix: git commit or git stash\n"
    )


def test_a_folder_without_git_and_one_without_a_commit_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (tmp_path / "asv.conf.json").write_text(CONFIGURATION)
    assert "this is no git repository, and asv measures commits\n  fix: git init" in refusal(capsys, "run")
    git(tmp_path, "init")
    assert "the repository has no commit yet" in refusal(capsys, "run")


def test_without_git_that_is_said(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(project))
    assert "git is not installed" in refusal(capsys, "run")


def test_a_configuration_that_is_missing_or_wrong_is_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no other.json" in refusal(capsys, "run", "--config", "other.json")
    (project / "asv.conf.json").write_text("{")
    assert "asv.conf.json: no configuration of asv" in refusal(capsys, "run")
    (project / "asv.conf.json").unlink()
    assert f"{project}: there is no asv.conf.json" in refusal(capsys, "run")


def asv(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What becomes of the process once the checks are passed."""
    home = project.with_name(f"{project.name}-home")
    home.mkdir()
    env = os.environ | {"HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "bench.integrations.asv", *arguments]
    return subprocess.run(command, env=env, text=True, capture_output=True, check=False)


def test_what_asv_itself_refuses_ends_in_2_as_its_1_says_that_one_became_slower(project: Path) -> None:
    done = asv(project, "continuous", "no-such-commit", "HEAD")
    assert (done.returncode, done.stderr) == (2, "")
    assert "Unknown commit no-such-commit" in done.stdout


CONTINUOUS = ("continuous", "HEAD", "HEAD")
AT_HEAD = ("run", "-E", "existing", "--set-commit-hash", "HEAD", "--bench", "none")


@pytest.mark.parametrize(
    ("settings", "words", "printed", "message"),
    [
        ('"environment_type": "virtualenv", "pythons": ["2.1"]', CONTINUOUS, "No environments selected", ""),
        ('"environment_type": "nosuch"', CONTINUOUS, "nosuch", ""),
        (
            '"environment_type": "existing", "results_dir": "asv.conf.json/results"',
            AT_HEAD,
            "",
            "trtbench: asv failed with NotADirectoryError: [Errno 20] Not a directory: ",
        ),
    ],
)
def test_what_asv_cannot_do_ends_in_2_without_a_traceback(
    project: Path, settings: str, words: tuple[str, ...], printed: str, message: str
) -> None:
    (project / "asv.conf.json").write_text(f'{{"version": 1, "repo": ".", "branches": ["main"], {settings}}}')
    git(project, "commit", "-am", "Configure")
    done = asv(project, *words)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done
    assert printed in done.stdout + done.stderr
    assert done.stderr.startswith(message)


@pytest.mark.parametrize("verbose", [False, True])
def test_another_error_of_asv_is_one_message_and_with_verbose_says_where(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verbose: bool
) -> None:
    unavailable = importlib.import_module("asv.environment").EnvironmentUnavailable

    def run(_: object) -> None:
        raise unavailable("no conda")

    monkeypatch.setattr("asv.commands.run.Run.run_from_args", run)
    monkeypatch.setattr(sys, "argv", ["asv", "run", *["--verbose"] * verbose])
    assert asv_process.main() == 2
    printed = capsys.readouterr().err
    message = "trtbench: asv failed with EnvironmentUnavailable: no conda\n  fix: --verbose shows where in asv\n"
    assert printed.endswith(message)
    assert ("Traceback" in printed) == verbose


@pytest.mark.parametrize(("compares", "code"), [(False, 2), (True, 1)])
def test_only_a_comparison_ends_in_1(monkeypatch: pytest.MonkeyPatch, compares: bool, code: int) -> None:
    compare = importlib.import_module("asv.commands.compare").Compare

    def run(_: object) -> int:
        return int(compare.print_table()[0]) if compares else 1

    monkeypatch.setattr(compare, "print_table", lambda: (True, False))
    monkeypatch.setattr("asv.commands.continuous.Continuous.run_from_args", run)
    monkeypatch.setattr(sys, "argv", ["asv", "continuous", "main", "HEAD"])
    try:
        ended: object = asv_process.main()
    except SystemExit as end:
        ended = end.code
    assert ended == code


@pytest.mark.parametrize(
    ("printed", "message"),
    [
        (
            "ERROR: Could not find a version that satisfies it\nERROR: No matching distribution found for trtbench",
            "pip finds no 'trtbench', which asv installs into the environments that it makes\n"
            "  fix: PIP_FIND_LINKS=FOLDER, where the wheel of trtbench lies, or an index that has it",
        ),
        ("trying\nerror: metadata-generation-failed", "error: metadata-generation-failed\n  fix: asv printed above"),
        ("", "Command 'pip install' returned non-zero exit status 1\n  fix: asv printed above"),
    ],
)
def test_a_command_of_asv_that_fails_is_one_message_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], printed: str, message: str
) -> None:
    util = importlib.import_module("asv.util")

    def install(_: object) -> None:
        raise util.ProcessError(["pip", "install"], 1, "", printed)

    monkeypatch.setattr("asv.commands.continuous.Continuous.run_from_args", install)
    monkeypatch.setattr(sys, "argv", ["asv", "continuous", "main", "HEAD"])
    assert asv_process.main() == 2
    assert capsys.readouterr().err.startswith(f"trtbench: {message}")


@pytest.mark.parametrize("words", [("-E", "existing"), ("--python", "same"), ("-E", "existing:python3")])
def test_two_commits_in_an_environment_that_exists_are_refused(
    project: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    message = refusal(capsys, "continuous", "main", "HEAD", *words)
    assert "into an environment that exists asv installs nothing\n  fix: asv run -E existing" in message


def test_without_asv_the_message_has_the_command(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "asv", None)
    assert refusal(capsys, "run") == 'trtbench: asv is not installed here\n  fix: pip install "trtbench[asv]"\n'
