"""ONNX Runtime at int8: which cases have a quantized file, and what it is made of."""

from __future__ import annotations

import pytest

from bench.backends import base
from tests.backends.kit import Bench

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.torch
ORT = base.load("onnxruntime")


def test_a_case_at_int8_reads_the_file_that_fx2trt_quantizes(bench: Bench) -> None:
    case = bench.case("onnxruntime", precision="int8", options={"placement": "mended", "samples": 16})
    assert ORT.unsupported(case, "cpu") is None
    reference, calibration, file, quantized = ORT.stages(case)
    assert (reference.kind, calibration.name, file.name) == ("reference", "calibration", "export")
    assert (quantized.name, quantized.needs) == ("quantized_reference", ("reference", "calibration"))
    assert (file.producer, file.needs) == ("fx2trt", ("calibration",))
    assert (file.key["placement"], file.key["opset"], calibration.key["samples"]) == ("mended", 17, 16)


def test_placements_share_a_calibration_and_no_file(bench: Bench) -> None:
    fx, mended = (
        ORT.stages(bench.case("onnxruntime", precision="int8", options={"placement": name}))
        for name in ("fx", "mended")
    )
    assert fx[1] == mended[1]
    assert fx[2].key != mended[2].key


@pytest.mark.parametrize(
    ("precision", "options", "why"),
    [
        ("fp8", {}, "the exporter writes no fp8 model"),
        ("fp16", {"observer": "minmax"}, "observer: of precision int8"),
        ("int8", {"exporter": "legacy"}, "exporter: a file at int8"),
        ("int8", {"opset": 12}, "opset: 13 is the first"),
    ],
)
def test_options_that_no_file_has_are_refused(
    bench: Bench, precision: str, options: dict[str, object], why: str
) -> None:
    refused = ORT.unsupported(bench.case("onnxruntime", precision=precision, options=options), "cpu")
    assert (refused or "").startswith(why)
