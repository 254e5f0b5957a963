"""Removes what moves nothing: views of views, permutes that cancel, whole slices, copies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.lowering import normalise
from bench.lowering.passes import edit

if TYPE_CHECKING:
    import torch


def simplify_views(module: torch.fx.GraphModule) -> torch.fx.GraphModule:
    """A reshape of a reshape is one, a permute of a permute another, and one that changes nothing is none."""
    result = edit.copy_module(module)
    for node in list(result.graph.nodes):
        name = normalise.op_name(node)
        if name in ("reshape", "permute"):
            _merge(node, name)
        if _changes_nothing(node, name):
            node.replace_all_uses_with(node.kwargs["input"])
    return edit.finish(result)


def _merge(node: torch.fx.Node, name: str) -> None:
    before = node.kwargs["input"]
    if normalise.op_name(before) != name:
        return
    if name == "permute":
        first = [dim % len(before.kwargs["dims"]) for dim in before.kwargs["dims"]]
        node.kwargs = {"input": before.kwargs["input"], "dims": [first[dim] for dim in node.kwargs["dims"]]}
    else:
        node.kwargs = node.kwargs | {"input": before.kwargs["input"]}


def _changes_nothing(node: torch.fx.Node, name: str) -> bool:
    if name == "identity":
        return True
    if name not in ("reshape", "permute", "expand", "slice", "to"):
        return False
    before, after = (normalise.spec_of(each.meta.get("val")) for each in (node.kwargs["input"], node))
    if name == "permute":
        return list(node.kwargs["dims"]) == list(range(len(node.kwargs["dims"])))
    if name == "slice" and node.kwargs["step"] != 1:
        return False
    return before == after and node.kwargs["input"].meta["val"].dtype == node.meta["val"].dtype
