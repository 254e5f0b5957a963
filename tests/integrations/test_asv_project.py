"""examples/asv-project as a user's repository: asv tells a slower commit from the one before, in one environment."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bench

pytest.importorskip("asv")
pytestmark = pytest.mark.long

ROOT = Path(bench.__file__).parents[1]
BENCHMARKS = ("latency.Tinynet.time_latency", "latency.Tinynet.time_throughput")
Command = Callable[..., tuple[int, str]]


def variables(home: Path, dist: Path) -> dict[str, str]:
    """Those of a user who has this trtbench, and whose pip finds its wheel in ``dist``."""
    own = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "ASV"))}
    author = {f"GIT_{who}_{what}": "a@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    pip = {
        "PIP_FIND_LINKS": f"{own.get('PIP_FIND_LINKS', '')} {dist}".strip(),
        "PIP_CONSTRAINT": str(ROOT / "constraints.txt"),
    }
    return own | author | pip | {"HOME": str(home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "120"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with two commits, the second 20 % slower by simulated time."""
    folder: Path = tmp_path_factory.mktemp("asv") / "tinynet"
    shutil.copytree(ROOT / "examples" / "asv-project", folder, ignore=shutil.ignore_patterns(".asv", "__pycache__"))
    return folder


@pytest.fixture(scope="module")
def command(folder: Path) -> Command:
    """Runs a command in the repository: its exit code and all that it prints."""
    home, dist = folder.parent / "home", folder.parent / "dist"
    home.mkdir()
    env = variables(home, dist)

    def run(*words: object) -> tuple[int, str]:
        line = [str(word) for word in words]
        done = subprocess.run(
            line, cwd=folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        return done.returncode, done.stdout

    def check(*words: object) -> None:
        code, printed = run(*words)
        assert code == 0, printed

    check(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", dist, ROOT)
    check("git", "init", "-q", "-b", "main")
    check("git", "add", ".")
    check("git", "commit", "-qm", "Begin")
    suite = folder / "src" / "tinynet" / "suite.yaml"
    suite.write_text(suite.read_text().replace("time: 2 ms", "time: 2.4 ms"))
    check("git", "commit", "-qam", "Add a layer")
    check(sys.executable, "-m", "asv", "machine", "--yes")
    return run


def asv(command: Command, *arguments: str) -> tuple[int, str]:
    return command(sys.executable, "-m", "asv", *arguments)


@pytest.fixture(scope="module")
def comparison(command: Command) -> tuple[int, str]:
    return asv(command, "continuous", "HEAD~1", "HEAD")


def results(folder: Path, command: Command, commit: str) -> dict[str, dict[str, Any]]:
    """By benchmark, what asv has stored of a commit."""
    name = command("git", "rev-parse", commit)[1][:8]
    (file,) = (folder / ".asv" / "results").rglob(f"{name}-*.json")
    stored = json.loads(file.read_text())
    return {key: dict(zip(stored["result_columns"], row, strict=False)) for key, row in stored["results"].items()}


def test_the_slower_commit_is_called_slower(comparison: tuple[int, str]) -> None:
    code, printed = comparison
    assert code == 1, printed
    changed = [line.split("|")[-2].strip() for line in printed.splitlines() if line.startswith("| +")]
    assert changed == [f"{name}('small', 'fake', {batch})" for name in BENCHMARKS for batch in (1, 8)]
    assert "PERFORMANCE DECREASED" in printed


@pytest.mark.parametrize(("commit", "ms"), [("HEAD~1", 2.0), ("HEAD", 2.4)])
def test_the_samples_and_their_interval_are_stored(
    comparison: tuple[int, str], folder: Path, command: Command, commit: str, ms: float
) -> None:
    stored = results(folder, command, commit)
    assert set(stored) == set(BENCHMARKS)
    for name, row in stored.items():
        for index, batch in enumerate((1, 8)):
            expected = ms / 1000 / (batch if "throughput" in name else 1)
            samples, low, high = (row[key][index] for key in ("samples", "stats_ci_99_a", "stats_ci_99_b"))
            assert len(set(samples)) == 7
            assert samples == pytest.approx([expected] * 7, rel=0.05)
            assert low < row["result"][index] < high
            assert math.isfinite(low)
            assert math.isfinite(high)
            assert row["stats_number"][index] == 1
    units = json.loads((folder / ".asv" / "results" / "benchmarks.json").read_text())
    assert {units[name]["unit"] for name in BENCHMARKS} == {"seconds"}
    assert units[BENCHMARKS[0]]["param_names"] == ["model", "backend", "batch"]


def test_one_environment_has_had_only_the_wheel_replaced(
    comparison: tuple[int, str], folder: Path, command: Command
) -> None:
    (environment,) = {path.parent for path in (folder / ".asv" / "env").glob("*/asv-env-info.json")}
    made = (environment / "pyvenv.cfg").stat().st_mtime_ns
    packages = list(environment.glob("lib/*/site-packages/*.dist-info"))
    (project,) = (path for path in packages if path.name.startswith("tinynet"))
    (wheel,) = (path for path in packages if path.name.startswith("trtbench"))
    assert made < wheel.stat().st_mtime_ns < project.stat().st_mtime_ns
    commits = {command("git", "rev-parse", commit)[1].strip() for commit in ("HEAD", "HEAD~1")}
    assert {path.name for path in (environment / "trtbench").iterdir()} == commits
    runs = [bench.read(path) for path in (environment / "trtbench").rglob("*.jsonl")]
    assert [len(run.records) for run in runs] == [7] * 4


def test_asv_compares_and_publishes_what_is_stored(comparison: tuple[int, str], folder: Path, command: Command) -> None:
    code, printed = asv(command, "compare", "HEAD~1", "HEAD")
    assert code == 0
    assert printed.count("| +  ") == 4
    code, printed = asv(command, "publish")
    assert code == 0, printed
    pages = json.loads((folder / ".asv" / "html" / "index.json").read_text())
    assert set(BENCHMARKS) <= set(pages["benchmarks"])
    assert command("git", "status", "--porcelain")[1] == ""


def test_a_revision_that_does_not_install_is_a_failure_with_its_reason(
    comparison: tuple[int, str], folder: Path, command: Command
) -> None:
    file = folder / "pyproject.toml"
    text = file.read_text()
    file.write_text(text.replace("hatchling.build", "hatchling.nothing"))
    command("git", "commit", "-qam", "Break the build")
    try:
        code, printed = command(sys.executable, "-m", "bench.integrations.asv", "run", "HEAD^!")
    finally:
        command("git", "reset", "-q", "--hard", "HEAD~1")
    assert code == 2
    assert "Cannot import build backend 'hatchling.nothing'" in printed
    assert "Failed to build the project" in printed


def test_what_is_installed_is_measured_where_an_environment_exists(
    tmp_path: Path, fake_suite: Callable[..., Path]
) -> None:
    fake_suite("[fake, {name: fake, fail: unsupported}]")
    settings = {"version": 1, "repo": ".", "branches": ["main"], "environment_type": "existing", "results_dir": "asv"}
    settings |= {"pythons": ["same"]}
    (tmp_path / "asv.conf.json").write_text(json.dumps(settings))
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "__init__.py").touch()
    (tmp_path / "benchmarks" / "small.py").write_text(
        "from bench.integrations.asv import from_suite\n"
        "Small = from_suite('rehearsal.yaml', select='batch=8', replicates=2, qps=True, name='Small')\n"
    )
    env = variables(tmp_path / "home", tmp_path) | {"ASV_PYTHONPATH": str(ROOT)}
    (tmp_path / "home").mkdir()

    def run(*words: str) -> tuple[int, str]:
        done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    for words in (("init", "-qb", "main"), ("add", "."), ("commit", "-qm", "Begin")):
        assert run("git", *words)[0] == 0
    commit = run("git", "rev-parse", "HEAD")[1].strip()
    module = (sys.executable, "-m", "bench.integrations.asv", "run", "--record-samples", "--set-commit-hash", commit)
    code, printed = run(*module)
    assert code == 2, printed
    assert "net/fake[fail=unsupported]/fp32/batch=8: Unsupported in first_call: the fake runtime has no such" in printed
    (file,) = (tmp_path / "asv").rglob(f"{commit[:8]}-*.json")
    stored = json.loads(file.read_text())
    rates = dict(zip(stored["result_columns"], stored["results"]["small.Small.track_qps"], strict=False))
    assert rates["samples"][0] == pytest.approx([8000, 8000], rel=0.05)
    assert rates["stats_ci_99_a"][0] < rates["result"][0] < rates["stats_ci_99_b"][0]
    assert (rates["samples"][1], rates["result"][1]) == (None, None)
    units = json.loads((tmp_path / "asv" / "benchmarks.json").read_text())
    assert units["small.Small.track_qps"]["unit"] == "inferences/s"
