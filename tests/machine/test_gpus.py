"""Which GPU is meant, what is told of it, and what is said where there is none."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pynvml
import pytest

from bench.errors import Unavailable, UsageError
from bench.machine import environment, gpus
from bench.runner import toolchains
from tests.conftest import Trtbench
from tests.machine.nvml_kit import GIB, FakeNvml


@pytest.fixture(autouse=True)
def no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    ("value", "device"),
    [(None, 0), ("", None), ("-1", None), ("2", 2), ("3,1", 3), (" 1 ,0", 1), ("GPU-8f", "GPU-8f"), ("²", "²")],
)
def test_cuda_visible_devices_decides_which_gpu_is_meant(value: str | None, device: int | str | None) -> None:
    assert gpus.visible_gpu(value) == device


def test_workers_count_gpus_as_nvml_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    assert toolchains.worker_env(tmp_path, {})["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


# ----------------------------------------------------------------------------------------------- what is told of it


def test_a_gpu_is_described_with_its_limits() -> None:
    fake = FakeNvml()
    told = gpus.describe(fake)
    assert (told["arch"], told["device"], told["driver"]) == ("sm_90", "NVIDIA H100 80GB HBM3", "580.65.06")
    assert told["memory"] == 80 * GIB
    assert (told["limits"]["power_mw"], told["limits"]["mig"]) == ("700000", "0")
    assert "mig_multiprocessors" not in told["limits"]
    assert len(told["observed"]["card"]) == 12
    assert not any(uuid in str(told) for uuid in fake.UUIDS)
    assert fake.inits == 0


def test_a_limit_that_the_card_does_not_tell_is_left_out() -> None:
    told = gpus.describe(FakeNvml({"nvmlDeviceGetEccMode": pynvml.NVML_ERROR_NOT_SUPPORTED}))
    assert "ecc" not in told["limits"]


@pytest.mark.parametrize(
    ("asked", "name"), [("", "1g.10gb"), ("0", "1g.10gb"), ("MIG-2g.20gb", "2g.20gb"), (FakeNvml.UUIDS[0], "1g.10gb")]
)
def test_on_a_gpu_in_slices_one_of_them_is_the_device(asked: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if asked:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", asked)
    fake = FakeNvml()
    fake.slices = ("", "1g.10gb", "2g.20gb")
    told = gpus.describe(fake)
    assert told["device"] == f"NVIDIA H100 80GB HBM3 MIG {name}"
    assert (told["arch"], told["memory"]) == ("sm_90", 80 * GIB // 7)
    assert (told["limits"]["mig"], told["limits"]["mig_multiprocessors"]) == ("1", "16")


# ----------------------------------------------------------------------------------------------------- there is none


@pytest.mark.parametrize(
    ("asked", "errors", "what", "fix"),
    [
        ("", {}, "hides every GPU", "unset CUDA_VISIBLE_DEVICES"),
        ("7", {}, "names GPU 7, and there are 2", "nvidia-smi -L"),
        ("GPU-9", {}, "GPU-9 names no GPU of this machine", "nvidia-smi -L"),
        ("GPU-", {}, "GPU- names several GPUs", "nvidia-smi -L"),
        ("gpu0", {}, "gpu0 names no GPU", "nvidia-smi -L"),
        (
            "0",
            {"nvmlInit": pynvml.NVML_ERROR_LIBRARY_NOT_FOUND},
            "Shared Library Not Found",
            "install the NVIDIA driver",
        ),
        ("0", {"nvmlInit": pynvml.NVML_ERROR_DRIVER_NOT_LOADED}, "Driver Not Loaded", "modprobe nvidia"),
        ("0", {"nvmlInit": pynvml.NVML_ERROR_NO_PERMISSION}, "Insufficient Permissions", "/dev/nvidia"),
        ("0", {"nvmlInit": pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH}, "version mismatch", "restart the machine"),
        ("0", {"nvmlDeviceGetName": pynvml.NVML_ERROR_UNKNOWN}, "Unknown Error", "nvidia-smi"),
        ("0", {"nvmlDeviceGetHandleByIndex": pynvml.NVML_ERROR_GPU_IS_LOST}, "GPU is lost", "--gpu-reset"),
        ("MIG-x", {"nvmlDeviceGetHandleByUUID": pynvml.NVML_ERROR_NOT_FOUND}, "Not Found", "nvidia-smi"),
    ],
)
def test_without_a_gpu_it_is_said_why_and_what_to_do(
    asked: str, errors: dict[str, int], what: str, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", asked)
    with pytest.raises(Unavailable) as raised:
        gpus.describe(FakeNvml(errors))
    assert what in raised.value.what
    assert fix in raised.value.fix
    assert isinstance(raised.value, gpus.DeviceLost) is ("lost" in what)


def test_a_gpu_in_mig_mode_without_slices_is_no_device() -> None:
    fake = FakeNvml()
    fake.slices = ("", "")
    with pytest.raises(Unavailable, match="in MIG mode and has no slice") as raised:
        gpus.describe(fake)
    assert "nvidia-smi mig -cgi" in raised.value.fix


@pytest.mark.parametrize("value", ["", "99", "GPU-none"])
def test_a_run_that_asks_for_cuda_ends_with_what_to_do(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    monkeypatch.setattr(gpus, "by_driver", lambda: None)
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="CUDA_VISIBLE_DEVICES") as raised:
        environment.describe("cuda")
    assert raised.value.fix
    assert "--device" not in raised.value.fix  # whether that may be typed is for the command to know
    assert environment.describe("auto").kind == "cpu"


def test_without_the_nvml_package_the_command_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "by_driver", lambda: None)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(UsageError, match="nvidia-ml-py is not installed") as raised:
        environment.describe("cuda")
    assert "pip install nvidia-ml-py" in raised.value.fix


# -------------------------------------------------------------------------------------------- the driver in its place


class FakeCuda:
    """libcuda with one device; ``fails`` names the function that returns an error."""

    def __init__(self, fails: str = "") -> None:
        self.fails = fails

    def __getattr__(self, name: str) -> Any:
        numbers = {75: 8, 76: 9}

        def call(*args: Any) -> int:
            if name == "cuDeviceGetName":
                args[0].value = b"NVIDIA L4"
            elif name == "cuDeviceGetAttribute":
                args[0]._obj.value = numbers[args[1]]
            elif name != "cuInit":
                args[0]._obj.value = {"cuDeviceTotalMem_v2": 24 * GIB, "cuDriverGetVersion": 12040}.get(name, 0)
            return int(name == self.fails)

        return call


def test_where_nvml_may_not_be_asked_the_driver_tells_of_the_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gpus, "_DRIVER", tmp_path / "none")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: FakeCuda())
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml({"nvmlInit": pynvml.NVML_ERROR_NO_PERMISSION}))  # type: ignore[arg-type]
    found = environment.describe("auto")
    assert (found.kind, found.arch, found.slug, found.memory) == ("cuda", "sm_89", "nvidia-l4", 24 * GIB)
    assert (found.driver, found.limits) == ("CUDA 12.4", {})


@pytest.mark.parametrize("fails", ["cuInit", "cuDeviceGet", "cuDeviceGetName", "cuDriverGetVersion"])
def test_a_driver_that_finds_no_device_leaves_nvmls_reason(fails: str) -> None:
    assert gpus.by_driver(FakeCuda(fails)) is None


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.161.08  Sat Feb 17 22:55:48 UTC 2024\n", "535.161.08"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n", "580.65.06"),
        ("something else\n", "CUDA 12.4"),
    ],
)
def test_the_drivers_version_is_that_of_its_kernel_module(
    text: str, version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "version").write_text(text)
    monkeypatch.setattr(gpus, "_DRIVER", tmp_path / "version")
    found = gpus.by_driver(FakeCuda())
    assert found is not None
    assert found["driver"] == version


# -------------------------------------------------------------------------------------------------- how it is by now


def test_the_state_tells_how_much_is_in_use_and_by_whom() -> None:
    fake = FakeNvml()
    fake.used, fake.pids = 60 * GIB, {123: 59 * GIB, 7: None}
    found = gpus.state(fake)
    assert found == gpus.State(used=60 * GIB, total=80 * GIB, processes={123: 59 * GIB, 7: 0})
    assert fake.inits == 0


def test_a_lost_gpu_is_told_and_no_nvml_tells_nothing() -> None:
    fake = FakeNvml()
    fake.lose()
    assert "GPU is lost" in gpus.state(fake).lost
    assert gpus.state(FakeNvml({"nvmlInit": pynvml.NVML_ERROR_NO_PERMISSION})) == gpus.State()


def test_processes_that_nvml_does_not_tell_leave_the_memory() -> None:
    fake = FakeNvml({"nvmlDeviceGetComputeRunningProcesses": pynvml.NVML_ERROR_NO_PERMISSION})
    assert gpus.state(fake) == gpus.State(used=2 * GIB, total=80 * GIB)


@pytest.mark.parametrize("value", ["", "99", "GPU-none"])
def test_the_command_ends_with_exit_code_2_and_nothing_written(
    value: str, trtbench: Trtbench, fake_suite: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    monkeypatch.setattr(gpus, "by_driver", lambda: None)
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())  # type: ignore[arg-type]
    assert trtbench("run", fake_suite("[eager]"), "--device", "cuda") == 2
    assert "CUDA_VISIBLE_DEVICES" in trtbench.err
    assert "fix: " in trtbench.err
    assert not trtbench.store.exists() or not list(trtbench.store.rglob("*.jsonl"))
