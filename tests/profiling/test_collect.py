"""`trtbench profile` on the fake backend, whose profiles are simulated: what is stored, what fails, what is refused."""

from __future__ import annotations

import contextlib
import json
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import bench
from bench.errors import StoreError, UsageError
from bench.measure.gate import create_gate
from bench.model.events import Event, Started
from bench.profiling import collect
from bench.runner.watch import Watch
from bench.store import profiles
from bench.system import process
from tests.conftest import Trtbench

Suite = Callable[..., Path]
GPU_PARTS = ("kernels", "copies", "launch", "wait", "tail", "unexplained")


def document(trtbench: Trtbench) -> Path:
    """The only file of profiles, which is all that the store has."""
    (path,) = (each for each in trtbench.store.rglob("*") if each.is_file())
    assert path.name.startswith("profile-")
    return path


@pytest.mark.workers
def test_the_cases_of_a_suite_are_profiled_into_one_file(trtbench: Trtbench, fake_suite: Suite, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    assert trtbench("profile", fake_suite(), "--iterations", 3, "--raw", raw) == 0
    path = document(trtbench)
    assert f"stored: {path}" in trtbench.out
    assert str(raw) in trtbench.out
    assert trtbench.err.count("net/fake/fp32/batch=") == 2  # a line of progress for each
    stored = bench.read_profiles(path)
    assert stored == bench.read_profiles(store=trtbench.store)
    assert [each.label for each in stored.cases] == ["net/fake/fp32/batch=1", "net/fake/fp32/batch=8"]
    assert stored.suite == "rehearsal"
    assert stored.environments["default"].kind == "fake"
    for each in stored.cases:
        assert each.condensed is not None
        profile = each.condensed.profile
        assert (profile.case, profile.label, profile.tool) == (each.case, each.label, "torch")
        assert len(profile.unprofiled_ns) == len(each.condensed.parts) == 3
        assert [kernel.module for kernel in profile.kernels] == ["encoder.0", "encoder.1", "encoder.1", "head"]
        assert {copy.kind for copy in profile.copies} == {"h2d", "d2h"}
        (iteration,) = (each for each in profile.ranges if each.kind == "iteration")
        assert (iteration.start, iteration.end) == (0, 1_000_000)
        for parts in each.condensed.parts:
            assert sum(getattr(parts, name) for name in GPU_PARTS) == parts.window
        assert each.condensed.kernel_ns == (100_000, 200_000, 100_000, 200_000)
        # Calls on a held stream are beside the iterations, and no kernel of theirs counts as lost.
        assert [(call.busy, call.span) for call in each.condensed.held] == 3 * [(600_000, 615_000)]
        assert len(profile.gpu_ns) == len(profile.recorded_gpu_ns) == 3
        assert each.condensed.attribution is not None
        assert each.condensed.attribution.share == 1
    assert len([*raw.iterdir()]) == 2
    # Nothing that reads runs takes it for one.
    assert trtbench("runs", "--rehearsals") == 2
    assert "there are no runs" in trtbench.err


@pytest.mark.workers
def test_a_worker_has_the_gate_of_its_watch(
    trtbench: Trtbench, fake_suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[int, ...]] = []
    child = process.Child

    def start(command: list[str], env: dict[str, str], *, keep: tuple[int, ...] = ()) -> process.Child:
        started.append(keep)
        return child(command, env, keep=keep)

    with contextlib.closing(create_gate()) as gate:
        watch = Watch()
        watch.gate, watch.descriptors = gate.fd, (gate.fd,)
        monkeypatch.setattr(collect, "open_watch", lambda kind, *, visible: contextlib.nullcontext(watch))
        monkeypatch.setattr(process, "Child", start)
        request = bench.request(fake_suite(), select="batch=1", store=trtbench.store)
        assert len(bench.profile(request, iterations=3).cases) == 1
        assert started[-1] == (gate.fd,)


@pytest.mark.workers
def test_a_case_that_fails_is_a_row_and_the_others_go_on(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = fake_suite("[{name: fake, fail: raise}, {name: fake, fail_profile: segfault}, fake]")
    assert trtbench("profile", suite, "--select", "batch=1") == 1
    failed, crashed, good = bench.read_profiles(document(trtbench)).cases
    assert failed.failure is not None
    assert (failed.failure.stage, failed.condensed) == ("first_call", None)
    assert "without it" not in failed.failure.message
    assert crashed.failure is not None
    assert (crashed.failure.kind, crashed.failure.stage) == ("Crash", "profile")
    assert crashed.failure.message.endswith("(with torch recording; without it the case had run)")
    assert good.condensed is not None
    assert good.failure is None
    assert "Crash in profile: the worker was ended by SIGSEGV" in trtbench.out
    assert "ValueError in first_call: the fake model raised an error" in trtbench.err
    assert "Traceback" not in trtbench.out + trtbench.err


@pytest.mark.workers
def test_layers_are_profiles_too(trtbench: Trtbench, fake_suite: Suite, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "layers.json"
    out.parent.mkdir()
    assert trtbench("profile", fake_suite(), "--select", "batch=8", "--tool", "layers", "--out", out) == 0
    assert "tanh of x" in trtbench.out
    assert not trtbench.store.exists()
    (only,) = bench.read_profiles(out).cases
    assert only.condensed is not None
    assert only.condensed.profile.layers is not None
    assert [layer.kind for layer in only.condensed.profile.layers.layers] == ["Reformat", "Tanh"]


@pytest.mark.workers
def test_what_was_profiled_before_an_interrupt_is_kept(trtbench: Trtbench, fake_suite: Suite) -> None:
    request = bench.request(fake_suite(), store=trtbench.store)

    def interrupt_the_second(event: Event) -> None:
        if isinstance(event, Started) and event.done == 1:
            raise KeyboardInterrupt

    kept = bench.profile(request, iterations=3, on_event=interrupt_the_second)
    assert kept.interrupted
    assert len(kept.cases) == 1
    assert bench.read_profiles(document(trtbench)).cases == kept.cases


@contextlib.contextmanager
def file_limits() -> Iterator[Callable[[int], None]]:
    """Sets how large a file of this process, and of those that it starts, may become; a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size if size >= 0 else soft, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.workers
def test_a_disk_that_fills_is_one_error_and_leaves_nothing(trtbench: Trtbench, fake_suite: Suite) -> None:
    request = bench.request(fake_suite(), select="batch=1", store=trtbench.store)
    with file_limits() as limit:

        def fill_the_disk(event: Event) -> None:
            if getattr(event, "phase", "") == "unprofiled":  # the worker has its own limit by now
                limit(100)

        with pytest.raises(StoreError, match=r"cannot be written: File too large; no case is stored") as caught:
            bench.profile(request, iterations=3, on_event=fill_the_disk)
    assert "--store DIR" in caught.value.fix
    assert not [each for each in trtbench.store.rglob("*") if each.is_file()]


@pytest.mark.workers
def test_a_cache_that_fills_fails_a_case_and_the_others_go_on(trtbench: Trtbench, fake_suite: Suite) -> None:
    request = bench.request(fake_suite("[fake, {name: fake, noise: 0.02}]"), store=trtbench.store, seed=7)
    with file_limits() as limit:

        def fill_the_disk(event: Event) -> None:
            if isinstance(event, Started):  # room for the reference and not for what is written beside it; for neither
                limit({0: 200, 2: 50}.get(event.done, -1))

        kept = bench.profile(request, iterations=3, on_event=fill_the_disk)
    parent, good, worker, same = kept.cases
    assert good.condensed is not None
    assert parent.failure is not None
    assert parent.failure.message.endswith("the artifact cache cannot be used: File too large")
    assert worker.failure is not None
    assert (worker.failure.kind, worker.failure.stage) == ("OSError", "reference")
    assert "--cache DIR" in worker.failure.hint
    assert same.failure == worker.failure  # of the same reference


@pytest.mark.workers
def test_a_report_without_room_leaves_the_profile(trtbench: Trtbench, fake_suite: Suite, tmp_path: Path) -> None:
    suite, raw = fake_suite(), tmp_path / "raw"
    first, second = bench.request(suite).plan.cases
    (raw / f"net-fake-fp32-batch=1-{first.id[:8]}.profile.json").mkdir(parents=True)
    assert trtbench("profile", suite, "--iterations", 3, "--raw", raw) == 1
    assert f"the report of {first.label} cannot be written: Is a directory\n  fix: free some" in trtbench.err
    assert all(each.condensed for each in bench.read_profiles(document(trtbench)).cases)
    assert [each.name for each in raw.iterdir() if each.is_file()] == [
        f"net-fake-fp32-batch=8-{second.id[:8]}.profile.json"
    ]


BAD = {
    "ncu without a kernel": (["--tool", "ncu"], "looks at one by its name"),
    "a kernel for another tool": (["--kernel", "gemm"], "--kernel is for --tool ncu, not torch"),
    "a GPU's tool on a CPU": (["--tool", "nsys", "--backend", "eager", "--device", "cpu"], "fix: --tool torch"),
    "an unknown tool": (["--tool", "gdb"], "invalid choice: 'gdb'"),
    "no iterations": (["--iterations", "0"], "'0' is not an integer of 1 or more"),
    "a selection that matches nothing": (["--select", "batch=3"], "batch"),
    "a raw folder that is a file": (["--raw", __file__], "cannot be created: File exists"),
    "an output in a folder that is a file": (["--out", f"{__file__}/p.json"], "fix: another --out FILE"),
    "an output that is a folder": (["--out", Path(__file__).parent], "this is a folder"),
    "layers of what has none": (["--tool", "layers", "--backend", "eager", "--device", "cpu"], "cannot report layers"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_message(trtbench: Trtbench, fake_suite: Suite, name: str) -> None:
    arguments, expected = BAD[name]
    suite = fake_suite()
    (suite.parent / "zoo.py").write_text("def net(): ...")
    assert trtbench("profile", suite, *arguments) == 2
    assert expected in trtbench.err
    assert "Traceback" not in trtbench.err
    assert not trtbench.store.exists()


def test_the_folder_for_reports_is_not_made_where_the_file_cannot_be_written(
    trtbench: Trtbench, fake_suite: Suite, tmp_path: Path
) -> None:
    assert trtbench("profile", fake_suite(), "--raw", tmp_path / "raw", "--out", f"{__file__}/p.json") == 2
    assert "cannot be written" in trtbench.err
    assert not (tmp_path / "raw").exists()


def test_a_suite_must_be_named(trtbench: Trtbench) -> None:
    assert trtbench("profile") == 2
    assert "fix: trtbench profile suites/smoke.yaml --select" in trtbench.err


def test_the_api_knows_its_tools(fake_suite: Suite, tmp_path: Path) -> None:
    request = bench.request(fake_suite(), store=tmp_path / "results", cache=tmp_path / "cache")
    with pytest.raises(UsageError, match=r"unknown tool 'nsis'\. Did you mean 'nsys'"):
        bench.profile(request, tool="nsis")  # type: ignore[arg-type]


@pytest.mark.torch
@pytest.mark.long
def test_every_backend_is_profiled_on_a_cpu(trtbench: Trtbench, tmp_path: Path) -> None:
    (tmp_path / "zoo.py").write_text(
        "import torch\n\n\ndef net():\n"
        "    block = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU())\n"
        "    return torch.nn.Sequential(block, torch.nn.Linear(8, 4))\n"
    )
    suite = tmp_path / "cpu.yaml"
    suite.write_text(
        "schema: 1\nname: cpu\ndevice: cpu\nmodels:\n  net:\n    factory: zoo.py:net\n"
        "    inputs: {input: {shape: [batch, 8], dtype: float32}}\n"
        "matrix: {model: [net], backend: [eager, inductor, torchscript, aoti, onnxruntime], batch: [2]}\n"
    )
    assert trtbench("profile", suite, "--modules", "--format", "json") == 0
    cases = {each["label"].split("/")[1]: each["condensed"] for each in json.loads(trtbench.out)["cases"]}
    assert cases.keys() == {"eager", "inductor", "torchscript", "aoti", "onnxruntime"}
    for condensed in cases.values():
        operators = {each["name"] for each in condensed["profile"]["ranges"] if each["kind"] == "operator"}
        assert operators
        assert len(condensed["parts"]) == len(condensed["profile"]["unprofiled_ns"]) == 10
    names = [each["name"] for each in cases["eager"]["profile"]["ranges"] if each["kind"] == "module"]
    assert names == ["0", "0.0", "0.1", "1"]
    layers = [each["name"] for each in cases["onnxruntime"]["profile"]["ranges"] if each["kind"] == "layer"]
    assert layers == ["/0.0/Gemm + /0.1/Relu", "/1/Gemm"]
    assert profiles.files(trtbench.store) == [document(trtbench)]
    assert trtbench("explain", "net/eager", "net/onnxruntime", "--store", trtbench.store) == 0, trtbench.err
    assert "no names of modules" not in trtbench.out
    assert str(tmp_path) not in document(trtbench).read_text()
