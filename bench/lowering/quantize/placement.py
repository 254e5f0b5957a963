"""Mends the placement of Q/DQ by the rules: a pass on quantized graphs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from bench.lowering import normalise
from bench.lowering.passes import batch_norm, edit
from bench.lowering.quantize import graph_view, insert, rules
from bench.lowering.quantize.rules import Match
from bench.lowering.quantize.view import (
    COMMUTING,
    Vertex,
    channel_axis,
    has_weights,
    is_quantized,
    pair_of,
    pairs,
    quantizers,
    source_of,
)
from bench.model.placement import Finding, Placement

if TYPE_CHECKING:
    import torch

_MOST = 3  # times that one place is tried, e.g. a batch normalisation without constants, which cannot be folded


def lint(module: torch.fx.GraphModule) -> list[Finding]:
    """The places of a quantized graph whose Q/DQ keep TensorRT from a fusion."""
    return [match.finding() for match in rules.matches(graph_view.of_graph(module))]


def summary(vertices: Sequence[Vertex], file: str = "") -> Placement:
    """The counts and findings of a network."""
    layers = [each for each in vertices if has_weights(each)]
    return Placement(
        file=file,
        pairs=sum(1 for _ in pairs(vertices)),
        weighted=len(layers),
        quantized=sum(map(is_quantized, layers)),
        findings=tuple(match.finding() for match in rules.matches(vertices)),
    )


def mend(module: torch.fx.GraphModule) -> torch.fx.GraphModule:
    """The graph with Q/DQ where TensorRT fuses them; it computes the same up to the rounding of int8.

    What lacks the range of a tensor stays as it is, and ``lint`` goes on naming it.
    """
    result = edit.copy_module(module)
    times: Counter[tuple[str, str, str]] = Counter()
    while (match := _next(result, times)) is not None:
        times[match.key] += 1
        _MENDING[match.rule, match.kind](result, match)
        result.graph.eliminate_dead_code()
    return edit.finish(result)


def _next(module: torch.fx.GraphModule, times: Mapping[tuple[str, str, str], int]) -> Match | None:
    """The first place that can be mended, and has not been tried too often."""
    for match in rules.matches(graph_view.of_graph(module)):
        if match.can_mend and times.get(match.key, 0) < _MOST:
            return match
    return None


# -------------------------------------------------------------------------------------------------------------- weights


def _quantize_weights(module: torch.fx.GraphModule, match: Match) -> None:
    """A pair on the weights, with the scale of each output channel."""
    vertex = match.at
    weight = source_of(vertex.weight) if vertex.weight is not None else None
    assert weight is not None
    dq = insert.pair_on_weight(module, vertex.node, weight.node, channel_axis(vertex))
    _replace_weight(vertex, dq)


def _unquantize_weights(module: torch.fx.GraphModule, match: Match) -> None:
    """The input is quantized where its range is known; else the layer stays in floating point, as it runs now."""
    source = rules.known_scale(match.at.data[0])
    if source:
        _quantize_input(module, match.at, match.at.data[0], source)
    else:
        assert match.at.weight is not None
        _replace_weight(match.at, source_of(match.at.weight).node)


def _replace_weight(vertex: Vertex, node: torch.fx.Node) -> None:
    assert vertex.weight is not None
    vertex.node.replace_input_with(vertex.weight.node, node)


def _fold_batch_norm(module: torch.fx.GraphModule, match: Match) -> None:
    """The batch normalisation in the weights, which are quantized anew; what stood between them is removed: its scale
    is not that of the result.
    """
    norm, layer = match.at.node, source_of(match.at.data[0])
    assert layer.weight is not None
    norm.replace_input_with(match.at.data[0].node, layer.node)
    layer.node.replace_input_with(layer.weight.node, source_of(layer.weight).node)
    module.graph.eliminate_dead_code()
    batch_norm.fold(module, layer.node, norm)
    module.graph.eliminate_dead_code()
    folded = next(each for each in graph_view.of_graph(module) if each.node is layer.node)
    if pair_of(folded.data[0]) is not None:
        _quantize_weights(module, match._replace(at=folded))


# --------------------------------------------------------------------------------------------------------- activations


def _move_behind(module: torch.fx.GraphModule, match: Match) -> None:
    """The activation reads the layer, and a pair of the same scale follows it, where something reads that pair."""
    activation = match.at
    pair = pair_of(activation.data[0])
    assert pair is not None
    activation.node.replace_input_with(pair.dq.node, pair.source.node)
    if quantizers(activation):
        return
    readers = [user.node for user in activation.users if user.op != "output"]
    if readers:
        with module.graph.inserting_before(activation.node.next):
            dq = insert.pair(module, activation.node, pair.q.node.kwargs["scale"], pair.q.axis)
        for reader in readers:
            reader.replace_input_with(activation.node, dq)


def _take_in(module: torch.fx.GraphModule, match: Match) -> None:
    """The sum reads its main branch without the pair."""
    layer = rules.main_branch(match.at)
    pair = next((p for each in match.at.data if (p := pair_of(each)) is not None and p.source is layer), None)
    assert pair is not None
    match.at.node.replace_input_with(pair.dq.node, pair.source.node)


def _quantize_other(module: torch.fx.GraphModule, match: Match) -> None:
    """A pair on the other input of a sum."""
    other = match.nodes[0]
    _quantize_input(module, match.at, other, rules.known_scale(other))


def _quantize_inputs(module: torch.fx.GraphModule, match: Match) -> None:
    """A pair on each input of a concatenation that has none."""
    result = quantizers(match.at)
    for operand in match.nodes[:-1]:
        scale = result[0].scale if result else rules.known_scale(operand)
        _quantize_input(module, match.at, operand, scale)


def _quantize_input(module: torch.fx.GraphModule, vertex: Vertex, operand: Vertex, scale: Sequence[float]) -> None:
    """``vertex`` reads a pair on ``operand``: a DQ of a Q that is there, or a new pair."""
    present = quantizers(operand)
    with module.graph.inserting_before(vertex.node):
        dq = _dequantize(module, present[0].node) if present else insert.pair(module, operand.node, scale[0], None)
    vertex.node.replace_input_with(operand.node, dq)


# --------------------------------------------------------------------------------------------------------------- scales


def _one_scale(module: torch.fx.GraphModule, match: Match) -> None:
    """The largest scale for all tensors that have to have one: inputs and result of a concatenation, what stands before
    and behind a layer that moves values, and all Q of one tensor. All of the graph at once, as these overlap.
    """
    vertices = graph_view.of_graph(module)
    groups = _Groups()
    for vertex in vertices:
        behind = quantizers(vertex) if vertex.op != "constant" else []
        before = [p for each in vertex.data if (p := pair_of(each)) is not None and p.source.op != "constant"]
        if vertex.op == "cat" or vertex.op in COMMUTING:
            groups.join([*(pair.q for pair in before), *behind])
        else:
            groups.join(behind)
    for members in groups.all():
        scale = max(q.scale[0] for q in members)
        for q in members:
            for node in (q.node, *(user.node for user in q.users if user.op == "dequantize")):
                node.kwargs = node.kwargs | {"scale": scale, "axis": None}


class _Groups:
    """Sets of vertices that have to be alike."""

    def __init__(self) -> None:
        self._of: dict[Vertex, list[Vertex]] = {}

    def join(self, vertices: Sequence[Vertex]) -> None:
        """All of them, and what they are alike with, become one set."""
        union = list(dict.fromkeys(each for vertex in vertices for each in self._of.get(vertex, [vertex])))
        for each in union:
            self._of[each] = union

    def all(self) -> list[list[Vertex]]:
        """The sets."""
        return list({id(group): group for group in self._of.values() if len(group) > 1}.values())


# ---------------------------------------------------------------------------------------------------------------- nodes


def _dequantize(module: torch.fx.GraphModule, q: torch.fx.Node) -> torch.fx.Node:
    """Another DQ of a Q."""
    node = normalise.call(module.graph, "dequantize", q.kwargs["input"], **{**q.kwargs, "input": q})
    node.meta["path"] = q.meta.get("path", "")
    return node


_MENDING: dict[tuple[str, str], Callable[[torch.fx.GraphModule, Match], None]] = {
    ("weights", "missing"): _quantize_weights,
    ("weights", "alone"): _unquantize_weights,
    ("weights", "coarse"): _quantize_weights,
    ("batch-norm", "unfolded"): _fold_batch_norm,
    ("activation", "between"): _move_behind,
    ("residual", "between"): _take_in,
    ("residual", "missing"): _quantize_other,
    ("residual", "scales"): _one_scale,
    ("concat", "missing"): _quantize_inputs,
    ("concat", "scales"): _one_scale,
    ("pooling", "scales"): _one_scale,
}
