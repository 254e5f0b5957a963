"""Small modules lowered for tests: to a normalised graph, and to a program."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from bench.lowering import codegen, lower, normalise
from bench.runtimes.torch.outputs import positional
from bench.runtimes.torch.session import own_warnings_filtered
from tests.lowering import modules

Graph = torch.fx.GraphModule


def example(*shapes: Sequence[int], seed: int = 0) -> dict[str, torch.Tensor]:
    """Float inputs called ``x``, ``y``, ... ``z``."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(*shape, generator=generator) for name, shape in zip("xyz", shapes, strict=False)}


def normalised(module: torch.nn.Module, inputs: Mapping[str, torch.Tensor], dims: Any = None) -> Graph:
    """The graph of a module in ops, before any pass."""
    with torch.no_grad(), own_warnings_filtered():
        flat, _ = positional(module.eval(), dict(inputs))
        program = normalise.export(flat, tuple(inputs.values()), dims)
        return normalise.normalise(program, tuple(inputs), below="model.")


def program(
    module: torch.nn.Module, inputs: Mapping[str, torch.Tensor], *, dims: Any = None, **options: Any
) -> codegen.Program:
    """The network program of a module."""
    with torch.no_grad(), own_warnings_filtered(), warnings.catch_warnings():
        flat, names = positional(module.eval(), dict(inputs))
        return lower.lower(flat, dict(inputs), names, title="net", dims=dims, below="model.", **options)


@functools.cache
def program_of(name: str, precision: str) -> codegen.Program:
    """The program of one of ``modules.MODULES``, lowered once for all tests of a process."""
    module, inputs = modules.make(name, half=precision == "fp16")
    return program(module, inputs, precision=precision)


def ops(graph: Graph) -> list[str]:
    """The ops of a graph in order."""
    return [name for node in graph.graph.nodes if (name := normalise.op_name(node))]


def assert_computes(graph: Graph, module: torch.nn.Module, inputs: Mapping[str, torch.Tensor]) -> None:
    """The graph gives what the module gives."""
    with torch.no_grad():
        expected = module(*inputs.values())
        actual = graph(*inputs.values())
    torch.testing.assert_close(tuple(actual), (expected,) if isinstance(expected, torch.Tensor) else tuple(expected))
