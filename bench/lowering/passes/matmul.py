"""Takes a permute of the last two dimensions into the matrix product that reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.lowering import normalise
from bench.lowering.passes import edit

if TYPE_CHECKING:
    import torch


def fold_permutes(module: torch.fx.GraphModule) -> torch.fx.GraphModule:
    """``a b^T`` without a layer for the transpose."""
    result = edit.copy_module(module)
    for node in list(result.graph.nodes):
        if normalise.op_name(node) != "matmul":
            continue
        for name in ("input", "other"):
            permute = node.kwargs[name]
            if normalise.op_name(permute) == "permute" and _swaps_last(permute.kwargs["dims"]):
                flag = f"transpose_{name}"
                node.kwargs = node.kwargs | {name: permute.kwargs["input"], flag: not node.kwargs.get(flag, False)}
    return edit.finish(result)


def _swaps_last(dims: list[int]) -> bool:
    rank = len(dims)
    order = [dim % rank for dim in dims]
    return rank >= 2 and order == [*range(rank - 2), rank - 1, rank - 2]
