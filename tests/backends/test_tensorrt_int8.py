"""Explicit int8 of TensorRT and TensorRT-RTX: the file with Q/DQ that an engine is built from, and its options."""

from __future__ import annotations

from typing import Any

import pytest

from bench.backends import base
from bench.model.seam import QuantizesModels
from bench.model.sensitivity import Question
from bench.model.suite import Case, Range
from tests.backends.kit import Bench

BOTH = ("tensorrt", "tensorrt_rtx")
HOW: dict[str, Any] = {"placement": "mended", "observer": "minmax", "samples": 16, "data": "data.npz"}


def refusal(case: Case) -> str:
    return base.load(case.backend).unsupported(case, "cuda:0") or ""


@pytest.mark.parametrize("backend", BOTH)
def test_an_engine_at_int8_is_made_from_the_file_that_onnx_runtime_reads(bench: Bench, backend: str) -> None:
    case = bench.case(backend, precision="int8", options=HOW)
    assert not refusal(case)
    _, calibration, file, build = base.load(backend).stages(case)
    of_runtime = bench.case("onnxruntime", precision="int8", options=HOW)
    assert [calibration, file] == list(base.load("onnxruntime").stages(of_runtime))[1:]
    assert (calibration.files, build.needs, build.files) == (("data.npz",), ("export",), ())
    assert file.key["placement"] == "mended"


def test_placements_of_an_engine_share_a_calibration(bench: Bench) -> None:
    plain, mended = (
        base.load("tensorrt").stages(bench.case("tensorrt", precision="int8", options={"placement": name}))
        for name in ("fx", "mended")
    )
    assert plain[1] == mended[1]
    assert plain[2].key != mended[2].key
    assert plain[3].key != mended[3].key


def test_the_route_of_fx2trt_at_int8_takes_how_to_quantize(bench: Bench) -> None:
    options = {"route": "fx2trt", **HOW}
    case = bench.case("tensorrt_rtx", precision="int8", options=options)
    assert not refusal(case)
    stages = base.load("tensorrt_rtx").stages(case)
    of_program = base.load("fx2trt").stages(bench.case("fx2trt", precision="int8", options=HOW))
    assert list(stages[1:3]) == list(of_program[1:3])
    assert refusal(bench.case("tensorrt_rtx", precision="fp16", options=options)).endswith("of precision int8 alone")


@pytest.mark.parametrize("backend", BOTH)
@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"precision": "fp16", "options": HOW}, "observer, samples, data, placement: of precision int8"),
        ({"options": {"exporter": "dynamo"}}, "exporter: a file at int8 is written from the lowered graph"),
        ({"options": {"opset": 12}}, "opset: 13 is the first"),
        ({"options": {"network": "zoo.py:build", "observer": "minmax"}}, "observer: a network by hand has the Q/DQ"),
        ({"dynamic": {"batch": Range(min=1, opt=2, max=4)}}, "calibration needs fixed sizes"),
    ],
)
def test_what_has_no_file_at_int8_is_left_out(bench: Bench, backend: str, fields: dict[str, Any], why: str) -> None:
    assert refusal(bench.case(backend, **{"precision": "int8", **fields})).startswith(why)


@pytest.mark.parametrize("options", [{"calibrator": "entropy", "samples": 16}, {"network": "zoo.py:build"}])
def test_what_something_else_quantizes_is_planned_and_has_no_pairs_to_look_at(
    bench: Bench, options: dict[str, Any]
) -> None:
    case, backend = bench.case("tensorrt", precision="int8", options=options), base.load("tensorrt")
    assert not refusal(case)
    assert isinstance(backend, QuantizesModels)
    assert list(backend.placement(case)) == list(backend.accuracy(case, Question())) == []
    assert "calibration" not in [stage.name for stage in backend.stages(case)]


@pytest.mark.parametrize("backend", BOTH)
def test_of_a_case_that_is_quantized_the_graph_is_looked_at(bench: Bench, backend: str) -> None:
    of = base.load(backend)
    assert isinstance(of, QuantizesModels)
    stages = of.placement(bench.case(backend, precision="int8", options=HOW))
    assert [stage.kind for stage in stages] == ["calibration", "placement"]
    same = base.load("fx2trt")
    assert isinstance(same, QuantizesModels)
    assert list(stages) == list(same.placement(bench.case("fx2trt", precision="int8", options=HOW)))
