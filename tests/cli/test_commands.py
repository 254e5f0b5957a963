"""Bad input is one message and exit code 2 with nothing written; good input prints what a person expects."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import store
from tests.conftest import Trtbench

Suite = Callable[..., Path]

BAD = {
    "no such file": ("", ["run", "{dir}/nope.yaml"], "nope.yaml"),
    "not YAML": ("schema: [1", ["run", "{suite}"], "rehearsal.yaml:"),
    "misspelt backend": ("backend: [fake]=backend: [faek]", ["run", "{suite}"], "Did you mean 'fake'?"),
    "misspelt option": (
        "backend: [fake]=backend: [{name: fake, tiem: 1 ms}]",
        ["run", "{suite}"],
        "Did you mean 'time'?",
    ),
    "unknown key": ("schema: 1=schema: 1\nmodles: {}", ["run", "{suite}"], "Did you mean 'models'?"),
    "zero batch": ("batch: [1, 8]=batch: [0]", ["run", "{suite}"], "rehearsal.yaml:10"),
    "empty axis": ("batch: [1, 8]=batch: []", ["run", "{suite}"], "rehearsal.yaml:10"),
    "a symbol without a value": ("  batch: [1, 8]\n=", ["run", "{suite}"], "batch"),
    "a selection that matches nothing": ("", ["run", "{suite}", "--select", "batch=3"], "batch"),
    "a selection that does not parse": ("", ["run", "{suite}", "--select", "batch=="], "batch=="),
    "a misspelt command": ("", ["lsit", "{suite}"], "invalid choice: 'lsit'. Did you mean 'list'?\n"),
    "a run that is not there": ("", ["show", "2026"], "2026"),
    "a case of the tables": ("", ["show", "X", "--case", "a b"], "fix: trtbench show X --as trtexec --case 'a b' --st"),
    "what a format ignores": ("", ["show", "--format", "csv", "--phases"], "fix: trtbench show --format csv --store"),
    "what times ignore": (
        "",
        ["show", "X", "--time", "--stats", "--as", "trtexec"],
        "fix: trtbench show X --time --st",
    ),
    "what trtexec ignores": ("", ["show", "--as", "trtexec", "--baseline", "a"], "--baseline would change nothing"),
    "an empty selection": ("", ["run", "{suite}", "--select", ""], "--select: it is empty"),
    "an empty backend": ("", ["run", "{suite}", "--backend", " "], "--backend: it is empty"),
    "an empty resume": ("", ["run", "{suite}", "--resume", ""], "--resume: it is empty"),
    "an empty run": ("", ["show", ""], "RUN: it is empty (an unset variable?); leave it out to do without it\n"),
    "an empty suite": ("", ["run", ""], "SUITE: it is empty (an unset variable?)\n"),
    "an empty side": ("", ["compare", ""], "A: it is empty (an unset variable?)\n"),
    "an empty folder": ("", ["codegen", "{suite}", "--out", ""], "--out: it is empty (an unset variable?)\n"),
    "a suite that is not there": ("", ["quantize", "{dir}/no/suite.yaml"], "fix: the path of a suite, a YAML file"),
    "tabs": ("batch: [1, 8]=batch:\n\t- 1", ["run", "{suite}"], "fix: indent with blanks"),
    "a folder": ("", ["run", "{dir}"], "fix: {dir} has rehearsal.yaml"),
    "a cache that is a file": ("", ["run", "{suite}", "--cache", "{suite}"], "you may write: --cache DIR\n"),
    "a resume on another device": ("", ["run", "--resume", "X", "--device", "cpu"], "run --resume X --store"),
    "an exclude of nothing": (
        "batch: [1, 8]=batch: [1, 8]\n  exclude: [{batch: 2}]",
        ["run", "{suite}", "--select", "batch=1"],
        "rehearsal.yaml:11: the exclude entry takes nothing away",
    ),
    "nothing but what is left out": (
        "batch: [1, 8]=batch: [1, 8]\n  exclude: [{backend: fake}]",
        ["run", "{suite}"],
        "there is nothing to run, every combination is left out: excluded at {suite}:11",
    ),
    "resume of nothing": ("", ["run", "--resume", "2026"], "2026"),
    "no suite": ("", ["run"], "trtbench run suites/smoke.yaml"),
    "no suite to list": ("", ["list"], "trtbench list suites/smoke.yaml"),
    "no self-test of a GPU that is hidden": ("", ["selftest", "--gpu"], "fix: unset CUDA_VISIBLE_DEVICES\n"),
    "an unknown backend for all": ("", ["run", "{suite}", "--backend", "fkae"], "Did you mean 'fake'?"),
    "a backend that there is not": ("", ["run", "{suite}", "--backend", "nosuch"], "fix: known: aoti, eager, fake, "),
    "forks of true starts": ("", ["run", "{suite}", "--cold", "--fork", "--dry-run"], "leave one of --cold and --fork"),
    "no number of workers": (
        "",
        ["run", "{suite}", "--prestart", "x"],
        "'x' is neither auto nor an integer of 1 or more",
    ),
    "no number of devices": (
        "",
        ["run", "{suite}", "--devices", "0"],
        "'0' is neither all nor an integer of 1 or more",
    ),
    "no GPU": ("backend: [fake]=backend: [eager]", ["run", "{suite}", "--device", "cuda"], "--device cpu"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.workers
def test_bad_input_is_one_message_and_nothing_is_written(
    trtbench: Trtbench, fake_suite: Suite, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    change, arguments, expected = BAD[name]
    suite = fake_suite()
    old, _, new = change.partition("=")
    if change and not new and not change.endswith("="):
        suite.write_text(change)
    elif change:
        assert old in suite.read_text()
        suite.write_text(suite.read_text().replace(old, new))
    code = trtbench(*(a.format(suite=suite, dir=tmp_path) for a in arguments))
    assert code == 2
    assert expected.format(suite=suite, dir=tmp_path) in trtbench.err
    assert "Traceback" not in trtbench.err
    assert trtbench.out == ""
    assert not trtbench.store.exists()


@pytest.mark.parametrize(("command", "option"), [("run", "--quick"), ("run", "--dry-run"), ("list", "--format=json")])
def test_a_boundary_of_a_gpu_alone_is_refused_on_a_cpu_before_any_work(
    trtbench: Trtbench, fake_suite: Suite, command: str, option: str
) -> None:
    suite = fake_suite()
    text = (
        suite.read_text().replace("[fake]", "[eager]").replace("measure: {", "measure: {boundaries: [gpu, enqueue], ")
    )
    suite.write_text(text)
    assert trtbench(command, suite, "--device", "cpu", option) == 2
    assert f"{suite}:11: a CPU has no boundary gpu, enqueue, and this run is on the CPU" in trtbench.err
    assert "fix: boundaries: [latency, throughput], or --device cuda on a machine with a GPU" in trtbench.err
    assert trtbench.out == ""
    assert not trtbench.store.exists()
    suite.write_text(text.replace("[gpu, enqueue]", "[gpu, latency]"))
    assert trtbench("run", suite, "--device", "cpu", "--dry-run") == 0


def test_traceback_shows_where_an_error_came_from(trtbench: Trtbench, tmp_path: Path) -> None:
    assert trtbench("run", tmp_path / "nope.yaml", "--traceback") == 2
    assert "bench.errors.SuiteError: " in trtbench.err


def test_a_store_that_is_a_file_is_refused_before_anything_runs(trtbench: Trtbench, fake_suite: Suite) -> None:
    trtbench.store.write_text("mine")
    assert trtbench("run", fake_suite()) == 2
    assert "results" in trtbench.err
    assert trtbench.store.read_text() == "mine"


@pytest.mark.workers
def test_a_plan_of_more_than_ten_thousand_cases_needs_yes(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = fake_suite()
    suite.write_text(suite.read_text().replace("[1, 8]", str(list(range(1, 10_002)))))
    assert trtbench("run", suite) == 2
    assert "--yes" in trtbench.err
    assert not trtbench.store.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00\xff", b"{}\n", b'{"line": "header"}\n', b'{"line": "header", "sch', b"[1, 2]\n", b"# Title\n"],
)
def test_a_file_that_is_not_a_run_is_refused(trtbench: Trtbench, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    assert trtbench("show", path) == 2
    assert "x.jsonl" in trtbench.err
    assert "\n  fix: " in trtbench.err
    assert "truncated" not in trtbench.err
    assert path.read_bytes() == content


def test_a_dry_run_prints_the_plan_and_writes_nothing(trtbench: Trtbench, fake_suite: Suite) -> None:
    assert trtbench("run", fake_suite("[fake, {name: fake, noise: 0.5}]"), "--dry-run") == 0
    assert "noise=0.5" in trtbench.out
    assert not trtbench.store.exists()
    planned = trtbench.out
    assert trtbench("list", fake_suite("[fake, {name: fake, noise: 0.5}]")) == 0
    assert trtbench.out == planned


@pytest.mark.parametrize(
    "select", [["--select", "batch=1 and precision=fp16"], pytest.param([], marks=pytest.mark.long)]
)
@pytest.mark.workers
def test_a_gpu_suite_is_rehearsed_without_hardware(trtbench: Trtbench, select: list[str]) -> None:
    assert trtbench("run", "suites/vision.yaml", "--backend", "fake", "--quick", *select) == 0
    (run,) = trtbench.runs()
    assert {case.backend for case in run.header.cases} == {"fake"}
    assert {record.label.split("/")[0] for record in run.records} >= {"resnet18", "resnet50"}
    assert run.header.environments["default"].kind == "fake"


@pytest.mark.workers
def test_select_runs_only_what_it_names(trtbench: Trtbench, fake_suite: Suite) -> None:
    assert trtbench("run", fake_suite(), "--select", "batch=8 and backend=fake") == 0
    (run,) = trtbench.runs()
    assert [case.symbols for case in run.header.cases] == [{"batch": 8}]


@pytest.mark.workers
def test_show_prints_a_run_in_every_format(
    trtbench: Trtbench, fake_suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    trtbench("run", fake_suite())
    assert trtbench.out.splitlines()[-1].startswith("time: ")
    monkeypatch.setenv("COLUMNS", "10")  # any such line is longer
    trtbench("run", fake_suite())
    times = trtbench.out[trtbench.out.index("\ntime: ") + 1 :].splitlines()
    assert len(times) > 1
    assert all(len(line) <= 10 or " " not in line.strip() for line in times)
    monkeypatch.setenv("COLUMNS", "140")
    name = trtbench.runs()[0].header.run
    assert trtbench("show", name) == 0
    assert "fake" in trtbench.out
    assert "\ntime: " not in trtbench.out
    assert trtbench("show", name, "--format", "json") == 0
    assert json.loads(trtbench.out)
    assert trtbench("show", name, "--format", "csv") == 0
    assert len(trtbench.out.splitlines()) >= 3
    assert trtbench("show", name, "--format", "markdown") == 0
    assert "|" in trtbench.out
    assert trtbench("show", name, "--as", "trtexec", "--case", trtbench.runs()[0].header.cases[0].id) == 0
    assert "Throughput" in trtbench.out
    assert trtbench("show", name, name, "--time") == 0
    assert trtbench.out.count("\nnot of one case") == trtbench.out.count("\ntotal") == 2
    assert trtbench("show", name, "--time", "--select", "batch=8") == 0
    assert "batch=1" not in trtbench.out
    assert trtbench("show", name, "--time", "--format", "csv") == 0
    assert len(trtbench.out.splitlines()) == 4
    assert trtbench("show", name, "--time", "--format", "markdown") == 0
    assert trtbench.out.splitlines()[-1].startswith("| total | 2 |")
    assert trtbench("show", name, "--time", "--format", "json") == 0
    assert len(json.loads(trtbench.out)["runs"]) == 1


@pytest.mark.workers
def test_show_of_a_torn_run_tells_of_the_damage_and_shows_the_rest(trtbench: Trtbench, fake_suite: Suite) -> None:
    trtbench("run", fake_suite())
    path = store.runs(trtbench.store, rehearsals=True)[0]
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]) + lines[2][:50])
    assert trtbench("show", path.stem) == 0
    assert path.name in trtbench.err
    assert "batch=1" in trtbench.out or "| 1" in trtbench.out or " 1 " in trtbench.out


@pytest.mark.workers
def test_a_rehearsal_is_never_the_latest_run(trtbench: Trtbench, fake_suite: Suite) -> None:
    trtbench("run", fake_suite())
    (path,) = store.runs(trtbench.store, rehearsals=True)
    assert path.parent.parent == trtbench.store / "fake"
    assert trtbench("show") == 2
    assert f"there are only rehearsals in {trtbench.store}\n  fix: name it: trtbench show {path}" in trtbench.err
    real = trtbench.store / "cpu-x86_64" / "cpu" / "20200101T000000Z-old-1a2b3c4.jsonl"
    real.parent.mkdir(parents=True)
    real.write_bytes(path.read_bytes())
    assert store.runs(trtbench.store) == [real]
    assert store.resolve(trtbench.store, None) == real
    assert store.resolve(trtbench.store, path.stem) == path


def test_doctor_names_every_backend_and_the_command_that_makes_it_ready(trtbench: Trtbench) -> None:
    from bench.backends import base

    assert trtbench("doctor") == 0
    for name in base.names():
        assert name in trtbench.out
    fixes = [line.split("fix: ")[1] for line in trtbench.out.splitlines() if "fix: pip install tensorrt-cu" in line]
    assert len(set(fixes)) <= 1, "one answer to what is missing"
    assert "--device" not in trtbench.out


def test_schema_is_json_schema_with_the_backends_options(trtbench: Trtbench) -> None:
    assert trtbench("schema") == 0
    assert json.loads(trtbench.out)["$schema"].startswith("https://json-schema.org/")
    assert "max-autotune" in trtbench.out


@pytest.mark.parametrize("cache", ["file", "file/below", "/proc/nothing"])
def test_a_cache_that_cannot_be_is_told_before_anything_is_written(
    trtbench: Trtbench, fake_suite: Suite, tmp_path: Path, cache: str
) -> None:
    (tmp_path / "file").touch()
    assert trtbench("run", fake_suite(), "--cache", tmp_path / cache) == 2
    assert "the artifact cache cannot be used" in trtbench.err
    assert not trtbench.store.exists()


@pytest.mark.parametrize("seed", ["-1", "x", str(1 << 63)])
def test_a_seed_is_a_natural_number(trtbench: Trtbench, fake_suite: Suite, seed: str) -> None:
    assert trtbench("run", fake_suite(), "--seed", seed) == 2
    assert "not an integer" in trtbench.err
    assert not trtbench.store.exists()


# --------------------------------------------------------------------------------------------- exit codes and output


@pytest.mark.workers
def test_a_run_that_could_measure_nothing_is_not_a_success(trtbench: Trtbench, fake_suite: Suite) -> None:
    assert trtbench("run", fake_suite("[{name: fake, fail: unavailable}]")) == 1
    assert "nothing was measured: every case lacks a package or a device\n  fix: trtbench doctor" in trtbench.err
    assert trtbench("run", fake_suite("[fake, {name: fake, fail: unavailable}]")) == 0
    assert "nothing was measured" not in trtbench.err
    assert trtbench("run", fake_suite("[fake, {name: fake, fail: unavailable}]"), "--strict") == 1


def test_doctor_tries_whether_a_folder_can_be_written(trtbench: Trtbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.checkup.doctor.IMPORTS", ())
    trtbench.store = Path("/proc/results")  # root may write there by its mode, and cannot
    assert trtbench("doctor") == 0
    assert "/proc/results cannot be written" in trtbench.out
