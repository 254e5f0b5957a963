"""torch.export's program as a graph of few ops, each with keyword arguments only, that PyTorch can still run."""

from __future__ import annotations

import functools
import importlib
import operator
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.errors import Unsupported
from bench.lowering import deformable, exported_weights, registry
from bench.lowering.calls import Spec, inner_dtype
from bench.lowering.sizes import Size, shape_of, size_of

if TYPE_CHECKING:
    import torch

# Arguments that say where a result lies, which a network has no choice of.
PLACEMENT = ("device", "layout", "pin_memory", "memory_format", "non_blocking")
# What checks sizes or types and computes nothing.
_CHECKS = ("aten._assert", "aten.sym_constrain", "aten._functional_assert", "aten._assert_tensor_metadata",
           "aten._linalg_check_errors")  # fmt: skip
_SHOWN = 3  # modules of one unsupported operator


def export(
    module: torch.nn.Module, example: Sequence[torch.Tensor], dims: Sequence[dict[int, Any] | None] | None = None
) -> Any:
    """The ExportedProgram of a module that takes its inputs by position, in operators that have a converter or, where
    one has none, those that PyTorch decomposes it to.
    """
    import torch

    program = torch.export.export(
        module, tuple(example), dynamic_shapes=None if dims is None else (tuple(dims),), strict=False
    )
    if all(_stays_whole(node) for node in program.graph.nodes):
        return program  # decompositions would trace the model again, as long as the export took
    return program.run_decompositions(_decompositions() | deformable.decompositions())


def _stays_whole(node: torch.fx.Node) -> bool:
    """Whether a node of an export needs no decomposition: it has a converter, and changes no tensor in place."""
    if node.op != "call_function" or node.target is operator.getitem or _is_size(node) or _is_check(node):
        return True
    schema = getattr(node.target, "_schema", None)
    return schema is not None and not schema.is_mutable and str(node.target) in registry.aten_names()


@functools.cache
def _decompositions() -> dict[Any, Any]:
    """PyTorch's decompositions to its core operators, of those operators that have no converter."""
    import torch

    known = registry.aten_names()
    return {op: function for op, function in torch.export.default_decompositions().items() if str(op) not in known}


def normalise(
    program: Any, inputs: Sequence[str], *, below: str = "", keep_unsupported: bool = False
) -> torch.fx.GraphModule:
    """The graph of an ExportedProgram in ops of the registry; its inputs are placeholders called ``input_0``, ...

    ``inputs`` are the suite's names of the inputs, kept with the node (``meta["input"]``). ``below`` is the path of the
    model in the module that was exported, which is left away in the names of weights and modules. Weights are
    attributes (``get_attr``) with the names of the model's state. With ``keep_unsupported`` operators without a
    converter stay in the graph as they are (see ``is_kept``), for PyTorch to run.

    Raises:
        Unsupported: the model has operators without a converter; the message has all, with counts and modules.
    """
    import torch

    if not keep_unsupported:
        check_supported(program, below)
    graph = torch.fx.Graph()
    state: dict[str, torch.Tensor] = {}
    nodes: dict[torch.fx.Node, torch.fx.Node] = {}
    sources = exported_weights.sources(program)
    own_names = {name.removeprefix(below) for name, _ in sources.values()}
    tokens = _tokens(program)
    users = 0
    for node in program.graph.nodes:
        if node.name in tokens or (node.target is operator.getitem and _is_check(node.args[0])):
            continue
        if node.op == "placeholder" and sources.get(node.name) is None:
            new = graph.placeholder(f"input_{users}")
            new.meta["input"] = inputs[users]
            users += 1
        elif node.op == "placeholder":
            name, value = sources[node.name]
            name = exported_weights.attribute(name.removeprefix(below), own_names)
            own_names.add(name)
            state[name] = value.detach()
            new = graph.create_node("get_attr", name)
        elif node.op == "output":
            graph.output(_mapped(node.args[0][len(tokens) :], nodes))
            continue
        elif _is_check(node):
            continue
        elif node.target is operator.getitem and nodes[node.args[0]].meta.get("first"):
            if node.args[1] and node.users:
                what = f"{node.args[0].target} for its result {node.args[1]}"
                raise Unsupported(f"{module_of(node, below)[0] or 'the model'}: {what}, which has no converter")
            nodes[node] = nodes[node.args[0]]
            continue
        elif keep_unsupported and not _has_converter(node):
            new = graph.call_function(node.target, _mapped(node.args, nodes), _mapped(node.kwargs, nodes))
        else:
            new = _op(graph, node, nodes)
        new.meta |= {key: node.meta[key] for key in ("val", "stack_trace") if key in node.meta}
        if new.op == "call_function" and _is_first_of_several(node, new):
            new.meta |= {"val": node.meta["val"][0], "first": True}
        new.meta["path"], new.meta["module"] = module_of(node, below)
        nodes[node] = new
    return torch.fx.GraphModule(exported_weights.holder(state), graph)


def check_supported(program: Any, below: str = "") -> None:
    """Unsupported with every operator that has no converter, how often it comes, and in which modules."""
    known = registry.aten_names()
    places: dict[str, Counter[str]] = {}
    for node in program.graph.nodes:
        if (
            node.op == "call_function"
            and not _is_size(node)
            and not _is_check(node)
            and node.target is not operator.getitem
        ):
            name = str(node.target)
            if name not in known:
                places.setdefault(name, Counter())[module_of(node, below)[0] or "the model itself"] += 1
    if not places:
        return
    texts = []
    for name, modules in sorted(places.items(), key=lambda item: -item[1].total()):
        shown = ", ".join(list(modules)[:_SHOWN]) + (
            f" and {len(modules) - _SHOWN} more" if len(modules) > _SHOWN else ""
        )
        texts.append(f"{name} ({modules.total()}x in {shown})")
    raise Unsupported(
        f"no converter for {len(places)} operator{'s' * (len(places) > 1)}: {'; '.join(texts)}",
        fix="{name: fx2trt, fallback: torch} leaves them to PyTorch (not at int8 or fp8); trtbench ops lists those "
        "that have one, docs/fx2trt.md shows how to write one; or the backend tensorrt",
    )


def function_of(op: registry.Op) -> Callable[..., Any]:
    """The function that stands for ``op`` in a graph: runs its operator of ATen with keyword arguments."""
    return _function(op.name, op.aten)


@functools.cache
def _function(name: str, aten: str) -> Callable[..., Any]:
    import torch

    overload = _overload(aten)
    kinds = argument_kinds(aten)

    def run(**kwargs: Any) -> Any:
        if name == "addmm" and kwargs["mat1"].dim() == 3:  # which has baddbmm as a variant
            batches = {"batch1": kwargs.pop("mat1"), "batch2": kwargs.pop("mat2")}
            return _overload("aten.baddbmm.default")(kwargs.pop("input"), **batches, **kwargs)
        for argument in ("input", "other"):
            if kwargs.pop(f"transpose_{argument}", False):  # set by a pass; the exporter to ONNX has no mT
                kwargs[argument] = kwargs[argument].transpose(-2, -1)
        if "input" in kwargs and "self" in kinds:
            kwargs["self"] = kwargs.pop("input")
        for argument, value in kwargs.items():
            if isinstance(value, int | float) and kinds[argument] == "Tensor":
                kwargs[argument] = torch.tensor(value)
        return overload(**kwargs)

    run.__name__ = run.__qualname__ = name
    run.lowering_op = name  # type: ignore[attr-defined]
    returns = overload._schema.returns
    run.several = len(returns) > 1 or str(returns[0].type) != "Tensor"  # type: ignore[attr-defined]
    return run


def argument_kinds(aten: str) -> dict[str, str]:
    """The arguments of an operator of ATen, ``aten.relu.default``, with their types in its schema."""
    return {argument.name: str(argument.type) for argument in _overload(aten)._schema.arguments}


def _overload(aten: str) -> Any:
    import torch

    if aten.startswith("trtbench."):
        importlib.import_module("bench.lowering.quantize.operators")
    overload: Any = torch.ops
    for part in aten.split("."):
        overload = getattr(overload, part)
    return overload


def op_name(node: torch.fx.Node) -> str:
    """The name of the op that a node of a normalised graph calls; empty for another node."""
    return str(getattr(node.target, "lowering_op", "")) if node.op == "call_function" else ""


def is_kept(node: torch.fx.Node) -> bool:
    """Whether a node of a normalised graph is an operator without a converter."""
    return (
        node.op == "call_function" and not op_name(node) and not _is_size(node) and node.target is not operator.getitem
    )


def call(graph: torch.fx.Graph, name: str, like: torch.fx.Node, **kwargs: Any) -> torch.fx.Node:
    """A new node that calls the op ``name``, with the result and the module of ``like``."""
    node = graph.call_function(function_of(registry.ops()[name]), kwargs=kwargs)
    node.meta = dict(like.meta)
    return node


def spec_of(value: Any) -> Spec | list[Spec] | None:
    """Shape and type of what a node returns; None for what is no tensor."""
    if isinstance(value, tuple | list):
        return [spec for spec in map(spec_of, value) if isinstance(spec, Spec)]
    if not hasattr(value, "shape"):
        return None
    return Spec(shape_of(value.shape), inner_dtype(str(value.dtype).removeprefix("torch.")))


def module_of(node: torch.fx.Node, below: str = "") -> tuple[str, str]:
    """The path of the module that a node comes from, and the name of its class."""
    stack = node.meta.get("nn_module_stack") or {}
    if not stack:
        return "", ""
    path, kind = list(stack.values())[-1]
    parts = [part.partition("@")[0] for part in f"{path}.".removeprefix("L['self'].").removeprefix(below).split(".")]
    name = kind if isinstance(kind, str) else kind.__name__
    return ".".join(part for part in parts if part), name.rpartition(".")[2]


# --------------------------------------------------------------------------------------------------------------- nodes


def _op(graph: torch.fx.Graph, node: torch.fx.Node, nodes: Mapping[Any, Any]) -> torch.fx.Node:
    """A node of the exported graph as one of ours."""
    if _is_size(node) or node.target is operator.getitem:
        return graph.call_function(node.target, _mapped(node.args, nodes), _mapped(node.kwargs, nodes))
    name, rewrite = registry.aten_names()[str(node.target)]
    op = registry.ops()[name]
    kwargs = _by_keyword(node)
    if rewrite is not None:
        kwargs = rewrite(spec_of(node.meta["val"]), **{key: _plain(value) for key, value in kwargs.items()})
    kwargs = {key: _mapped(value, nodes) for key, value in kwargs.items() if key not in PLACEMENT}
    kwargs = {key: _without_sizes(graph, value, node, nodes) for key, value in kwargs.items()}
    return graph.call_function(function_of(op), kwargs=kwargs)


def _by_keyword(node: torch.fx.Node) -> dict[str, Any]:
    """All arguments of an ATen call by name, defaults included; ``self`` is called ``input``."""
    values = {}
    for index, argument in enumerate(node.target._schema.arguments):
        name = argument.name
        if index < len(node.args):
            value = node.args[index]
        elif name in node.kwargs:
            value = node.kwargs[name]
        else:
            value = argument.default_value
        values["input" if name == "self" else name] = value
    return values


def _plain(value: Any) -> Any:
    """An argument for a rewrite: a node stays itself, and has its shape and type as ``spec``."""
    if hasattr(value, "meta"):
        value.spec = spec_of(value.meta.get("val"))
    return value


def _without_sizes(graph: torch.fx.Graph, value: Any, node: torch.fx.Node, nodes: Mapping[Any, Any]) -> Any:
    """``value`` with each Size that a rewrite took from a shape as a node that reads it from an input of ``node``."""
    if isinstance(value, tuple | list):
        return type(value)(_without_sizes(graph, part, node, nodes) for part in value)
    if not isinstance(value, Size):
        return value
    import torch

    for source in node.all_input_nodes:
        spec = spec_of(source.meta.get("val"))
        if isinstance(spec, Spec) and value in spec.shape:
            axis = spec.shape.index(value)
            new = graph.call_function(torch.ops.aten.sym_size.int, (nodes[source], axis))
            new.meta["val"] = source.meta["val"].shape[axis]
            return new
    return -1


def _mapped(value: Any, nodes: Mapping[Any, Any]) -> Any:
    import torch

    return torch.fx.map_arg(value, lambda node: nodes[node])


def _is_first_of_several(node: torch.fx.Node, new: torch.fx.Node) -> bool:
    """Whether an operator returns several tensors, and the op that it stands for the first of them alone."""
    if not op_name(new) or not isinstance(node.meta["val"], tuple | list):
        return False
    return not getattr(new.target, "several", False)


def _has_converter(node: torch.fx.Node) -> bool:
    """Whether all that the graph uses of a node's results can be lowered."""
    if _is_size(node) or node.target is operator.getitem:
        return True
    known = registry.aten_names().get(str(node.target))
    if known is None:
        return False
    is_first_alone = isinstance(node.meta["val"], tuple | list) and not function_of(registry.ops()[known[0]]).several  # type: ignore[attr-defined]
    return not is_first_alone or not any(user.args[1] and user.users for user in node.users)


def _is_size(node: torch.fx.Node) -> bool:
    """Whether a node computes sizes and no tensor."""
    import torch

    value = node.meta.get("val")
    return node.op == "call_function" and isinstance(value, torch.SymInt | torch.SymBool | torch.SymFloat | int | bool)


def _is_check(node: torch.fx.Node) -> bool:
    """Whether a node checks something and computes nothing; torch.export puts those with effects into a call."""
    target = node.args[1] if str(node.target) == "with_effects" else node.target
    return node.op == "call_function" and str(target).startswith(_CHECKS)


def _tokens(program: Any) -> set[str]:
    """The placeholders of torch.export that keep calls with effects in order, as many as the first of the outputs."""
    return {each.arg.name for each in program.graph_signature.input_specs if each.kind.name == "TOKEN"}


def number_of(value: Any) -> Any:
    """A SymInt as a number or a Size; any other value as it is."""
    import torch

    return size_of(value) if isinstance(value, torch.SymInt) else value
