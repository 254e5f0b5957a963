"""TensorRT-RTX on a real GPU: engines run where it supports the card, and are rows that say so where it does not."""

from __future__ import annotations

import re

import pytest

from bench.model.run import Record
from tests.backends.gpu_kit import Suite, measured
from tests.backends.kit import HERE

pytestmark = pytest.mark.gpu

SUITE = """\
schema: 1
name: rtx
device: cuda
models:
  fixed: {factory: engine_zoo.py:branches, inputs: {x: {shape: [4, 32, 32, 32]}}}
  ranged: {factory: engine_zoo.py:branches, inputs: {x: {shape: [batch, 32, 32, 32]}}}
dynamic: {batch: {min: 1, opt: 8, max: 16, at: [1, 16]}}
matrix:
  precision: fp16
  model: fixed
  backend:
    - {name: tensorrt_rtx, runtime_cache: false}
    - {name: tensorrt_rtx, compute_capabilities: current}
    - {name: tensorrt_rtx, cuda_graph_strategy: whole_graph_capture}
  include:
    - {model: fixed, backend: tensorrt_rtx, cuda_graph: on, streams: 2}
    - {model: ranged, backend: {name: tensorrt_rtx, kernel_specialization: eager}}
measure: {replicates: 1, max_time: 1s}
"""
LABELS = (
    "runtime_cache=off", "compute_capabilities=current", "cuda_graph_strategy", "graph/streams=2", "batch=1 of",
    "batch=16 of",
)  # fmt: skip


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    pytest.importorskip("tensorrt_rtx")
    pytest.importorskip("torch")
    return Suite(tmp_path_factory.mktemp("rtx"), "rtx", SUITE, HERE / "engine_zoo.py")


def is_refused(record: Record) -> bool:
    """Whether TensorRT-RTX does not run on this GPU; the row must name its capability and those that are supported."""
    if record.failure is None:
        return False
    assert record.failure.kind == "Unsupported", record.failure
    if "current" in record.label:  # it is the builder that refuses
        return True
    found = re.search(
        r"does not run on this GPU.* has compute capability (\d+\.\d)\. Supported compute capabilities: (.*)",
        record.failure.message,
    )
    assert found, record.failure
    assert found[1] not in re.findall(r"\d+\.\d", found[2])
    return True


@pytest.mark.parametrize("label", LABELS)
def test_a_case_is_measured_or_says_which_cards_are_supported(engines: Suite, label: str) -> None:
    record = engines(label)
    if not is_refused(record):
        fairness = measured(record)
        assert (fairness["runtime_cache"] == "off") == (label == "runtime_cache=off")
        assert (fairness["graph_capture"] == "backend") == (label == "cuda_graph_strategy")
