"""Operators that a model's file defines (``torch.library``), for processes that load a program but not the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from bench.errors import Unsupported
from bench.model.seam import Context
from bench.model.suite import Case
from bench.runtimes.torch import factories

# The namespaces of what torch defines when it is imported.
_OWN = ("aten", "prim", "prims", "prepacked", "quantized", "inductor", "mkldnn", "onednn", "_quantized", "higher_order")


def names_in(program: Any) -> tuple[str, ...]:
    """The operators of a program of torch.export that are not torch's own, as ``mine::scale``, each once."""
    modules = [module for module in program.graph_module.modules() if hasattr(module, "graph")]
    targets = [node.target for module in modules for node in module.graph.nodes if node.op == "call_function"]
    names = (target._schema.name for target in targets if hasattr(target, "_schema"))
    return tuple(dict.fromkeys(name for name in names if name.partition("::")[0] not in _OWN))


def names_in_script(program: Any) -> tuple[str, ...]:
    """As ``names_in``, of a ScriptModule."""
    kinds = _kinds(program.inlined_graph)
    return tuple(dict.fromkeys(kind for kind in kinds if kind.partition("::")[0] not in _OWN))


def _kinds(block: Any) -> Iterator[str]:
    """The operators of a graph or block of TorchScript, inner blocks included."""
    for node in block.nodes():
        if not node.kind().startswith("prim::"):
            yield node.kind()
        for inner in node.blocks():
            yield from _kinds(inner)


def define(names: Iterable[str], case: Case, context: Context) -> None:
    """Import what defines the operators ``names``: the factory's file, or for what is defined in a function of it, the
    model itself. Unsupported if one is still not there.
    """
    for step in (factories.import_source, _build):
        if not _undefined(names):
            return
        step(case, context)
    if missing := _undefined(names):
        what = f"the operator {missing[0]} is not defined where the program runs: {case.factory} does not define it"
        raise Unsupported(what, fix="define it in the factory's file, or import there what defines it")


def _build(case: Case, context: Context) -> None:
    factories.build_model(case, context, device="cpu")


def _undefined(names: Iterable[str]) -> list[str]:
    import torch

    return [name for name in names if not torch._C._jit_get_schemas_for_operator(name)]
