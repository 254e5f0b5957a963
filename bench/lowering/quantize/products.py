"""Quantized linear layers as products whose weights stand right behind their DQ, where they would not as they are.

A matrix product takes operands of equal rank, and of weights as (inputs, outputs). A converter or an exporter brings
weights to that form, and those that are quantized it reaches behind their Q and DQ: what it puts there, a reshape or a
transpose, keeps the product from the pair, with which a runtime computes it in int8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.lowering import normalise
from bench.lowering.passes import edit
from bench.lowering.quantize import insert

if TYPE_CHECKING:
    import torch


def as_products(module: torch.fx.GraphModule, *, full_rank: bool) -> torch.fx.GraphModule:
    """The graph with quantized linear layers as a product and a sum, which compute the same. Weights have the shape
    (inputs, outputs), with ``full_rank`` after as many dimensions of size 1 as give them the rank of the input; Q and
    DQ too, whose scales are along the last dimension.

    With ``full_rank``, as a converter needs them, these are layers over more than two dimensions; otherwise, as torch's
    exporter to ONNX needs them, all but those over two dimensions with a bias, which it writes as ``Gemm``.
    """
    result = edit.copy_module(module)
    nodes = [node for node in result.graph.nodes if _is_moved(node, full_rank=full_rank)]
    names: dict[str, str] = {}
    for node in nodes:
        _as_product(result, node, names, full_rank=full_rank)
    return edit.finish(result) if nodes else module


def _is_moved(node: torch.fx.Node, *, full_rank: bool) -> bool:
    """Whether a node is a layer whose weights would be moved behind their DQ. At fp8 their one scale fits weights of
    any form, so that it stays.
    """
    if normalise.op_name(node) != "linear":
        return False
    rank = len(node.kwargs["input"].meta["val"].shape)
    if rank <= 2 if full_rank else rank == 2 and node.kwargs["bias"] is not None:
        return False
    dq = node.kwargs["weight"]
    return normalise.op_name(dq) == "dequantize" and dq.kwargs["dtype"] == "int8"


def _as_product(module: torch.fx.GraphModule, node: torch.fx.Node, names: dict[str, str], *, full_rank: bool) -> None:
    source, bias = node.kwargs["input"], node.kwargs["bias"]
    with module.graph.inserting_before(node):
        weight = _weight(module, node.kwargs["weight"], names, len(source.meta["val"].shape) if full_rank else 2)
        result = normalise.call(module.graph, "matmul", node, input=source, other=weight)
        if bias is not None:
            result = normalise.call(module.graph, "add", node, input=result, other=bias, alpha=1)
    node.replace_all_uses_with(result)
    module.graph.erase_node(node)


def _weight(module: torch.fx.GraphModule, dq: torch.fx.Node, names: dict[str, str], rank: int) -> torch.fx.Node:
    """The weights as (inputs, outputs) of this rank, behind a Q and a DQ like those that they had; the DQ. ``names``
    are the new constants so far: layers that share weights share them.
    """
    q = dq.kwargs["input"]
    old = str(q.kwargs["input"].target)
    new = f"{old}_{rank}d"
    if new not in names:
        values = module.get_buffer(old).t().contiguous()
        names[new] = edit.unused(module, new)
        edit.add(module, names[new], values.reshape((1,) * (rank - 2) + tuple(values.shape)))
    constant = module.graph.get_attr(names[new])
    constant.meta["val"] = module.get_buffer(names[new])
    axis = None if q.kwargs["axis"] is None else rank - 1
    return insert.pair(module, constant, q.kwargs["scale"], axis, str(q.meta.get("path", "")), to=q.kwargs["dtype"])
