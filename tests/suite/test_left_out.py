"""What a plan leaves out, and the reason that it gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.errors import SuiteError
from tests.suite.kit import TEXT, labels, matrix, planned


def test_what_is_excluded_is_left_out_with_the_line_that_says_so(tmp_path: Path) -> None:
    found = planned(tmp_path, TEXT, select="model=resnet and precision=fp32")
    line = TEXT.splitlines().index("    - {backend: eager, batch: 32}") + 1
    assert [(entry.label, entry.reason) for entry in found.left_out] == [
        ("resnet/eager/fp32/batch=32", f"excluded at {tmp_path}/x.yaml:{line}")
    ]


def test_an_include_entry_brings_back_what_was_excluded(tmp_path: Path) -> None:
    found = planned(tmp_path, matrix(batch=[1, 2], exclude=[{"backend": "eager"}], include=[{"batch": 2}]))
    assert labels(found) == ["resnet/eager/fp32/batch=2"]
    assert [entry.label for entry in found.left_out] == ["resnet/eager/fp32/batch=1"]


@pytest.mark.parametrize(
    ("entry", "kept"),
    [
        ({"backend": "inductor"}, []),
        ({"backend": {"name": "inductor", "mode": "default"}}, ["inductor[mode=max-autotune]"]),
        ({"backend": {"name": "inductor", "mode": "max-autotune"}}, ["inductor", "inductor[fullgraph=on]"]),
        ({"backend": ["eager", "inductor"]}, []),
        ({"cuda_graph": False, "dynamic": False, "model": "resnet"}, []),
    ],
)
def test_an_exclude_entry_agrees_in_all_that_it_names(tmp_path: Path, entry: dict[str, Any], kept: list[str]) -> None:
    backends = ["inductor", {"name": "inductor", "fullgraph": True}, {"name": "inductor", "mode": "max-autotune"}]
    if "dynamic" in entry:
        text = matrix(backend=backends, exclude=[entry]) + "dynamic: {seq: {min: 1, opt: 2, max: 3}}\n"
    else:
        text = matrix(backend=backends, exclude=[entry])
    assert labels(planned(tmp_path, text)) == [f"resnet/{name}/fp32/batch=1" for name in kept]


@pytest.mark.parametrize(
    ("entry", "axis", "there"),
    [
        ({"backend": "onnxruntime"}, "backend", "eager, inductor[mode=max-autotune]"),
        ({"backend": {"name": "inductor", "mode": "default"}}, "backend", "eager, inductor[mode=max-autotune]"),
        ({"batch": 32, "cuda_graph": False}, "batch", "1, 2"),
        ({"batch": 1, "cuda_graph": True}, "cuda_graph", "off"),
        ({"backend": "eager", "seq": 128}, "seq", "none"),
        ({"toolchain": "default", "streams": 2}, "streams", "1"),
    ],
)
def test_an_exclude_entry_that_takes_nothing_away_is_told_with_its_line(
    tmp_path: Path, entry: dict[str, Any], axis: str, there: str
) -> None:
    backends = ["eager", {"name": "inductor", "mode": "max-autotune"}]
    start, line = matrix(backend=backends, batch=[1, 2], exclude=[{"batch": 2}, entry]).rstrip("\n").split("matrix: ")
    head, tail = line.split('{"batch": 2}, ')
    text = start + "matrix:\n  " + head + '{"batch": 2},\n    ' + tail + "\n"
    with pytest.raises(SuiteError) as caught:
        planned(tmp_path, text)
    assert f"no combination of the matrix agrees with its {axis}" in caught.value.what
    assert caught.value.fix.endswith(f"there {axis} is: {there}")
    assert caught.value.where == f"{tmp_path}/x.yaml:{len(text.splitlines())}"


def test_an_exclude_entry_is_judged_by_the_suite_as_it_is_written(tmp_path: Path) -> None:
    text = matrix(backend=["eager", "onnxruntime"], batch=[1, 2], exclude=[{"backend": "eager", "batch": 2}])
    assert labels(planned(tmp_path, text, select="batch=1")) == [
        "resnet/eager/fp32/batch=1",
        "resnet/onnxruntime/fp32/batch=1",
    ]
    assert len(planned(tmp_path, text, backend_override="fake").cases) == 2
    only = matrix(batch=1, include=[{"batch": 2}], exclude=[{"batch": 2}])
    with pytest.raises(SuiteError, match="takes nothing away"):  # an include entry stands above it
        planned(tmp_path, only)


def test_what_cannot_run_on_the_device_is_left_out_with_the_reason(tmp_path: Path) -> None:
    text = matrix(backend=["eager", "onnxruntime"], precision=["fp32", "bf16"], cuda_graph=["off", "on"])
    found = planned(tmp_path, text, device="cpu")
    assert labels(found) == [
        "resnet/eager/fp32/batch=1", "resnet/onnxruntime/fp32/batch=1", "resnet/eager/bf16/batch=1",
    ]  # fmt: skip
    reasons = {entry.label: entry.reason for entry in found.left_out}
    assert reasons["resnet/eager/fp32/batch=1/graph"] == "cuda_graph needs a CUDA device"
    assert reasons["resnet/onnxruntime/bf16/batch=1"] == "no bf16 on cpu"
    assert len(planned(tmp_path, text).cases) == 6


def test_a_cold_l2_is_for_gpus_only(tmp_path: Path) -> None:
    found = planned(tmp_path, matrix(l2=["warm", "cold"]), device="cpu")
    assert labels(found) == ["resnet/eager/fp32/batch=1"]
    assert found.left_out[0].reason == "l2: cold needs a CUDA device"
