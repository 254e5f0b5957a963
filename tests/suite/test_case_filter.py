"""Cases that an expression selects."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.backends import base
from bench.errors import SelectionError
from bench.suite import plan, reader
from tests.suite.kit import TEXT, labels, matrix, planned, write


def test_what_is_not_selected_is_neither_a_case_nor_left_out(tmp_path: Path) -> None:
    found = planned(tmp_path, TEXT, select="not backend=eager")
    assert found.left_out == ()
    assert {case.backend for case in found.cases} == {"inductor"}
    assert planned(tmp_path, TEXT, select="  ") == planned(tmp_path, TEXT)


def test_a_selection_that_matches_nothing_lists_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(SelectionError, match="no case matches") as caught:
        planned(tmp_path, TEXT, select="precision=int8 and batch>64 and backend=onnxruntime and cuda_graph=on")
    assert caught.value.fix == (
        "the suite has precision: fp32, fp16; batch: 1, 32; backend: eager, inductor, inductor[mode=max-autotune]; "
        "cuda_graph: off"
    )


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        ("option.placement=fx", ["fx2trt/int8"]),
        ("option.placement!=fx", ["fx2trt/fp16", "fx2trt[fallback=torch]/fp16", "tensorrt[placement=mended]/int8"]),
        ("option.observer=entropy", ["fx2trt/int8", "tensorrt[placement=mended]/int8"]),
        ("option.min_block_size=5", ["fx2trt[fallback=torch]/fp16"]),
    ],
)
def test_options_have_the_defaults_that_stand_for_null(tmp_path: Path, select: str, expected: list[str]) -> None:
    backends = ["fx2trt", {"name": "tensorrt", "placement": "mended"}, {"name": "fx2trt", "fallback": "torch"}]
    path = write(tmp_path, matrix(backend=backends, precision=["fp16", "int8"]))
    registry = base.registry()
    selected = plan.plan(reader.load(path, registry), registry, device="cuda:0", select=select)
    assert labels(selected) == [f"resnet/{name}/batch=1" for name in expected]


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        ("option.placement=fx", ["fx2trt/int8", "fx2trt/fp8"]),
        ("option.observer=entropy", ["fx2trt/int8"]),
        ("option.observer=minmax", ["eager/fp8", "fx2trt/fp8"]),
        ("option.scales=static", ["eager/fp8"]),
        ("option.samples=128", ["fx2trt/int8", "tensorrt[calibrator=entropy]/int8", "eager/fp8", "fx2trt/fp8"]),
    ],
)
def test_what_is_quantized_by_others_has_no_defaults_of_quantization(
    tmp_path: Path, select: str, expected: list[str]
) -> None:
    """By the function of a network, a program or TensorRT's calibrator; nor are those of fp8 those of int8."""
    by_hand = [{"name": "tensorrt", "network": "zoo.py:build"}, {"name": "fx2trt", "program": "mine.py"}]
    backends = ["eager", "fx2trt", *by_hand, {"name": "tensorrt", "calibrator": "entropy"}]
    path = write(tmp_path, matrix(backend=backends, precision=["int8", "fp8"]))
    for file in ("zoo.py", "mine.py"):
        write(tmp_path, "def build(*_):\n    pass\n", file)
    registry = base.registry()
    selected = plan.plan(reader.load(path, registry), registry, device="cuda:0", select=select)
    assert labels(selected) == [f"resnet/{name}/batch=1" for name in expected]


def test_an_exclude_entry_names_such_a_default(tmp_path: Path) -> None:
    exclude = [{"backend": {"name": "fx2trt", "placement": "fx"}}]
    path = write(tmp_path, matrix(backend="fx2trt", precision=["fp16", "int8"], exclude=exclude))
    registry = base.registry()
    assert labels(plan.plan(reader.load(path, registry), registry, device="cuda:0")) == ["resnet/fx2trt/fp16/batch=1"]
