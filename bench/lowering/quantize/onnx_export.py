"""Writes a quantized graph as an ONNX file with QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from bench.lowering.passes import edit

_FIRST_OPSET = 13  # scales by channel
_KINDS = {"trtbench::quantize": "QuantizeLinear", "trtbench::dequantize": "DequantizeLinear"}


def write(
    graph: torch.fx.GraphModule,
    example: Sequence[torch.Tensor],
    inputs: Sequence[str],
    outputs: Sequence[str],
    path: Path,
    opset: int,
) -> None:
    """Write ``graph`` as torch's exporter traces it on ``example``, with these names of inputs and outputs. Equal
    constants are one: of several the exporter keeps the first, and puts an ``Identity`` between it and a Q or DQ.

    Whatever torch.onnx raises passes.
    """
    graph = edit.share_constants(graph)
    with _symbolics(), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", torch.jit.TracerWarning
        )  # numbers of the graph become constants, as they should
        torch.onnx.export(
            graph, tuple(example), str(path), input_names=list(inputs), output_names=list(outputs),
            opset_version=opset, dynamo=False,
        )  # fmt: skip


@contextmanager
def _symbolics() -> Iterator[None]:
    """In the block the exporter knows the operators that quantize and dequantize."""
    for name, kind in _KINDS.items():
        torch.onnx.register_custom_op_symbolic(name, _symbolic(kind), _FIRST_OPSET)
    try:
        yield
    finally:
        for name in _KINDS:
            torch.onnx.unregister_custom_op_symbolic(name, _FIRST_OPSET)


def _symbolic(kind: str) -> Callable[..., Any]:
    """What the exporter calls for an operator: a node with a zero point of int8, which says the type."""
    from torch.onnx import symbolic_helper

    def symbolic(g: Any, value: Any, scale: Any, axis: int | None, dtype: str, result: str = "float32") -> Any:
        zeros = torch.zeros(scale.type().sizes(), dtype=torch.int8)
        attributes = {} if axis is None else {"axis_i": axis}
        return g.op(kind, value, scale, g.op("Constant", value_t=zeros), **attributes)

    parsed: Callable[..., Any] = symbolic_helper.parse_args("v", "v", "i", "s", "s")(symbolic)
    return parsed
