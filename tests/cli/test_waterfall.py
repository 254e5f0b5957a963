"""`trtbench show --waterfall` and what else reads stored profiles: files of a store, and names that nothing has."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

import bench
from bench import store
from bench.model.profile import ProfileRun
from bench.model.run import Failure, Footer
from bench.store import profiles
from tests import profile_kit
from tests.conftest import Trtbench
from tests.report.test_waterfall import CASES, file, run
from tests.store import kit

RUN = "20261123T101500Z-small-1a2b3c4"


def folder(root: Path) -> Path:
    return root / kit.environment().arch / kit.environment().slug


def write_run(root: Path) -> None:
    writer = store.create(root, run().header)
    for record in run().records:
        writer.append(record)
    writer.finish(Footer(finished="", status="complete", records=2))


def write_profiles(root: Path, each: ProfileRun, second: int = 0) -> str:
    name = f"profile-20261128T10000{second}Z-small-1a2b3c4"
    profiles.write(folder(root) / f"{name}.json", each)
    return name


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The home folder, which is the current one, with the suites of runs."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("suites/small.yaml", "my suites/small.yaml"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()


@pytest.fixture
def both(trtbench: Trtbench) -> Trtbench:
    """A store with a run and with profiles of two of its cases."""
    write_run(trtbench.store)
    eager, graph = profile_kit.eager(3), profile_kit.replayed(3)
    write_profiles(trtbench.store, file(eager=eager.profile(), tensorrt=graph.profile()))
    return trtbench


def test_the_waterfall_of_a_run_takes_the_newest_profiles_of_the_store(both: Trtbench) -> None:
    write_profiles(both.store, file(eager=profile_kit.eager(3, kernels=2).profile()), second=1)
    assert both("show", RUN, "--waterfall") == 0
    assert "net/eager/fp32" in both.out
    assert both("show", RUN, "--waterfall", "--format", "json") == 0
    (one,) = json.loads(both.out)["runs"]
    assert [(case["label"], case["parts"] and case["parts"]["kernels"]) for case in one["cases"]] == [
        (CASES["eager"].label, 40_000),
        (CASES["inductor"].label, None),
        (CASES["aoti"].label, None),
        (CASES["onnxruntime"].label, None),
        (CASES["tensorrt"].label, 80_000),
    ]
    for form in ("csv", "markdown"):
        assert both("show", RUN, "--waterfall", "--format", form) == 0
        assert CASES["tensorrt"].label in both.out


def test_missing_profiles_have_the_command_that_makes_them(both: Trtbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    labels = " or ".join(f'label="{CASES[name].label}"' for name in ("inductor", "aoti", "onnxruntime"))
    assert both("show", RUN, "--waterfall") == 0
    command = f"trtbench profile suites/small.yaml --select '{labels}' --store {both.store}"
    assert f"3 cases without a profile; make one: {command}" in both.out
    run = bench.read(RUN, store=both.store)
    of_home = msgspec.structs.replace(run.header, suite_path="~/my suites/small.yaml")
    make = bench.waterfalls(msgspec.structs.replace(run, header=of_home), store=both.store).make
    assert make.startswith("trtbench profile ~/'my suites/small.yaml' --select '")
    removed = msgspec.structs.replace(run.header, suite_path="removed.yaml")
    make = bench.waterfalls(msgspec.structs.replace(run, header=removed), store=both.store).make
    assert make.startswith("trtbench profile SUITE --select '")
    assert both("show", RUN, "--waterfall", "--select", "backend=eager") == 0
    assert "make one" not in both.out


def test_a_file_of_profiles_that_cannot_be_read_is_named_and_the_others_count(both: Trtbench) -> None:
    broken = folder(both.store) / "profile-20261128T110000Z-small-1a2b3c4.json"
    broken.write_text('{"schema": 1, "tool"')
    assert both("show", RUN, "--waterfall") == 0
    assert str(broken) in both.err
    assert "net/eager/fp32" in both.out


def test_what_a_waterfall_would_ignore_is_refused(both: Trtbench) -> None:
    assert both("show", RUN, "--waterfall", "--time", "--stats") == 2
    assert "--time and --stats would change nothing of --waterfall" in both.err
    assert both("show", RUN, "--waterfall", "--baseline", "eager") == 2
    assert "--baseline would change nothing of --waterfall" in both.err


def test_the_kernels_of_stored_profiles_in_every_format(both: Trtbench) -> None:
    assert both("kernels") == 0
    assert both.out.count("gemm_0") == 2
    assert both("kernels", "--case", "tensorrt", "--top", 1, "--format", "markdown") == 0
    assert "3 other kernels" in both.out
    assert both("kernels", "--case", CASES["eager"].id[:6], "--format", "json") == 0
    (case,) = json.loads(both.out)["cases"]
    assert (case["label"], len(case["kernels"])) == (CASES["eager"].label, 4)
    assert both("kernels", "profile-20261128", "--format", "csv") == 0
    assert len(both.out.splitlines()) == 9


def test_a_trace_is_of_one_case(both: Trtbench, tmp_path: Path) -> None:
    out = tmp_path / "one.json"
    assert both("trace", "--case", "net/*/fp32", "--out", out) == 2
    assert f"--case with one of: {CASES['eager'].label}, {CASES['tensorrt'].label}" in both.err
    assert both("trace", "--case", "eager", "--out", out) == 0
    assert f"{out}: {CASES['eager'].label}; open it in" in both.out
    assert sum(event.get("cat") == "kernel" for event in json.loads(out.read_text())["traceEvents"]) == 12


def test_names_that_nothing_has_are_refused(both: Trtbench, tmp_path: Path) -> None:
    assert both("kernels", "--case", "net/eagr/fp32") == 2
    assert "there is no case 'net/eagr/fp32' in the profiles. Did you mean 'net/eager/fp32'?" in both.err
    assert both("kernels", "profile-2025") == 2
    assert "no profiles 'profile-2025'" in both.err
    assert both("trace", "--case", "eager", "--out", tmp_path) == 2
    assert f"{tmp_path} is a folder" in both.err
    assert both("trace", "--case", "eager", "--out", tmp_path / "no" / "t.json") == 2
    assert "mkdir -p" in both.err


def test_cases_without_a_profile_have_neither_kernels_nor_a_trace(trtbench: Trtbench) -> None:
    write_run(trtbench.store)
    failure = Failure(kind="Timeout", stage="profile", message="took 600 s")
    write_profiles(trtbench.store, file(eager=failure))
    assert trtbench("kernels") == 2
    assert "no case has a profile: net/eager/fp32: Timeout" in trtbench.err


def test_layers_alone_have_no_trace(trtbench: Trtbench, tmp_path: Path) -> None:
    layers = file(tensorrt=profile_kit.Timeline().profile(tool="layers"))
    write_profiles(trtbench.store, layers)
    assert trtbench("trace", "--out", tmp_path / "t.json") == 2
    assert "the profile has no events" in trtbench.err
    assert "--tool torch" in trtbench.err
    assert not (tmp_path / "t.json").exists()


def test_a_rehearsal_is_profiled_by_a_rehearsal(trtbench: Trtbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    writer = store.create(trtbench.store, kit.header())
    writer.append(kit.record())
    writer.finish(Footer(finished="", status="complete", records=1))
    assert trtbench("show", kit.header().run, "--waterfall") == 0
    assert "make one: trtbench profile suites/small.yaml --backend fake" in trtbench.out
