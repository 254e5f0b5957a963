"""pytest started as a user starts it, on suites of the fake backend."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as xml
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_benchmark import fixture, session, stats

import bench

ROOT = Path(bench.__file__).parent.parent
PLUGIN = "trtbench_pytest"
SUITE = """\
schema: 1
name: rehearsal
models:
  net: {factory: "zoo.py:net", inputs: {x: {shape: [batch, 3], dtype: float32}}}
matrix:
  model: [net]
  backend: [fake, {name: fake, fail: raise}, {name: fake, fail: wrong}, {name: fake, fail: unavailable}]
  batch: [1]
measure: {replicates: 2, max_time: 1s}
"""
SOUND = "net/fake/fp32/batch=1"
OTHER_YAML = "schema: 3\nname: of another tool\n"
Pytest = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def start(tmp_path: Path, references: Path) -> Pytest:
    """Starts pytest in a folder with a suite, and other tools' YAML; with pytest-benchmark unless ``alone``."""
    shutil.copytree(references, tmp_path / "cache")
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "suite.yaml").write_text(SUITE)
    (folder / "other.yaml").write_text(OTHER_YAML)
    (folder / "pytest.ini").write_text("[pytest]\n")

    def run(*arguments: object, alone: bool = False, plugins: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        names = [PLUGIN, *plugins] if alone else [PLUGIN, "pytest_benchmark.plugin", *plugins]
        words = [sys.executable, "-m", "pytest", *(word for name in names for word in ("-p", name))]
        return subprocess.run(
            [*words, "-p", "no:cacheprovider", *map(str, arguments)],
            cwd=folder,
            env=environment() | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "TRTBENCH_CACHE": str(tmp_path / "cache")},
            text=True,
            capture_output=True,
            check=False,
        )

    return run


def environment(*paths: Path) -> dict[str, str]:
    """That of this process, without what this pytest has put there."""
    own = {name: text for name, text in os.environ.items() if not name.startswith(("PYTEST_", "COLUMNS"))}
    return own | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, *paths))), "COLUMNS": "140"}


def outcomes(report: Path) -> dict[str, str]:
    """The outcome of each item in a JUnit report: passed, failure, skipped or error. pytest ends a name in which there
    is a bracket with another one.
    """
    cases = xml.parse(report).iter("testcase")
    names = {case: re.sub(r"(?<=batch=1)\]$", "", case.attrib["name"]) for case in cases}
    return {name: next((child.tag for child in case), "passed") for case, name in names.items()}


def test_a_pytest_that_does_not_use_the_plugin_imports_its_file_alone(tmp_path: Path) -> None:
    entry = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    installed = tmp_path / "packages" / "trtbench-0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: trtbench\nVersion: 0\n")
    (installed / "entry_points.txt").write_text(
        "[pytest11]\n" + "".join(f"{name} = {module}\n" for name, module in entry.items())
    )
    (tmp_path / "test_names.py").write_text("import sys\n\n\ndef test_names():\n    print('names:', *sys.modules)\n")

    def modules(*options: str) -> set[str]:
        words = [sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider", *options, "test_names.py"]
        ran = subprocess.run(words, cwd=tmp_path, env=environment(installed.parent), text=True, capture_output=True)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return set(re.findall(r"names: (.*)", ran.stdout)[0].split())

    ours = modules() - modules("-p", "no:trtbench")
    assert ours == {PLUGIN}


def test_a_bench_of_the_project_is_its_own_and_in_the_way_only_of_trtbench(start: Pytest, tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "bench.py").write_text("MINE = True\n")  # python -m pytest finds it before trtbench's
    (project / "test_mine.py").write_text("from bench import MINE\n\n\ndef test_mine():\n    assert MINE\n")
    (project / "test_speed.py").write_text("def test_speed(trtbench):\n    trtbench(None, None)\n")
    assert start("test_mine.py", alone=True).returncode == 0
    for target in ("test_speed.py", "suite.yaml"):
        ran = start(target, alone=True)
        assert ran.returncode != 0
        assert (
            f"{project / 'bench.py'} is imported as 'bench', which is the name of trtbench's own package" in ran.stdout
        )
        assert "Traceback" not in ran.stdout + ran.stderr
        assert "trtbench_pytest.py:" not in ran.stdout


@pytest.mark.workers
def test_cases_are_items_and_pytest_benchmark_has_their_samples(start: Pytest, tmp_path: Path) -> None:
    ran = start(
        "suite.yaml", "--junitxml=report.xml", "--benchmark-json=out.json", "--benchmark-autosave",
        "--trtbench-store=results",
    )  # fmt: skip
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert outcomes(tmp_path / "project" / "report.xml") == {
        SOUND: "passed",
        "net/fake[fail=raise]/fp32/batch=1": "failure",
        "net/fake[fail=wrong]/fp32/batch=1": "failure",
        "net/fake[fail=unavailable]/fp32/batch=1": "skipped",
    }
    assert "ValueError in first_call: the fake model raised an error" in ran.stdout
    assert "inaccurate: output 'x.tanh'" in ran.stdout
    assert "bench/integrations" not in ran.stdout  # the message, no traceback of the plugin

    (file,) = (tmp_path / "project" / "results").rglob("*.jsonl")
    stored = bench.read(file)
    records = [record for record in stored.records if record.label == SOUND]
    (entry,) = json.loads((tmp_path / "project" / "out.json").read_text())["benchmarks"]
    assert entry["fullname"] == f"suite.yaml::{SOUND}"
    assert entry["group"] == "net batch=1"
    assert entry["params"]["backend"] == "fake"
    samples = [sample for record in records for sample in record.measurements[0].samples]
    assert entry["stats"]["data"] == pytest.approx([sample / 1e9 for sample in samples])
    facts = entry["extra_info"]
    assert facts["case"] == records[0].case
    assert facts["boundary"] == "latency"
    assert len(facts["process_medians_ns"]["latency"]) == len(facts["process_rates"]) == 2
    assert facts["accuracy"]["ok"] is True
    assert facts["fingerprint"] == stored.header.environments["default"].fingerprint

    (saved,) = (tmp_path / "project" / ".benchmarks").rglob("*.json")
    saved.write_text(saved.read_text().replace(facts["fingerprint"], "0123456789ab"))
    again = start(f"suite.yaml::{SOUND}", "--benchmark-compare", "--benchmark-compare-fail=median:5%")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "(NOW)" in again.stdout
    assert f"({saved.name[:4]}_" in again.stdout
    assert "1 passed" in again.stdout
    assert "was measured in another environment" in again.stdout


@pytest.mark.workers
def test_without_pytest_benchmark_items_pass_or_fail_beside_the_tables_of_trtbench(start: Pytest) -> None:
    ran = start("suite.yaml", "-k", "raise or not fail", "--trtbench-quick", alone=True)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "1 failed, 1 passed, 2 deselected" in ran.stdout
    assert "2 cases x 1 process" in ran.stdout
    assert "note 1: ValueError in first_call" in ran.stdout


@pytest.mark.long
def test_a_case_with_empty_outputs_fails(start: Pytest, tmp_path: Path) -> None:
    suite = tmp_path / "project" / "nothing.yaml"
    suite.write_text(re.sub("backend: .*", "backend: [{name: fake, fail: empty}]", SUITE))
    ran = start("nothing.yaml", "--trtbench-quick", "--junitxml=report.xml", alone=True)
    assert list(outcomes(tmp_path / "project" / "report.xml").values()) == ["failure"], ran.stdout
    assert "it has only empty outputs" in ran.stdout


@pytest.mark.long
def test_with_benchmarks_disabled_one_short_process_shows_that_a_case_works(start: Pytest, tmp_path: Path) -> None:
    (tmp_path / "project" / "pytest.ini").write_text("[pytest]\ntrtbench_suites =\n  suite.yaml\n")
    ran = start("-k", "not fail", "--benchmark-disable", "-v")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"trtbench: 1/1 {SOUND}" in ran.stdout
    assert "1 passed, 3 deselected" in ran.stdout
    assert "Rounds" not in ran.stdout  # of the table of pytest-benchmark


def test_yaml_that_nobody_named_is_left_alone(start: Pytest, tmp_path: Path) -> None:
    (tmp_path / "project" / "more.yaml").write_text(SUITE)
    assert "not found" in start("--collect-only", "other.yaml", alone=True).stderr
    (tmp_path / "project" / "pytest.ini").write_text("[pytest]\ntrtbench_suites = s*.yaml\n")
    listed = start("--collect-only", ".", "--trtbench-select=backend=fake", alone=True)
    assert listed.stdout.count("<CaseItem") == 4
    assert "more.yaml" not in listed.stdout


def test_a_wrong_suite_is_an_error_with_its_line(start: Pytest, tmp_path: Path) -> None:
    (tmp_path / "project" / "suite.yaml").write_text(SUITE.replace("backend: [fake,", "backend: [fakke,"))
    ran = start("suite.yaml", alone=True)
    assert ran.returncode == 2
    assert "suite.yaml:7: unknown backend 'fakke'. Did you mean 'fake'?" in ran.stdout
    assert "Traceback" not in ran.stdout


def test_benchmarks_that_pytest_benchmark_skips_are_not_measured(start: Pytest, tmp_path: Path) -> None:
    (tmp_path / "project" / "test_plain.py").write_text("def test_plain():\n    pass\n")
    ran = start("suite.yaml", "test_plain.py", "--benchmark-skip")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 passed, 4 skipped" in ran.stdout


@pytest.mark.long
@pytest.mark.torch
def test_the_fixture_benchmarks_a_model_and_names_what_workers_cannot_import(start: Pytest, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    project = tmp_path / "project"
    (project / "zoo.py").write_text("def net():\n    raise AssertionError('a rehearsal has no model')\n")
    (project / "test_model.py").write_text(
        "import pytest, torch\n"
        "from bench.errors import UsageError\n\n"
        "def double(x):\n    assert x.shape\n    return x * 2\n\n"
        "def test_sound(trtbench):\n"
        "    run = trtbench('zoo.py:net', {'x': torch.zeros(2, 3)},\n"
        "                   backends=['fake', {'name': 'fake', 'fail': 'unavailable'}])\n"
        "    assert run.records[0].accuracy.ok\n\n"
        "def test_broken(trtbench):\n"
        "    trtbench('zoo.py:net', {'x': torch.zeros(2, 3)}, backends={'name': 'fake', 'fail': 'raise'})\n\n"
        "def test_rewritten(trtbench):\n"
        "    with pytest.raises(UsageError, match='PYTEST_DONT_REWRITE'):\n"
        "        trtbench(double, torch.zeros(2, 3))\n"
    )
    ran = start("test_model.py", "--junitxml=report.xml", "--benchmark-json=out.json")
    expected = {"test_sound": "passed", "test_broken": "failure", "test_rewritten": "passed"}
    assert outcomes(project / "report.xml") == expected, ran.stdout + ran.stderr
    (entry,) = json.loads((project / "out.json").read_text())["benchmarks"]
    assert entry["fullname"] == "test_model.py::test_sound[net/fake/fp32/batch=2]"
    assert entry["extra_info"]["boundary"] == "latency"
    assert "not used" not in ran.stdout  # a warning of pytest-benchmark


@pytest.mark.long
def test_under_xdist_each_item_is_measured_by_itself(start: Pytest, tmp_path: Path) -> None:
    ran = start("suite.yaml", "-n", "2", "--junitxml=report.xml", "--trtbench-store=results", plugins=("xdist",))
    assert sorted(outcomes(tmp_path / "project" / "report.xml").values()) == ["failure", "failure", "passed", "skipped"]
    runs = [bench.read(path) for path in (tmp_path / "project" / "results").rglob("*.jsonl")]
    assert [len(run.header.cases) for run in runs] == [1, 1, 1, 1], ran.stdout


def test_the_private_parts_of_pytest_benchmark_are_those_of_5_3() -> None:
    parameters = inspect.signature(fixture.BenchmarkFixture).parameters
    assert {"node", "add_stats", "logger", "warner", "disabled", "group"} <= set(parameters)
    of_session = inspect.getsource(session.BenchmarkSession)
    assert "self.compared_mapping = compared_mapping" in of_session
    for name in ("self.benchmarks", "self.logger", "self.options", "self.disabled", "self.skip"):
        assert f"{name} =" in of_session
    of_fixture = inspect.getsource(fixture.BenchmarkFixture)
    for name in ("self._mode", "self.group", "self.params", "self.name", "self.fullname", "self.extra_info"):
        assert f"{name} =" in of_fixture
    assert list(inspect.signature(fixture.BenchmarkFixture._make_stats).parameters) == ["self", "iterations"]
    assert list(inspect.signature(stats.Metadata.update).parameters) == ["self", "duration"]
    assert "self.options.items()" in inspect.getsource(stats.Metadata.as_dict)


@pytest.mark.long
def test_a_pytest_benchmark_of_other_private_parts_is_a_warning(start: Pytest, tmp_path: Path) -> None:
    change = "from pytest_benchmark.fixture import BenchmarkFixture\n\ndel BenchmarkFixture._make_stats\n"
    (tmp_path / "project" / "conftest.py").write_text(change)
    ran = start("suite.yaml", "-k", "not fail", "--trtbench-quick")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 passed, 3 deselected, 1 warning" in ran.stdout
    assert "is not built as 5.3 is, and was given nothing" in ran.stdout
