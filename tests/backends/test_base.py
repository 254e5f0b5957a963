"""Backends of other distributions: found by entry point, refused with a reason, and told by their versions."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.backends import base
from bench.checkup import doctor
from bench.errors import SuiteError, UsageError
from bench.machine import environment
from bench.suite import reader
from tests import distribution_kit
from tests.conftest import Trtbench
from tests.distribution_kit import distribution

BACKEND = """
from bench.model import seam
from bench.runtimes import shapes

class Options(seam.Options, frozen=True, kw_only=True):
    threads: int = 1

class Tiny:
    options = Options
    simulated = False
    distributions = ("tiny-runtime",)

    def missing(self, device="cpu"):
        return seam.Missing(reason="tiny is asleep", fix="wake it")

    def unsupported(self, case, device):
        return None

    def stages(self, case):
        return [shapes.reference_stage(case)]

    def produce(self, stage, case, context, out):
        raise AssertionError("no test runs it")

    def prepare(self, case, options, context):
        raise AssertionError("no test runs it")

BACKEND = Tiny()
class Simulated(Tiny):
    simulated = True

class Faulty(Simulated):
    def missing(self, device="cpu"):
        raise KeyError("driver")

    def unsupported(self, case, device):
        raise ValueError("no table")

faulty = Faulty()
simulated = Simulated()
named = Tiny()
named.name = "other"
lacking = object()
"""
SUITE = """\
schema: 1
name: plugins
models: {{net: {{factory: 'timm:x', inputs: {{x: {{shape: [2]}}}}}}}}
matrix: {{backend: {backend}}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of packages of its own on the search path."""
    path = tmp_path / "site"
    modules = {
        "trtbench_tiny": BACKEND,
        "trtbench_broken": "import package_that_is_nowhere",
        "trtbench_exits": "raise SystemExit('no license')",
    }
    with distribution_kit.on_search_path(path, modules, monkeypatch):
        yield path


def suite(tmp_path: Path, backend: str) -> Path:
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE.format(backend=backend))
    return path


def test_a_backend_of_another_distribution_is_one_of_all(folder: Path, tmp_path: Path) -> None:
    distribution(folder, "tiny-backend", "1.5", "tiny = trtbench_tiny:BACKEND")
    distribution(folder, "tiny-runtime", "9.1", "")
    assert "tiny" in base.names()
    assert {"eager", "fake", "tiny"} <= base.registry().keys()
    assert type(base.load("tiny")).__name__ == "Tiny"
    read = reader.load(suite(tmp_path, "{name: tiny, threads: 2}"), base.registry())
    assert read.matrix["backend"] == ({"name": "tiny", "threads": 2},)
    with pytest.raises(SuiteError, match=r"unknown option 'thread' of tiny\. Did you mean 'threads'"):
        reader.load(suite(tmp_path, "{name: tiny, thread: 2}"), base.registry())


def test_the_versions_of_its_package_and_of_what_it_names_are_part_of_the_fingerprint(folder: Path) -> None:
    distribution(folder, "tiny-backend", "1.5", "tiny = trtbench_tiny:BACKEND")
    distribution(folder, "tiny-runtime", "9.1", "")
    assert base.distributions_of(["eager", "tiny"]) == ("tiny-runtime", "tiny-backend")
    plain = environment.describe("cpu")
    whole = environment.describe("cpu", base.distributions_of(["tiny"]))
    assert whole.libraries == {**plain.libraries, "tiny-runtime": "9.1", "tiny-backend": "1.5"}
    assert whole.fingerprint != plain.fingerprint


def test_a_module_as_an_entry_point_is_asked_for_its_backend(folder: Path) -> None:
    distribution(folder, "tiny-backend", "1.5", "tiny = trtbench_tiny")
    assert type(base.load("tiny")).__name__ == "Tiny"


@pytest.mark.parametrize(
    ("point", "why"),
    [
        ("trtbench_broken:BACKEND", "cannot be loaded: ModuleNotFoundError: No module named 'package_that_is_nowhere'"),
        ("trtbench_exits:BACKEND", "cannot be loaded: SystemExit: no license"),
        ("trtbench_nowhere:BACKEND", "cannot be loaded: ModuleNotFoundError"),
        ("trtbench_tiny:NOTHING", "cannot be loaded: AttributeError"),
        ("trtbench_tiny:lacking", "has no options, simulated, missing, unsupported, stages, produce, prepare"),
        ("trtbench_tiny:Tiny", "is a class; its entry point must name an instance"),
        ("trtbench_tiny:named", "is called 'other' by itself and 'odd' by its entry point"),
    ],
)
def test_a_broken_one_is_an_error_where_it_is_named_and_nowhere_else(
    folder: Path, tmp_path: Path, point: str, why: str
) -> None:
    distribution(folder, "odd-backend", "1", f"odd = {point}")
    with pytest.raises(UsageError) as caught:
        base.load("odd")
    assert f"the backend 'odd' of odd-backend {why}" in caught.value.what
    assert "odd-backend" in caught.value.fix
    for entry in ("odd", "{name: odd, threads: 2}"):
        with pytest.raises(SuiteError) as in_suite:
            reader.load(suite(tmp_path, entry), base.registry())
        assert in_suite.value.what == caught.value.what
        assert in_suite.value.where.endswith("suite.yaml:4")
    assert reader.load(suite(tmp_path, "eager"), base.registry())
    assert reader.json_schema(base.registry())
    lacks = base.registry()["odd"].missing()
    assert lacks is not None
    assert lacks.reason == caught.value.what


def test_two_packages_with_one_name_are_refused_and_a_built_in_backend_is_never_replaced(folder: Path) -> None:
    for name in ("one", "two"):
        distribution(folder, name, "1", "tiny = trtbench_tiny:BACKEND\neager = trtbench_tiny:BACKEND")
    with pytest.raises(UsageError, match="several packages have a backend 'tiny': one, two"):
        base.load("tiny")
    assert type(base.load("eager")).__module__ == "bench.backends.eager"
    assert base.hidden_entry_points() == dict.fromkeys(
        ("one", "two"), "its backend 'eager' has the name of a built-in one"
    )
    assert base.distributions_of(["eager"]) == ()


def test_the_doctor_shows_each_with_what_is_wrong(folder: Path) -> None:
    distribution(folder, "tiny-backend", "1.5", "tiny = trtbench_tiny:BACKEND\nodd = trtbench_broken:BACKEND")
    distribution(folder, "rude-backend", "1", "eager = trtbench_tiny:BACKEND")
    checks = {check.name: check for check in doctor._backends(environment.describe("fake"))}
    assert (checks["tiny"].state, checks["tiny"].detail, checks["tiny"].fix) == ("missing", "tiny is asleep", "wake it")
    assert checks["odd"].state == checks["rude-backend"].state == "broken"
    assert "package_that_is_nowhere" in checks["odd"].detail
    assert checks["rude-backend"].detail == "its backend 'eager' has the name of a built-in one"


def test_one_that_raises_where_it_is_asked_is_told(folder: Path, tmp_path: Path, trtbench: Trtbench) -> None:
    distribution(folder, "odd-backend", "1", "odd = trtbench_tiny:faulty")
    lacks = base.missing("odd", "cpu")
    assert lacks is not None
    assert lacks.reason == "the backend 'odd' of odd-backend raised KeyError in `missing`: 'driver'"
    assert trtbench("list", suite(tmp_path, "odd")) == 2
    assert "the backend 'odd' raised ValueError in `unsupported`: no table" in trtbench.err


@pytest.mark.workers
def test_the_plan_and_a_worker_have_it(folder: Path, tmp_path: Path, trtbench: Trtbench) -> None:
    distribution(folder, "tiny-backend", "1.5", "tiny = trtbench_tiny:simulated\nodd = trtbench_broken:BACKEND")
    assert trtbench("list", suite(tmp_path, "tiny")) == 0
    assert "net/tiny/fp32" in trtbench.out
    trtbench("run", suite(tmp_path, "tiny"), "--quick")
    (run,) = trtbench.runs()
    assert run.header.environments["default"].libraries["tiny-backend"] == "1.5"
    (record,) = run.records
    assert record.failure is not None
    assert (record.failure.kind, record.failure.message) == ("Unavailable", "tiny is asleep")
    code = (
        "from bench.backends import base; print(type(base.load('tiny')).__name__, base.registry()['odd'].missing().fix)"
    )
    command: list[Any] = [sys.executable, "-c", code]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert lines == "Simulated a corrected version of tiny-backend, or pip uninstall tiny-backend\n"
