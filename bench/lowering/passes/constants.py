"""Computes what depends on constants alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.lowering import exported_weights, normalise
from bench.lowering.passes import edit

if TYPE_CHECKING:
    import torch

# A result may be this much larger than the constants that it comes from (bytes), as an expanded mask is.
_MOST_GROWTH = 1 << 20


def fold_constants(module: torch.fx.GraphModule) -> torch.fx.GraphModule:
    """Each op whose inputs are all constants becomes one, called after its module and op, unless that is far larger."""
    import torch

    result = edit.copy_module(module)
    for node in list(result.graph.nodes):
        name = normalise.op_name(node)
        if not name or isinstance(node.meta.get("val"), tuple | list) or not _is_static(node):
            continue
        inputs = {each: edit.tensor_of(result, each) for each in node.all_input_nodes}
        if any(value is None for value in inputs.values()):
            continue
        for each, tensor in inputs.items():  # a weight, whose name is lost with it
            exported_weights.check_numbers(str(each.target), tensor)
        with torch.no_grad():
            value = node.target(**torch.fx.map_arg(dict(node.kwargs), inputs.__getitem__))
        size = sum(tensor.numel() * tensor.element_size() for tensor in inputs.values() if tensor is not None)
        if value.numel() * value.element_size() > size + _MOST_GROWTH:
            continue
        constant = f"{node.meta.get('path') or 'constant'}.{node.name}"
        if hasattr(torch.nn.Module, node.name):  # ``to``, which no attribute of a module may be called
            constant += "_result"
        edit.add(result, constant, value.contiguous())
        with result.graph.inserting_before(node):
            new = result.graph.get_attr(constant)
        new.meta = dict(node.meta)
        node.replace_all_uses_with(new)
    return edit.finish(result)


def _is_static(node: torch.fx.Node) -> bool:
    """Whether its result has the same shape in every run."""
    value: Any = node.meta.get("val")
    return value is not None and all(isinstance(size, int) for size in value.shape)
