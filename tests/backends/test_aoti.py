"""AOTInductor: packages that are built once and loaded."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import logging
import os
import platform
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from bench.backends import base
from bench.backends.aoti import _check_linked as check_linked
from bench.errors import Unavailable, Unsupported
from bench.model.suite import Case, Input, Range
from tests.backends.kit import HERE, Bench
from tests.conftest import Trtbench

pytest.importorskip("torch")
pytestmark = pytest.mark.torch
AOTI = base.load("aoti")
SUITE = """\
schema: 1
name: static
device: cpu
models: {net: {factory: zoo.py:net, inputs: {x: {shape: [2, 3, 8, 8]}}}}
matrix: {backend: aoti, precision: fp32}
measure: {replicates: 1, max_time: 1s}
"""


@pytest.fixture(autouse=True)
def compiler() -> None:
    lacks = AOTI.missing()
    if lacks is not None:
        pytest.skip(f"{lacks.reason}; {lacks.fix}")


def point(bench: Bench, batch: int) -> Case:
    return bench.case(
        "aoti",
        inputs={"x": Input(shape=("batch", 3, 16, 16))},
        symbols={"batch": batch},
        dynamic={"batch": Range(min=1, opt=4, max=8)},
    )


def test_all_points_of_a_dynamic_case_have_one_package(bench: Bench) -> None:
    assert AOTI.stages(point(bench, 1))[1] == AOTI.stages(point(bench, 8))[1]


@pytest.mark.long
def test_one_package_serves_all_points_of_a_dynamic_case(bench: Bench) -> None:
    for batch in (1, 8):
        case = point(bench, batch)
        found, wanted = bench.run(case), bench.reference(case)
        assert all(np.allclose(found[name], wanted[name], atol=1e-5) for name in wanted)


@pytest.mark.long
def test_a_package_tells_that_its_compiler_found_no_code(bench: Bench) -> None:
    """Inductor's code cache is not asked for packages, so one is never compiled warm."""
    with bench.prepared(bench.case("aoti")) as prepared:
        told = prepared.fairness()
        assert (told["code_cache"], "autotune_cache" in told) == ("cold", False)


@pytest.mark.long
def test_a_package_whose_kernels_were_chosen_by_timing_tells_of_that_cache(bench: Bench) -> None:
    inductor = importlib.import_module("torch._inductor.config")
    with (
        inductor.patch(max_autotune_pointwise=True),
        bench.prepared(bench.case("aoti", options={"memory_format": "channels_last"})) as prepared,
    ):
        assert prepared.fairness()["autotune_cache"] in ("cold", "warm")


def test_a_package_belongs_to_its_device_precision_and_options(bench: Bench) -> None:
    build = AOTI.stages(bench.case("aoti"))[1]
    assert (build.kind, build.per_device) == ("pt2", True)
    assert build != AOTI.stages(bench.case("aoti", precision="fp16"))[1]
    assert build != AOTI.stages(bench.case("aoti", options={"memory_format": "channels_last"}))[1]


@pytest.mark.long
@pytest.mark.parametrize("factory", ["ops_zoo.py:scaled", "ops_zoo.py:defined_late", "exports_zoo.py:squares"])
def test_a_worker_runs_a_package_with_own_operators_and_functions(
    trtbench: Trtbench, tmp_path: Path, factory: str
) -> None:
    name = factory.partition(":")[0]
    text = SUITE.replace("zoo.py:net", factory).replace("[2, 3, 8, 8]", "[2, 8]")
    (tmp_path / "suite.yaml").write_text(text)
    (tmp_path / name).write_text((HERE / name).read_text())
    assert trtbench("run", tmp_path / "suite.yaml", "--quick") == 0
    (record,) = trtbench.runs()[0].records
    assert record.failure is None
    assert record.accuracy is not None
    assert record.accuracy.ok


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other CPUs have one kind of vector extensions")
def test_loading_a_package_does_not_try_out_vector_extensions(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import cpu_vec_isa

    trials: list[str] = []
    lines: list[logging.LogRecord] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", lines.append)
    logger = logging.getLogger("torch.export.pt2_archive._package")

    class Extension(cpu_vec_isa.VecISA):  # type: ignore[misc]
        """One that every CPU has, as far as the CPU tells."""

        def __str__(self) -> str:
            return ""

        def check_build(self, code: str) -> bool:
            trials.append(code)
            return True

    case = bench.case("aoti")
    bench.artifacts(case)
    monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
    monkeypatch.setattr(cpu_vec_isa, "supported_vec_isa_list", [Extension()])
    cpu_vec_isa.valid_vec_isa_list.cache_clear()
    logger.addHandler(handler)
    try:
        bench.run(case)
        assert not trials
        assert not lines
        assert isinstance(cpu_vec_isa.pick_vec_isa(), Extension)  # as whoever compiles next in this process finds out
        assert len(trials) == 1
    finally:
        logger.removeHandler(handler)
        cpu_vec_isa.valid_vec_isa_list.cache_clear()


def test_a_model_that_branches_on_values_is_unsupported(bench: Bench) -> None:
    with pytest.raises(Unsupported):
        bench.run(bench.case("aoti", "zoo.py:branches"))


@pytest.mark.parametrize(("library", "refused"), [(b"libstdc++.so.6", False), (b"libc++.so.1", False), (b"", True)])
def test_a_package_without_the_shared_standard_library_is_refused(
    tmp_path: Path, library: bytes, refused: bool
) -> None:
    package = tmp_path / "model.pt2"
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("model/data/wrapper.cpp", b"")
        archive.writestr("model/data/wrapper.so", b"\x7fELF " + library + b" libm.so.6")
    with pytest.raises(Unavailable, match="statically") if refused else contextlib.nullcontext():
        check_linked(package)


@pytest.mark.long
def test_a_compiler_that_links_its_library_statically_is_refused(
    trtbench: Trtbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = shutil.which(os.environ.get("CXX", "g++"))
    if usual is None:
        pytest.skip("no g++ to build with")
    compiler = tmp_path / "g++"
    compiler.write_text(
        f'#!/bin/sh\ncase " $* " in *" -shared "*) set -- -static-libstdc++ "$@";; esac\nexec {usual} "$@"\n'
    )
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))  # torch asks for it once in a process, so this needs new ones
    (tmp_path / "suite.yaml").write_text(SUITE)
    (tmp_path / "zoo.py").write_text((HERE / "zoo.py").read_text())
    assert trtbench("run", tmp_path / "suite.yaml", "--strict") == 1
    (failure,) = [record.failure for record in trtbench.runs()[0].records]
    assert failure is not None
    assert (failure.kind, failure.stage) == ("Unavailable", "build")
    assert "$CXX links its standard library statically" in failure.message
    assert "CXX=/usr/bin/g++" in failure.hint


def test_a_torch_without_packages_is_missing_with_the_version_that_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.2.0+cu121")
    lacks = AOTI.missing()
    assert lacks is not None
    assert "torch>=2.6" in lacks.fix
