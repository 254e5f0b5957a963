"""A normalised graph as the files of a network program: Python source, and weights beside it."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bench import tensors
from bench.errors import Unsupported
from bench.lowering import exported_weights, normalise, prelude, registry
from bench.lowering.calls import Spec, Tensor, inner_dtype
from bench.lowering.passes import edit
from bench.lowering.sizes import static
from bench.lowering.source_text import table, wrap
from bench.lowering.writer import Array, Writer

if TYPE_CHECKING:
    import torch

SOURCE, WEIGHTS = "program.py", "weights.safetensors"
Profile = Mapping[str, tuple[Sequence[int], Sequence[int], Sequence[int]]]
_OF_TENSORRT_10 = ("bf16", "fp8")  # precisions whose types TensorRT 8.6 lacks


class Program(NamedTuple):
    """The source of a program, the weights that it reads by name, and for nodes of the graph that compute a tensor the
    name of the layer that does. Weights named in ``bfloat16`` are of that type, which NumPy lacks: float32 here.
    """

    source: str
    weights: dict[str, Array]
    layers: dict[str, str] = {}
    bfloat16: frozenset[str] = frozenset()

    def write(self, folder: Path) -> None:
        """Write ``program.py`` and ``weights.safetensors``."""
        (folder / SOURCE).write_text(self.source)
        tensors.write(folder / WEIGHTS, self.weights, self.bfloat16)


def generate(
    module: torch.fx.GraphModule, outputs: Sequence[str], *, title: str, precision: str, profile: Profile | None = None
) -> Program:
    """The program of a graph, whose outputs have the names ``outputs``; ``title`` begins its docstring.

    Raises:
        Unsupported: a converter does not take the arguments of a node (all such nodes are named), or a weight is NaN.
    """
    weights = edit.tensors(module)
    writer = _writer(weights)
    values, refused = _walk(module, writer, weights)
    if refused:
        raise Unsupported(
            "; ".join(dict.fromkeys(refused.values())),
            fix="{name: fx2trt, fallback: torch} leaves such operators to PyTorch (not at int8 or fp8); or change "
            "these arguments in the model",
        )
    return _program(module, writer, values, outputs, title, precision, profile or {})


def refusals(module: torch.fx.GraphModule, skip: Collection[torch.fx.Node] = ()) -> dict[torch.fx.Node, str]:
    """The nodes whose arguments a converter does not take, with the reason; those in ``skip`` are not tried."""
    weights = {}
    for node in module.graph.nodes:
        if node.op == "get_attr" and not all(user in skip for user in node.users):
            weights[str(node.target)] = module.get_buffer(str(node.target))
    return _walk(module, _writer(weights), weights, skip)[1]


def _writer(weights: Mapping[str, torch.Tensor]) -> Writer:
    import torch

    arrays = {name: as_array(name, value) for name, value in weights.items()}
    return Writer(arrays, [name for name, value in weights.items() if value.dtype == torch.bfloat16])


def _walk(
    module: torch.fx.GraphModule, writer: Writer, weights: Collection[str], skip: Collection[torch.fx.Node] = ()
) -> tuple[dict[torch.fx.Node, Any], dict[torch.fx.Node, str]]:
    """Write the lines of all nodes; their tensors, and why nodes were refused."""
    values: dict[torch.fx.Node, Any] = {}
    counts = Counter(node.meta.get("path", "") for node in module.graph.nodes if normalise.op_name(node))
    refused: dict[torch.fx.Node, str] = {}
    section = None
    for node in module.graph.nodes:
        if node in skip:
            values[node] = _stand_in(node)
        elif node.op == "placeholder":
            values[node] = _input(writer, node)
        elif node.op == "get_attr" and (name := str(node.target)) in weights:
            values[node] = writer.stored(name)
        elif normalise.op_name(node):
            path = node.meta.get("path", "")
            parent = path.rpartition(".")[0] if counts[path] == 1 else path
            if parent != section:
                section = parent
                writer.lines += ["", f"# {parent or 'the model itself'}"]
            try:
                values[node] = _convert(writer, node, values, path if counts[path] == 1 else "")
            except Unsupported as error:
                refused[node] = error.what + _line_of(node)
                values[node] = _stand_in(node)
        elif node.op == "call_function":
            values[node] = _other(node, values)
    return values, refused


def _line_of(node: torch.fx.Node) -> str:
    """`` (net.py:9)``, the line of the model that a node comes from; empty where the graph does not tell."""
    places = re.findall(r'File "([^"]+)", line (\d+)', node.meta.get("stack_trace") or "")
    own = [f" ({Path(file).name}:{line})" for file, line in places if "/torch/" not in file]
    return own[-1] if own else ""


def as_array(name: str, value: torch.Tensor) -> Array:
    """A weight as NumPy has it, of a type that TensorRT takes; bfloat16, which NumPy lacks, as float32.

    Unsupported for NaN and for complex numbers.
    """
    import torch

    if value.is_complex():
        raise Unsupported(f"the weight {name!r} is {value.dtype}, which a network program cannot hold")
    exported_weights.check_numbers(name, value)
    value = value.detach().cpu()
    array: Array = (value.float() if value.dtype == torch.bfloat16 else value).contiguous().numpy()
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    elif array.dtype == np.int64:
        array = array.clip(np.iinfo(np.int32).min, np.iinfo(np.int32).max).astype(np.int32)
    return array


def _input(writer: Writer, node: torch.fx.Node) -> Tensor:
    name, value = node.meta["input"], node.meta["val"]
    spec = normalise.spec_of(value)
    assert isinstance(spec, Spec)
    tensor = Tensor(writer.names.variable(name), spec.shape, spec.dtype)
    dtype = str(value.dtype).removeprefix("torch.")
    writer.lines.append(f"{tensor.name} = p.input({writer.arguments((name, dtype, static(spec.shape)), {})})")
    writer.declare(tensor)
    return tensor


def _convert(writer: Writer, node: torch.fx.Node, values: Mapping[Any, Any], path: str) -> Any:
    """The lines of one node, and its tensor or tensors."""
    op = registry.ops()[normalise.op_name(node)]
    where = node.meta.get("path", "")
    writer.begin(path or f"{where}.{op.name}".lstrip("."), where, normalise.spec_of(node.meta["val"]))
    accepted = inspect.signature(op.convert).parameters
    kwargs = {name: _value(value, values) for name, value in node.kwargs.items() if name in accepted}
    return op.convert(writer, **kwargs)


def _value(value: Any, values: Mapping[Any, Any]) -> Any:
    """An argument as converters get it."""
    import torch

    if isinstance(value, torch.fx.Node):
        return values[value] if value in values else normalise.number_of(value.meta["val"])
    if isinstance(value, tuple | list):
        return [_value(part, values) for part in value]
    if isinstance(value, torch.dtype):
        return inner_dtype(str(value).removeprefix("torch."))
    return value


def _other(node: torch.fx.Node, values: Mapping[Any, Any]) -> Any:
    """A size, or one of several results."""
    value = node.meta.get("val")
    if hasattr(value, "shape"):
        several, index = node.args
        return values[several][index]
    return normalise.number_of(value)


def _stand_in(node: torch.fx.Node) -> Any:
    """What stands for the result of a node that was refused, so that the others are tried too."""
    value = node.meta["val"]
    specs = [normalise.spec_of(each) for each in (value if isinstance(value, tuple | list) else [value])]
    stand_ins = [Tensor("refused", each.shape, each.dtype) if isinstance(each, Spec) else None for each in specs]
    return stand_ins if isinstance(value, tuple | list) else stand_ins[0]


# ---------------------------------------------------------------------------------------------------------- the source


def _program(
    module: torch.fx.GraphModule, writer: Writer, values: Mapping[Any, Any], outputs: Sequence[str], title: str,
    precision: str, profile: Profile,
) -> Program:  # fmt: skip
    inputs = {node.meta["input"]: node.meta["val"] for node in module.graph.nodes if node.op == "placeholder"}
    returned = next(node for node in module.graph.nodes if node.op == "output").args[0]
    names = {name: f"out.{name}" if name in inputs else name for name in outputs}
    lines = list(writer.lines)
    writer.lines.clear()
    lines += ["", "# outputs"]
    for name, node in zip(names.values(), returned, strict=True):
        kind = str(node.meta["val"].dtype).removeprefix("torch.")
        text = writer.source(values[node])  # a constant's own line comes first
        lines += writer.lines
        writer.lines.clear()
        lines.append(f"p.output({text}, {writer.source(name)}, {writer.source(kind)})")
    declared = {
        name: (str(value.dtype).removeprefix("torch."), static(normalise.spec_of(value).shape))  # type: ignore[union-attr]
        for name, value in inputs.items()
    }
    body = "\n".join("\n".join(f"    {part}" for part in wrap(line)) if line else "" for line in lines)
    functions = "".join(f"\n\n{source}" for source in _sources(writer.functions))
    source = _TEMPLATE.format(
        title=title.replace('"""', "'''"), first=first_version(precision), precision=precision, inputs=table(declared),
        outputs=table(names),
        profile=table({name: tuple(tuple(point) for point in points) for name, points in profile.items()}),
        prelude=_prelude(), functions=functions, body=body, main=_main(),
    )  # fmt: skip
    layers = {
        node.name: writer.layers[value.name]
        for node, value in values.items()
        if isinstance(value, Tensor) and value.name in writer.layers
    }
    return Program(source, writer.weights, layers, writer.bfloat16)


def first_version(precision: str) -> str:
    """The first TensorRT that has the types of a program at ``precision``."""
    return "10" if precision in _OF_TENSORRT_10 else "8.6"


def _sources(functions: Mapping[str, Callable[..., Any]]) -> Iterator[str]:
    """The source of functions of the prelude's modules and of those that they call, each once."""
    pending, done = list(functions.values()), set[str]()
    while pending:
        function = pending.pop(0)
        if function.__name__ in done:
            continue
        done.add(function.__name__)
        yield inspect.getsource(function)
        module = inspect.getmodule(function)
        for name in function.__code__.co_names:
            other = getattr(module, name, None)
            if inspect.isfunction(other):
                pending.append(other)


def between(text: str) -> str:
    """What stands between the marks of a file whose source is copied into programs."""
    match = re.search(r"# program: begin\n(.*?)# program: end", text, re.DOTALL)
    assert match is not None
    return match[1].strip()


def _prelude() -> str:
    return between(Path(prelude.__file__).read_text())


def _main() -> str:
    return between(Path(prelude.__file__).with_name("standalone.py").read_text())


_TEMPLATE = '''"""{title}

A network program that trtbench wrote: one layer of TensorRT a line or a short block, named after the module that it
comes from. It needs TensorRT {first} or later (or TensorRT-RTX), NumPy and safetensors:

    python program.py engine.plan                        # builds the engine with the module tensorrt
    python program.py engine.plan --module tensorrt_rtx

Edit ``build`` and run it again. Weights are in weights.safetensors beside this file, by their names in the model.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np

PRECISION = "{precision}"
# Inputs: type and shape, -1 where a size is dynamic. Outputs of the model: their names in the network.
INPUTS = {inputs}
OUTPUTS = {outputs}
# The smallest, the usual and the largest shape of inputs that have dynamic sizes.
PROFILE: dict[str, Any] = {profile}

# ------------------------------------------------------------------------------- what versions of TensorRT differ in

{prelude}{functions}


# --------------------------------------------------------------------------------------------------------- the network


def build(trt: Any, net: Any, weights: Any) -> Prelude:
    """Fill the network ``net`` of the module ``trt``. ``weights``, arrays by name, and the result must live until the
    engine is built.
    """
    p = Prelude(trt, net)
{body}
    return p


# ---------------------------------------------------------------------------------------------------------- the engine

{main}
'''
