"""The ONNX file with Q/DQ of a case at int8, from the graph that its network program would be written of."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.errors import Unavailable, UsageError
from bench.lowering import artifact
from bench.lowering.quantize import artifact as quantization
from bench.lowering.quantize.options import QUANTIZATION
from bench.model.distributions import install
from bench.model.factory import program_of
from bench.model.seam import Context, Stage
from bench.model.sensitivity import Question
from bench.model.suite import Case
from bench.runtimes import onnx, shapes
from bench.runtimes.torch import errors

_FIRST_OPSET = 13  # scales by channel
_OPSET = 17  # the newest that TensorRT 8.6 reads


def is_quantized(case: Case) -> bool:
    """Whether the ONNX file of a case is one with Q/DQ by ``stages``: int8, of a model that is no such file."""
    return case.precision == "int8" and program_of(case.factory) != "onnx"


def no_file(case: Case) -> str | None:
    """Why a case has no ONNX file of its precision, or none by its options; None where there may be one."""
    is_file = program_of(case.factory) == "onnx"
    if case.precision == "fp8" and not is_file:
        return "the exporter writes no fp8 model"
    if not is_quantized(case):
        given = [name for name in QUANTIZATION if case.options.get(name)]
        return f"{', '.join(given)}: of precision int8, of a model that is no ONNX file" if given else None
    if "exporter" in case.options:
        return "exporter: a file at int8 is written from the lowered graph, by no exporter of choice"
    if (case.options.get("opset") or _OPSET) < _FIRST_OPSET:
        return f"opset: {_FIRST_OPSET} is the first with scales by channel, which int8 needs"
    return artifact.unsupported(case)


def stages(case: Case, opset: int | None) -> list[Stage]:
    """The calibration of a case at int8, and the ONNX file with its Q/DQ, named as ``onnx.stage`` names an export."""
    key = artifact.stage(case).key | {"opset": opset or _OPSET}
    libraries = shapes.libraries(case, "onnx")
    file = Stage(
        name="export", kind="onnx", producer="fx2trt", key=key, needs=(quantization.STAGE,), libraries=libraries
    )
    return [artifact.calibration_stage(case), file]


def examination_stages(case: Case, question: Question | None) -> list[Stage]:
    """As ``artifact.examination_stages``. UsageError for a file of the user's, which is not quantized here."""
    if not is_quantized(case):
        what = f"{case.factory} is an ONNX file, which is not quantized here"
        raise UsageError(what, where=case.label, fix=f"trtbench lint-qdq {case.factory}")
    return artifact.examination_stages(case, question)


def export(case: Case, context: Context, out: Path, key: Mapping[str, Any]) -> None:
    """Write the quantized model as an ONNX file with its manifest into ``out``; ``key`` is the stage's.

    Errors as of ``produce``; Unavailable without the package onnx, Unsupported for what torch.onnx cannot export.
    """
    if importlib.util.find_spec("onnx") is None:
        raise Unavailable("exporting to ONNX needs the package 'onnx'", fix=install("onnx"))
    from bench.lowering.quantize import examination, onnx_export

    with artifact.lowered(case, context) as (graph, names, warnings):
        import torch

        with context.phase("quantize"):
            ranges = quantization.read(context.artifacts[quantization.STAGE])
            graph = examination.quantized(graph, ranges, key["placement"], key.get("floating", ()))
        inputs = tuple(str(node.meta["input"]) for node in graph.graph.nodes if node.op == "placeholder")
        arrays = shapes.example_arrays(case, context)
        with context.phase("export"), errors.translate("torch.onnx cannot export the quantized model"):
            onnx_export.write(
                graph,
                [torch.from_numpy(arrays[name]) for name in inputs],
                [onnx.input_name(index) for index in range(len(inputs))],
                [onnx.output_name(index) for index in range(len(names))],
                out / onnx.MODEL,
                key["opset"],
            )
        who = quantization.facts(context.artifacts[quantization.STAGE]) | {"placement": key["placement"]}
        onnx.write_manifest(onnx.Manifest(inputs, names, "legacy", key["opset"], warnings, quantization=who), out)
