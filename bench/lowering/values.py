"""The values of every tensor of a case's lowered graph, by torch in float32: what its network should compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from bench import tensors
from bench.errors import OutOfMemory
from bench.lowering import artifact, codegen, normalise
from bench.lowering.calls import Spec
from bench.lowering.passes import edit
from bench.model.divergence import GRAPH, VALUES, Graph, Node
from bench.model.seam import Context
from bench.model.suite import Case
from bench.runtimes.terms import count_terms
from bench.units import format_size

if TYPE_CHECKING:
    import torch

_DYNAMIC = 512
_MOST_BYTES = 8 << 30  # of all tensors of a graph, which lie in memory twice


def produce(case: Case, context: Context, out: Path, key: Mapping[str, Any]) -> None:
    """Write the case's program, ``graph.json`` (``Graph``) and ``values.safetensors`` into ``out``. ``key`` is the
    stage's.

    The values are those of the lowered graph, op by op in eager PyTorch on the CPU, at the case's own sizes. All that
    is float16 or bfloat16 there is float32: the weights have been rounded to the case's precision, and nothing else is.

    Raises:
        OutOfMemory: all tensors together are too large to be held.
        Unavailable, Unsupported: as for the program.
    """

    def also(graph: torch.fx.GraphModule, program: codegen.Program, names: Sequence[str]) -> None:
        tree = graph_of(graph, program.layers, names)
        (out / GRAPH).write_bytes(msgspec.json.encode(tree))
        tensors.write(out / VALUES, compute(graph, program.layers, context.inputs))

    artifact.produce(case, context, out, key, also)


def graph_of(graph: torch.fx.GraphModule, layers: Mapping[str, str], outputs: Sequence[str]) -> Graph:
    """The floating-point tensors of a lowered graph that a layer of its program computes.

    What a node reads through others that are none of these (indices, sizes) counts as read by itself.
    """
    nodes: list[Node] = []
    names: dict[torch.fx.Node, tuple[str, ...]] = {}  # what reading a node means: itself, or what it reads
    weights: dict[torch.fx.Node, tuple[str, ...]] = {}
    seen: set[str] = set()
    for node in graph.graph.nodes:
        read = tuple(dict.fromkeys(name for each in node.all_input_nodes for name in names.get(each, ())))
        held = tuple(dict.fromkeys(name for each in node.all_input_nodes for name in weights.get(each, ())))
        if node.op == "get_attr":
            weights[node] = (str(node.target),)
            continue
        layer, spec = layers.get(node.name, ""), normalise.spec_of(node.meta.get("val"))
        if layer in seen:
            names[node] = (layer,)
            continue
        if node.op != "call_function" or not layer or isinstance(spec, list) or spec is None or spec.dtype[0] == "i":
            names[node], weights[node] = read, held
            continue
        if not spec.dtype.startswith(("float", "bfloat")):
            names[node], weights[node] = read, held
            continue
        seen.add(layer)
        names[node] = (layer,)
        nodes.append(
            Node(
                name=layer,
                op=normalise.op_name(node),
                module=node.meta.get("path", ""),
                kind=node.meta.get("module", ""),
                inputs=read,
                weights=held,
                dtype=spec.dtype,
                terms=count_terms(
                    normalise.op_name(node), [_sizes(each) for each in node.all_input_nodes], _sizes(node)
                ),
            )
        )
    returned = next(node for node in graph.graph.nodes if node.op == "output").args[0]
    of_output = {
        name: layers[node.name]
        for name, node in zip(outputs, returned, strict=True)
        if names.get(node) == (layers.get(node.name),)
    }
    infinite = [name for name, value in edit.tensors(graph).items() if _is_infinite(value)]
    return Graph(nodes=tuple(nodes), outputs=of_output, infinite=tuple(infinite))


def _sizes(node: torch.fx.Node) -> tuple[int, ...]:
    """The shape of a node's tensor; of a dynamic dimension a size that stands for any."""
    spec = normalise.spec_of(node.meta.get("val"))
    return tuple(size if isinstance(size, int) else _DYNAMIC for size in spec.shape) if isinstance(spec, Spec) else ()


def compute(
    graph: torch.fx.GraphModule, layers: Mapping[str, str], inputs: Mapping[str, tensors.Array]
) -> dict[str, tensors.Array]:
    """The values of the floating-point tensors of a graph by the names of their layers, in float32.

    ``inputs`` are arrays by the suite's names, in which half precision is float32. OutOfMemory if they are too large.
    """
    import torch

    results: dict[str, tensors.Array] = {}
    size = 0

    class Recording(torch.fx.Interpreter):  # type: ignore[misc]
        def run_node(self, node: torch.fx.Node) -> Any:
            nonlocal size
            value = super().run_node(node)
            layer = layers.get(node.name, "")
            if isinstance(value, torch.Tensor) and node.op == "get_attr":
                return _widened(value)
            if layer and layer not in results and isinstance(value, torch.Tensor) and value.is_floating_point():
                results[layer] = np.array(value.detach().float().contiguous().numpy())
                size += results[layer].nbytes
                if size > _MOST_BYTES:
                    what = f"the tensors of this network take more than {format_size(_MOST_BYTES)}"
                    raise OutOfMemory(what, fix="a case with a smaller batch")
            return value

        def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
            half = (torch.float16, torch.bfloat16)
            wide = {name: torch.float32 if value in half else value for name, value in kwargs.items()}
            return super().call_function(target, args, wide)

    placeholders = [node for node in graph.graph.nodes if node.op == "placeholder"]
    values = [_widened(torch.from_numpy(np.ascontiguousarray(inputs[node.meta["input"]]))) for node in placeholders]
    with torch.no_grad():
        Recording(graph).run(*values)
    return results


def _widened(value: torch.Tensor) -> torch.Tensor:
    import torch

    return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value


def _is_infinite(value: torch.Tensor) -> bool:
    """Whether a weight has an infinite value that is no mask: minus infinity is one."""
    return value.is_floating_point() and bool((value == float("inf")).any())
