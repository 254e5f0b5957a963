"""What doctor says of libraries that only some have, and in which distribution a module comes."""

from __future__ import annotations

import importlib
import shlex
import sys
from pathlib import Path

import msgspec
import pytest

from bench.checkup import doctor
from bench.machine import environment
from bench.model.checkup import Check
from bench.model.distributions import PACKAGES
from bench.model.distributions import install as install_command
from bench.model.suite import Toolchain


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages for this process and those that it starts."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(doctor, "IMPORTS", ("tensorrt_rtx",))
    return tmp_path


def install(site: Path, module: str, distribution: str, version: str, text: str = "") -> None:
    (site / f"{module}.py").write_text(text)
    info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    importlib.invalidate_caches()


def libraries() -> dict[str, Check]:
    return {check.name: check for check in doctor._libraries()}


def test_what_runs_on_tensorrt_rtx_is_shown_where_it_is_with_its_distribution(site: Path) -> None:
    install(site, "tensorrt_rtx", "tensorrt-rtx-cu13", "1.7.1.116")
    install(site, "torch_tensorrt", "torch-tensorrt-rtx", "2.14.0")
    install(site, "onnxruntime_ep_nv_tensorrt_rtx", "onnxruntime-ep-nv-tensorrt-rtx-cu13", "0.5.0", "import no_cudart")
    checks = libraries()
    found = {name: (check.state, check.detail) for name, check in checks.items()}
    assert found == {
        "tensorrt_rtx": ("ready", "1.7.1.116 (tensorrt-rtx-cu13)"),
        "torch_tensorrt": ("ready", "2.14.0 (torch-tensorrt-rtx)"),
        "onnxruntime_ep_nv_tensorrt_rtx": ("broken", "ModuleNotFoundError: No module named 'no_cudart'"),
    }
    broken = checks["onnxruntime_ep_nv_tensorrt_rtx"]
    assert broken.fix == "pip install onnxruntime-ep-nv-tensorrt-rtx-cu13"


def test_what_only_some_have_is_not_missed(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "EXTENSIONS", ("no_such_extension",))
    monkeypatch.setattr(doctor, "IMPORTS", ("no_such_library",))
    assert [(check.name, check.state) for check in doctor._libraries()] == [("no_such_library", "missing")]


@pytest.mark.parametrize(
    ("name", "state", "detail", "fix"),
    [
        ("eager", "ready", "", ""),
        ("tensorrt", "missing", "TensorRT needs a CUDA device", "a machine with a GPU"),
        ("tensorrt_rtx", "ready", "to build, not to run here: TensorRT-RTX runs on a CUDA device", ""),
    ],
)
def test_without_a_gpu_an_installed_backend_is_ready_for_what_needs_none(
    name: str, state: str, detail: str, fix: str
) -> None:
    cpu = environment.describe("cpu")
    check = doctor._backend("backends", name, None, cpu)
    assert (check.state, check.detail.partition(", and the package")[0], check.fix) == (state, detail, fix)
    check = doctor._backend("backends", name, None, msgspec.structs.replace(cpu, kind="cuda"))
    assert (check.state, check.detail) == ("ready", "")


def test_a_toolchain_without_python_is_mended_in_the_interpreter_that_runs(tmp_path: Path) -> None:
    checks = doctor.examine_toolchains({"flags": Toolchain(env={"A": "1"})}, tmp_path)
    fixes = [check.fix for check in checks if "pip install" in check.fix]
    assert fixes  # no environment has the packages of all backends
    for fix in fixes:
        command = fix.rpartition(": ")[2]  # behind a remark
        assert shlex.split(command)[:4] == [sys.executable, "-m", "pip", "install"]


@pytest.mark.parametrize("module", ["tensorrt", "tensorrt_rtx", "onnxruntime", "torch_tensorrt", "timm"])
def test_what_installs_a_package_stands_alone_behind_what_is_to_know(module: str) -> None:
    words = shlex.split(install_command(module).rpartition(": ")[2])
    assert words[:2] == ["pip", "install"]
    assert words[2] in PACKAGES.get(module, (module,))
    assert len(words) == 3
