"""The ONNX file with Q/DQ of a case at int8, from the graph that its network program would be written of."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import Unavailable, UsageError
from bench.lowering import artifact
from bench.lowering.quantize import artifact as quantization
from bench.model.distributions import install
from bench.model.factory import program_of
from bench.model.placement import Placement
from bench.model.seam import Context, Stage
from bench.model.sensitivity import Question
from bench.model.suite import Case
from bench.runtimes import deconvolutions, onnx_manifest, shapes
from bench.runtimes.quantization import quantization_options
from bench.runtimes.torch import errors

_FIRST_OPSET = 13  # scales by channel
_OPSET = 17  # the newest that TensorRT 8.6 reads


def is_quantized(case: Case) -> bool:
    """Whether the ONNX file of a case is one with Q/DQ by ``stages``: int8, of a model that is no such file, and that
    neither a function of the suite's nor TensorRT's calibrator quantizes.
    """
    return case.precision == "int8" and program_of(case.factory) != "onnx" and not _by_others(case)


def _by_others(case: Case) -> bool:
    """Whether a function of the suite's or TensorRT's calibrator is what quantizes."""
    return bool(case.options.get("network") or case.options.get("calibrator"))


def no_file(case: Case) -> str | None:
    """Why a case has no ONNX file of its precision, or none by its options; None where there may be one."""
    if _by_others(case):
        return None
    if case.precision == "fp8" and program_of(case.factory) != "onnx":
        return "the exporter writes no fp8 model"
    if not is_quantized(case):
        options = quantization_options(case)
        return f"{options}: of precision int8, of a model that is no ONNX file" if options else None
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


def refuse_values(case: Case) -> None:
    """UsageError at int8 and fp8: that their tensors are not those of fp32 needs no search."""
    if case.precision in artifact.QUANTIZED:
        of = f"every tensor of a network at {case.precision}"
        what = f"{of} differs from eager's, by the rounding that was asked for"
        fix = f"precision!={case.precision} in --select; trtbench quantize says what each layer costs"
        raise UsageError(what, where=case.label, fix=fix)


class QuantizesGraphs:
    """What a backend whose networks are quantized here offers of ``abilities.QuantizesModels``. UsageError for a case
    whose model is an ONNX file.
    """

    def placement(self, case: Case) -> Sequence[Stage]:
        """The calibration, and where the Q/DQ of the case's network stand."""
        return examination_stages(case, None)

    def accuracy(self, case: Case, question: Question) -> Sequence[Stage]:
        """The calibration, and what quantizing costs."""
        return examination_stages(case, question)

    def placement_of_file(self, path: Path) -> Placement:
        """Its Q/DQ, and where they keep TensorRT from a fusion."""
        from bench.lowering.quantize import onnx_view, placement

        return placement.summary(onnx_view.read(path), str(path))


def examination_stages(case: Case, question: Question | None) -> list[Stage]:
    """As ``artifact.examination_stages``; none where a function of the suite's or TensorRT's calibrator quantizes.

    UsageError for a file of the user's, which is not quantized here.
    """
    if program_of(case.factory) == "onnx":
        what = f"{case.factory} is an ONNX file, which is not quantized here"
        raise UsageError(what, where=case.label, fix=f"trtbench lint-qdq {case.factory}")
    return artifact.examination_stages(case, question) if is_quantized(case) else []


def export(case: Case, context: Context, out: Path, key: Mapping[str, Any]) -> None:
    """Write the quantized model as an ONNX file with its manifest into ``out``; ``key`` is the stage's.

    Errors as of ``produce``; Unavailable without the package onnx, Unsupported for what torch.onnx cannot export.
    """
    if importlib.util.find_spec("onnx") is None:
        raise Unavailable("exporting to ONNX needs the package 'onnx'", fix=install("onnx"))
    from bench.lowering.quantize import examination, onnx_export, products

    with artifact.lowered_graph(case, context, key) as (graph, names, warnings):
        import torch

        counts = graph.meta.get(deconvolutions.FACT, {})
        with context.phase("quantize"):
            ranges = quantization.read(context.artifacts[quantization.STAGE], case)
            graph = examination.quantized(graph, ranges, key["placement"], key.get("floating", ()))
            coverage = examination.coverage(graph, key.get("floating", ()))
            graph = products.as_products(graph, full_rank=False)
        inputs = tuple(str(node.meta["input"]) for node in graph.graph.nodes if node.op == "placeholder")
        arrays = shapes.example_arrays(case, context)
        with context.phase("export"), errors.translate("torch.onnx cannot export the quantized model"):
            onnx_export.write(
                graph,
                [torch.from_numpy(arrays[name]) for name in inputs],
                [onnx_manifest.input_name(index) for index in range(len(inputs))],
                [onnx_manifest.output_name(index) for index in range(len(names))],
                out / onnx_manifest.MODEL,
                key["opset"],
            )
        who = quantization.facts(context.artifacts[quantization.STAGE]) | {"placement": key["placement"]} | coverage
        manifest = onnx_manifest.Manifest(
            inputs, names, "legacy", key["opset"], warnings, quantization=who, deconvolutions=counts
        )
        onnx_manifest.write_manifest(manifest, out)
