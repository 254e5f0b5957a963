"""Networks of five layers that break one placement rule each, quantized by a small stand-in for a calibration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from bench.lowering import normalise
from bench.lowering.passes import batch_norm, edit
from bench.model.placement import Rule

nn = torch.nn
Graph = torch.fx.GraphModule


class Chain(nn.Sequential):
    """Modules one after the other, of an input called ``x``."""

    def forward(self, x: Any) -> Any:
        return super().forward(x)


class Residual(nn.Module):
    """A convolution, and a block whose convolution is added to what the block reads; a convolution reads the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.head = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Any) -> Any:
        x = self.stem(x).relu()
        return self.head((self.conv(x) + x).relu())


class Concat(nn.Module):
    """Two convolutions of unlike ranges side by side, and one that reads both."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.left, self.right = nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, channels, 3, padding=1)
        self.head = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Any) -> Any:
        x = self.stem(x)
        return self.head(torch.cat([self.left(x), 3 * self.right(x)], 1))


def _upsampling(channels: int) -> nn.Module:
    return Chain(
        nn.Conv2d(3, channels, 3, padding=1),
        nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 1),
    )


def _plain(channels: int) -> nn.Module:
    return Chain(
        nn.Conv2d(3, channels, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 1),
    )


def _pooling(channels: int) -> nn.Module:
    return Chain(
        nn.Conv2d(3, channels, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.ReLU(),
    )


class Network(NamedTuple):
    """``make`` gives the module for a number of channels; ``behind`` are the ops whose results get a pair, ``coarse``
    whether weights have one scale, ``folds`` whether batch normalisation is folded before it is quantized. ``rules``
    are those that lint then names.
    """

    make: Callable[[int], nn.Module]
    behind: Sequence[str]
    rules: Sequence[Rule]
    coarse: bool = False
    folds: bool = True


NETWORKS: Mapping[Rule, Network] = {
    "weights": Network(_plain, ("input_0", "relu", "relu_1"), ("weights",) * 3, coarse=True),
    "batch-norm": Network(
        _upsampling, ("input_0", "convolution", "convolution_1", "relu"), ("batch-norm",), folds=False
    ),
    "activation": Network(_plain, ("input_0", "convolution", "relu", "convolution_1", "relu_1"), ("activation",) * 2),
    "residual": Network(Residual, ("input_0", "relu", "convolution_1", "relu_1"), ("residual",)),
    "concat": Network(Concat, ("input_0", "convolution", "convolution_1", "mul", "cat"), ("concat",)),
    "pooling": Network(_pooling, ("input_0", "relu", "max_pool"), ("pooling",)),
}


def module(rule: Rule, channels: int = 8) -> nn.Module:
    """The network of a rule, with seeded weights and, of batch normalisation, statistics that do something."""
    torch.manual_seed(3)
    net = NETWORKS[rule].make(channels).eval()
    generator = torch.Generator().manual_seed(1)
    for name, value in net.state_dict().items():
        if "running" in name:
            drawn = torch.rand(value.shape, generator=generator)
            value.copy_(drawn + 0.5 if "var" in name else drawn / 5 - 0.1)
    return net


def quantized(graph: Graph, inputs: Sequence[torch.Tensor], behind: Sequence[str], *, coarse: bool = False) -> Graph:
    """A graph with a pair on the result of each op ``behind``, for all that reads it, and on the weights of each layer
    whose input has one. Scales are of 99.95 % of the values of one run, as a histogram's would be.
    """
    values = _values(graph, inputs)
    result = edit.copy_module(graph)
    nodes = {node.name: node for node in result.graph.nodes}
    for name in behind:
        node = nodes[name]
        magnitudes = values[name].abs().flatten()  # too many for torch.quantile on a GPU's sizes
        largest = magnitudes.kthvalue(1 + round(0.9995 * (magnitudes.numel() - 1))).values
        users = list(node.users)
        with result.graph.inserting_before(node.next):
            dq = pair(result, node, float(largest) / 127)
        for user in users:
            user.replace_input_with(node, dq)
    for node in list(result.graph.nodes):
        if normalise.op_name(node) == "convolution" and normalise.op_name(node.kwargs["input"]) == "dequantize":
            _quantize_weight(result, node, coarse=coarse)
    return edit.finish(result)


def _quantize_weight(graph: Graph, node: torch.fx.Node, *, coarse: bool) -> None:
    weight = node.kwargs["weight"]
    value, axis = edit.tensor_of(graph, weight), 1 if node.kwargs["transposed"] else 0
    assert value is not None
    with graph.graph.inserting_before(node):
        if coarse:
            dq = pair(graph, weight, float(value.abs().max()) / 127)
        else:
            name = f"{weight.target}_step"
            edit.add(graph, name, value.abs().amax(dim=[dim for dim in range(value.dim()) if dim != axis]) / 127)
            dq = pair(graph, weight, graph.graph.get_attr(name), axis)
    node.replace_input_with(weight, dq)


def pair(graph: Graph, node: torch.fx.Node, scale: Any, axis: int | None = None) -> torch.fx.Node:
    """A pair on a node, placed where the graph inserts; the dequantize node."""
    q = normalise.call(graph.graph, "quantize", node, input=node, scale=scale, axis=axis, dtype="int8")
    return normalise.call(graph.graph, "dequantize", node, input=q, scale=scale, axis=axis, dtype="int8")


def _values(graph: Graph, inputs: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
    values: dict[str, torch.Tensor] = {}

    class Recording(torch.fx.Interpreter):  # type: ignore[misc]
        def run_node(self, node: torch.fx.Node) -> Any:
            value = super().run_node(node)
            if isinstance(value, torch.Tensor):
                values[node.name] = value
            return value

    with torch.no_grad():
        Recording(graph).run(*inputs)
    return values


def example(size: int = 16, batch: int = 2) -> torch.Tensor:
    """A seeded input of the networks, float32 [batch, 3, size, size]."""
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0))


def folded(graph: Graph) -> Graph:
    """The graph with batch normalisation in the weights."""
    return batch_norm.fold_batch_norms(graph)
