"""Graphs of any shape are divided into parts that keep what the graph says, and compute what it computes."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from bench.errors import Unsupported  # noqa: E402
from bench.lowering import lower, normalise, partition, split  # noqa: E402
from bench.runtimes.torch.outputs import positional  # noqa: E402
from bench.runtimes.torch.session import own_warnings_filtered  # noqa: E402
from tests.lowering import kit, split_kit  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.long]
nn = torch.nn
SHAPE = (2, 4, 4)

# Steps of two matrices each, the second of which most leave alone; of values that stay small.
LOWERED = {
    "relu": lambda a, b: a.relu(),
    "tanh": lambda a, b: a.tanh(),
    "transpose": lambda a, b: a.transpose(1, 2),
    "mean": lambda a, b: (a + b) / 2,
    "product": lambda a, b: (a @ b).sigmoid(),
    "rows": lambda a, b: torch.cat([a[:, :2], b[:, 2:]], 1),
    "single row": lambda a, b: a[:, :1].expand(a.shape) * b,
}
IN_TORCH = {
    "gamma": lambda a, b: torch.lgamma(a.abs() + 1).tanh(),
    "inverse": lambda a, b: torch.linalg.inv(a.sigmoid() + 4 * torch.eye(4)),
    "factors": lambda a, b: torch.linalg.qr(a.sigmoid() + 4 * torch.eye(4))[1].abs() / 8,
    "double": lambda a, b: (a.double() * b.double()).float(),
}
STEPS = LOWERED | IN_TORCH


class Steps(nn.Module):
    """Each step reads two of the tensors before it: the two inputs, a weight, and the results of earlier steps."""

    def __init__(self, steps: list[tuple[str, int, int]], outputs: list[int]) -> None:
        super().__init__()
        self.steps, self.outputs = steps, outputs
        self.weight = nn.Parameter(torch.linspace(-1, 1, 16).reshape(4, 4).expand(SHAPE).contiguous())

    def forward(self, x: Any, y: Any) -> Any:
        values = [x, y, self.weight * 1]
        for name, first, second in self.steps:
            values.append(STEPS[name](values[first % len(values)], values[second % len(values)]))
        return [values[index % len(values)] * 1 for index in self.outputs]


modules = st.builds(
    Steps,
    st.lists(st.tuples(st.sampled_from(list(STEPS)), st.integers(0, 15), st.integers(0, 15)), min_size=3, max_size=10),
    st.lists(st.integers(0, 15), min_size=1, max_size=3),
)


def graph_of(module: nn.Module, inputs: dict[str, torch.Tensor]) -> tuple[Any, tuple[str, ...]]:
    """The graph that is divided, and the names of the model's outputs."""
    with torch.no_grad(), own_warnings_filtered(), warnings.catch_warnings():
        flat, names = positional(module.eval(), inputs)
        program = normalise.export(flat, tuple(inputs.values()))
        graph = normalise.normalise(program, tuple(inputs), below="model.", keep_unsupported=True)
        return lower.run_passes(graph), names


def divided(graph: Any, min_block_size: int) -> partition.Division | None:
    """The blocks of a graph; None if it is refused as one without an engine."""
    try:
        return partition.divide(graph, min_block_size)
    except Unsupported as error:
        if "no engine is left" not in error.what:
            raise
        return None


def check_blocks(graph: Any, division: partition.Division, min_block_size: int) -> None:
    """The blocks have each op once, in the order of the graph, and read only what is there when they run."""
    ops = [node for node in graph.graph.nodes if partition.is_tensor_op(node)]
    places = {node: index for index, node in enumerate(ops)}
    blocks = division.blocks
    assert sorted((node for block in blocks for node in block.nodes), key=places.__getitem__) == ops
    there = {node for node in graph.graph.nodes if node.op in ("placeholder", "get_attr")}
    for block in blocks:
        assert [places[node] for node in block.nodes] == sorted(places[node] for node in block.nodes)
        assert set(block.inputs) <= there
        inside = set(block.inputs) | {node for node in there if node.op == "get_attr"}
        for node in block.nodes:
            assert set(node.all_input_nodes) <= inside
            inside.add(node)
        if block.is_engine:
            assert not any(node in division.reasons or normalise.is_kept(node) for node in block.nodes)
            assert sum(not partition.is_part(node) for node in block.nodes) >= min_block_size
            assert block.inputs
        there |= set(block.outputs)
    assert set(next(node for node in graph.graph.nodes if node.op == "output").all_input_nodes) <= there


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(module=modules, min_block_size=st.integers(1, 5))
def test_parts_of_any_graph_keep_its_order_and_compute_the_same(module: Steps, min_block_size: int) -> None:
    inputs = kit.example(SHAPE, SHAPE)
    graph, names = graph_of(module, inputs)
    division = divided(graph, min_block_size)
    if division is None:
        return
    check_blocks(graph, division, min_block_size)
    with torch.no_grad():
        parts = split.generate(graph, names, title="net", precision="fp32", min_block_size=min_block_size)
    facts = parts.facts
    assert facts["engines"] == len(parts.engines) == len(division.engines)
    assert facts["fallback_nodes"] == len(division.reasons)
    assert facts["partitions"] == len(division.blocks)
    with tempfile.TemporaryDirectory() as folder:
        parts.write(Path(folder))
        split_kit.assert_computes(Path(folder), module, inputs)


@settings(max_examples=5, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(st.tuples(st.sampled_from(list(LOWERED)), st.integers(0, 15), st.integers(0, 15)), min_size=1))
def test_a_graph_that_can_be_lowered_is_one_engine(steps: list[tuple[str, int, int]]) -> None:
    graph, _ = graph_of(Steps(steps, [len(steps) + 2]), kit.example(SHAPE, SHAPE))
    division = divided(graph, 1)
    if division is None:  # it reads the weight alone
        return
    assert not division.reasons
    assert [block.is_engine for block in division.blocks] == [True]
