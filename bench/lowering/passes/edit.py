"""What passes share: a copy to work on, the tensors of a graph, and new ones."""

from __future__ import annotations

import copy
import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def copy_module(module: torch.fx.GraphModule) -> torch.fx.GraphModule:
    """A graph of its own over the same tensors."""
    import torch

    graph = torch.fx.Graph()
    graph.output(graph.graph_copy(module.graph, {}))
    names = [node.meta for node in module.graph.nodes if node.op != "output"]
    for node, meta in zip([node for node in graph.nodes if node.op != "output"], names, strict=True):
        node.meta = copy.copy(meta)
    result = torch.fx.GraphModule(holder(tensors(module)), graph)
    result.meta = copy.copy(module.meta)
    return result


def tensors(module: torch.fx.GraphModule) -> dict[str, torch.Tensor]:
    """The weights and constants that the graph uses, by name."""
    return {
        str(node.target): module.get_buffer(str(node.target)) for node in module.graph.nodes if node.op == "get_attr"
    }


def tensor_of(module: torch.fx.GraphModule, node: object) -> torch.Tensor | None:
    """The tensor of a ``get_attr`` node; None for any other argument."""
    import torch

    if isinstance(node, torch.fx.Node) and node.op == "get_attr":
        return module.get_buffer(str(node.target))
    return None


def holder(state: dict[str, torch.Tensor]) -> torch.nn.Module:
    """A module that has the tensors as buffers under their dotted names."""
    import torch

    root = torch.nn.Module()
    for name, value in state.items():
        add(root, name, value)
    return root


def add(root: torch.nn.Module, name: str, value: torch.Tensor) -> None:
    """Give a module a buffer under a dotted name, in place of one of that name."""
    import torch

    *parents, last = name.split(".")
    for part in parents:
        if not hasattr(root, part):
            root.add_module(part, torch.nn.Module())
        root = getattr(root, part)
    root.register_buffer(last, value)


def constant(module: torch.fx.GraphModule, name: str, value: torch.Tensor) -> torch.fx.Node:
    """A node for a tensor where the graph is being written; the tensor takes the place of one of that name."""
    add(module, name, value)
    node = module.graph.get_attr(name)
    node.meta["val"] = value
    return node


def unused(module: torch.fx.GraphModule, name: str) -> str:
    """``name``, or one like it that the graph has no tensor of."""
    names = tensors(module)
    while name in names:
        name += "_"
    return name


def share_constants(module: torch.fx.GraphModule) -> torch.fx.GraphModule:
    """The graph with one tensor in place of each set of those that are equal in type, shape and every bit."""
    result = copy_module(module)
    names: dict[tuple[str, tuple[int, ...], bytes], str] = {}
    for node in result.graph.nodes:
        value = tensor_of(result, node)
        if value is not None:
            key = (str(value.dtype), tuple(value.shape), _digest(value))
            node.target = names.setdefault(key, str(node.target))
    return finish(copy_module(result))


def _digest(value: torch.Tensor) -> bytes:
    import torch

    return hashlib.sha256(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()).digest()


def finish(module: torch.fx.GraphModule) -> torch.fx.GraphModule:
    """The module after an edit: without nodes that nothing uses, its code up to date."""
    module.graph.eliminate_dead_code()
    module.graph.lint()
    module.recompile()
    return module
