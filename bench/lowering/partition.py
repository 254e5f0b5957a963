"""Divides a normalised graph into blocks that are engines, and blocks that stay in PyTorch."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.errors import Unsupported
from bench.lowering import codegen, normalise

if TYPE_CHECKING:
    import torch
    from torch.fx import Node

# The types that tensors have in an engine and at its ends.
_TYPES = ("float32", "float16", "bfloat16", "int64", "int32", "bool")
_SHOWN = 5  # operators in a message


class Block(NamedTuple):
    """Nodes that run together. ``inputs`` are the tensors from elsewhere that they read, constants apart; ``outputs``
    those of theirs that other blocks or the caller read.
    """

    name: str
    is_engine: bool
    nodes: tuple[Node, ...]
    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]


class Division(NamedTuple):
    """The blocks of a graph in the order in which they run, and why each node outside the engines is there."""

    blocks: tuple[Block, ...]
    reasons: Mapping[Node, str]

    @property
    def engines(self) -> tuple[Block, ...]:
        """The blocks that TensorRT runs."""
        return tuple(block for block in self.blocks if block.is_engine)

    def facts(self) -> dict[str, Any]:
        """Counts for the record: engines, operators in PyTorch (and the first of these by name), and ``crossings``:
        tensors that an engine takes from PyTorch's blocks or gives to them.
        """
        maker = {node: block for block in self.blocks for node in block.outputs}
        pairs = ((maker[node], block) for block in self.blocks for node in block.inputs if node in maker)
        crossings = sum(before.is_engine != after.is_engine for before, after in pairs)
        names = list(dict.fromkeys(aten_name(node) for node in self.reasons))
        facts: dict[str, Any] = {
            "engines": len(self.engines), "partitions": len(self.blocks), "fallback_nodes": len(self.reasons),
            "crossings": crossings,
        }  # fmt: skip
        return facts | ({"fallback_ops": names[:_SHOWN]} if names else {})


def divide(module: torch.fx.GraphModule, min_block_size: int = 5) -> Division:
    """The blocks of a graph whose operators without a converter were kept.

    A node is in PyTorch if it has no converter, if its converter does not take its arguments, or if a tensor at it has
    a type or a size that an engine cannot have: float64, or a size that depends on data. An engine of fewer than
    ``min_block_size`` ops is not worth its crossings, and its nodes are in PyTorch too. What engine a node is in
    follows from how often a path to it changes between the two, so that branches side by side share one.

    Raises:
        Unsupported: no engine is left.
    """
    nodes = [node for node in module.graph.nodes if is_tensor_op(node)]
    reasons = {node: reason for node in nodes if (reason := _unfit(node)) and node.target is not operator.getitem}
    reasons |= codegen.refusals(module, skip={*reasons, *_parts_of(reasons)})
    while True:
        stages = _stages(nodes, reasons)
        groups: dict[int, list[Node]] = {}
        for node in nodes:
            groups.setdefault(stages[node], []).append(node)
        small = [
            group
            for stage, group in groups.items()
            if not stage % 2 and (_count(group) < min_block_size or not _inputs(group))
        ]
        if not small:
            break
        least = min(small, key=_count)
        reasons |= {node: _too_small(min_block_size) for node in least if node.target is not operator.getitem}
    blocks = tuple(_blocks(module, groups))
    ordered = {node: reasons[node] for node in nodes if node in reasons}
    if not any(block.is_engine for block in blocks):
        names = ", ".join(f"{name} ({count}x)" for name, count in Counter(map(aten_name, ordered)).most_common(_SHOWN))
        raise Unsupported(
            f"no engine is left of this model, all of it stays in PyTorch: {names or 'it has no operators'}",
            fix="min_block_size: 1" if min_block_size > 1 else "the backend inductor",
        )
    return Division(blocks, ordered)


def is_tensor_op(node: Node) -> bool:
    """Whether a node computes tensors, or is one of several that a node computes; not constants, inputs or sizes."""
    return bool(normalise.op_name(node)) or normalise.is_kept(node) or is_part(node)


def is_part(node: Node) -> bool:
    """Whether a node is one of several results."""
    return node.op == "call_function" and node.target is operator.getitem and hasattr(node.meta.get("val"), "shape")


def aten_name(node: Node) -> str:
    """The operator of a node: ``aten.relu.default``, or the name of the op."""
    return normalise.op_name(node) or str(node.target)


def tensors_read(node: Node) -> Iterator[Node]:
    """The tensors that a node reads, also for their sizes."""
    for each in node.all_input_nodes:
        if is_size(each):
            yield from tensors_read(each)
        else:
            yield each


def is_size(node: Node) -> bool:
    """Whether a node computes a size, or another number."""
    return node.op == "call_function" and not is_tensor_op(node)


def _count(group: Collection[Node]) -> int:
    return sum(not is_part(node) for node in group)


def _too_small(min_block_size: int) -> str:
    return f"an engine of fewer than {min_block_size} ops (min_block_size)"


def _parts_of(nodes: Collection[Node]) -> list[Node]:
    return [user for node in nodes for user in node.users if is_part(user)]


def _unfit(node: Node) -> str:
    """Why no engine can have a node, whatever its arguments are; empty if one may."""
    if normalise.is_kept(node):
        if not hasattr(node.target, "_schema"):
            raise Unsupported(f"{node.target} is no operator of PyTorch, and cannot stay in it by itself")
        return "no converter"
    for each in (node, *(other for other in node.all_input_nodes)):
        values = each.meta.get("val")
        for value in values if isinstance(values, tuple | list) else [values]:
            if hasattr(value, "dtype") and str(value.dtype).removeprefix("torch.") not in _TYPES:
                return f"a tensor of {value.dtype}"
            if _depends_on_data(value):
                return "a size that depends on data"
    return ""


def _depends_on_data(value: Any) -> bool:
    """Whether a tensor's size, or a number, is known only once the model runs, and has no range."""
    numbers = value.shape if hasattr(value, "shape") else [value]
    return any(str(symbol).startswith(("u", "zuf")) for number in numbers for symbol in symbols(number))


def symbols(number: Any) -> set[Any]:
    """The symbols of sympy in a size."""
    return set(number.node.expr.free_symbols) if hasattr(number, "node") else set()


def _stages(nodes: Collection[Node], in_torch: Mapping[Node, str]) -> dict[Node, int]:
    """When each node runs: even stages are engines, odd ones in PyTorch; the inputs are there at -1."""
    stages: dict[Node, int] = {}
    for node in nodes:
        if is_part(node):
            stages[node] = stages[node.args[0]]
            continue
        parity = int(node in in_torch)
        # An engine reads sizes from the shapes of its inputs, so what else has such a size need not be there.
        read = tensors_read(node) if parity else (each for each in node.all_input_nodes if not is_size(each))
        latest = max((stages[each] for each in read if each in stages), default=-1)
        stages[node] = latest if latest % 2 == parity else latest + 1
    return stages


def _inputs(group: Collection[Node]) -> list[Node]:
    """The tensors from elsewhere that a group of nodes reads, without constants, in order."""
    inside = set(group)
    read = (each for node in group for each in node.all_input_nodes if not is_size(each))
    return list(dict.fromkeys(each for each in read if each not in inside and each.op != "get_attr"))


def _blocks(module: torch.fx.GraphModule, groups: Mapping[int, list[Node]]) -> Iterator[Block]:
    returned = set(next(node for node in module.graph.nodes if node.op == "output").args[0])
    readers: dict[Node, set[int]] = {}
    for stage, group in groups.items():
        for node in group:
            for each in tensors_read(node) if stage % 2 else node.all_input_nodes:
                readers.setdefault(each, set()).add(stage)
    counts = {True: 0, False: 0}
    for stage in sorted(groups):
        group, is_engine = groups[stage], not stage % 2
        inputs = _inputs(group)
        if not is_engine:
            read = (each for node in group for each in tensors_read(node))
            inputs = list(dict.fromkeys(each for each in read if each not in set(group) and each.op != "get_attr"))
        outputs = [node for node in group if node in returned or readers.get(node, set()) - {stage}]
        name = f"{'engine' if is_engine else 'torch'}_{counts[is_engine]}"
        counts[is_engine] += 1
        yield Block(name, is_engine, tuple(group), tuple(inputs), tuple(outputs))
