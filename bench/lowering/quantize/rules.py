"""The rules by which TensorRT fuses Q/DQ into layers, each as a search for the places that break it.

What TensorRT does with Q/DQ is described in its documentation ("Explicit Quantization", and the recommendations on
placement of the developer guides up to version 10); docs/qdq-placement.md has each rule with a network of five layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from bench.lowering.quantize.view import (
    ACTIVATIONS,
    COMMUTING,
    Pair,
    Vertex,
    after_activation,
    channel_axis,
    has_weights,
    is_quantized,
    pair_of,
    pairs,
    quantizers,
    same,
    source_of,
)
from bench.model.placement import Finding, Rule


class Match(NamedTuple):
    """A place that breaks a rule. ``at`` is the op that is not fused, ``nodes`` are what to change there; ``kind`` says
    which of the rule's cases it is.
    """

    rule: Rule
    kind: str
    at: Vertex
    nodes: tuple[Vertex, ...]
    what: str
    fix: str
    can_mend: bool = True

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from others of the same graph."""
        return self.rule, self.kind, self.at.name

    def finding(self) -> Finding:
        """The same as data."""
        return Finding(
            rule=self.rule,
            module=self.at.label,
            nodes=tuple(dict.fromkeys(node.name for node in self.nodes)),
            what=self.what,
            fix=self.fix,
            can_mend=self.can_mend,
        )


def matches(vertices: Sequence[Vertex]) -> Iterator[Match]:
    """All places that break a rule, rule by rule."""
    for rule in RULES.values():
        yield from rule(vertices)


def weights(vertices: Sequence[Vertex]) -> Iterator[Match]:
    """A layer runs in int8 only if input and weights are quantized, these with a scale for each output channel."""
    for vertex in filter(has_weights, vertices):
        weight, source = pair_of(vertex.weight), pair_of(vertex.data[0])
        if weight is None and source is not None and _has_int8_kernels(vertex):
            what = "its input is quantized and its weights are not, so it runs in floating point"
            yield Match("weights", "missing", vertex, (vertex, source.dq), what, "quantize the weights per channel")
        elif weight is not None and source is None:
            what = "its weights are quantized and its input is not, so it runs in floating point"
            fix = "quantize the input too, or leave the weights as they are"
            yield Match("weights", "alone", vertex, (vertex, weight.dq), what, fix)
        elif weight is not None and _is_coarse(vertex, weight):
            axis = channel_axis(vertex)
            has = "one scale" if weight.q.axis is None else f"scales along dimension {weight.q.axis}"
            what = f"its weights have {has} in place of one for each output channel (dimension {axis}): less accurate"
            nodes = (vertex, weight.q, weight.dq)
            yield Match("weights", "coarse", vertex, nodes, what, "the largest weight of each output channel / 127")


def batch_norms(vertices: Sequence[Vertex]) -> Iterator[Match]:
    """Batch normalisation belongs into the weights before they are quantized: a transposed convolution with Q/DQ is
    not fused with one, and the network programs here have it as two layers.
    """
    for vertex in vertices:
        if vertex.op != "batch_norm":
            continue
        pair = pair_of(vertex.data[0])
        layer = source_of(vertex.data[0])
        if layer.op != "convolution" or not has_weights(layer) or pair_of(layer.weight) is None:
            continue
        between = () if pair is None else (pair.q, pair.dq)
        if len(layer.users) > 1 or (pair is not None and len(pair.q.users) + len(pair.dq.users) > 2):
            continue
        kind = "transposed convolution" if layer.transposed else "convolution"
        what = f"batch normalisation follows a quantized {kind}, and is not folded into its weights"
        if between:
            what += "; Q/DQ stand between them"
        fix = "fold it into the weights, then quantize these"
        yield Match("batch-norm", "unfolded", vertex, (layer, *between, vertex), what, fix)


def activations(vertices: Sequence[Vertex]) -> Iterator[Match]:
    """No Q/DQ stand between a layer and its activation: the layer ends in int8 only after it."""
    for pair in pairs(vertices):
        layer = pair.source
        if not (is_quantized(layer) or _is_residual(layer)):
            continue
        for user in pair.dq.users:
            if user.op in ACTIVATIONS:
                what = f"Q/DQ stand between {layer.op} and {user.op}, which are two layers because of them"
                fix = f"move them behind {user.op}"
                yield Match("activation", "between", user, (layer, pair.q, pair.dq, user), what, fix)


def residuals(vertices: Sequence[Vertex]) -> Iterator[Match]:
    """Of a sum, one input is the bare result of a convolution, which takes the sum in; the other is quantized, so that
    the result of both is int8.
    """
    for vertex in vertices:
        if vertex.op != "add":
            continue
        layer = main_branch(vertex)
        if layer is None:
            continue
        operand = next(each for each in vertex.data if source_of(each) is layer)
        other = next((each for each in vertex.data if each is not operand), None)
        if (pair := pair_of(operand)) is not None:
            what = f"Q/DQ stand between {layer.op} and the sum, which it cannot take in"
            fix = "remove them: of the inputs of a sum, quantize the other one alone"
            yield Match("residual", "between", vertex, (layer, pair.q, pair.dq, vertex), what, fix)
        ends = after_activation(vertex)
        if other is None or other.op == "constant" or not quantizers(ends):
            continue
        if pair_of(other) is None:
            scale = known_scale(other)
            what = f"the other input of the sum is not quantized, so {layer.op} + add gives no int8 to the Q behind it"
            fix = "quantize that input" + ("" if scale else ", for which its range has to be calibrated")
            nodes = (other, vertex)
            yield Match("residual", "missing", vertex, nodes, what, fix, can_mend=bool(scale))
    yield from _several_scales(vertices)


def _several_scales(vertices: Sequence[Vertex]) -> Iterator[Match]:
    """A tensor that is quantized with two scales leaves its layer in int8 for one of them only."""
    for vertex in vertices:
        several = quantizers(vertex)
        if vertex.op == "constant" or len(several) < 2 or all(same(several[0].scale, q.scale) for q in several):
            continue
        scales = ", ".join(f"{q.scale[0]:.3g}" for q in several)
        what = f"one tensor is quantized with {len(several)} scales ({scales}): its layer can end in one of them"
        yield Match("residual", "scales", vertex, (vertex, *several), what, "one scale for all of its uses")


def concats(vertices: Sequence[Vertex]) -> Iterator[Match]:
    """All inputs of a concatenation and its result have one scale, so that it is a copy, or none at all."""
    for vertex in vertices:
        if vertex.op != "cat":
            continue
        inputs = [pair_of(each) for each in vertex.data]
        present = [pair for pair in inputs if pair is not None]
        if not present:
            continue
        if len(present) < len(inputs):
            bare = [each for each, pair in zip(vertex.data, inputs, strict=True) if pair is None]
            scale = quantizers(vertex) or all(known_scale(each) for each in bare)
            what = (
                f"{len(bare)} of {len(inputs)} inputs of the concatenation are not quantized: it is in floating point"
            )
            fix = "quantize all of them with one scale" + ("" if scale else ", for which ranges have to be calibrated")
            yield Match("concat", "missing", vertex, (*bare, vertex), what, fix, can_mend=bool(scale))
        every = [*(pair.q for pair in present), *quantizers(vertex)]
        if any(not same(every[0].scale, q.scale) for q in every):
            scales = ", ".join(dict.fromkeys(f"{q.scale[0]:.3g}" for q in every))
            what = f"inputs and result of the concatenation have the scales {scales}: values are quantized again"
            yield Match("concat", "scales", vertex, (*every, vertex), what, "one scale for all, the largest")


def pools(vertices: Sequence[Vertex]) -> Iterator[Match]:
    """What only selects or moves values has one scale before and behind it, so that it runs in int8 as it is."""
    for vertex in vertices:
        if vertex.op not in COMMUTING or not vertex.data:
            continue
        pair = pair_of(vertex.data[0])
        if pair is None or pair.source.op == "constant":
            continue
        behind = [q for q in quantizers(vertex) if not same(q.scale, pair.q.scale)]
        if behind:
            numbers = f"{pair.q.scale[0]:.3g} before and {behind[0].scale[0]:.3g} behind it"
            what = f"{vertex.op} changes no value, and has the scales {numbers}: values are quantized again"
            yield Match("pooling", "scales", vertex, (pair.q, vertex, *behind), what, "the same scale on both sides")


RULES: dict[Rule, Callable[[Sequence[Vertex]], Iterator[Match]]] = {
    "weights": weights,
    "batch-norm": batch_norms,
    "activation": activations,
    "residual": residuals,
    "concat": concats,
    "pooling": pools,
}


def main_branch(vertex: Vertex) -> Vertex | None:
    """The quantized layer that takes a sum in: of those that only the sum reads, the one that is computed last."""
    layers = []
    for each in vertex.data:
        pair, layer = pair_of(each), source_of(each)
        alone = [layer] if pair is None else [layer, pair.q, pair.dq]
        if layer.op == "convolution" and is_quantized(layer) and all(len(part.users) == 1 for part in alone):
            layers.append(layer)
    return max(layers, key=lambda layer: layer.index, default=None)


def known_scale(vertex: Vertex) -> tuple[float, ...]:
    """A scale that covers a tensor: of a Q that reads it, or of the pair before what only selects its values."""
    while True:
        if several := quantizers(vertex):
            return max(q.scale for q in several)
        if (pair := pair_of(vertex)) is not None:
            return pair.q.scale
        if vertex.op not in COMMUTING or not vertex.data:
            return ()
        vertex = vertex.data[0]


def _has_int8_kernels(vertex: Vertex) -> bool:
    """False for a product of more than two dimensions that is no linear layer: its weights are read through a reshape,
    which fuses nothing; those of linear layers are given the rank of the input (``products``).
    """
    return vertex.op in ("convolution", "linear") or vertex.rank in (None, 2)


def _is_coarse(vertex: Vertex, weight: Pair) -> bool:
    """Whether the weights of more than one output channel share a scale."""
    axis = channel_axis(vertex)
    if weight.source.shape and weight.source.shape[axis] == 1:
        return False
    return weight.q.axis is None or (weight.q.axis != axis and weight.q.axis != axis - len(weight.source.shape))


def _is_residual(vertex: Vertex) -> bool:
    """Whether it is a sum that a convolution takes in."""
    return vertex.op == "add" and main_branch(vertex) is not None
