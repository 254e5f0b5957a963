"""Runs a quantized graph with values rounded to float16 between its layers: how far rounding takes it from itself."""

from __future__ import annotations

from typing import Any

import torch

from bench.lowering import normalise


class InFloat16(torch.fx.Interpreter):  # type: ignore[misc]
    """Runs a normalised graph in the types that it has, with each input and each floating result of an op rounded to a
    number of float16. What quantize and dequantize return is on the grid of int8, and stays; so do constants, and what
    float16 has no finite number for: this is about the precision of float16, not its range.
    """

    def run_node(self, n: torch.fx.Node) -> Any:
        """As ``torch.fx.Interpreter.run_node``."""
        result = super().run_node(n)
        is_value = n.op in ("placeholder", "call_function") and normalise.op_name(n) not in ("quantize", "dequantize")
        if not is_value or not isinstance(result, torch.Tensor) or not result.is_floating_point():
            return result
        near = result.half()
        return torch.where(near.isfinite(), near.to(result.dtype), result)
