"""What the quantized graph of a case at int8 answers in PyTorch: what runtimes should compute, rounding included; and
what it answers where values are rounded between its layers, which is how closely a runtime can be held to that.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bench import tensors
from bench.lowering import artifact, quantized_file
from bench.lowering.quantize import artifact as quantization
from bench.model.seam import QUANTIZED_REFERENCE, REFERENCE, Context, Stage
from bench.model.suite import Case
from bench.runtimes import shapes

if TYPE_CHECKING:
    import torch


def stages(case: Case) -> list[Stage]:
    """The stage of a case that is quantized here, one for all backends, after the reference and the calibration; none
    where the user's program or file, a function of the suite's or TensorRT's calibrator decides what is int8.
    """
    if not quantized_file.is_quantized(case) or case.options.get("program"):
        return []
    return [
        Stage(
            name=QUANTIZED_REFERENCE,
            kind=QUANTIZED_REFERENCE,
            producer="fx2trt",
            key=artifact.stage(case).key,
            needs=(REFERENCE, quantization.STAGE),
            libraries=shapes.libraries(case),
            limit="quantized_cosine",
            absence="NoQuantizedReference",
        )
    ]


def produce(case: Case, context: Context, out: Path, key: Mapping[str, Any]) -> None:
    """Run the quantized graph on the case's inputs, on the CPU in float32, and write ``outputs.safetensors``: the
    outputs by name, as those of the reference. Then run it again with values rounded between its layers, and write the
    same outputs as ``rounding.safetensors``. ``key`` is the stage's. Phases: those of ``artifact.lowered_graph``,
    quantize, run.

    Errors as of ``artifact.produce``.
    """
    from bench.lowering.quantize import examination, rounding
    from bench.runtimes.torch import models

    with artifact.lowered_graph(case, context, key) as (graph, names, _):
        with context.phase("quantize"):
            ranges = quantization.read(context.artifacts[quantization.STAGE], case)
            graph = examination.quantized(graph, ranges, key["placement"], key.get("floating", ()))
        with context.phase("run"):
            in_float32 = msgspec.structs.replace(case, precision="fp32")
            inputs = models.to_tensors(context.inputs, in_float32, "contiguous", "cpu")
            args = [inputs[node.meta["input"]] for node in graph.graph.nodes if node.op == "placeholder"]
            for file, run in ((tensors.OUTPUTS, graph), (tensors.ROUNDING, rounding.InFloat16(graph).run)):
                outputs = {name: _array(value) for name, value in zip(names, run(*args), strict=True)}
                tensors.write(out / file, outputs)


def _array(value: torch.Tensor) -> tensors.Array:
    """The values of an output, of narrow floats as float32."""
    narrow = value.is_floating_point() and value.element_size() < 4
    array: tensors.Array = (value.float() if narrow else value).resolve_conj().resolve_neg().contiguous().numpy()
    return array
