"""Removes masks of attention that hide nothing, as exporters leave them where a model is called without one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.lowering import normalise
from bench.lowering.passes import edit

if TYPE_CHECKING:
    import torch

# What only moves or repeats the values of its input.
_VIEWS = ("expand", "permute", "reshape", "slice")


def drop_open_masks(module: torch.fx.GraphModule) -> torch.fx.GraphModule:
    """Attention without its mask where that is a constant: all true, or all zero where it is added to the scores.

    TensorRT computes the selection for each score even if the mask never selects, and reads the mask for it.
    """
    result = edit.copy_module(module)
    for node in result.graph.nodes:
        if normalise.op_name(node) == "scaled_dot_product_attention" and _is_open(result, node.kwargs["attn_mask"]):
            node.kwargs = node.kwargs | {"attn_mask": None}
    return edit.finish(result)


def _is_open(module: torch.fx.GraphModule, mask: object) -> bool:
    import torch

    while isinstance(mask, torch.fx.Node) and normalise.op_name(mask) in _VIEWS:  # too large to be one constant
        mask = mask.kwargs["input"]
    tensor = edit.tensor_of(module, mask)
    if tensor is None:
        return False
    return bool(tensor.all() if tensor.dtype == torch.bool else not tensor.any())
