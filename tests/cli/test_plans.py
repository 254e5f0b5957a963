"""Plans, rehearsals and the devices that they are for, and options that would be ignored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench import api
from tests.conftest import Trtbench

Suite = Callable[..., Path]


def test_the_plan_of_a_gpu_suite_is_read_where_there_is_no_gpu(
    trtbench: Trtbench, fake_suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    suite = fake_suite("[eager]")
    suite.write_text(suite.read_text().replace("batch: [1, 8]", "batch: 1\n  cuda_graph: on") + "device: cuda\n")
    for command in (["list", suite], ["run", suite, "--dry-run"]):
        assert trtbench(*command) == 0
        assert "net/eager/fp32/batch=1/graph" in trtbench.out
        assert trtbench.err.startswith("trtbench: note: no CUDA device can be used: CUDA_VISIBLE_DEVICES hides")
        assert "only a run tells whether it has the memory" in trtbench.err
    assert trtbench("run", suite) == 2
    assert "fix: unset CUDA_VISIBLE_DEVICES; or --device cpu" in trtbench.err
    assert not trtbench.store.exists()


def test_a_suite_of_a_gpus_boundaries_alone_has_a_plan_and_no_run_where_there_is_no_gpu(
    trtbench: Trtbench, fake_suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    suite = fake_suite("[eager]")
    suite.write_text(suite.read_text().replace("measure: {", "measure: {boundaries: [gpu, enqueue], "))
    outputs = []
    for command in (["list", suite], ["run", suite, "--dry-run"]):
        assert trtbench(*command) == 0
        expected = (
            "there is no GPU, and the suite asks for its boundaries alone: gpu, enqueue\n  the plan is that of a CUDA"
        )
        assert trtbench.err.startswith(f"trtbench: note: {expected}")
        outputs.append(trtbench.out)
    assert outputs[0] == outputs[1]
    assert trtbench("run", suite) == 2
    assert "a CPU has no boundary gpu, enqueue, and this run is on the CPU" in trtbench.err
    assert not trtbench.store.exists()


@pytest.mark.workers
@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_suite_of_a_gpus_boundaries_alone_is_rehearsed(trtbench: Trtbench, fake_suite: Suite, device: str) -> None:
    suite = fake_suite("[eager]")
    text = suite.read_text().replace("measure: {", "measure: {boundaries: [gpu, enqueue], ")
    suite.write_text(f"{text}device: {device}\n")
    assert trtbench("run", suite, "--backend", "fake", "--select", "batch=1") == 0
    (run,) = trtbench.runs()
    assert [[m.boundary for m in record.measurements] for record in run.records] == [["gpu", "enqueue"]] * len(
        run.records
    )
    assert run.records


@pytest.mark.parametrize(
    ("baseline", "backend", "expected"),
    [
        ("eager", "fake", "fake"),
        ("eager/fp16", "fake", "fake/fp16"),
        ("onnxruntime[exporter=legacy]/fp16", "fake", "fake/fp16"),
        ("eager/fp16@old", "fake", "fake/fp16"),
        ("eager@old/fp16", "inductor", "inductor/fp16@old"),
    ],
)
def test_a_backend_in_place_of_others_takes_the_precision_of_the_baseline(
    trtbench: Trtbench, fake_suite: Suite, baseline: str, backend: str, expected: str
) -> None:
    suite = fake_suite("[eager, {name: onnxruntime, exporter: legacy}]")
    text = suite.read_text().replace("batch: [1, 8]", "batch: 1\n  precision: [fp32, fp16]")
    suite.write_text(f"{text}toolchains: {{old: {{python: python3}}}}\nbaseline: {baseline}\n")
    assert api.request(suite, backend=backend, device="cpu").suite.baseline == expected


@pytest.mark.workers
def test_the_tables_of_a_rehearsal_have_the_baseline_of_the_suite(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = fake_suite("[eager]")
    text = suite.read_text().replace("batch: [1, 8]", "batch: 1\n  precision: [fp32, fp16]")
    suite.write_text(f"{text}baseline: eager/fp16\n")
    assert trtbench("run", suite, "--backend", "fake") == 0
    assert "vs fake/fp16" in trtbench.out


@pytest.mark.workers
def test_a_rehearsal_needs_no_toolchain(trtbench: Trtbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCH22_PYTHON", raising=False)
    assert trtbench("run", "suites/fx2trt_resnet18.yaml", "--backend", "fake", "--select", "toolchain=torch22") == 0
    (run,) = trtbench.runs()
    assert len(run.records) == 9
    assert {record.toolchain for record in run.records} == {"default"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["list", "--verbose"],
        ["list", "--phases"],
        ["list", "--baseline", "fake"],
        ["list", "--store", "x"],
        ["layers", "--quick"],
        ["layers", "--replicates", "2"],
        ["layers", "--yes"],
        ["layers", "--store", "x"],
        ["selftest", "--store", "x"],
        ["schema", "--store", "x"],
    ],
)
def test_a_command_takes_no_option_that_it_would_ignore(trtbench: Trtbench, arguments: list[str]) -> None:
    assert trtbench(*arguments) == 2
    assert trtbench.err.startswith("trtbench: unrecognized arguments: --")
    assert trtbench.err.endswith(f"\n  fix: trtbench {arguments[0]} --help\n")


def test_a_backend_that_would_be_forgotten_is_refused(trtbench: Trtbench, fake_suite: Suite) -> None:
    assert trtbench("run", fake_suite(), "--backend", "eager", "--backend", "fake") == 2
    assert "--backend is given twice" in trtbench.err
    assert trtbench.err.endswith("\n  fix: trtbench run --help\n")


@pytest.mark.workers
def test_a_run_in_the_place_of_a_suite_is_told_what_to_do_with_it(trtbench: Trtbench, fake_suite: Suite) -> None:
    trtbench("run", fake_suite())
    path = trtbench.runs()[0].path
    assert trtbench("run", path) == 2
    assert f"a run, where a suite is expected\n  fix: trtbench show {path}, or to resume it: " in trtbench.err


@pytest.mark.parametrize("words", [["run", "--resume"], ["show"]])
@pytest.mark.workers
def test_a_store_that_would_not_be_looked_into_is_refused(
    trtbench: Trtbench, fake_suite: Suite, words: list[str]
) -> None:
    trtbench("run", fake_suite())
    path = trtbench.runs()[0].path
    assert trtbench(*words, path) == 2  # the fixture's --store
    assert trtbench.err.endswith(f"would change nothing\n  fix: trtbench {' '.join(words)} {path}\n")


def test_a_plan_of_nothing_names_a_command_that_takes_the_same_options(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = fake_suite()
    suite.write_text(suite.read_text().replace("[1, 8]", "[1, 8]\n  exclude: [{backend: fake}]"))
    assert trtbench("run", suite, "--seed", "3") == 2
    assert trtbench.err.endswith("\n  fix: the same command with --dry-run says why of each\n")
    assert trtbench("run", suite, "--seed", "3", "--dry-run") == 0
    assert "excluded at" in trtbench.out
