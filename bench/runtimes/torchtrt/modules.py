"""Modules with TensorRT engines in them: compiling, saving and loading them, and counting their parts."""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.errors import Unsupported
from bench.model.data import Data
from bench.model.seam import Context
from bench.model.suite import Case
from bench.runtimes import shapes
from bench.runtimes.torch import custom_ops, errors, exports
from bench.runtimes.torch.options import TorchOptions
from bench.runtimes.torch.outputs import flatten_outputs
from bench.runtimes.torchtrt.settings import Ir, specs

if TYPE_CHECKING:
    import torch

_ENGINES = ("TRTModule", "TorchTensorRTModule", "PythonTorchTensorRTModule")
# Nodes of a graph that compute nothing: tuples taken apart, checks of sizes, the runtime's own stream changes.
_FREE = re.compile(r"getitem$|sym_|_assert|_guards_fn|stream")
_MAX_OPERATORS = 5


class Census(Data, frozen=True, kw_only=True):
    """What a compiled module consists of. ``fallbacks`` are the operators that PyTorch runs, one for each node;
    ``partitions`` counts engines and the parts between them.
    """

    engines: int
    partitions: int
    fallbacks: tuple[str, ...]


# ---------------------------------------------------------------------------------------------------------- compiling


def with_parameters(
    model: torch.nn.Module, inputs: Mapping[str, torch.Tensor]
) -> tuple[torch.nn.Module, tuple[str, ...]]:
    """A module with a parameter for each input, in order, that returns a flat tuple; and the names of what it returns.

    Like ``positional``, but for symbolic tracing, which takes no ``*values`` and calls with proxies.
    """
    import torch

    keys = tuple(inputs)
    with torch.no_grad():
        names = tuple(flatten_outputs(model(**inputs)))

    class Parameters(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def run(self, *values: Any) -> Any:
            return tuple(_flat_tensors(self.model(**dict(zip(keys, values, strict=True)))))

    parameters = ", ".join(parameter_names(inputs))
    Parameters.forward = eval(f"lambda self, {parameters}: self.run({parameters})")
    return Parameters().eval(), names


def parameter_names(inputs: Mapping[str, Any]) -> list[str]:
    """The parameters of ``with_parameters``; an input's own name may be a word of Python."""
    return [f"input_{index}" for index in range(len(inputs))]


def _flat_tensors(out: Any) -> list[Any]:
    """The tensors of what a model returned, in the order of ``flatten_outputs``; a proxy is one."""
    if isinstance(out, Mapping):
        out = tuple(out.values())
    if isinstance(out, tuple | list):
        return [leaf for value in out for leaf in _flat_tensors(value)]
    return [] if out is None else [out]


class CompiledModule(NamedTuple):
    """A compiled module, what its export warned of, and the operators in it that are not torch's."""

    module: Any
    warnings: Sequence[exports.ExportWarning] = ()
    operators: tuple[str, ...] = ()


def compile_dynamo(
    module: torch.nn.Module,
    names: Sequence[str],
    example: Mapping[str, torch.Tensor],
    case: Case,
    settings: Mapping[str, Any],
    context: Context,
) -> CompiledModule:
    """Phases: export, build. A ScriptModule in 2.2, a GraphModule since."""
    import torch
    import torch_tensorrt

    exported = exports.export_model(module, example, case, context, shapes.dynamic_dims(case))
    with context.phase("build"), torch.no_grad():
        result = torch_tensorrt.dynamo.compile(exported.program, specs(case, example), **settings)
    return CompiledModule(result, exported.warnings, exported.operators)


def compile_ts(
    module: torch.nn.Module,
    names: Sequence[str],
    example: Mapping[str, torch.Tensor],
    case: Case,
    settings: Mapping[str, Any],
    context: Context,
) -> CompiledModule:
    """Phases: export (a trace), build. A ScriptModule. Unsupported if the trace holds for the example's sizes only."""
    import torch
    import torch_tensorrt

    with context.phase("export"), torch.no_grad(), errors.translate("torch.jit.trace cannot take this model"):
        with exports.recorded_warnings() as warnings:
            program = torch.jit.trace(module, tuple(example.values()), strict=False, check_trace=False)
        if case.dynamic:
            trial = exports.Trial(case, TorchOptions(), context, module, names)
            trial.check(lambda arrays: program(*trial.inputs(arrays)), "the traced program")
    with context.phase("build"), torch.no_grad():
        result = torch_tensorrt.ts.compile(program, inputs=specs(case, example), **settings)
    return CompiledModule(result, warnings, custom_ops.names_in_script(program))


def compile_in_torch(model: torch.nn.Module, settings: Mapping[str, Any], parts: list[Any]) -> Any:
    """``torch.compile(backend="tensorrt")``; what the backend makes of each graph is added to ``parts``."""
    import torch
    import torch._dynamo

    backend = torch._dynamo.lookup_backend("tensorrt")

    def recording(graph: Any, inputs: Any) -> Any:
        module = backend(graph, inputs, options=dict(settings))
        parts.append(module)
        return module

    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    torch._dynamo.config.suppress_errors = False
    return torch.compile(model, backend=recording, dynamic=False)


# ---------------------------------------------------------------------------------------------------- saving, loading


def save(module: Any, path: Path, ir: Ir, case: Case, example: Mapping[str, torch.Tensor]) -> None:
    """Write a compiled module, engines included, as each ``ir`` is saved."""
    import torch
    import torch_tensorrt

    if ir == "fx":
        torch.save(module, path)
    elif _makes_script(ir):
        torch.jit.save(module, str(path))
    else:
        more: dict[str, Any] = {}
        if case.dynamic and "dynamic_shapes" in inspect.signature(torch_tensorrt.save).parameters:
            dims = shapes.dynamic_dims(case) or ()
            more["dynamic_shapes"] = dict(zip(parameter_names(example), dims, strict=True))
        elif case.dynamic:
            more["retrace"] = False  # keeps the sizes that the module has
        torch_tensorrt.save(module, str(path), inputs=list(example.values()), **more)


def load(path: Path, ir: Ir) -> Any:
    """The module of a file (not of fx), with engines and execution contexts of its own."""
    import torch

    return torch.jit.load(str(path)) if _makes_script(ir) else torch.export.load(str(path)).module()


def _makes_script(ir: Ir) -> bool:
    """Whether ``ir`` makes a ScriptModule that can be saved; 2.2 cannot save what dynamo compiled in another way."""
    import torch_tensorrt

    return ir == "ts" or not hasattr(torch_tensorrt, "save")


# ------------------------------------------------------------------------------------------------------- contents


def facts(results: Iterable[Any]) -> dict[str, Any]:
    """Entries of the fairness report on the modules: engines, and nodes that stayed in PyTorch.

    Unsupported if there is no engine at all, as the case would then measure PyTorch.
    """
    modules = [module.module() if hasattr(module, "graph_signature") else module for module in results]
    if not modules:
        raise Unsupported("torch.compile found no graph in this model for torch_tensorrt", fix="ir: dynamo")
    counts = [census(module) for module in modules]
    fallbacks = [name for count in counts for name in count.fallbacks]
    if not any(count.engines for count in counts):
        names = ", ".join(list(dict.fromkeys(fallbacks))[:_MAX_OPERATORS]) or "it has no operators"
        raise Unsupported(f"torch_tensorrt left the whole model to PyTorch: {names}", fix="min_block_size: 1")
    report: dict[str, Any] = {
        "engines": sum(count.engines for count in counts),
        "partitions": sum(count.partitions for count in counts),
        "fallback_nodes": len(fallbacks),
    }
    if fallbacks:
        report["fallback_ops"] = list(dict.fromkeys(fallbacks))[:_MAX_OPERATORS]
    if nbytes := sum(_plan_bytes(part) for module in modules for part in module.modules()):
        report["engine"] = {"plan_bytes": nbytes}
    return report


def census(module: Any) -> Census:
    """Count engines, fallbacks and partitions of a GraphModule or ScriptModule."""
    graph = getattr(module, "inlined_graph", None)
    names = list(_script_nodes(graph) if graph is not None else _fx_nodes(module))
    parts = sum(1 if name else len(list(group)) for name, group in itertools.groupby(names, key=bool))
    return Census(engines=names.count(""), partitions=parts, fallbacks=tuple(name for name in names if name))


def _fx_nodes(module: Any) -> Iterator[str]:
    """The operators that PyTorch runs, in order; an engine is the empty string."""
    import torch

    for node in module.graph.nodes:
        if node.op not in ("call_module", "call_function", "call_method") or _FREE.search(_operator(node.target)):
            continue
        name = _operator(node.target)
        if node.op == "call_module":
            child = module.get_submodule(node.target)
            name = type(child).__name__
            if isinstance(child, torch.fx.GraphModule):
                yield from _fx_nodes(child)
                continue
        yield "" if name in _ENGINES or "execute_engine" in name else name


def _operator(target: Any) -> str:
    """``aten.add.Tensor`` of an operator of torch, ``conv2d`` of a function, the name of a method or module."""
    if isinstance(target, str):
        return target
    return str(target) if hasattr(target, "_schema") else str(getattr(target, "__name__", target))


def _script_nodes(block: Any) -> Iterator[str]:
    for node in block.nodes():
        if node.kind() == "tensorrt::execute_engine":
            yield ""
        elif node.kind().startswith("aten::"):
            yield node.kind()
        for inner in node.blocks():
            yield from _script_nodes(inner)


def _plan_bytes(module: Any) -> int:
    """The size of an engine's plan, if its module gives it, else 0."""
    plan = getattr(module, "serialized_engine", None)
    if isinstance(plan, bytes | bytearray):
        return len(plan)
    if type(module).__name__ == "TRTModule":
        return int(module.engine.serialize().nbytes)
    return 0
