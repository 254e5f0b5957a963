"""`trtbench build`: what it makes and keeps, what fails at which stage, and what is made without a GPU."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import bench
from bench.errors import DeviceUnavailable
from bench.model.events import Event, Started
from tests import distribution_kit
from tests.conftest import Trtbench
from tests.runner.kit import started_with

pytestmark = pytest.mark.workers

Suite = Callable[..., Path]

# Exports on any machine, and builds for the GPU that is here unless the options name others.
CROSS = """
from bench.errors import SuiteError, UsageError
from bench.model import seam
import msgspec

class Options(seam.Options, frozen=True, kw_only=True):
    capabilities: list[str] = []
    exports: bool = True
    wrong: bool = False

class Cross:
    options = Options
    simulated = False

    def missing(self, device="cpu"):
        return None

    def unsupported(self, case, device):
        return "it runs on a GPU" if device == "cpu" else None

    def stages(self, case):
        options = msgspec.convert(case.options, Options)
        reference = seam.Stage(name="reference", kind="cross-reference", producer="cross", key={})
        export = seam.Stage(name="export", kind="cross-export", producer="cross", key={"wrong": options.wrong},
                            per_device=not options.exports)
        build = seam.Stage(name="build", kind="cross-engine", producer="cross", key={"for": options.capabilities},
                           needs=("export",), per_device=not options.capabilities)
        return [reference, export, build]

    def for_capabilities(self, case, capabilities):
        if "7.0" in capabilities:
            raise UsageError("cross does not build for 7.0", where="compute_capability")
        return msgspec.structs.replace(case, options=case.options | {"capabilities": list(capabilities)})

    def layer_count(self, stage, folder):
        return int((folder / "layers").read_text()) if stage.name == "build" else None

    def produce(self, stage, case, context, out):
        if case.options.get("wrong") and stage.name == "export":
            raise SuiteError("the network's function is wrong", where="suite.yaml:3")
        if stage.name == "build":
            (out / "layers").write_text("12")
        (out / "payload").write_text(context.device)

    def prepare(self, case, options, context):
        raise AssertionError("nothing is measured")

BACKEND = Cross()
"""


@pytest.fixture
def without_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The backend ``cross`` of another distribution, on a machine without a GPU."""
    (tmp_path / "zoo.py").write_text("def net():\n    raise AssertionError('no test makes it')\n")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with distribution_kit.installed(tmp_path / "site", "cross", CROSS, monkeypatch):
        yield


def built(trtbench: Trtbench, *arguments: object, code: int = 0) -> dict[str, Any]:
    """What `trtbench build` tells as JSON."""
    assert trtbench("build", *arguments, "--format", "json") == code, trtbench.err
    document: dict[str, Any] = json.loads(trtbench.out)
    return document


def stages(document: dict[str, Any]) -> list[list[tuple[str, bool]]]:
    return [[(stage["stage"], stage["cold"]) for stage in case["stages"]] for case in document["cases"]]


def test_what_is_built_is_made_once_and_nothing_is_measured(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = fake_suite("[{name: fake, tactics: 0.1}]")
    first = built(trtbench, suite)
    assert stages(first) == [[("build", True)], [("build", True)]]
    (stage,) = first["cases"][0]["stages"]
    assert (stage["kind"], stage["layers"]) == ("fake-build", 2)
    assert stage["bytes"] > 0
    assert stages(built(trtbench, suite)) == [[("build", False)], [("build", False)]]
    assert not trtbench.store.exists()


def test_a_run_finds_what_was_built(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = fake_suite("[{name: fake, tactics: 0.1}]")
    built(trtbench, suite, "--select", "batch=8")
    assert trtbench("run", suite) == 0
    (run,) = trtbench.runs()
    cold = {record.label: [phase.cold for phase in record.phases if phase.name == "build"] for record in run.records}
    assert sorted(cold.values()) == [[False], [True]]


def test_cold_makes_all_anew_beside_the_cache_and_rebuild_in_it(trtbench: Trtbench, fake_suite: Suite) -> None:
    arguments = (fake_suite("[{name: fake, tactics: 0.1}]"), "--select", "batch=1")
    built(trtbench, *arguments)
    (payload,) = (trtbench.store.parent / "cache").rglob("factor.json")
    before = payload.stat().st_mtime_ns
    assert stages(built(trtbench, *arguments, "--cold")) == [[("build", True)]]
    assert payload.stat().st_mtime_ns == before
    assert stages(built(trtbench, *arguments, "--rebuild")) == [[("build", True)]]
    assert payload.stat().st_mtime_ns != before


def test_a_case_that_compiles_as_it_is_measured_has_nothing_to_build(trtbench: Trtbench, fake_suite: Suite) -> None:
    assert trtbench("build", fake_suite(), "--select", "batch=1") == 0
    assert "nothing to build" in trtbench.out
    assert "1 of 1 case built" in trtbench.out


FAILURES = {
    "unsupported": ("Unsupported", "the fake runtime has no such operator"),
    "memory": ("OutOfMemory", "the fake device has no memory left"),
    "raise": ("ValueError", "the fake model raised an error"),
    "exit": ("Crash", "the worker ended with exit code 3"),
    "segfault": ("Crash", "the worker was ended by SIGSEGV"),
}


def test_a_stage_that_fails_is_a_row_and_the_others_go_on(trtbench: Trtbench, fake_suite: Suite) -> None:
    ways = [f"{{name: fake, tactics: 0.1, fail_build: {way}}}" for way in FAILURES]
    suite = fake_suite(f"[{', '.join(ways)}, {{name: fake, tactics: 0.1}}]")
    *failed, made = built(trtbench, suite, "--select", "batch=1", code=1)["cases"]
    for case, (kind, message) in zip(failed, FAILURES.values(), strict=True):
        assert (case["failed"], case["failure"]["kind"], case["stages"]) == ("build", kind, [])
        assert message in case["failure"]["message"]
        assert message in trtbench.err  # as it happened
    assert made["failure"] is None
    assert len(made["stages"]) == 1


def test_the_table_names_what_failed_and_what_to_do(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = fake_suite("[{name: fake, tactics: 0.1, fail_build: segfault}]")
    assert trtbench("build", suite, "--select", "batch=1") == 1
    assert "FAILED: Crash" in trtbench.out
    assert "fix: set PYTHONFAULTHANDLER=1: the log" in trtbench.out
    assert "0 of 1 case built, 1 failed" in trtbench.out
    assert "Fatal Python error" not in trtbench.out


def test_the_message_of_several_cases_is_told_once_as_they_fail(trtbench: Trtbench, fake_suite: Suite) -> None:
    assert trtbench("build", fake_suite("[{name: fake, tactics: 0.1, fail_build: unsupported}]")) == 1
    assert trtbench.err.count("the fake runtime has no such operator") == 1
    first = "net/fake[tactics=0.1,fail_build=unsupported]/fp32/batch=1"
    assert f"batch=8: Unsupported in build, as {first}\n" in trtbench.err


def test_what_lacks_a_package_fails_only_if_strict_or_if_nothing_is_built(
    trtbench: Trtbench, fake_suite: Suite
) -> None:
    lacking, made = "{name: fake, tactics: 0.1, fail_build: unavailable}", "{name: fake, tactics: 0.1}"
    suite = fake_suite(f"[{lacking}, {made}]")
    one_size = ("--select", "batch=1")
    assert trtbench("build", suite, *one_size) == 0
    assert "1 of 2 cases built, 1 without a package or a device" in trtbench.out
    assert "fix: pip install fake" in trtbench.out
    assert trtbench("build", suite, *one_size, "--strict") == 1
    assert trtbench("build", fake_suite(f"[{lacking}]"), *one_size) == 1
    assert "trtbench doctor says what to install" in trtbench.out


def test_what_was_built_before_an_interrupt_is_kept(trtbench: Trtbench, fake_suite: Suite) -> None:
    request = bench.request(fake_suite("[{name: fake, tactics: 0.1}]"))

    def interrupt_the_second(event: Event) -> None:
        if isinstance(event, Started) and event.done == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    kept = bench.build(request, on_event=interrupt_the_second)
    assert (kept.interrupted, len(kept.cases), kept.total) == (True, 1, 2)
    again = bench.build(request)
    assert [stage.cold for case in again.cases for stage in case.stages] == [False, True]


@pytest.mark.parametrize(
    ("option", "rest"), [((), "goes on: what was made is in the cache"), (("--cold",), "begins anew, as --cold does")]
)
def test_ctrl_c_ends_a_build_that_hangs_and_prints_the_others(
    trtbench: Trtbench, fake_suite: Suite, option: tuple[str, ...], rest: str
) -> None:
    suite = fake_suite("[{name: fake, tactics: 0.1}, {name: fake, tactics: 0.1, fail_build: hang}]", timeout="600s")
    command = [sys.executable, "-m", "bench", "build", str(suite), "--select", "batch=1", "--progress", "plain"]
    command += option
    with started_with(signal.SIGINT, signal.SIG_DFL):
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with child:
        assert child.stdout is not None
        assert child.stderr is not None
        seen = ""
        while "[2/2]" not in seen:  # the first case has ended
            character = child.stderr.read(1)
            assert character, seen
            seen += character
        child.send_signal(signal.SIGINT)
        out, err = child.communicate()
    assert child.returncode == 130
    assert "1 of 2 cases built, 1 not finished" in out
    assert f"interrupted after 1 of 2 cases; the same command {rest}\n" in err


BAD: dict[str, tuple[list[str], str]] = {
    "no compute capability": (["--compute-capability", "ada"], "'ada' is no compute capability, e.g. 8.9"),
    "an empty one": (["--compute-capability", "8.9,"], "'' is no compute capability"),
    "none that a backend takes": (
        ["--compute-capability", "8.9"],
        "no backend of the selected cases builds for the GPUs that it names: fake",
    ),
    "nothing selected": (["--select", "batch=3"], "batch"),
    "an unknown backend": (["--backend", "tensort"], "unknown backend 'tensort'. Did you mean 'tensorrt'?"),
    "a cache that is a file": (["--cache", __file__], "the artifact cache cannot be used"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_error(case: str, trtbench: Trtbench, fake_suite: Suite) -> None:
    arguments, message = BAD[case]
    assert trtbench("build", fake_suite("[{name: fake, tactics: 0.1}]"), *arguments) == 2
    assert message in trtbench.err
    assert "Traceback" not in trtbench.err
    assert trtbench.out == ""


def test_a_suite_must_be_named(trtbench: Trtbench) -> None:
    assert trtbench("build") == 2
    assert "fix: trtbench build suites/smoke.yaml" in trtbench.err


# ------------------------------------------------------------------------------------------------------- without a GPU


@pytest.mark.usefixtures("without_gpu")
def test_without_the_gpu_what_needs_none_is_built(trtbench: Trtbench, fake_suite: Suite, tmp_path: Path) -> None:
    suite = fake_suite("[cross, {name: cross, capabilities: ['8.9']}]")
    here, other = built(trtbench, suite, "--device", "cuda", "--select", "batch=1")["cases"]
    assert [stage["stage"] for stage in here["stages"]] == ["export"]
    assert (here["failed"], here["failure"]["kind"]) == ("build", "Unavailable")
    assert here["failure"]["message"].startswith("no CUDA device can be used")
    assert [(stage["stage"], stage["layers"]) for stage in other["stages"]] == [("export", None), ("build", 12)]
    assert {path.read_text() for path in (tmp_path / "cache").glob("cross-*/*/payload")} == {"cpu"}
    built(trtbench, suite, "--device", "cuda", "--strict", code=1)


@pytest.mark.usefixtures("without_gpu")
def test_compute_capabilities_are_those_of_gpus_that_need_not_be_here(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = fake_suite("[cross, {name: cross, capabilities: ['8.9', '12.0']}]")
    document = built(trtbench, suite, "--select", "batch=1", "--compute-capability", "8.9,12.0", "--strict")
    (case,) = document["cases"]  # the two are one
    assert [stage["stage"] for stage in case["stages"]] == ["export", "build"]
    assert document["compute_capabilities"] == ["8.9", "12.0"]
    assert case["label"] == "net/cross[capabilities=8.9+12.0]/fp32/batch=1"
    assert trtbench("build", suite, "--compute-capability", "8.9") == 0
    assert "for compute capability 8.9" in trtbench.out


@pytest.mark.usefixtures("without_gpu")
def test_a_capability_that_the_backend_does_not_know_is_one_error(trtbench: Trtbench, fake_suite: Suite) -> None:
    assert trtbench("build", fake_suite("[cross]"), "--compute-capability", "7.0") == 2
    assert "cross does not build for 7.0" in trtbench.err


@pytest.mark.usefixtures("without_gpu")
def test_nothing_is_built_where_all_of_it_needs_the_gpu(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = fake_suite("[{name: cross, exports: false}]")
    assert trtbench("build", suite, "--device", "cuda") == 2
    assert "no CUDA device can be used" in trtbench.err
    assert trtbench.err.endswith("fix: a machine with a GPU\n")  # this backend does not run on a CPU
    with pytest.raises(DeviceUnavailable):
        bench.build(bench.request(suite, device="cuda", plan_only=True))
    assert trtbench("build", suite, "--device", "cpu") == 2
    assert "there is nothing to run, every combination is left out: it runs on a GPU" in trtbench.err
    assert "fix: trtbench list with the same suite and options says why" in trtbench.err


@pytest.mark.usefixtures("without_gpu")
def test_a_suite_that_is_wrong_is_a_row_and_exit_code_2(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = fake_suite("[{name: cross, wrong: true}, {name: cross, capabilities: ['8.9']}]")
    wrong, right = built(trtbench, suite, "--device", "cuda", "--select", "batch=1", code=2)["cases"]
    assert (wrong["failed"], wrong["failure"]["message"]) == ("export", "the network's function is wrong")
    assert len(right["stages"]) == 2


# -------------------------------------------------------------------------------------------------------- real exports
