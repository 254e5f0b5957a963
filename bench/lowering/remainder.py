"""The source of what stays in PyTorch: one function for each block, which calls ATen's operators."""

from __future__ import annotations

import json
import keyword
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from bench.errors import Unsupported
from bench.lowering import normalise, registry
from bench.lowering.partition import Block, aten_name, is_part, is_size

if TYPE_CHECKING:
    import torch
    from torch.fx import Node

# Names that a program of parts has already.
_RESERVED = {
    "Engine", "Path", "Any", "Mapping", "argparse", "build_engines", "device", "engines", "forward", "importlib",
    "main", "math", "operator", "sys", "torch", "weights",
}  # fmt: skip


def variable(node: Node) -> str:
    """The variable of a node's result."""
    name = str(node.name)
    return f"{name}_" if name in _RESERVED or keyword.iskeyword(name) or name.startswith("torch_") else name


def function(block: Block, weights: dict[str, torch.Tensor], tensor_of: Callable[[Node], torch.Tensor]) -> list[str]:
    """The lines of a block's function; the constants that it reads are added to ``weights``.

    Unsupported for an argument that has no source.
    """
    arguments = "".join(f", {variable(node)}: Any" for node in block.inputs)
    lines = [f"def {block.name}(weights: Mapping[str, Any], device: Any{arguments}) -> tuple[Any, ...]:"]
    names = list(dict.fromkeys(aten_name(node) for node in block.nodes if not is_part(node)))
    about = f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
    lines.append(f'    """{about}."""')
    texts: dict[Node, str] = {node: variable(node) for node in block.inputs}
    path = None
    for node in block.nodes:
        for each in _constants_and_sizes(node, texts):
            if each.op == "get_attr":
                weights[str(each.target)] = tensor_of(each)
                texts[each] = f"weights[{json.dumps(str(each.target))}]"
            else:
                lines.append(f"    {variable(each)} = {_size(each, texts)}")
                texts[each] = variable(each)
        if (here := node.meta.get("path", "")) != path and not is_part(node):
            path = here
            lines.append(f"    # {path or 'the model itself'}")
        lines.append(f"    {variable(node)} = {_call(node, texts)}")
        texts[node] = variable(node)
    returned = "".join(f"{variable(node)}, " for node in block.outputs)
    return [*lines, f"    return ({returned.strip()})"]


def _constants_and_sizes(node: Node, texts: Mapping[Node, str]) -> list[Node]:
    """The constants and sizes below a node that have no source yet, each after those that it reads."""
    pending: dict[Node, None] = {}
    for each in node.all_input_nodes:
        if each not in texts and (each.op == "get_attr" or is_size(each)):
            pending |= dict.fromkeys([*_constants_and_sizes(each, texts), each])
    return list(pending)


def _call(node: Node, texts: Mapping[Node, str]) -> str:
    """The call of a node that computes a tensor."""
    if is_part(node):
        return f"{texts[node.args[0]]}[{node.args[1]}]"
    name = normalise.op_name(node)
    if not name:
        return f"torch.ops.{node.target}({_arguments(node, node.args, node.kwargs, texts)})"
    aten = registry.ops()[name].aten
    kinds = normalise.argument_kinds(aten)
    kwargs = dict(node.kwargs)
    parts = []
    turned = {each for each in ("input", "other") if kwargs.pop(f"transpose_{each}", False)}
    for argument, value in kwargs.items():
        key = "self" if argument == "input" and "self" in kinds else argument
        text = source(value, texts, node)
        if isinstance(value, int | float) and kinds[key] == "Tensor":
            text = f"torch.tensor({text}, device=device)"
        parts.append(f"{key}={text}{'.mT' if argument in turned else ''}")
    return f"torch.ops.{aten}({', '.join(parts)})"


def _size(node: Node, texts: Mapping[Node, str]) -> str:
    """The source of a number that a graph computes."""
    target: Any = node.target
    name = str(getattr(target, "__name__", target))
    if str(target) == "aten.sym_size.int":
        return f"{texts[node.args[0]]}.shape[{node.args[1]}]"
    arguments = _arguments(node, node.args, node.kwargs, texts)
    if hasattr(target, "_schema"):
        return f"torch.ops.{target}({arguments})"
    module = str(getattr(target, "__module__", "")).lstrip("_")
    if module in ("operator", "math"):
        return f"{module}.{name}({arguments})"
    if module.partition(".")[0] == "torch" and name.startswith("sym_"):
        return f"torch.{name}({arguments})"
    raise _no_source(node, name)


def _arguments(node: Node, args: Any, kwargs: Mapping[str, Any], texts: Mapping[Node, str]) -> str:
    positional = [source(value, texts, node) for value in args]
    return ", ".join(positional + [f"{key}={source(value, texts, node)}" for key, value in kwargs.items()])


def source(value: Any, texts: Mapping[Node, str], node: Node) -> str:
    """The source of an argument. Unsupported if it has none."""
    import torch

    if isinstance(value, torch.fx.Node):
        return texts[value]
    if isinstance(value, tuple | list):
        parts = [source(part, texts, node) for part in value]
        return f"[{', '.join(parts)}]"
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    if value is None or isinstance(value, bool | int | float | complex):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, torch.device):
        return "device"
    if isinstance(value, torch.dtype | torch.layout | torch.memory_format):
        return str(value)
    raise _no_source(node, repr(value))


def _no_source(node: Node, what: str) -> Unsupported:
    where = node.meta.get("path") or "the model"
    return Unsupported(f"{where}: {aten_name(node)} has the argument {what}, which cannot be written as source")
