"""A function of torch as a network program, run by the oracle and held against the function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch.fx.experimental.proxy_tensor import make_fx

from bench.lowering import codegen, lower, normalise, oracle

VERSIONS = ("8.6.1", "10.16.1", "11.4.0")
TOLERANCE = {torch.float32: 2e-5, torch.float16: 6e-3, torch.bfloat16: 4e-2}
PRECISIONS = {torch.float16: "fp16", torch.bfloat16: "bf16"}


def graph_of(
    function: Callable[..., Any], inputs: Sequence[torch.Tensor], weights: Sequence[torch.Tensor] = ()
) -> torch.fx.GraphModule:
    """The graph of ``function(*inputs, *weights)`` in ops, before any pass, with the latter as weights called
    ``weight.0`` and so on; traced, as an export takes a second.
    """
    with torch.no_grad():
        traced = make_fx(lambda *args: function(*args), tracing_mode="fake", pre_dispatch=True)(*inputs, *weights)
    names = [node.name for node in traced.graph.nodes if node.op == "placeholder"]
    parameters = {name: f"weight.{index}" for index, name in enumerate(names[len(inputs) :])}
    signature = SimpleNamespace(
        inputs_to_parameters=parameters,
        inputs_to_buffers={},
        inputs_to_lifted_tensor_constants={},
        input_specs=(),
    )
    output = next(node for node in traced.graph.nodes if node.op == "output")
    results = output.args[0] if isinstance(output.args[0], tuple | list) else (output.args[0],)
    output.args = (tuple(results),)
    program = SimpleNamespace(
        graph=traced.graph, graph_signature=signature, constants={},
        state_dict=dict(zip(parameters.values(), weights, strict=True)),
    )  # fmt: skip
    return normalise.normalise(program, [f"x{index}" for index in range(len(inputs))])


def program_of(
    function: Callable[..., Any], inputs: Sequence[torch.Tensor], weights: Sequence[torch.Tensor] = (),
    dense_deconvolutions: bool = False,
) -> codegen.Program:  # fmt: skip
    """The program of ``function(*inputs, *weights)``, the latter as weights."""
    graph = lower.run_passes(graph_of(function, inputs, weights), dense_deconvolutions)
    results = next(node for node in graph.graph.nodes if node.op == "output").args[0]
    kinds = [PRECISIONS[each.dtype] for each in (*inputs, *weights) if each.dtype in PRECISIONS]
    precision = kinds[0] if kinds else "fp32"
    return codegen.generate(graph, [f"y{index}" for index in range(len(results))], title="a test", precision=precision)


def run(
    program: codegen.Program, inputs: Sequence[torch.Tensor], version: str = oracle.LATEST,
    names: Sequence[str] | None = None,
) -> list[torch.Tensor]:  # fmt: skip
    """The program's outputs, as the oracle computes them for a version."""
    namespace: dict[str, Any] = {"__name__": "program"}
    exec(compile(program.source, "program.py", "exec"), namespace)
    trt = oracle.Module(version)
    names = names or [f"x{index}" for index in range(len(inputs))]
    net = oracle.Network(trt, dict(zip(names, inputs, strict=True)))
    namespace["build"](trt, net, program.weights)
    return list(net.results().values())


def check(
    function: Callable[..., Any], *inputs: torch.Tensor, weights: Sequence[torch.Tensor] = (),
    versions: Sequence[str] = VERSIONS, tolerance: float | None = None, dense_deconvolutions: bool = False,
) -> codegen.Program:  # fmt: skip
    """The program gives what the function gives, on each version; half precision against float32 rounded."""
    program = program_of(function, inputs, weights, dense_deconvolutions)
    expected = function(*inputs, *weights)
    expected = expected if isinstance(expected, tuple | list) else (expected,)
    for version in versions:
        results = run(program, inputs, version)
        assert len(results) == len(expected)
        for result, value in zip(results, expected, strict=True):
            limit = TOLERANCE.get(value.dtype, 0.0) if tolerance is None else tolerance
            kind = torch.int32 if value.dtype == torch.int64 and version.startswith("8.") else value.dtype
            text = f"TensorRT {version}:\n{program.source.partition('p = Prelude')[2]}"
            torch.testing.assert_close(
                result, value.to(kind), rtol=limit, atol=limit, equal_nan=True, msg=lambda m, text=text: f"{m}\n{text}"
            )
    return program
