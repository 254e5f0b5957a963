"""Other processes on the GPU, and the memory of the worker's own, as NVML lists them."""

from __future__ import annotations

import msgspec
import pynvml
import pytest

from bench.machine.nvml import GpuTelemetry, warnings
from bench.report.warnings import describe
from tests.machine.nvml_kit import (
    GIB,
    HELPER,
    LATECOMER,
    STRANGER,
    WORKER,
    FakeNvml,
    S,
    group_of,
    kinds,
    watch,
)


def test_others_on_the_gpu_are_counted_with_their_memory_and_the_workers_group_is_not() -> None:
    fake = FakeNvml()
    fake.pids = {STRANGER: 3 * GIB}
    figures = watch(
        fake,
        {"pids": {STRANGER: 3 * GIB, WORKER: GIB, HELPER: GIB}},
        {"pids": {STRANGER: 3 * GIB, WORKER: 2 * GIB, HELPER: GIB, LATECOMER: GIB}},
    ).finish()
    assert figures.foreign_processes == 2
    assert figures.foreign_memory_bytes == 4 * GIB
    assert figures.process_memory_bytes == 3 * GIB
    (warning,) = warnings(figures)
    assert warning.kind == "ForeignProcess"
    assert warning.figures == {"processes": 2, "memory_bytes": 4 * GIB}
    assert "2 other processes were on the GPU, with 4.00 GiB" in describe(warning).text


def test_one_that_came_and_went_between_slow_ticks_is_counted() -> None:
    fake = FakeNvml()
    watched = GpuTelemetry(0, fake, group_of)
    fake.pids = {WORKER: GIB}
    watched.start(WORKER, 0)
    fake.pids = {WORKER: GIB, LATECOMER: None}
    watched.tick(5 * S)
    fake.pids = {WORKER: GIB}
    watched.stop(10 * S)
    figures = watched.finish()
    assert figures.foreign_processes == 1
    assert figures.foreign_memory_bytes is None
    (warning,) = warnings(figures)
    assert warning.figures == {"processes": 1}
    assert describe(warning).text == "1 other process was on the GPU"


def test_one_that_left_before_the_start_is_not_counted() -> None:
    fake = FakeNvml()
    fake.pids = {STRANGER: GIB}
    assert watch(fake, {"pids": {WORKER: GIB}}, {}).finish().foreign_processes == 0


def test_with_pids_of_another_namespace_the_worker_is_not_taken_for_a_foreigner() -> None:
    fake = FakeNvml()
    watched = watch(fake, {"pids": {4242: GIB}}, {})
    figures = watched.finish()
    assert figures.foreign_processes == 0
    assert figures.process_memory_bytes is None
    assert kinds(figures) == []


def test_with_pids_of_another_namespace_those_before_the_worker_and_after_the_start_are_foreign() -> None:
    fake = FakeNvml()
    fake.pids = {4000: GIB}
    figures = watch(fake, {"pids": {4000: GIB, 4242: GIB}}, {"pids": {4000: GIB, 4242: GIB, 4300: 2 * GIB}}).finish()
    assert (figures.foreign_processes, figures.foreign_memory_bytes) == (2, 3 * GIB)


@pytest.mark.parametrize("pids", [{}, None])
def test_where_no_process_can_be_listed_nothing_is_said_of_them(pids: dict[int, int] | None) -> None:
    names = ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetComputeRunningProcesses_v2")
    fake = FakeNvml(dict.fromkeys(names, pynvml.NVML_ERROR_NO_PERMISSION) if pids is None else {})
    figures = watch(fake, {"pids": pids or {}}, {}).finish()
    assert not [key for key in msgspec.to_builtins(figures) if key.startswith(("foreign", "process"))]


def test_the_most_memory_that_the_worker_was_seen_to_use_counts() -> None:
    figures = watch(FakeNvml(), {"pids": {WORKER: 3 * GIB}}, {"pids": {WORKER: GIB}}).finish()
    assert figures.process_memory_bytes == 3 * GIB


def test_memory_that_the_driver_does_not_tell_of_a_process_is_left_out() -> None:
    figures = watch(FakeNvml(), {"pids": {WORKER: None}}, {}).finish()
    assert figures.foreign_processes == 0
    assert figures.process_memory_bytes is None
