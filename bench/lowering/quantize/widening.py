"""Convolutions over one dimension that are quantized, as TensorRT has them: over two, the first of size 1.

A converter can widen a kernel that is a constant, and one that is quantized reaches it through its Q and DQ, which are
fused with a convolution only where nothing stands between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.lowering import normalise
from bench.lowering.passes import edit, views
from bench.lowering.quantize import insert

if TYPE_CHECKING:
    import torch

_LISTS = {"stride": 1, "padding": 0, "dilation": 1, "output_padding": 0}  # with the value of a dimension of size 1
# What may follow before the dimension is removed, so that TensorRT finds it beside the convolution.
_SAME_SHAPE = (*insert.FUSED, "quantize", "dequantize")


def widen(module: torch.fx.GraphModule) -> torch.fx.GraphModule:
    """The graph with each convolution over one dimension whose kernel is quantized as one over two, between reshapes;
    it computes the same. Kernels have the shape (maps, channels, 1, size), of Q and DQ too.
    """
    result = edit.copy_module(module)
    nodes = [node for node in result.graph.nodes if _is_narrow(node)]
    for node in nodes:
        _widen(result, node)
    return views.simplify_views(edit.finish(result)) if nodes else module


def _is_narrow(node: torch.fx.Node) -> bool:
    if normalise.op_name(node) != "convolution":
        return False
    return node.meta["val"].dim() == 3 and normalise.op_name(node.kwargs["weight"]) == "dequantize"


def _widen(module: torch.fx.GraphModule, node: torch.fx.Node) -> None:
    source, dq = node.kwargs["input"], node.kwargs["weight"]
    narrow = node.meta["val"]
    with module.graph.inserting_before(node):
        kernel = _kernel(module, dq)
        wide = _reshape(module, source, _with_row(source.meta["val"]))
    numbers = {name: [value, *node.kwargs[name]] for name, value in _LISTS.items()}
    node.kwargs = node.kwargs | numbers | {"input": wide, "weight": kernel}
    node.meta["val"] = _with_row(narrow)
    last = node
    while (user := _only_user(last)) is not None:
        last = user
        last.meta["val"] = _with_row(last.meta["val"])
    with module.graph.inserting_after(last):
        back = _reshape(module, last, last.meta["val"].squeeze(2))
    for user in list(last.users):
        if user is not back:
            user.replace_input_with(last, back)


def _kernel(module: torch.fx.GraphModule, dq: torch.fx.Node) -> torch.fx.Node:
    """The kernel with a dimension of size 1 before its last, behind a Q and a DQ like those that it had; the DQ."""
    q = dq.kwargs["input"]
    weight = q.kwargs["input"]
    name = edit.unused(module, f"{weight.target}_2d")
    edit.add(module, name, module.get_buffer(str(weight.target)).unsqueeze(2))
    constant = module.graph.get_attr(name)
    constant.meta["val"] = _with_row(weight.meta["val"])
    how = {key: q.kwargs[key] for key in ("scale", "axis")}
    return insert.pair(module, constant, **how, path=str(q.meta.get("path", "")), to=q.kwargs["dtype"])


def _only_user(node: torch.fx.Node) -> torch.fx.Node | None:
    """What alone reads a node, if it takes a tensor of any shape and returns one of that shape."""
    user, *others = node.users
    takes_any = normalise.op_name(user) in _SAME_SHAPE and user.kwargs.get("axis") is None
    return user if takes_any and not others and user.all_input_nodes == [node] else None


def _reshape(module: torch.fx.GraphModule, source: torch.fx.Node, val: torch.Tensor) -> torch.fx.Node:
    node = normalise.call(module.graph, "reshape", source, input=source, shape=list(val.shape))
    node.meta["val"] = val
    return node


def _with_row(val: torch.Tensor) -> torch.Tensor:
    """(n, c, l) as (n, c, 1, l)."""
    return val.unsqueeze(2)
