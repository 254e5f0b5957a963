"""Suites as asv benchmarks: what asv is told of them, and the samples that asv_runner gets."""

from __future__ import annotations

import itertools
import runpy
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import bench
from bench.errors import SuiteError, UsageError
from bench.integrations.asv import PROCESSES, from_suite
from bench.model.run import Record
from bench.units import NS_PER_S

time_benchmark = pytest.importorskip("asv_runner.benchmarks.time")
mark = pytest.importorskip("asv_runner.benchmarks.mark")
track_benchmark = pytest.importorskip("asv_runner.benchmarks.track")

ROOT = Path(bench.__file__).parents[1]
SuiteFile = Callable[..., Path]


def run(cls: type, method: str, index: int = 0) -> Any:
    """What asv_runner writes of one parameter set of a benchmark in one round."""
    instance = cls()
    function = getattr(instance, method)
    kind = track_benchmark.TrackBenchmark if method.startswith("track") else time_benchmark.TimeBenchmark
    benchmark = kind(method, function, [function, instance])
    benchmark.set_param_idx(index)
    assert not benchmark.do_setup()
    return benchmark.do_run()


def records(folder: Path) -> list[Record]:
    return [record for path in sorted(folder.rglob("*.jsonl")) for record in bench.read(path).records]


# ------------------------------------------------------------------------------------------------ what asv is told


def test_the_parameters_are_the_axes_of_the_suite(fake_suite: SuiteFile) -> None:
    cls: Any = from_suite(fake_suite())
    assert cls.__name__ == "Rehearsal"
    assert dict(zip(cls.param_names, cls.params, strict=True)) == {
        "model": ["net"],
        "backend": ["fake"],
        "batch": [1, 8],
    }
    assert (cls.rounds, cls.number, cls.repeat, cls.timeout) == (PROCESSES, 1, 1, 240)
    assert cls.skip_params == []


def test_a_class_may_have_another_name_than_its_suite(fake_suite: SuiteFile) -> None:
    assert from_suite(fake_suite(), name="Other").__name__ == "Other"


def test_what_the_plan_leaves_out_is_skipped(fake_suite: SuiteFile) -> None:
    path = fake_suite()
    path.write_text(
        path.read_text().replace("batch: [1, 8]", "batch: [1, 8]\n  include: [{batch: 32, cuda_graph: on}]")
    )
    cls: Any = from_suite(path)
    assert cls.param_names == ["model", "backend", "batch", "cuda_graph"]
    assert cls.skip_params == [("net", "fake", 1, "on"), ("net", "fake", 8, "on"), ("net", "fake", 32, "off")]


@pytest.mark.parametrize(
    ("backends", "names"),
    [
        ("[{name: fake, time: 2 ms}]", ["fake"]),
        ("[fake, {name: fake, time: 2 ms}]", ["fake", "fake[time=2 ms]"]),
    ],
)
def test_options_are_in_a_name_only_where_it_needs_them(fake_suite: SuiteFile, backends: str, names: list[str]) -> None:
    cls: Any = from_suite(fake_suite(backends))
    assert cls.params[1] == names


def test_there_is_a_benchmark_for_each_boundary_and_the_rate_if_asked_for(fake_suite: SuiteFile) -> None:
    path = fake_suite()
    assert benchmarks(from_suite(path, select="batch=1")) == {"time_latency", "time_throughput"}
    assert benchmarks(from_suite(path, qps=True)) == {"time_latency", "time_throughput", "track_qps"}
    path.write_text(path.read_text().replace("measure: {", "device: cuda\nmeasure: {"))
    assert benchmarks(from_suite(path)) == {"time_gpu", "time_latency", "time_throughput"}
    path.write_text(path.read_text().replace("measure: {", "measure: {boundaries: [enqueue], "))
    assert benchmarks(from_suite(path, qps=True)) == {"time_enqueue"}


def benchmarks(cls: type) -> set[str]:
    return {name for name in vars(cls) if name.startswith(("time_", "track_"))}


def test_a_relative_suite_lies_beside_the_configuration_of_asv(tmp_path: Path, fake_suite: SuiteFile) -> None:
    fake_suite()
    (tmp_path / "asv.conf.json").write_text("{}")
    module = {"__file__": str(tmp_path / "benchmarks" / "deep" / "small.py"), "from_suite": from_suite}
    exec("Small = from_suite('rehearsal.yaml')", module)
    assert module["Small"].__name__ == "Rehearsal"  # type: ignore[attr-defined]


def test_one_process_less_than_the_default_would_let_the_test_of_asv_find_nothing() -> None:
    different = pytest.importorskip("asv._stats").is_different
    compute = pytest.importorskip("asv_runner.statistics").compute_stats
    found = {}
    for n in (PROCESSES - 1, PROCESSES):
        fast, slow = [1.0 + index / 1000 for index in range(n)], [2.0 + index / 1000 for index in range(n)]
        found[n] = different(fast, slow, compute(fast, 1)[1], compute(slow, 1)[1])
    assert found == {PROCESSES - 1: False, PROCESSES: True}


# ------------------------------------------------------------------------------------------------------ bad input


def test_an_error_of_the_suite_is_raised_with_its_line(fake_suite: SuiteFile) -> None:
    with pytest.raises(SuiteError, match="unknown backend 'fak'"):
        from_suite(fake_suite("[fak]"))


def test_in_a_process_of_asv_the_message_is_all_that_it_prints(
    fake_suite: SuiteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "asv_runner.discovery", ModuleType("discovery"))
    with pytest.raises(SystemExit, match=r"rehearsal.yaml:9: unknown backend 'fak'. Did you mean 'fake'\?"):
        from_suite(fake_suite("[fak]"))


def test_a_suite_of_which_nothing_is_left_is_refused(fake_suite: SuiteFile) -> None:
    path = fake_suite()
    path.write_text(path.read_text().replace("batch: [1, 8]", "batch: [1, 8]\n  exclude: [{model: net}]"))
    with pytest.raises(UsageError, match="no case to measure"):
        from_suite(path)


def test_less_than_one_process_is_refused(fake_suite: SuiteFile) -> None:
    with pytest.raises(UsageError, match="0 is no number of processes"):
        from_suite(fake_suite(), replicates=0)


def test_without_asv_the_message_has_the_command(fake_suite: SuiteFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asv_runner", None)
    with pytest.raises(UsageError, match=r'(?s)asv is not installed here.*pip install "trtbench\[asv\]"'):
        from_suite(fake_suite())


# -------------------------------------------------------------------------------------------------------- samples


@pytest.mark.workers
def test_each_round_is_one_process_whose_figures_all_benchmarks_share(
    tmp_path: Path, fake_suite: SuiteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls = from_suite(fake_suite(), select="batch=8", qps=True)
    (tmp_path / "round").mkdir()
    monkeypatch.chdir(tmp_path / "round")
    for count in (1, 2):
        written = [run(cls, name) for name in ("time_latency", "time_throughput", "track_qps")]
        assert [each["number"] for each in written] == [1, 1, 1]
        seconds, inference, rate = (each["samples"][0] for each in written)
        made = records(tmp_path / "round")
        assert [record.replicate for record in made] == list(range(count))
        latency, loop = made[-1].measurements
        assert seconds == statistics.median(latency.samples) / NS_PER_S
        assert inference == loop.window_ns / (loop.calls * 8) / NS_PER_S
        assert rate == pytest.approx(1 / inference, rel=1e-5)
    assert len({record.measurements[0].samples for record in made}) == 2


@pytest.mark.long
def test_rounds_go_on_with_the_run_of_their_commit(
    tmp_path: Path, fake_suite: SuiteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASV_ENV_DIR", str(tmp_path / "env"))
    cls: Any = from_suite(fake_suite(), select="batch=1")
    samples = {}
    for turn, commit in enumerate(["a", "b", "a"]):  # as asv interleaves them, each in a new folder
        folder = tmp_path / str(turn)
        folder.mkdir()
        monkeypatch.chdir(folder)
        monkeypatch.setenv("ASV_COMMIT", commit)
        cls().setup_cache()
        samples[turn] = run(cls, "time_latency")["samples"]
    assert samples[0] == samples[1] != samples[2]  # the first process of two simulated commits, and the second
    runs = {path.name: len(records(path)) for path in (tmp_path / "env" / "trtbench").iterdir()}
    assert runs == {"a": 2, "b": 1}


def test_an_environment_has_artifacts_of_its_last_commits_only(
    tmp_path: Path, fake_suite: SuiteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASV_ENV_DIR", str(tmp_path / "env"))
    monkeypatch.chdir(tmp_path)
    cls: Any = from_suite(fake_suite())
    for commit in "abcdeaf":
        monkeypatch.setenv("ASV_COMMIT", commit)
        cls().setup_cache()
    assert sorted(path.name for path in (tmp_path / "env" / "trtbench").iterdir()) == ["a", "d", "e", "f"]


@pytest.mark.workers
@pytest.mark.parametrize(
    ("fail", "message"),
    [
        ("unsupported", r"net/fake\[.*\]/fp32/batch=1: Unsupported in first_call: the fake runtime has no such"),
        ("empty", r"net/fake\[.*\]/fp32/batch=1: it has only empty outputs\n  fix: inputs"),
        pytest.param(
            "wrong", r"net/fake\[.*\]/fp32/batch=1: inaccurate: output 'x.tanh': cosine -1 is", marks=pytest.mark.long
        ),
    ],
)
def test_a_failure_ends_the_benchmark_with_its_message(
    tmp_path: Path, fake_suite: SuiteFile, monkeypatch: pytest.MonkeyPatch, fail: str, message: str
) -> None:
    cls = from_suite(fake_suite(f"[{{name: fake, fail: {fail}}}]"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=message):
        run(cls, "time_latency")
    with pytest.raises(SystemExit, match=message):
        run(cls, "time_throughput")
    assert len(records(tmp_path)) == 1


@pytest.mark.workers
def test_what_is_not_installed_is_skipped(
    tmp_path: Path, fake_suite: SuiteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls = from_suite(fake_suite("[{name: fake, fail: unavailable}]"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(mark.SkipNotImplemented, match="the fake package is not installed"):
        run(cls, "time_latency")


@pytest.mark.long
def test_a_boundary_that_a_case_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "zoo.py").write_text("import torch\n\n\ndef net():\n    return torch.nn.Linear(3, 2)\n")
    path = tmp_path / "on_cpu.yaml"
    path.write_text(
        "schema: 1\nname: on_cpu\ndevice: cpu\n"
        "models: {net: {factory: 'zoo.py:net', inputs: {input: {shape: [2, 3]}}}}\n"
        "matrix: {backend: [eager]}\nmeasure: {boundaries: [gpu, latency], replicates: 1, max_time: 100ms}\n"
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="measured at latency, and not at gpu"):
        run(from_suite(path), "time_gpu")


# ----------------------------------------------------------------------------------------------- this repository's own


def test_the_benchmarks_of_this_repository_are_those_of_its_smoke_suite() -> None:
    cls = runpy.run_path(str(ROOT / "benchmarks" / "smoke.py"))["Smoke"]
    assert cls.param_names == ["model", "backend", "batch"]
    cases = {(case.model, case.backend, case.batch) for case in bench.plan(ROOT / "suites" / "smoke.yaml").cases}
    assert set(itertools.product(*cls.params)) - set(cls.skip_params) == cases
    assert benchmarks(cls) == {"time_latency", "time_throughput", "track_qps"}


def test_asv_measures_this_repository_with_the_torch_of_the_other_sessions() -> None:
    settings = pytest.importorskip("asv.util").load_json(str(ROOT / "asv.conf.json"), 1, js_comments=True)
    (version,) = settings["matrix"]["req"]["torch"]
    assert f"torch=={version}" in (ROOT / "constraints.txt").read_text().splitlines()
