"""Explicit int8 of TensorRT and TensorRT-RTX: the file with Q/DQ that an engine is built from, and its options."""

from __future__ import annotations

from typing import Any

import pytest

from bench.backends import base
from bench.model.abilities import QuantizesModels
from bench.model.seam import QUANTIZED_REFERENCE, Stage
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
    _, calibration, file, quantized, build = base.load(backend).stages(case)
    of_runtime = bench.case("onnxruntime", precision="int8", options=HOW)
    assert [calibration, file, quantized] == list(base.load("onnxruntime").stages(of_runtime))[1:]
    assert (calibration.files, build.needs, build.files) == (("data.npz",), ("export",), ())
    assert file.key["placement"] == "mended"


def test_placements_of_an_engine_share_a_calibration(bench: Bench) -> None:
    plain, mended = (
        base.load("tensorrt").stages(bench.case("tensorrt", precision="int8", options={"placement": name}))
        for name in ("fx", "mended")
    )
    assert plain[1] == mended[1]
    assert plain[2].key != mended[2].key
    assert plain[3].key != mended[3].key  # the quantized reference
    assert plain[4].key != mended[4].key


def test_the_route_of_fx2trt_at_int8_takes_how_to_quantize(bench: Bench) -> None:
    options = {"route": "fx2trt", **HOW}
    case = bench.case("tensorrt_rtx", precision="int8", options=options)
    assert not refusal(case)
    stages = base.load("tensorrt_rtx").stages(case)
    of_program = base.load("fx2trt").stages(bench.case("fx2trt", precision="int8", options=HOW))
    assert list(stages[1:4]) == list(of_program[1:4])
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
    assert {"calibration", "quantized_reference"}.isdisjoint(stage.name for stage in backend.stages(case))


@pytest.mark.parametrize("backend", ["tensorrt", "tensorrt_rtx", "onnxruntime", "fx2trt"])
def test_the_quantized_reference_is_one_for_all_backends_of_one_placement(bench: Bench, backend: str) -> None:
    def stage(name: str, **options: Any) -> Stage:
        case = bench.case(name, precision="int8", options=HOW | options)
        return next(each for each in base.load(name).stages(case) if each.name == QUANTIZED_REFERENCE)

    assert stage(backend) == stage("fx2trt")
    assert (stage(backend).toolchain, stage(backend).per_device) == ("default", False)
    for other in ({"placement": "fx"}, {"floating": ["linear"]}, {"observer": "entropy"}):
        assert stage(backend, **other).key != stage(backend).key


@pytest.mark.parametrize(
    ("backend", "fields"),
    [
        ("fx2trt", {"options": {"program": "edited/program.py"}}),
        ("fx2trt", {"options": {"calibrator": "minmax"}}),
        ("fx2trt", {"precision": "fp8"}),
        ("fx2trt", {"precision": "fp16"}),
        ("tensorrt", {"options": {"network": "zoo.py:build"}}),
        ("tensorrt", {"factory": "net.onnx"}),
        ("tensorrt_rtx", {"options": {"route": "fx2trt", "program": "edited/program.py"}}),
        ("onnxruntime", {"factory": "net.onnx"}),
    ],
)
def test_what_is_not_quantized_here_has_no_quantized_reference(
    bench: Bench, backend: str, fields: dict[str, Any]
) -> None:
    stages = base.load(backend).stages(bench.case(backend, **{"precision": "int8", **fields}))
    assert QUANTIZED_REFERENCE not in [stage.name for stage in stages]


@pytest.mark.parametrize("backend", BOTH)
def test_of_a_case_that_is_quantized_the_graph_is_looked_at(bench: Bench, backend: str) -> None:
    of = base.load(backend)
    assert isinstance(of, QuantizesModels)
    stages = of.placement(bench.case(backend, precision="int8", options=HOW))
    assert [stage.kind for stage in stages] == ["calibration", "placement"]
    same = base.load("fx2trt")
    assert isinstance(same, QuantizesModels)
    assert list(stages) == list(same.placement(bench.case("fx2trt", precision="int8", options=HOW)))
