"""The fingerprint says what makes numbers comparable, and nothing of whose machine it was."""

import socket

import msgspec
import pytest

from bench.errors import UsageError
from bench.machine import environment


def test_a_cpu_environment_names_the_machine_but_not_the_host() -> None:
    cpu = environment.describe("cpu")
    assert cpu.arch.startswith("cpu-")
    assert int(cpu.limits["cores"]) >= 1
    assert cpu.libraries["numpy"]
    assert socket.gethostname() not in msgspec.json.encode(cpu).decode()


def test_the_fingerprint_ignores_the_host_and_what_was_observed_only() -> None:
    cpu = environment.describe("cpu")
    replace = msgspec.structs.replace
    assert replace(cpu, host="other", observed={"kernel": "9"}).fingerprint == cpu.fingerprint
    for change in (
        {"libraries": {**cpu.libraries, "torch": "0"}},
        {"driver": "1"},
        {"boundaries": "other"},
        {"flags": {"OMP_NUM_THREADS": "77"}},
        {"limits": {}},
    ):
        assert replace(cpu, **change).fingerprint != cpu.fingerprint


def test_a_flag_that_can_change_a_number_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert environment.describe("fake").flags["OMP_NUM_THREADS"] == "3"


def test_asking_for_a_gpu_that_is_hidden_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(UsageError, match="CUDA_VISIBLE_DEVICES hides every GPU"):
        environment.describe("cuda")
    assert environment.describe("auto").kind == "cpu"


def test_slugs_are_safe_folder_names() -> None:
    assert environment.slugify("NVIDIA H100 80GB HBM3") == "nvidia-h100-80gb-hbm3"
    assert environment.slugify("???") == "unknown"
