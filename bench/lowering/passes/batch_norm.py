"""Folds batch normalisation into the convolution, also a transposed one, before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.lowering import normalise
from bench.lowering.passes import edit

if TYPE_CHECKING:
    import torch


def fold_batch_norms(module: torch.fx.GraphModule) -> torch.fx.GraphModule:
    """w' = w g / sqrt(v + e), b' = (b - m) g / sqrt(v + e) + b_n, computed in float32.

    Where the convolution's result is used by the normalisation alone, and all of their tensors are constants.
    """
    result = edit.copy_module(module)
    for node in list(result.graph.nodes):
        if normalise.op_name(node) != "batch_norm":
            continue
        conv = node.kwargs["input"]
        if normalise.op_name(conv) == "convolution" and len(conv.users) == 1 and not node.kwargs["training"]:
            fold(result, conv, node)
    return edit.finish(result)


def fold(module: torch.fx.GraphModule, conv: torch.fx.Node, norm: torch.fx.Node) -> None:
    """Fold one normalisation into the convolution that it reads, if all of their tensors are constants."""
    import torch

    kernel, bias = edit.tensor_of(module, conv.kwargs["weight"]), edit.tensor_of(module, conv.kwargs["bias"])
    mean, variance = (edit.tensor_of(module, norm.kwargs[name]) for name in ("running_mean", "running_var"))
    if kernel is None or mean is None or variance is None or (bias is None and conv.kwargs["bias"] is not None):
        return
    gain, shift = edit.tensor_of(module, norm.kwargs["weight"]), edit.tensor_of(module, norm.kwargs["bias"])
    if (gain is None) != (norm.kwargs["weight"] is None) or (shift is None) != (norm.kwargs["bias"] is None):
        return
    factor = torch.rsqrt(variance.float() + norm.kwargs["eps"]) * (1.0 if gain is None else gain.float())
    groups = conv.kwargs["groups"]
    if conv.kwargs["transposed"]:  # [in, out / groups, ...]: the outputs of group g belong to its rows
        rows = factor.reshape(groups, 1, -1).expand(groups, kernel.shape[0] // groups, -1).reshape(kernel.shape[:2])
        scale = rows.reshape(*kernel.shape[:2], *[1] * (kernel.dim() - 2))
    else:
        scale = factor.reshape(-1, *[1] * (kernel.dim() - 1))
    before = -mean.float() if bias is None else bias.float() - mean.float()
    offset = before * factor + (0.0 if shift is None else shift.float())
    before_kernel = conv.kwargs["weight"]
    name = str(before_kernel.target) if len(before_kernel.users) == 1 else f"{before_kernel.target}_of_{conv.name}"
    stem, last = name.rpartition(".")[::2]
    bias_name = last.replace("weight", "bias") if "weight" in last else f"{last}_bias"
    with module.graph.inserting_before(conv):
        new_kernel = edit.constant(module, name, (kernel.float() * scale).to(kernel.dtype))
        new_bias = edit.constant(module, f"{stem}.{bias_name}" if stem else bias_name, offset.to(kernel.dtype))
    conv.kwargs = conv.kwargs | {"weight": new_kernel, "bias": new_bias}
    conv.meta["val"] = norm.meta["val"]
    norm.replace_all_uses_with(conv)
