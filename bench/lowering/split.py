"""A model as a program in parts: engines, each with a network program of its own, and source for PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.errors import Unsupported
from bench.lowering import codegen, exported_weights, normalise, remainder, source_text
from bench.lowering.partition import Block, divide, is_size, symbols
from bench.lowering.passes import deconvolutions, edit
from bench.lowering.sizes import Size, size_of, static

if TYPE_CHECKING:
    import torch
    from torch.fx import Node


class Parts(NamedTuple):
    """The source that calls the parts, the weights of those in PyTorch, and the network programs of the engines."""

    source: str
    weights: dict[str, torch.Tensor]
    engines: dict[str, codegen.Program]
    facts: dict[str, Any]

    def write(self, folder: Path) -> None:
        """Write ``program.py``, ``weights.safetensors``, and a folder with these two for each engine."""
        from safetensors.torch import save_file

        (folder / codegen.SOURCE).write_text(self.source)
        save_file(self.weights, folder / codegen.WEIGHTS)
        for name, program in self.engines.items():
            (folder / name).mkdir()
            program.write(folder / name)


def generate(
    module: torch.fx.GraphModule, outputs: Sequence[str], *, title: str, precision: str,
    profile: codegen.Profile | None = None, min_block_size: int = 5, dense_deconvolutions: bool = False,
) -> Parts:  # fmt: skip
    """The parts of a graph in which operators without a converter were kept.

    With ``dense_deconvolutions`` those of the engines are made dense, and what stays in PyTorch is as it was.

    Raises:
        Unsupported: no engine is left, a weight is NaN, or an argument of an operator cannot be written as source.
    """
    division = divide(module, min_block_size)
    facts = division.facts()
    if dense_deconvolutions:
        facts[deconvolutions.FACT] = deconvolutions.count(module, division.reasons)
        title += f"\n\n{deconvolutions.about(facts[deconvolutions.FACT])}"
    weights: dict[str, torch.Tensor] = {}
    functions, engines = [], {}
    points = _points(module, profile or {})
    blocks = list(division.blocks)
    for index, block in enumerate(blocks):
        if block.is_engine:
            about = f"{block.name} of: {title}"
            blocks[index], engines[block.name] = _engine(module, block, about, precision, points, dense_deconvolutions)
        else:
            functions.append(remainder.function(block, weights, lambda node: module.get_buffer(str(node.target))))
    forward = _forward(module, blocks, outputs, weights)
    for name, value in weights.items():
        exported_weights.check_numbers(name, value)
    ends = {block.name: (_names(block.inputs), _names(block.outputs)) for block in blocks if block.is_engine}
    inputs = {node.meta["input"]: node.meta["val"] for node in _placeholders(module)}
    declared = {name: (str(value.dtype).removeprefix("torch."), static(normalise.spec_of(value).shape))  # type: ignore[union-attr]
                for name, value in inputs.items()}  # fmt: skip
    source = _TEMPLATE.format(
        title=title.replace('"""', "'''"), first=codegen.first_version(precision), precision=precision,
        inputs=source_text.table(declared),
        outputs=source_text.table({name: name for name in outputs}), engines=source_text.table(ends),
        functions="".join(f"\n\n{_text(lines)}\n" for lines in functions), forward=_text(forward),
        main=codegen.between(Path(__file__).with_name("split_standalone.py").read_text()),
    )  # fmt: skip
    stored = {name: value.detach().clone().contiguous() for name, value in weights.items()}
    return Parts(source, stored, engines, facts)


def _engine(
    module: torch.fx.GraphModule, block: Block, title: str, precision: str, points: Sequence[Mapping[Any, int]],
    dense_deconvolutions: bool,
) -> tuple[Block, codegen.Program]:  # fmt: skip
    """The network program of a block, and the block with inputs that are there for their sizes alone."""

    def program(of: Block) -> codegen.Program:
        graph, profile = _graph(module, of), _profile(of, points)
        if dense_deconvolutions:
            graph = deconvolutions.make_dense(graph)
        return codegen.generate(graph, _names(of.outputs), title=title, precision=precision, profile=profile)

    try:
        return block, program(block)
    except Unsupported:
        more = tuple(_size_sources(module, block))
        if not more:
            raise
        block = block._replace(inputs=(*block.inputs, *more))
        return block, program(block)


def _graph(module: torch.fx.GraphModule, block: Block) -> torch.fx.GraphModule:
    """A block as a graph of its own, whose sizes are expressions over those of its inputs."""
    import torch

    graph = torch.fx.Graph()
    copies: dict[Node, Any] = {}
    state = {}
    for index, node in enumerate(block.inputs):
        copies[node] = graph.placeholder(f"input_{index}")
        copies[node].meta = dict(node.meta) | {"input": remainder.variable(node)}
    for node in block.nodes:
        for each in node.all_input_nodes:
            if each.op == "get_attr" and each not in copies:
                state[str(each.target)] = module.get_buffer(str(each.target))
                copies[each] = graph.get_attr(str(each.target))
                copies[each].meta = dict(each.meta)
            elif is_size(each):
                copies[each] = size_of(each.meta["val"])
        args, kwargs = (torch.fx.map_arg(part, copies.__getitem__) for part in (node.args, node.kwargs))
        copies[node] = graph.create_node("call_function", node.target, args, kwargs, node.name)
        copies[node].meta = dict(node.meta)
    graph.output(tuple(copies[node] for node in block.outputs))
    return torch.fx.GraphModule(edit.holder(state), graph)


def _size_sources(module: torch.fx.GraphModule, block: Block) -> Iterator[Node]:
    """Inputs of the model with the sizes by which the block's are expressed, where the block reads none with them."""
    wanted = {
        symbol for node in (*block.inputs, *block.nodes) for number in _numbers(node) for symbol in symbols(number)
    }
    known = _plain(block.inputs)
    sources = _plain(_placeholders(module))
    return iter(dict.fromkeys(sources[symbol] for symbol in sorted(wanted - set(known), key=str) if symbol in sources))


def _numbers(node: Node) -> Iterator[Any]:
    """The sizes of a node's results, and those that it has as arguments."""
    for each in (node, *(other for other in node.all_input_nodes if is_size(other))):
        value = each.meta.get("val")
        for part in value if isinstance(value, tuple | list) else [value]:
            yield from part.shape if hasattr(part, "shape") else [part]


def _plain(nodes: Sequence[Node]) -> dict[Any, Node]:
    """The symbols that are a dimension of one of these tensors, with the first that has it."""
    found: dict[Any, Node] = {}
    for node in nodes:
        for size in map(size_of, node.meta["val"].shape):
            if isinstance(size, Size) and size.expression.is_symbol:
                found.setdefault(size.expression, node)
    return found


def _points(module: torch.fx.GraphModule, profile: codegen.Profile) -> list[dict[Any, int]]:
    """The least, the usual and the largest value of each symbol."""
    points: list[dict[Any, int]] = [{}, {}, {}]
    for node in _placeholders(module):
        for point, sizes in zip(points, profile.get(node.meta["input"], ()), strict=False):
            for size, number in zip(map(size_of, node.meta["val"].shape), sizes, strict=True):
                if isinstance(size, Size) and size.expression.is_symbol:
                    point[size.expression] = number
    return points


def _profile(block: Block, points: Sequence[Mapping[Any, int]]) -> codegen.Profile:
    """The ranges of a block's inputs: of sizes that are computed from others, over the ends of these."""
    if not points[0]:
        return {}
    ranges = {}
    for node in block.inputs:
        sizes = [size_of(size) for size in node.meta["val"].shape]
        if not any(isinstance(size, Size) for size in sizes):
            continue
        low, usual, high = (
            [int(size.expression.subs(point)) if isinstance(size, Size) else size for size in sizes] for point in points
        )
        columns = [sorted(column) for column in zip(low, usual, high, strict=True)]
        ranges[remainder.variable(node)] = (
            tuple(column[0] for column in columns), tuple(usual), tuple(column[-1] for column in columns)
        )  # fmt: skip
    return ranges


def _forward(
    module: torch.fx.GraphModule, blocks: Sequence[Block], outputs: Sequence[str], weights: dict[str, torch.Tensor]
) -> list[str]:
    """The lines of the function that calls the blocks."""
    lines = []
    placeholders = _placeholders(module)
    for node in placeholders:
        lines.append(f"    {remainder.variable(node)} = inputs[{source_text.quote(node.meta['input'])}]")
    first = remainder.variable(placeholders[0])
    lines.append(f"    device = {first}.device")
    for block in blocks:
        arguments = ", ".join(remainder.variable(node) for node in block.inputs)
        results = "".join(f"{remainder.variable(node)}, " for node in block.outputs).strip()
        if block.is_engine:
            call = f"engines[{source_text.quote(block.name)}]({arguments})"
        else:
            call = f"{block.name}({', '.join(part for part in ('weights', 'device', arguments) if part)})"
        lines.append(f"    {results.removesuffix(',') if len(block.outputs) > 1 else f'({results})'} = {call}")
        lines += [f"    {line}" for line in _wide(block)]
    returned = next(node for node in module.graph.nodes if node.op == "output").args[0]
    lines.append("    return {")
    for name, node in zip(outputs, returned, strict=True):
        text = remainder.variable(node)
        if node.op == "get_attr":
            weights[str(node.target)] = module.get_buffer(str(node.target))
            text = f"weights[{source_text.quote(str(node.target))}]"
        lines.append(f"        {source_text.quote(name)}: {text},")
    return [*lines, "    }"]


def _wide(block: Block) -> Iterator[str]:
    """What an engine of TensorRT before 10 returns as int32 is int64 for PyTorch."""
    import torch

    for node in block.outputs if block.is_engine else ():
        if node.meta["val"].dtype == torch.int64:
            yield f"{remainder.variable(node)} = {remainder.variable(node)}.to(torch.int64)"


def _placeholders(module: torch.fx.GraphModule) -> list[Node]:
    return [node for node in module.graph.nodes if node.op == "placeholder"]


def _names(nodes: Sequence[Node]) -> tuple[str, ...]:
    return tuple(remainder.variable(node) for node in nodes)


def _text(lines: Sequence[str]) -> str:
    """Lines with those that are long wrapped between the arguments of their calls."""
    wrapped = []
    for line in lines:
        inner = line.lstrip()
        indent = line[: len(line) - len(inner)]
        wrapped += [f"{indent}{part}" for part in (source_text.wrap(inner) if indent else [line])]
    return "\n".join(wrapped)


_TEMPLATE = '''"""{title}

A program in parts that trtbench wrote: what TensorRT has no layers for stays in PyTorch. Each engine is a network
program in a folder of its own. It needs PyTorch, TensorRT {first} or later (or TensorRT-RTX), NumPy and safetensors:

    python program.py                                    # builds the engines with the module tensorrt
    python program.py --module tensorrt_rtx --level 0    # 0 to 5: the optimization level, of which 0 builds fastest
    python program.py --inputs inputs.safetensors --outputs outputs.safetensors    # and runs the model on a GPU

Edit the functions, or the program of an engine, and run it again. The weights of what stays in PyTorch are in
weights.safetensors beside this file, by their names in the model.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import math
import operator
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

PRECISION = "{precision}"
# Inputs of the model: type and shape, -1 where a size is dynamic. Outputs by name.
INPUTS = {inputs}
OUTPUTS = {outputs}
# The inputs and outputs of each engine.
ENGINES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {engines}

# ---------------------------------------------------------------------------------------------- what stays in PyTorch
{functions}

# ---------------------------------------------------------------------------------------------------------- the model


def forward(engines: Mapping[str, Any], weights: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs of the model. ``engines`` take and return tensors by position, as Engine does."""
{forward}


# -------------------------------------------------------------------------------------------------------- the engines

{main}
'''
